"""ROS messages as the bytes that bags and DDS carry, made and read without ROS."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation

from implicit_loc.camera import Camera

FloatArray = NDArray[np.float64]

TYPES = get_typestore(Stores.ROS2_JAZZY)

IMAGE_TYPE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE_TYPE = 'sensor_msgs/msg/CompressedImage'
CAMERA_INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
POSE_TYPE = 'geometry_msgs/msg/PoseStamped'
POSE_WITH_COVARIANCE_TYPE = 'geometry_msgs/msg/PoseWithCovarianceStamped'
TF_TYPE = 'tf2_msgs/msg/TFMessage'
DIAGNOSTICS_TYPE = 'diagnostic_msgs/msg/DiagnosticArray'

CAMERA_FRAME = 'camera_optical'
MAP_FRAME = 'map'

# CameraInfo has no name for "no distortion"; drivers write this one with zeros.
UNDISTORTED = ('plumb_bob', (0.0,) * 5)


def image_message(stamp: int, image: NDArray[np.uint8]) -> bytes:
    """CDR of an rgb8 Image.

    Args:
        stamp: nanoseconds.
        image: (height, width, 3) RGB.
    """
    height, width, channels = image.shape
    message = _type(IMAGE_TYPE)(
        header=_header(stamp, CAMERA_FRAME),
        height=height,
        width=width,
        encoding='rgb8',
        is_bigendian=0,
        step=width * channels,
        data=np.ascontiguousarray(image).reshape(-1),
    )
    return _serialized(message, IMAGE_TYPE)


def compressed_image_message(stamp: int, jpeg: NDArray[np.uint8]) -> bytes:
    """CDR of a CompressedImage.

    Args:
        stamp: nanoseconds.
        jpeg: (N,), the bytes of a JPEG file.
    """
    message = _type(COMPRESSED_IMAGE_TYPE)(
        header=_header(stamp, CAMERA_FRAME), format='jpeg', data=np.ascontiguousarray(jpeg)
    )
    return _serialized(message, COMPRESSED_IMAGE_TYPE)


def camera_info_message(stamp: int, camera: Camera, frame: str = CAMERA_FRAME) -> bytes:
    """CDR of the CameraInfo of raw (not rectified) images; stamp in nanoseconds."""
    model, coefficients = camera.distortion_model, camera.distortion
    if model == 'none':
        model, coefficients = UNDISTORTED
    projection = np.zeros((3, 4))
    projection[:, :3] = camera.matrix
    message = _type(CAMERA_INFO_TYPE)(
        header=_header(stamp, frame),
        height=camera.height,
        width=camera.width,
        distortion_model=model,
        d=np.array(coefficients, dtype=np.float64),
        k=camera.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=_type('sensor_msgs/msg/RegionOfInterest')(
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )
    return _serialized(message, CAMERA_INFO_TYPE)


def pose_message(stamp: int, world_from_camera: FloatArray) -> bytes:
    """CDR of a PoseStamped in the map.

    Args:
        stamp: nanoseconds.
        world_from_camera: (4, 4), metres.
    """
    message = _type(POSE_TYPE)(header=_header(stamp, MAP_FRAME), pose=_pose(world_from_camera))
    return _serialized(message, POSE_TYPE)


def pose_with_covariance_message(
    stamp: int, world_from_camera: FloatArray, covariance: FloatArray
) -> bytes:
    """CDR of a PoseWithCovarianceStamped in the map.

    Args:
        stamp: nanoseconds.
        world_from_camera: (4, 4), metres.
        covariance: (6, 6) in the order of ROS: x y z, rotation about X Y Z; m2 and rad2.
    """
    message = _type(POSE_WITH_COVARIANCE_TYPE)(
        header=_header(stamp, MAP_FRAME),
        pose=_type('geometry_msgs/msg/PoseWithCovariance')(
            pose=_pose(world_from_camera),
            covariance=np.ascontiguousarray(covariance, dtype=np.float64).ravel(),
        ),
    )
    return _serialized(message, POSE_WITH_COVARIANCE_TYPE)


def transforms_message(stamp: int, map_from_child: Mapping[str, FloatArray]) -> bytes:
    """CDR of a TFMessage.

    Args:
        stamp: nanoseconds.
        map_from_child: (4, 4), metres, by the child's frame.
    """
    transforms = []
    for child, matrix in map_from_child.items():
        pose = _pose(matrix)
        position = pose.position
        transforms.append(
            _type('geometry_msgs/msg/TransformStamped')(
                header=_header(stamp, MAP_FRAME),
                child_frame_id=child,
                transform=_type('geometry_msgs/msg/Transform')(
                    translation=_type('geometry_msgs/msg/Vector3')(
                        position.x, position.y, position.z
                    ),
                    rotation=pose.orientation,
                ),
            )
        )
    return _serialized(_type(TF_TYPE)(transforms=transforms), TF_TYPE)


def diagnostics_message(
    stamp: int, name: str, level: int, text: str, values: Mapping[str, str]
) -> bytes:
    """CDR of a DiagnosticArray with one status.

    Args:
        stamp: nanoseconds.
        name: of what is diagnosed.
        level: 0 = OK, 1 = WARN, 2 = ERROR.
        text: for people.
        values: by key.
    """
    pair = _type('diagnostic_msgs/msg/KeyValue')
    status = _type('diagnostic_msgs/msg/DiagnosticStatus')(
        level=level,
        name=name,
        message=text,
        hardware_id='',
        values=[pair(key=key, value=value) for key, value in values.items()],
    )
    message = _type(DIAGNOSTICS_TYPE)(header=_header(stamp, ''), status=[status])
    return _serialized(message, DIAGNOSTICS_TYPE)


def parsed(data: bytes, type_name: str) -> Any:
    """The message that CDR bytes hold."""
    return TYPES.deserialize_cdr(data, type_name)


def stamp_of(header: Any) -> int:
    """Nanoseconds of a message's header."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def matrix_of(pose: Any) -> FloatArray:
    """(4, 4) of a geometry_msgs Pose."""
    matrix = np.eye(4)
    q = pose.orientation
    matrix[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    matrix[:3, 3] = (pose.position.x, pose.position.y, pose.position.z)
    return matrix


def _pose(world_from_camera: FloatArray) -> Any:
    x, y, z, w = Rotation.from_matrix(world_from_camera[:3, :3]).as_quat()
    position = (float(value) for value in world_from_camera[:3, 3])
    return _type('geometry_msgs/msg/Pose')(
        position=_type('geometry_msgs/msg/Point')(*position),
        orientation=_type('geometry_msgs/msg/Quaternion')(
            x=float(x), y=float(y), z=float(z), w=float(w)
        ),
    )


def _header(stamp: int, frame: str) -> Any:
    seconds, nanoseconds = divmod(stamp, 1_000_000_000)
    time = _type('builtin_interfaces/msg/Time')(sec=seconds, nanosec=nanoseconds)
    return _type('std_msgs/msg/Header')(stamp=time, frame_id=frame)


def _type(name: str) -> Any:
    return TYPES.types[name]


def _serialized(message: Any, type_name: str) -> bytes:
    return bytes(TYPES.serialize_cdr(message, type_name))
