"""Messages of a small drive past a wall, and bags of them: what the tests of bags share."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_JAZZY)
WIDTH, HEIGHT = 64, 48
START_NS = 1_700_000_000_000_000_000
IMAGES, INFO, POSES = '/camera/image_raw', '/camera/camera_info', '/poses'
OPTICAL = 'camera_optical'

# The optical frame in a frame with x forward and z up: x y z w.
OPTICAL_TURN = (-0.5, 0.5, -0.5, 0.5)
NO_TURN = (0.0, 0.0, 0.0, 1.0)
Message = tuple[str, str, int, Any]


def make(name: str, **fields: Any) -> Any:
    """A message of a type such as std_msgs/Header."""
    return STORE.types[name.replace('/', '/msg/')](**fields)


def header(stamp_ns: int, frame: str) -> Any:
    """A std_msgs/Header."""
    seconds, nanoseconds = divmod(stamp_ns, 10**9)
    stamp = make('builtin_interfaces/Time', sec=seconds, nanosec=nanoseconds)
    return make('std_msgs/Header', stamp=stamp, frame_id=frame)


def pose(x: float, y: float, z: float, turn: tuple[float, ...]) -> Any:
    """A geometry_msgs/Pose; turn is x y z w."""
    return make(
        'geometry_msgs/Pose',
        position=make('geometry_msgs/Point', x=x, y=y, z=z),
        orientation=make('geometry_msgs/Quaternion', **dict(zip('xyzw', turn, strict=True))),
    )


def transform(
    stamp_ns: int,
    parent: str,
    child: str,
    position: tuple[float, float, float],
    turn: tuple[float, ...],
) -> Any:
    """A transform: the child's place in the parent."""
    rotation = make('geometry_msgs/Quaternion', **dict(zip('xyzw', turn, strict=True)))
    return make(
        'geometry_msgs/TransformStamped',
        header=header(stamp_ns, parent),
        child_frame_id=child,
        transform=make(
            'geometry_msgs/Transform',
            translation=make('geometry_msgs/Vector3', **dict(zip('xyz', position, strict=True))),
            rotation=rotation,
        ),
    )


def tf(topic: str, stamp_ns: int, *transforms: Any) -> Message:
    """Transforms of TF or static TF."""
    message = make('tf2_msgs/TFMessage', transforms=list(transforms))
    return topic, 'tf2_msgs/msg/TFMessage', stamp_ns, message


def image(stamp_ns: int, encoding: str = 'rgb8', value: int = 0) -> Message:
    """A raw image whose red is a value."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 0] = value
    message = make(
        'sensor_msgs/Image',
        header=header(stamp_ns, OPTICAL),
        height=HEIGHT,
        width=WIDTH,
        encoding=encoding,
        is_bigendian=0,
        step=3 * WIDTH,
        data=pixels.reshape(-1),
    )
    return IMAGES, 'sensor_msgs/msg/Image', stamp_ns, message


def compressed(stamp_ns: int, suffix: str = '.png', value: int = 0) -> Message:
    """A PNG or JPEG image whose red is a value."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[..., 2] = value  # OpenCV writes BGR
    data = cv2.imencode(suffix, pixels)[1].reshape(-1)
    message = make(
        'sensor_msgs/CompressedImage', header=header(stamp_ns, OPTICAL), format='png', data=data
    )
    return f'{IMAGES}/compressed', 'sensor_msgs/msg/CompressedImage', stamp_ns, message


def info(
    width: int = WIDTH, focal_length: float = 50.0, distortion: tuple[float, ...] = (0.0,) * 5
) -> Message:
    """The calibration of the images."""
    roi = make(
        'sensor_msgs/RegionOfInterest', x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    k = np.array([focal_length, 0, 31, 0, focal_length, 23, 0, 0, 1], np.float64)
    message = make(
        'sensor_msgs/CameraInfo',
        header=header(START_NS, OPTICAL),
        height=HEIGHT,
        width=width,
        distortion_model='plumb_bob',
        d=np.array(distortion),
        k=k,
        r=np.eye(3).reshape(-1),
        p=np.array([40, 0, 30, 0, 0, 41, 22, 0, 0, 0, 1, 0], np.float64),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )
    return INFO, 'sensor_msgs/msg/CameraInfo', START_NS, message


def pose_message(kind: str, stamp_ns: int, y: float, turn: tuple[float, ...]) -> Message:
    """At (1, y, 3): the camera itself for PoseStamped, base_link for Odometry."""
    inner: Any = pose(1.0, y, 3.0, turn)
    if kind == 'geometry_msgs/PoseStamped':
        message = make(kind, header=header(stamp_ns, 'map'), pose=inner)
    else:
        inner = make('geometry_msgs/PoseWithCovariance', pose=inner, covariance=np.zeros(36))
        extra = {}
        if kind == 'nav_msgs/Odometry':
            zero = make('geometry_msgs/Vector3', x=0.0, y=0.0, z=0.0)
            twist = make('geometry_msgs/Twist', linear=zero, angular=zero)
            extra = {
                'child_frame_id': 'base_link',
                'twist': make(
                    'geometry_msgs/TwistWithCovariance', twist=twist, covariance=np.zeros(36)
                ),
            }
        message = make(kind, header=header(stamp_ns, 'map'), pose=inner, **extra)
    return POSES, kind.replace('/', '/msg/'), stamp_ns, message


def image_stamps(count: int = 10) -> list[int]:
    """Ten images a second."""
    return [START_NS + 100_000_000 * frame for frame in range(count)]


def images(count: int = 10) -> list[Message]:
    """Raw images; the red of each is 20 times its number."""
    return [image(stamp, value=20 * frame) for frame, stamp in enumerate(image_stamps(count))]


def poses(kind: str = 'geometry_msgs/PoseStamped', turn: Any = OPTICAL_TURN) -> list[Message]:
    """Between the images' stamps, moving at 1 m/s along y; at y = 2 with the first image."""
    return [
        pose_message(kind, START_NS + 100_000_000 * i - 50_000_000, 2 + 0.1 * i - 0.05, turn)
        for i in range(11)
    ]


def write_bag(
    folder: Path,
    messages: list[Message],
    storage: StoragePlugin = StoragePlugin.MCAP,
    **options: Any,
) -> Path:
    """Writes a bag, and options beside it if there are any; gives what to open."""
    bag = folder / 'bag'
    with Writer(bag, version=9, storage_plugin=storage) as writer:
        connections = {}
        for topic, kind, stamp, message in sorted(messages, key=lambda item: item[2]):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            # Received a little later than stamped, as it is in life.
            raw = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], stamp + 7_000_000, raw)
    if not options:
        return bag
    (folder / 'recording.yaml').write_text(yaml.safe_dump({'bag': 'bag', **options}))
    return folder
