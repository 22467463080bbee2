"""Stand-in for ROS's cv_bridge where only the rclpy wheel is at hand: same names, same layout."""

from cv_bridge.core import CvBridge, CvBridgeError

__all__ = ['CvBridge', 'CvBridgeError']
