"""A table of configs trained and measured under one budget with several seeds. Without TensorFlow."""
