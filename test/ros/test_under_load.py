"""More images than can be computed: the newest one is, the others are counted, none waits."""

import array
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from implicit_loc.localizer import Localizer

Start = Callable[..., Any]

SERVICE_S = 0.2
CAMERA_HZ = 200.0
FRAMES = 400
# What a busy machine may add to any single image, seconds.
SLACK_S = 0.5


@dataclass
class Slow:
    """What the slow localizer was given.

    Attributes:
        frames: numbers of the images, in the order in which they were computed.
        seconds: that each took.
        sizes: of each image, as it is and as its camera says.
        may_end: as long as it is cleared, an image is being computed.
    """

    frames: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    sizes: list[tuple[tuple[int, int], tuple[int, int]]] = field(default_factory=list)
    may_end: Event = field(default_factory=Event)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Every localizer takes SERVICE_S at least, and notes what it was given."""
    noted = Slow()
    noted.may_end.set()
    localize = Localizer.localize

    def localize_slowly(localizer: Localizer, image: Any, camera: Any) -> Any:
        begin = time.monotonic()
        noted.frames.append(int(image[0, 0, 0]) + 256 * int(image[0, 0, 1]))
        noted.sizes.append((image.shape[1::-1], (camera.width, camera.height)))
        assert noted.may_end.wait(60)
        estimate = localize(localizer, image, camera)
        time.sleep(max(0.0, begin + SERVICE_S - time.monotonic()))
        noted.seconds.append(time.monotonic() - begin)
        return estimate

    # Its grey images would be noted, too.
    monkeypatch.setattr(Localizer, 'warm_up', lambda *_, **__: SERVICE_S)
    monkeypatch.setattr(Localizer, 'localize', localize_slowly)
    return noted


class Camera:
    """Publishes numbered images of noise, and keeps when it did."""

    def __init__(self, peer: Any, messages: Any) -> None:
        self._peer = peer
        self._messages = messages
        self._noise = np.random.default_rng(0).integers(0, 256, 128 * 96 * 3, np.uint8)
        self.published: dict[int, float] = {}
        for publisher in (peer.images, peer.camera_infos):
            peer.wait_for_subscriber(publisher)

    def image(self, width: int = 64, height: int = 48) -> int:
        """Publish an image; its number, which is also its stamp in milliseconds and one second."""
        number = len(self.published)
        pixels = self._noise[: width * height * 3].copy()
        pixels[:2] = number % 256, number // 256
        data = array.array('B')
        data.frombytes(pixels.tobytes())
        message = self._messages.image(
            1_000_000_000 + 1_000_000 * number,
            width=width,
            height=height,
            step=3 * width,
            data=data,
        )
        self.published[number] = time.monotonic()
        self._peer.images.publish(message)
        return number

    def info(self, scale: int = 1) -> None:
        """Publish the CameraInfo of images of 64x48 pixels, or of so many times as large ones."""
        k = np.array([60.0, 0.0, 32.0, 0.0, 60.0, 24.0, 0.0, 0.0, 1.0])
        k[:6] *= scale
        message = self._messages.camera_info(width=64 * scale, height=48 * scale, k=k)
        self._peer.camera_infos.publish(message)


def numbers(poses: Sequence[Any]) -> list[int]:
    """Which images poses belong to."""
    stamps = [pose.header.stamp for pose in poses]
    return [(s.sec - 1) * 1000 + s.nanosec // 1_000_000 for s in stamps]


def outcomes(counters: dict[str, str]) -> dict[str, int]:
    """What became of the images that have arrived."""
    names = {
        'received': 'images received',
        'answered': 'poses published',
        'overtaken': 'images overtaken by newer ones',
        'refused': 'images refused',
    }
    return {name: int(counters[key]) for name, key in names.items()}


def settled(peer: Any) -> dict[str, int]:
    """The outcomes, once every image that arrived has one."""

    def all_decided() -> dict[str, int] | None:
        found = outcomes(peer.counters())
        decided = found['answered'] + found['overtaken'] + found['refused']
        return found if found['received'] == decided > 0 else None

    return peer.wait(all_decided, 'an outcome of every image')


def test_a_fast_camera_and_a_slow_computer(start: Start, slow: Slow, messages: Any) -> None:
    """Newest first, nothing queues, and what is dropped is counted."""
    peer = start(runtime='eager', gate_timeout_s='0.0')
    camera = Camera(peer, messages)
    arrived: dict[int, float] = {}
    camera.info()
    begin = time.monotonic()
    for frame in range(FRAMES):
        time.sleep(max(0.0, begin + frame / CAMERA_HZ - time.monotonic()))
        camera.image()
        for number in numbers(list(peer.poses)):
            arrived.setdefault(number, time.monotonic())
    end = time.monotonic()
    found = settled(peer)
    # Each frame once, and never one that is older than the last.
    assert slow.frames == sorted(set(slow.frames))
    assert found['refused'] == 0
    assert found['answered'] == len(slow.frames)
    assert found['overtaken'] == found['received'] - len(slow.frames) > FRAMES / 2
    assert numbers(peer.poses) == slow.frames
    # The last image that came was not dropped.
    assert slow.frames[-1] >= found['received'] - 1
    # It was always busy: as many frames as fit.
    assert len(slow.frames) >= (end - begin) / max(slow.seconds) - 1
    latencies = [at - camera.published[number] for number, at in arrived.items()]
    assert np.median(latencies) < 2 * np.median(slow.seconds)
    assert max(latencies) < 2 * max(slow.seconds) + SLACK_S


def test_after_a_stall_only_the_newest_of_a_burst_is_computed(
    start: Start, slow: Slow, messages: Any
) -> None:
    peer = start(runtime='eager', gate_timeout_s='0.0')
    camera = Camera(peer, messages)
    camera.info()
    slow.may_end.clear()
    camera.image()
    peer.wait(lambda: slow.frames, 'the first image to be computed')
    for burst in (20, 40):
        for _ in range(20):
            camera.image()
            time.sleep(0.005)
        peer.wait(
            lambda burst=burst: outcomes(peer.counters())['received'] == burst + 1, 'the burst'
        )
    # It received all of them while it was computing one.
    assert slow.frames == [0]
    slow.may_end.set()
    found = settled(peer)
    assert slow.frames == [0, 40]
    assert numbers(peer.poses) == [0, 40]
    assert found == {'received': 41, 'answered': 2, 'overtaken': 39, 'refused': 0}


def test_another_size_from_one_image_to_the_next_and_back(
    start: Start, slow: Slow, messages: Any
) -> None:
    peer = start(runtime='eager', gate_timeout_s='0.0')
    camera = Camera(peer, messages)
    for scale in (1, 2, 1, 2, 1):
        camera.info(scale)
        # Topics have no order among each other.
        time.sleep(0.2)
        number = camera.image(64 * scale, 48 * scale)
        peer.wait(lambda number=number: number in numbers(list(peer.poses)), 'its pose')
    assert [image for image, _ in slow.sizes] == [
        (64, 48),
        (128, 96),
        (64, 48),
        (128, 96),
        (64, 48),
    ]
    assert all(image == camera for image, camera in slow.sizes)


def test_sizes_that_change_faster_than_they_are_computed(
    start: Start, slow: Slow, messages: Any
) -> None:
    """An image that meets the CameraInfo of another size is refused and counted."""
    peer = start(runtime='eager', gate_timeout_s='0.0')
    camera = Camera(peer, messages)
    for frame in range(40):
        scale = 1 + frame % 2
        camera.info(scale)
        camera.image(64 * scale, 48 * scale)
        time.sleep(0.02)
    found = settled(peer)
    assert found['received'] == found['answered'] + found['overtaken'] + found['refused']
    answered = set(numbers(peer.poses))
    by_number = dict(zip(slow.frames, slow.sizes, strict=True))
    assert all(image == camera for n in answered for image, camera in [by_number[n]])
    # It has come to no harm.
    camera.info()
    time.sleep(0.2)
    last = camera.image()
    peer.wait(lambda: last in numbers(list(peer.poses)), 'the pose of the last image')
