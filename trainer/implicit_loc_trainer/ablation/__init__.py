"""A grid of recipes, run on the scenes of a dataset and summed up in tables."""
