"""What determines a training."""
