"""What all tests share: an order, a ROS domain of their own, and a line that says whose it is."""

import os
import random
from collections import Counter
from importlib import metadata

import pytest

DOMAINS = 100
# The files that take longest. One that begins last keeps one process busy and the others idle.
LONG = (
    'test/ros/test_soak_node.py',
    'trainer/tests/training/test_distributed.py',
    'test/ros/test_node_modes.py',
    'test/ros/test_node_process.py',
    'test/ros/test_node_operation.py',
    'test/ros/test_node_deafness.py',
    'trainer/tests/training/test_training.py',
    'trainer/tests/training/test_resuming.py',
    'trainer/tests/training/test_fine_tuning.py',
    'trainer/tests/benchmark/test_command.py',
    'test/core/runtimes/test_onnx_export.py',
    'test/core/runtimes/test_onnx_runtime.py',
    'test/ros/test_replay.py',
    'test/ros/test_bench_node.py',
    'test/ros/test_evaluate_bag.py',
    'trainer/tests/check/test_labels.py',
    'trainer/tests/ablation/test_ablate.py',
    'trainer/tests/calibration/test_command.py',
    'trainer/tests/landmarks/test_after_training.py',
    'test/ros/test_node_map.py',
)


def pytest_configure() -> None:
    """Part this run, and each of its processes, from whatever else speaks ROS on this network."""
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(random.randint(1, DOMAINS)))
    # pytest-xdist runs tests at once in processes gw0, gw1, ... that inherit the run's domain.
    if process := int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw')):
        apart = process * DOMAINS // int(os.environ['PYTEST_XDIST_WORKER_COUNT'])
        domain = int(os.environ['ROS_DOMAIN_ID']) + apart
        os.environ['ROS_DOMAIN_ID'] = str((domain - 1) % DOMAINS + 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where pytest-xdist hands out whole files: the long ones first, then those of most tests."""
    if not hasattr(config, 'workerinput'):
        return
    ranks = {config.rootpath / name: rank for rank, name in enumerate(LONG)}
    tests = Counter(item.path for item in items)
    items.sort(key=lambda i: (ranks.get(i.path, len(LONG)), -tests[i.path], i.path))


def pytest_report_header() -> str:
    """The version of rclpy from PyPI tells the distribution: 7 is Jazzy, 9 is Kilted."""
    try:
        found = metadata.distribution('ros-rclpy')
    except metadata.PackageNotFoundError:
        return f'ROS: {os.environ.get("ROS_DISTRO", "none")}'
    return f'ROS: rclpy {found.version} in {found.locate_file("")}'
