"""Boxes as files."""
