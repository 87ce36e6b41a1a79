"""Functional Keras models of the method."""
