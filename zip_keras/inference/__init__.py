"""Prediction: images to proposals in original pixels."""
