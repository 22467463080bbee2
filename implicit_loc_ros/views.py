"""An estimate as people look at it: an image with words over it, and a coloured point cloud."""

import array
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from implicit_loc.camera import Camera
from implicit_loc.inspection import LandmarksSeen, cell_centres, reprojection_angles
from implicit_loc.localizer import PoseEstimate
from implicit_loc_ros.transforms import FloatArray

ByteImage = NDArray[np.uint8]

# Larger images are shown smaller: nobody reads more, and they have to travel.
_LARGEST_WIDTH = 640
# A cell whose world point is seen closer to where the cell looks agrees with the pose: 2 degrees.
_AGREEING_RAD = 0.035
# Two colours that the colour-blind tell apart, and that few walls have.
_AGREES, _DISAGREES = (0, 230, 90), (255, 0, 200)
_STRONGEST_TINT = 0.6

_ACCEPTED_BAND, _REFUSED_BAND = (20, 90, 20), (130, 20, 20)
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_RING_RADIUS = 4
_LINES, _LINE_HEIGHT, _CHARACTER_WIDTH, _MARGIN = 2, 18, 8.5, 6

# x y z and colour as RViz and Foxglove read them, and the weight as one more channel.
_POINT = np.dtype(
    [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('rgb', '<u4'), ('weight', '<f4')], align=False
)


@dataclass(frozen=True)
class View:
    """One image and what became of it.

    Attributes:
        stamp: of the image.
        frame_id: of the image.
        image: RGB, (H, W, 3).
        accepted: whether its pose was published.
        verdict: why, or how sure it is.
        estimate: None where there is none.
        stride: pixels of the network's input per cell.
        map_from_world: (4, 4).
        find_landmarks: looks for those in the image, for the one view that shows them; None of
            maps without landmarks.
    """

    stamp: Time
    frame_id: str
    image: ByteImage
    accepted: bool
    verdict: str
    estimate: PoseEstimate | None
    stride: int
    map_from_world: FloatArray
    find_landmarks: Callable[[], LandmarksSeen] | None = None


def debug_image(view: View) -> Image:
    """The image, its cells tinted, the verdict over it.

    The more a cell weighs, the stronger its tint: green where the pose sees the cell's world point
    within two degrees of where the cell looks, magenta elsewhere. Landmarks are rings in the same
    colours.
    """
    height, width = view.image.shape[:2]
    shrink = min(1.0, _LARGEST_WIDTH / width)
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    canvas = cv2.resize(view.image, size, interpolation=cv2.INTER_AREA)
    if view.estimate is not None:
        canvas = _tinted(canvas, view.estimate, view.stride)
        if view.find_landmarks is not None:
            _ring(canvas, view.find_landmarks(), view.estimate.camera)
    canvas = _captioned(canvas, view.verdict, view.accepted)
    message = Image(height=canvas.shape[0], width=canvas.shape[1], encoding='rgb8')
    message.header = Header(stamp=view.stamp, frame_id=view.frame_id)
    message.step = 3 * canvas.shape[1]
    message.data = _bytes(np.ascontiguousarray(canvas))
    return message


def point_cloud(view: View, map_frame: str) -> PointCloud2:
    """The predicted world points of the cells that count, in the map, coloured by the image."""
    assert view.estimate is not None
    geometry = view.estimate.geometry
    world_points = geometry.world_points.reshape(-1, 3).astype(np.float64)
    points = world_points @ view.map_from_world[:3, :3].T + view.map_from_world[:3, 3]
    weights = geometry.weights.ravel()
    usable = np.isfinite(points).all(axis=1) & (weights > 0)
    height, width = view.image.shape[:2]
    pixels = cell_centres(view.estimate, view.stride, width, height).reshape(-1, 2)[usable]
    # The last cells of a row may look past the image's edge.
    columns, rows = np.clip(np.rint(pixels).astype(int), 0, (width - 1, height - 1)).T
    red, green, blue = view.image[rows, columns].astype(np.uint32).T
    cloud = np.empty(int(usable.sum()), _POINT)
    for axis, name in enumerate('xyz'):
        cloud[name] = points[usable, axis]
    cloud['rgb'] = red << 16 | green << 8 | blue
    cloud['weight'] = weights[usable]
    message = PointCloud2(height=1, width=len(cloud), point_step=_POINT.itemsize, is_dense=True)
    message.header = Header(stamp=view.stamp, frame_id=map_frame)
    message.row_step = message.point_step * message.width
    message.fields = _fields()
    message.data = _bytes(cloud)
    return message


