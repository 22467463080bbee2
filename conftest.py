"""What all tests share: a ROS domain of their own, and a line that says whose ROS packages run."""

import os
import random
from importlib import metadata

DOMAINS = 100


def pytest_configure() -> None:
    """Part this run, and each of its processes, from whatever else speaks ROS on this network."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, DOMAINS)))
    # pytest-xdist runs tests at once in processes gw0, gw1, ... that inherit the run's domain.
    if process := int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw')):
        apart = process * DOMAINS // int(os.environ['PYTEST_XDIST_WORKER_COUNT'])
        domain = int(os.environ['ROS_DOMAIN_ID']) + apart
        os.environ['ROS_DOMAIN_ID'] = str((domain - 1) % DOMAINS + 1)


def pytest_report_header() -> str:
    """The version of rclpy from PyPI tells the distribution: 7 is Jazzy, 9 is Kilted."""
    try:
        found = metadata.distribution('ros-rclpy')
    except metadata.PackageNotFoundError:
        return f'ROS: {os.environ.get("ROS_DISTRO", "none")}'
    return f'ROS: rclpy {found.version} in {found.locate_file("")}'
