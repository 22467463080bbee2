"""How long a checkpoint takes from image to pose, beside what people would use instead."""
