"""From a recording to a checkpoint."""
