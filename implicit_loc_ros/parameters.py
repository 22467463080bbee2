"""Parameters of the node: plain data, described and validated in one place."""

import math
from dataclasses import Field, dataclass, field, fields
from typing import Any

from implicit_loc.confidence import LEAST_CONFIDENCE
from implicit_loc.errors import ImplicitLocError
from implicit_loc.runtimes import CHOICES
from implicit_loc.solvers import DEFAULT_SOLVER, SOLVERS
from implicit_loc_ros.pose_gate import GateLimits

# Quaternions are written with a few digits.
_UNIT_TOLERANCE = 1e-2

TF_MODES = ('none', 'map_to_camera', 'map_to_base', 'map_to_odom')
# The pose of the base needs the camera's extrinsic from TF.
TF_MODES_OF_THE_BASE = ('map_to_base', 'map_to_odom')


class ParameterError(ImplicitLocError):
    """A parameter has a wrong type or value."""


def _parameter(
    default: Any,
    description: str,
    choices: tuple[str, ...] = (),
    limits: tuple[float, float] | None = None,
    changes_at_run_time: bool = False,
) -> Any:
    metadata = {
        'description': description,
        'choices': choices,
        'limits': limits,
        'changes_at_run_time': changes_at_run_time,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameters:
    """Everything that a user may set; the descriptions stand beside the defaults.

    Raises:
        ParameterError: a value is not among its choices, out of range, or contradicts another.
    """

    checkpoint: str = _parameter(
        '',
        'Path of the trained .safetensors file; a new one is loaded beside the old one.',
        changes_at_run_time=True,
    )
    world_alignment: tuple[float, ...] = _parameter(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
        "The checkpoint's world in map_frame: x y z (m) qx qy qz qw.",
        changes_at_run_time=True,
    )
    device: str = _parameter('auto', 'Where the network runs: auto, cpu, cuda or cuda:N.')
    runtime: str = _parameter(
        'auto',
        'How the network is executed; auto = a CUDA graph on a GPU, ONNX Runtime on a CPU; '
        'what is not installed gives way to the next best.',
        choices=CHOICES,
    )
    threads: int = _parameter(
        0,
        'CPU threads of PyTorch and of ONNX Runtime; 0 = as PyTorch decides.',
        limits=(0, 1024),
    )
    solver: str = _parameter(
        DEFAULT_SOLVER,
        'From scene geometry to pose; landmarks = the closed form, refined on landmarks of the '
        'map; robust where they are not clear.',
        choices=tuple(SOLVERS),
    )
    autostart: bool = _parameter(
        True, 'Configure and activate at start; false waits for a lifecycle manager.'
    )
    mode: str = _parameter(
        'continuous',
        'continuous looks at every image, on_demand only at those that ~/localize_once asks for.',
        choices=('continuous', 'on_demand'),
        changes_at_run_time=True,
    )
    max_rate: float = _parameter(
        0.0,
        'At most so many images per second are looked at, Hz of their stamps; 0 = all.',
        limits=(0.0, 1000.0),
        changes_at_run_time=True,
    )
    image_transport: str = _parameter(
        'raw',
        'raw reads `image` (Image), compressed reads `image/compressed` (CompressedImage).',
        choices=('raw', 'compressed'),
    )
    image_rectified: bool = _parameter(
        False, 'The images are rectified: use P of CameraInfo, without distortion.'
    )
    qos: str = _parameter(
        'auto',
        'Reliability of the image and CameraInfo subscriptions; '
        'auto = reliable if every publisher is.',
        choices=('auto', 'reliable', 'best_effort'),
    )
    tf_mode: str = _parameter('map_to_camera', 'Which transform is published.', choices=TF_MODES)
    pose_of: str = _parameter(
        'auto',
        'Whose pose the pose topics carry; '
        'auto = base in map_to_base and map_to_odom, else camera.',
        choices=('auto', 'camera', 'base'),
    )
    map_frame: str = _parameter('map', 'Frame of the published poses: the map of the training.')
    odom_frame: str = _parameter('odom', 'Odometry frame, for map_to_odom.')
    base_frame: str = _parameter('base_link', "The robot's frame, for poses of the base.")
    camera_frame: str = _parameter(
        '', "Optical frame of the camera; empty = the image header's frame_id."
    )
    child_frame: str = _parameter(
        'localized_camera',
        'Child frame of map_to_camera. Keep it apart from the frames of a robot whose camera '
        'already has a parent; empty = the optical frame itself.',
    )
    min_confidence: float = _parameter(
        LEAST_CONFIDENCE,
        'Poses below this confidence are not published, 0 to 1; 0 = all.',
        limits=(0.0, 1.0),
        changes_at_run_time=True,
    )
    max_speed: float = _parameter(
        3.0,
        'A pose farther from the last one than this speed explains is a jump, m/s.',
        limits=(0.0, 1000.0),
        changes_at_run_time=True,
    )
    max_turn_rate: float = _parameter(
        3.0,
        'A pose turned farther from the last one than this rate explains is a jump, rad/s.',
        limits=(0.0, 1000.0),
        changes_at_run_time=True,
    )
    gate_slack_m: float = _parameter(
        0.25,
        'Two poses may always differ by this, beside motion and 3 standard deviations, m.',
        limits=(0.0, 1000.0),
        changes_at_run_time=True,
    )
    gate_slack_rad: float = _parameter(
        0.175,
        'Two poses may always differ by this, beside motion and 3 standard deviations, rad.',
        limits=(0.0, math.pi),
        changes_at_run_time=True,
    )
    gate_timeout_s: float = _parameter(
        5.0,
        'An accepted pose binds the next ones for this long, seconds; 0 = no jump is refused.',
        limits=(0.0, 3600.0),
        changes_at_run_time=True,
    )
    reopen_after: int = _parameter(
        5,
        'This many confident poses in a row that agree with each other overrule the last one.',
        limits=(2, 10000),
        changes_at_run_time=True,
    )
    lost_after_s: float = _parameter(
        1.0,
        'Images without an accepted pose for this long mean LOST, seconds.',
        limits=(0.0, 3600.0),
        changes_at_run_time=True,
    )
    tf_tolerance_s: float = _parameter(
        0.1,
        "Longest wait for a transform at the image's stamp, seconds.",
        limits=(0.0, 2.0),
    )
    tf_future_offset_s: float = _parameter(
        0.0,
        "Added to the stamp of map_to_odom's transform, seconds, so that others can look it up "
        'before the next image.',
        limits=(0.0, 2.0),
    )

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_value(item, getattr(self, item.name))
        if self.publishes_base and not self.base_frame:
            raise ParameterError("'base_frame' is empty: the pose of the base needs its name")
        if self.tf_mode == 'map_to_odom' and not self.odom_frame:
            raise ParameterError("'odom_frame' is empty: map_to_odom needs its name")
        if not self.map_frame:
            raise ParameterError("'map_frame' is empty: every published pose needs its frame")
        if self.tf_mode in TF_MODES_OF_THE_BASE and self.pose_of == 'camera':
            raise ParameterError(f"'pose_of' is 'camera', but {self.tf_mode} is about the base")
        self._check_that_frames_differ()
        _check_transform('world_alignment', self.world_alignment)

    @property
    def publishes_base(self) -> bool:
        """Whether poses and covariances are those of the base, not of the camera."""
        if self.pose_of == 'auto':
            return self.tf_mode in TF_MODES_OF_THE_BASE
        return self.pose_of == 'base'

    @property
    def gate_limits(self) -> GateLimits:
        """What is demanded of a pose."""
        return GateLimits(
            min_confidence=self.min_confidence,
            max_speed=self.max_speed,
            max_turn_rate=self.max_turn_rate,
            slack_m=self.gate_slack_m,
            slack_rad=self.gate_slack_rad,
            timeout_s=self.gate_timeout_s,
            reopen_after=self.reopen_after,
            lost_after_s=self.lost_after_s,
        )

    def _check_that_frames_differ(self) -> None:
        used = {
            'none': ('map_frame',),
            'map_to_camera': ('map_frame', 'child_frame'),
            'map_to_base': ('map_frame', 'base_frame'),
            'map_to_odom': ('map_frame', 'odom_frame', 'base_frame'),
        }[self.tf_mode]
        names = [getattr(self, name) for name in used]
        if len(set(names)) < len(names):
            raise ParameterError(
                f'{self.tf_mode} needs different frames, found '
                + ', '.join(f'{name}={getattr(self, name)!r}' for name in used)
            )


def _check_value(item: 'Field[Any]', value: Any) -> None:
    choices, limits = item.metadata['choices'], item.metadata['limits']
    if choices and value not in choices:
        raise ParameterError(f'{item.name!r} is {value!r}: it must be one of {", ".join(choices)}')
    # rclpy checks ranges of what a node declares; this holds without a node, too.
    if limits and not (math.isfinite(value) and limits[0] <= value <= limits[1]):
        raise ParameterError(
            f'{item.name!r} is {value}: it must be from {limits[0]} to {limits[1]}'
        )
    if item.name.endswith('_frame') and value.startswith('/'):
        raise ParameterError(f'{item.name!r} is {value!r}: TF frames have no leading slash')


def _check_transform(name: str, values: tuple[float, ...]) -> None:
    if len(values) != 7 or not all(math.isfinite(value) for value in values):
        raise ParameterError(
            f'{name!r} is {list(values)}: it must be seven finite numbers, x y z qx qy qz qw'
        )
    length = math.hypot(*values[3:])
    if abs(length - 1.0) > _UNIT_TOLERANCE:
        raise ParameterError(
            f'the quaternion of {name!r} has length {length:.3g}, not 1: qx qy qz qw, w last'
        )
