"""Keras models: networks, and complete models from images to boxes."""
