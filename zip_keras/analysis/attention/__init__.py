"""Analysis of the map attention decision (MAD)."""
