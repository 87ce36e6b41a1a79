"""Checks of annotations and images."""
