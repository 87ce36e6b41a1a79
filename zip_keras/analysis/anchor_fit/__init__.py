"""How well anchors fit a data set."""
