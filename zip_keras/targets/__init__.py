"""Training targets: matching of anchors and RoIs to objects, and sampling for the loss."""
