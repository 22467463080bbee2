"""Path, cloud and debug image: made when somebody looks, and not before."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('nav_msgs', reason='nav_msgs is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from nav_msgs.msg import Path
from sensor_msgs.msg import Image, PointCloud2

from implicit_loc_ros import outputs

Start = Callable[..., Any]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the views that were made."""
    names: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        make = getattr(outputs, name)

        def count(*arguments: Any) -> Any:
            names.append(name)
            return make(*arguments)

        return count

    for name in ('debug_image', 'point_cloud'):
        monkeypatch.setattr(outputs, name, counted(name))
    return names


def look(peer: Any, kind: Any, name: str) -> list[Any]:
    found: list[Any] = []
    peer.node.create_subscription(kind, f'localization_node/{name}', found.append, 10)
    return found


def test_what_nobody_looks_at_is_not_made(start: Start, made: list[str]) -> None:
    peer = start()
    peer.localize()
    assert not made


def test_who_looks_sees_the_image_the_cloud_and_the_path(start: Start, made: list[str]) -> None:
    peer = start()
    images, clouds = look(peer, Image, 'debug_image'), look(peer, PointCloud2, 'points')
    paths = look(peer, Path, 'path')
    # Until the node knows of them, it makes nothing.
    peer.wait(lambda: peer.localize() and images and clouds and paths, 'what is to be seen')
    stamps = [pose.header.stamp for pose in peer.poses]
    assert images[-1].header.stamp in stamps
    assert images[-1].header.frame_id == 'camera_optical'
    assert clouds[-1].header.frame_id == paths[-1].header.frame_id == 'map'
    assert clouds[-1].header.stamp in stamps
    assert [pose.header.stamp for pose in paths[-1].poses] == stamps[: len(paths[-1].poses)]
    assert {'debug_image', 'point_cloud'} == set(made)


def test_a_refused_image_is_shown_and_gives_no_cloud(start: Start, messages: Any) -> None:
    peer = start(min_confidence='1.0')
    images, clouds = look(peer, Image, 'debug_image'), look(peer, PointCloud2, 'points')
    peer.wait_for_subscriber(peer.images)
    peer.wait_for_subscriber(peer.camera_infos)
    peer.camera_infos.publish(messages.camera_info())

    def shown() -> bool:
        peer.images.publish(messages.image(peer.next_stamp()))
        return bool(images)

    peer.wait(shown, 'the debug image')
    # Red is the colour of refusal.
    red, green, _ = images[-1].data[:3]
    assert red > green
    assert not clouds
    assert not peer.poses


def test_the_path_is_bounded(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    monkeypatch.setattr(outputs, '_PATH_POSES', 3)
    monkeypatch.setattr(outputs, '_PATH_PERIOD_S', 0.0)
    peer = start()
    paths = look(peer, Path, 'path')
    peer.wait(lambda: peer.localize() and paths, 'the path')
    for _ in range(4):
        peer.localize()
    last = peer.poses[-1].header.stamp
    peer.wait(lambda: paths[-1].poses[-1].header.stamp == last, 'the newest path')
    assert len(paths[-1].poses) == 3
    assert [p.header.stamp for p in paths[-1].poses] == [p.header.stamp for p in peer.poses[-3:]]
