"""How far the poses of a checkpoint can be trusted, measured on frames that it never learned."""
