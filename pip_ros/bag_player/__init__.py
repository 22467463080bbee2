"""Plays rosbag2 recordings over DDS, in real time, where there is no `ros2 bag play`."""
