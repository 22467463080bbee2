"""From recorded data to a checkpoint, and how good that is."""
