"""Training: optimizer and schedules, the distributed step, the run with its checkpoints and logs."""
