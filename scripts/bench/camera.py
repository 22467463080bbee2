"""A camera as a process of its own: publishes prepared images at a steady rate.

    python scripts/bench/camera.py FOLDER --transport raw --rate 30 --frames 300

FOLDER holds what `write_shots` has written. The images are shown forwards and backwards, so that
neighbours look alike, each with the time of its publishing as its stamp and with its CameraInfo.
Its last line says in how many seconds it has published them.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import rclpy
from bag_player.stamps import shifted
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

TOPICS: dict[str, tuple[str, Any]] = {
    'raw': ('/image', Image),
    'compressed': ('/image/compressed', CompressedImage),
}

# As camera drivers have it.
_QUEUE = 10
# Subscribers learn of a publisher a moment after it learns of them.
_SETTLING_S = 0.5
_PATIENCE_S = 60.0
_POLLING_S = 0.02


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish; the exit status is 1 where nobody subscribes."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('folder', type=Path)
    parser.add_argument('--transport', choices=tuple(TOPICS), required=True)
    parser.add_argument('--rate', type=float, required=True, help='images per second')
    parser.add_argument('--frames', type=int, required=True, help='how many images')
    parsed = parser.parse_args(arguments)
    rclpy.init()
    node = rclpy.create_node('camera')
    try:
        topic, kind = TOPICS[parsed.transport]
        images = node.create_publisher(kind, topic, QoSProfile(depth=_QUEUE))
        infos = node.create_publisher(CameraInfo, '/camera_info', QoSProfile(depth=_QUEUE))
        if not _is_heard((images, infos)):
            print(f'nobody subscribed to {topic} in {_PATIENCE_S:g} s')
            return 1
        shots = [p.read_bytes() for p in sorted(parsed.folder.glob(f'{parsed.transport}_*.cdr'))]
        info = (parsed.folder / 'camera_info.cdr').read_bytes()
        seconds = _publish(images, infos, _there_and_back(shots), info, parsed)
        images.wait_for_all_acked(Duration(seconds=2))
        # A writer that goes away takes with it what its readers have not taken yet.
        time.sleep(_SETTLING_S)
        print(seconds)
    finally:
        node.destroy_node()
        try_shutdown()
    return 0


def _is_heard(publishers: Sequence[Any]) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while not all(publisher.get_subscription_count() for publisher in publishers):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLLING_S)
    time.sleep(_SETTLING_S)
    return True


def _publish(
    images: Any, infos: Any, shots: Iterator[bytes], info: bytes, parsed: argparse.Namespace
) -> float:
    """Publish at a steady rate; seconds from the first image to the last."""
    begin = time.monotonic()
    for frame in range(parsed.frames):
        time.sleep(max(0.0, begin + frame / parsed.rate - time.monotonic()))
        shot, now = next(shots), time.time_ns()
        infos.publish(_stamped(info, CameraInfo, now))
        images.publish(_stamped(shot, TOPICS[parsed.transport][1], now))
    return time.monotonic() - begin


def _stamped(data: bytes, kind: Any, stamp: int) -> bytes:
    return shifted(data, kind, lambda _: stamp)


def _there_and_back(shots: Sequence[bytes]) -> Iterator[bytes]:
    """The first to the last, back again, and so on."""
    return cycle([*shots, *shots[-2:0:-1]])


if __name__ == '__main__':
    # Importing is over: from here on, the process may end at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
