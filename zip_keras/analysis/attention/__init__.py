"""What map attention decides."""
