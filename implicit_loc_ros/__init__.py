"""ROS 2 node around the core: messages in, messages out."""
