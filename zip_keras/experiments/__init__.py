"""Tables of configs, trained and evaluated with one budget and several seeds. Without TensorFlow."""
