"""Weight files, read without executing code."""
