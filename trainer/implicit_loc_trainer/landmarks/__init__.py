"""Points of the scene that the images themselves fix: features followed, then triangulated."""
