"""Shows recorded images to a running node as a camera would, and notes what it answers.

`python -m implicit_loc_ros.bag_session ANSWERS` is a part of `evaluate-bag --through-node`, which
reads the bag. On standard input: a line of JSON (namespace, image_type, camera_info as base64),
then for each image `<qI`, nanoseconds after the first and number of bytes, and the image's CDR
bytes. The file ANSWERS gets the stamps that the images were published under, the poses with their
times of arrival, and the node's counters of refused images, as JSON.
"""

import base64
import json
import os
import struct
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from implicit_loc_ros.node import NAME

# What is said when the node listens: from then on images may be sent.
READY = 'ready'
_HEADER = struct.Struct('<qI')
# CDR: four bytes that say the byte order, then the stamp.
_ENCAPSULATION_BYTES = 4
_NANOSECONDS = 10**9
# A busy machine takes this long to import PyTorch and to read a map.
_PATIENCE_S = 180.0
# Discovery of both sides; subscribers are seen before they receive.
_SETTLING_S = 0.5
# Silence that means that no further pose comes; the node reports once a second.
_QUIET_S = 3.0
_POLLING_S = 0.05
# An image that is published later than this after its time was not shown as a camera would.
_LATE_NS = 50_000_000
_QUEUE = 100
_PROFILE = Path(__file__).resolve().parents[1] / 'config' / 'fastdds_large_images.xml'


class Session:
    """Publishes images in real time and collects the answers.

    Args:
        source: standard input, after its first line.
        plan: that line.
    """

    def __init__(self, source: IO[bytes], plan: dict[str, str]) -> None:
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PoseWithCovarianceStamped
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import CameraInfo, CompressedImage, Image

        is_compressed = plan['image_type'].endswith('CompressedImage')
        self._source = source
        self._info = base64.b64decode(plan['camera_info'])
        self._topic = f'{plan["namespace"]}/image' + ('/compressed' if is_compressed else '')
        self._node = rclpy.create_node('bag_session', namespace=plan['namespace'])
        profile = QoSProfile(depth=_QUEUE)
        self._images = self._node.create_publisher(
            CompressedImage if is_compressed else Image, self._topic, profile
        )
        self._infos = self._node.create_publisher(CameraInfo, 'camera_info', profile)
        self._node.create_subscription(
            PoseWithCovarianceStamped, f'{NAME}/pose_with_covariance', self._take, profile
        )
        self._node.create_subscription(DiagnosticArray, '/diagnostics', self._count, profile)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._stamps: list[int] = []
        self._poses: list[dict[str, Any]] = []
        self._refused: dict[str, int] = {}
        self._reports = 0
        self._late = 0
        self._heard = time.monotonic()

    def run(self) -> dict[str, Any]:
        """Shows all images and waits for the last answers.

        Raises:
            TimeoutError: the node does not subscribe.
        """
        self._await_node()
        sys.stdout.write(f'{READY}\n')
        sys.stdout.flush()
        player = threading.Thread(target=self._play, daemon=True)
        player.start()
        while player.is_alive():
            self._spin(_POLLING_S)
        self._heard = time.monotonic()
        while time.monotonic() - self._heard < _QUIET_S and len(self._poses) < len(self._stamps):
            self._spin(_POLLING_S)
        # The next report counts every image.
        reports, deadline = self._reports, time.monotonic() + _QUIET_S
        while self._reports <= reports + 1 and time.monotonic() < deadline:
            self._spin(_POLLING_S)
        return {
            'stamps': self._stamps,
            'poses': self._poses,
            'refused': self._refused,
            'late': self._late,
        }

    def _await_node(self) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not any(
            listener.node_name == NAME
            for listener in self._node.get_subscriptions_info_by_topic(self._topic)
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f'the node did not subscribe in {_PATIENCE_S:g} s')
            self._spin(_POLLING_S)
        deadline = time.monotonic() + _SETTLING_S
        while time.monotonic() < deadline:
            self._spin(_POLLING_S)

    def _play(self) -> None:
        begin = None
        while header := self._source.read(_HEADER.size):
            after, length = _HEADER.unpack(header)
            data = bytearray(self._source.read(length))
            # The first image is read before the clock starts.
            begin = time.time_ns() if begin is None else begin
            stamp = begin + after
            time.sleep(max(0.0, (stamp - time.time_ns()) / _NANOSECONDS))
            self._late += time.time_ns() - stamp > _LATE_NS
            self._stamps.append(stamp)
            # rclpy sends bytes as they are.
            self._infos.publish(_stamped(bytearray(self._info), stamp))
            self._images.publish(_stamped(data, stamp))

    def _spin(self, seconds: float) -> None:
        self._executor.spin_once(timeout_sec=seconds)

    def _take(self, message: Any) -> None:
        arrived = time.time_ns()
        stamp, pose = message.header.stamp, message.pose.pose
        position, turn = pose.position, pose.orientation
        self._poses.append(
            {
                'stamp': stamp.sec * _NANOSECONDS + stamp.nanosec,
                'arrived': arrived,
                'position': [position.x, position.y, position.z],
                'quaternion': [turn.x, turn.y, turn.z, turn.w],
                'covariance': [float(value) for value in message.pose.covariance],
            }
        )
        self._heard = time.monotonic()

    def _count(self, message: Any) -> None:
        for status in message.status:
            name = self._node.get_namespace().lstrip('/')
            if status.name.startswith(f'{name}/{NAME}:'):
                self._reports += 1
                self._refused = {
                    value.key.removeprefix('refused: '): int(value.value)
                    for value in status.values
                    if value.key.startswith('refused: ')
                }


def main(args: list[str] | None = None) -> int:
    """Run one session.

    Args:
        args: the path of the answers; None for the process's own.

    Returns:
        Exit status: 1 if the node does not get ready.
    """
    (answers,) = sys.argv[1:] if args is None else args
    if _PROFILE.is_file():
        # Room for images in the shared memory of the side that publishes them; Fast DDS 2 and 3
        # read different variables, and both only when the first participant is made.
        for name in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
            os.environ.setdefault(name, str(_PROFILE))
    import rclpy
    from rclpy.utilities import try_shutdown

    source = sys.stdin.buffer
    plan = json.loads(source.readline())
    rclpy.init(args=[])
    try:
        found = Session(source, plan).run()
    except TimeoutError as error:
        sys.stderr.write(f'{error}\n')
        return 1
    finally:
        try_shutdown()
    Path(answers).write_text(json.dumps(found), encoding='utf-8')
    return 0


def _stamped(data: bytearray, stamp: int) -> bytes:
    """A serialized message that begins with a header, under another stamp (nanoseconds)."""
    order = '<' if data[1] & 1 else '>'
    struct.pack_into(f'{order}iI', data, _ENCAPSULATION_BYTES, *divmod(stamp, _NANOSECONDS))
    return bytes(data)


if __name__ == '__main__':
    sys.exit(main())
