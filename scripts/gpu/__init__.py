"""Checks and measures what a CUDA GPU does: tests, times, accuracy, training."""
