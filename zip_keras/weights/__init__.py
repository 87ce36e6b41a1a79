"""Weight files, read without running anything."""