def _fields() -> list[PointField]:
    assert _POINT.fields is not None
    # The colour's bits count as a float32: it is what RViz looks for.
    return [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=1)
        for name, (_, offset, *_) in _POINT.fields.items()
    ]


def _tinted(canvas: ByteImage, estimate: PoseEstimate, stride: int) -> ByteImage:
    weights = np.nan_to_num(estimate.geometry.weights, nan=0.0, posinf=0.0)
    strongest = max(float(weights.max()), 1e-9)
    # Weights span decades: their root lets the smaller ones be seen.
    strength = _STRONGEST_TINT * np.sqrt(weights / strongest)[..., None]
    agrees = reprojection_angles(estimate, stride) < _AGREEING_RAD
    tint = strength * np.where(agrees[..., None], _AGREES, _DISAGREES)
    rest = 255 * (1 - strength).repeat(3, axis=-1)
    height, width = canvas.shape[:2]
    # The last cells may reach past the edge of the network's input.
    rows, columns = weights.shape
    full = (
        round(width * columns * stride / estimate.camera.width),
        round(height * rows * stride / estimate.camera.height),
    )
    tint, rest = (
        cv2.resize(layer.astype(np.uint8), full, interpolation=cv2.INTER_NEAREST)[:height, :width]
        for layer in (tint, rest)
    )
    # OpenCV's arithmetic of bytes takes a tenth of the time of numpy's floats.
    blended = cv2.add(cv2.multiply(canvas, rest, scale=1 / 255), tint)
    return np.asarray(blended, dtype=np.uint8)


def _ring(canvas: ByteImage, landmarks: LandmarksSeen, camera: Camera) -> None:
    scale = np.array(canvas.shape[1::-1]) / (camera.width, camera.height)
    centres = np.rint((landmarks.pixels + 0.5) * scale - 0.5).astype(int)
    # Those that agree last: they are fewer where it matters, and must not be covered.
    for index in np.argsort(landmarks.agree, kind='stable'):
        colour = _AGREES if landmarks.agree[index] else _DISAGREES
        x, y = centres[index]
        # On a tint of the same colour, only the dark edge is seen.
        cv2.circle(canvas, (int(x), int(y)), _RING_RADIUS, _BLACK, 3, cv2.LINE_AA)
        cv2.circle(canvas, (int(x), int(y)), _RING_RADIUS, colour, 1, cv2.LINE_AA)


def _captioned(canvas: ByteImage, verdict: str, accepted: bool) -> ByteImage:
    text = ('ACCEPTED ' if accepted else 'REFUSED ') + verdict
    # OpenCV's letters are those of ASCII.
    text = text.encode('ascii', 'replace').decode()
    width = canvas.shape[1]
    columns = max(8, int((width - 2 * _MARGIN) / _CHARACTER_WIDTH))
    lines = textwrap.wrap(text, columns, max_lines=_LINES, placeholder=' ...')
    # Always of one height: a stream of images has one size.
    band = np.empty((_LINES * _LINE_HEIGHT + _MARGIN, width, 3), np.uint8)
    band[:] = _ACCEPTED_BAND if accepted else _REFUSED_BAND
    for number, line in enumerate(lines, start=1):
        place = (_MARGIN, number * _LINE_HEIGHT - 3)
        cv2.putText(band, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _WHITE, 1, cv2.LINE_AA)
    return np.vstack([band, canvas])


def _bytes(values: NDArray[np.generic]) -> 'array.array[int]':
    # Assigning an ndarray to a message takes a hundred times as long.
    data = array.array('B')
    data.frombytes(values.tobytes())
    return data
