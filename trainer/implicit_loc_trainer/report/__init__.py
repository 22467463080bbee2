"""What people look at: the report of a training, and the implicit map as a point cloud."""
