"""Fit of anchors to a data set."""
