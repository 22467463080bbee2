"""How well a checkpoint localizes the frames of a recording."""
