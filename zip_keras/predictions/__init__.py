"""Predictions in memory and in files."""
