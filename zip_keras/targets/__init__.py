"""What each anchor learns: matching to objects, sampling into the loss."""
