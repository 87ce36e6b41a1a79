"""Inference: models that map images to proposals or detections in original pixels."""
