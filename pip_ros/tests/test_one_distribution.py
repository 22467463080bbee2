"""All packages of ROS are of one distribution, also where two are installed side by side."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

from rclpy.node import Node
from tf2_msgs.msg import TFMessage

PACKAGES = (
    'ament_index_python',
    'builtin_interfaces',
    'diagnostic_msgs',
    'geometry_msgs',
    'lifecycle_msgs',
    'nav_msgs',
    'rcl_interfaces',
    'rclpy',
    'rosgraph_msgs',
    'sensor_msgs',
    'std_msgs',
    'std_srvs',
    'tf2_msgs',
    'visualization_msgs',
)


def test_packages_lie_in_the_running_environment() -> None:
    """One that is missing there would be taken from another environment, unnoticed."""
    places = {name: getattr(find_spec(name), 'origin', None) for name in PACKAGES}
    prefix = Path(sys.prefix)
    assert not {
        name: place
        for name, place in places.items()
        if place is None or not Path(place).is_relative_to(prefix)
    }


def test_libraries_lie_in_the_running_environment(node: Node) -> None:
    node.create_publisher(TFMessage, '/tf', 10)
    pattern = r'\S+/lib(?:rcl|rclpy|rmw|fastrtps|fastdds|tf2_msgs|geometry_msgs)[\w.-]*\.so\S*'
    loaded = set(re.findall(pattern, Path('/proc/self/maps').read_text()))
    for name in ('librcl', 'librmw', 'libtf2_msgs'):
        assert any(Path(one).name.startswith(name) for one in loaded), name
    assert not {one for one in loaded if not Path(one).is_relative_to(sys.prefix)}
