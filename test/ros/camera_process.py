"""A camera on a pan-tilt unit in a process of its own: python camera_process.py NAMESPACE HZ."""

import sys
import time

import rclpy
from conftest import make_camera_info, make_image, stamped
from geometry_msgs.msg import TransformStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

# All that a subscriber misses within seconds can be sent again.
_DEEP = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


def main(namespace: str, rate_hz: float) -> None:
    """Publish images, and with each where the camera is on the base, until ended."""
    rclpy.init()
    node = rclpy.create_node('camera', namespace=namespace)
    images = node.create_publisher(Image, 'image', _DEEP)
    infos = node.create_publisher(CameraInfo, 'camera_info', _DEEP)
    transforms = node.create_publisher(TFMessage, '/tf', _DEEP)
    while True:
        stamp = time.time_ns()
        mount = TransformStamped(child_frame_id='camera_optical')
        transforms.publish(TFMessage(transforms=[stamped(mount, stamp, 'base_link')]))
        infos.publish(make_camera_info(stamp))
        images.publish(make_image(stamp))
        time.sleep(1.0 / rate_hz)


if __name__ == '__main__':
    main(sys.argv[1], float(sys.argv[2]))
