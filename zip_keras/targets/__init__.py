"""What anchors learn."""
