"""How well a checkpoint localizes the images of a bag, for those who run the robot."""
