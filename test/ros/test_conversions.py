"""Messages -> images and cameras."""

import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from sensor_msgs.msg import CameraInfo, Image

from implicit_loc.errors import CameraError, ImageError
from implicit_loc_ros.conversions import ENCODINGS, camera_from_info, image_from_message

WIDTH, HEIGHT = 32, 24


def smooth_image() -> np.ndarray:
    """RGB without fine detail, so that subsampled colours keep their values."""
    x, y = np.meshgrid(np.linspace(40, 200, WIDTH), np.linspace(60, 180, HEIGHT))
    return np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)


def message_of(values: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> Image:
    """An Image whose rows are padded with bytes that are no pixels."""
    rows = values.astype(values.dtype.newbyteorder('>' if big else '<'))
    rows = rows.reshape(HEIGHT, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    data = array.array('B')
    data.frombytes(rows.tobytes())
    message = Image(
        height=HEIGHT, width=WIDTH, encoding=encoding, step=rows.shape[1], is_bigendian=int(big)
    )
    message.data = data
    return message


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """The pattern names the colours of the first row's two pixels, then the second's."""
    raw = np.empty(rgb.shape[:2], np.uint8)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        raw[row::2, column::2] = rgb[row::2, column::2, 'rgb'.index(colour)]
    return raw


def encoded(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """What a camera with this encoding would send, by the definition of the encoding."""
    name, bits16 = encoding, encoding.endswith('16')
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    alpha = np.full((HEIGHT, WIDTH, 1), 9, np.uint8)
    if name.startswith('bayer'):
        values = mosaic(rgb, name[len('bayer_') :].rstrip('816'))
    elif name.startswith('mono'):
        values = grey
    elif name.startswith(('rgb', 'bgr')):
        colours = rgb if name.startswith('rgb') else rgb[..., ::-1]
        values = np.concatenate([colours, alpha], axis=-1) if 'a8' in name else colours
    else:
        yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV)
        luma, chroma = yuv[..., 0], yuv[..., 1:].copy()
        # One chroma pair for two pixels; video range, ITU-R BT.601.
        luma = (16 + luma * (219 / 255)).astype(np.uint8)
        pairs = np.empty((HEIGHT, WIDTH), np.uint8)
        scale = np.array([1 / 0.492 / 1.772, 1 / 0.877 / 1.402]) * 224 / 255
        scaled = 128 + (chroma[:, 0::2].astype(float) - 128) * scale
        pairs[:, 0::2], pairs[:, 1::2] = scaled[..., 0], scaled[..., 1]
        first_luma = name in ('yuyv', 'yuv422_yuy2')
        values = np.stack([luma, pairs] if first_luma else [pairs, luma], axis=-1)
    return values.astype(np.uint16) * 256 + 3 if bits16 else values


@pytest.mark.parametrize('padding', [0, 12])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_gives_the_same_rgb_image(encoding: str, padding: int) -> None:
    rgb = smooth_image()
    image = image_from_message(message_of(encoded(rgb, encoding), encoding, padding))
    expected = rgb
    if encoding.startswith('mono'):
        expected = np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=-1)
    assert image.dtype == np.uint8
    # Subsampled colours are interpolated, least well at the border.
    inner = (slice(2, -2), slice(2, -2))
    lossless = encoding.startswith(('rgb', 'bgr', 'mono'))
    tolerance = 0 if lossless else 8
    np.testing.assert_allclose(image[inner].astype(int), expected[inner], atol=tolerance)


def test_other_encodings_are_left_to_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera that sends nv21 is as welcome as cv_bridge's version makes it."""
    asked = []

    class Bridge:
        def imgmsg_to_cv2(self, message: Image, desired_encoding: str) -> np.ndarray:
            asked.append((message.encoding, desired_encoding))
            return np.full((message.height, message.width, 3), 7, np.uint8)

    pytest.importorskip('cv_bridge', reason='cv_bridge is not installed')
    monkeypatch.setattr('cv_bridge.CvBridge', Bridge)
    message = Image(height=2, width=4, encoding='nv21', step=4, data=array.array('B', [0] * 12))
    assert (image_from_message(message) == 7).all()
    assert asked == [('nv21', 'rgb8')]


@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', 'bayer_rggb16'])
def test_big_endian_images_are_read_as_such(encoding: str) -> None:
    values = encoded(smooth_image(), encoding)
    little = image_from_message(message_of(values, encoding))
    big = image_from_message(message_of(values, encoding, big=True))
    np.testing.assert_array_equal(little, big)


def test_an_rgb8_image_is_not_copied() -> None:
    message = message_of(smooth_image(), 'rgb8', padding=4)
    image = image_from_message(message)
    message.data[0] = 123
    assert image[0, 0, 0] == 123


BAD_IMAGES: list[tuple[dict[str, Any], str]] = [
    ({'encoding': 'rgb99'}, "encoding 'rgb99'"),
    ({'encoding': ''}, "encoding ''"),
    ({'height': HEIGHT + 1}, 'bytes of data'),
    ({'data': array.array('B')}, '0 bytes of data'),
    ({'step': WIDTH * 3 - 1}, 'step 95'),
    ({'width': 0}, 'size 0x24'),
    ({'height': 0}, 'size 32x0'),
    ({'encoding': 'rgba8'}, 'takes 128 bytes'),
]


@pytest.mark.parametrize(('changes', 'reason'), BAD_IMAGES)
def test_a_malformed_image_is_refused_with_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    message = message_of(smooth_image(), 'rgb8')
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(ImageError, match=reason):
        image_from_message(message)


def test_a_yuv_image_of_odd_width_is_refused() -> None:
    message = Image(height=2, width=3, encoding='uyvy', step=6, data=array.array('B', [0] * 12))
    with pytest.raises(ImageError, match='cannot be converted'):
        image_from_message(message)


def test_camera_info_becomes_a_camera(messages: SimpleNamespace) -> None:
    info = messages.camera_info(d=[0.1, -0.2, 0.001, 0.002, 0.05])
    camera = camera_from_info(info)
    assert (camera.width, camera.height) == (64, 48)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (60.0, 60.0, 31.5, 23.5)
    assert camera.distortion_model == 'plumb_bob'
    assert camera.distortion == (0.1, -0.2, 0.001, 0.002, 0.05)


def test_equal_messages_give_the_same_camera(messages: SimpleNamespace) -> None:
    assert camera_from_info(messages.camera_info()) is camera_from_info(messages.camera_info())


@pytest.mark.parametrize(
    ('model', 'coefficients', 'expected'),
    [
        ('', [], ('none', ())),
        ('plumb_bob', [], ('none', ())),
        ('plumb_bob', [0.0] * 5, ('none', ())),
        ('equidistant', [0.0] * 4, ('equidistant', (0.0,) * 4)),
        ('fisheye', [0.1, 0.0, 0.0, 0.0], ('equidistant', (0.1, 0.0, 0.0, 0.0))),
        ('rational_polynomial', [0.1] * 8 + [0.0] * 6, ('rational_polynomial', (0.1,) * 8)),
    ],
)
def test_the_dialects_of_drivers_are_understood(
    messages: SimpleNamespace,
    model: str,
    coefficients: list[float],
    expected: tuple[str, tuple[float, ...]],
) -> None:
    info = messages.camera_info(distortion_model=model, d=coefficients)
    camera = camera_from_info(info)
    assert (camera.distortion_model, camera.distortion) == expected


def test_rectified_images_take_p_without_distortion(messages: SimpleNamespace) -> None:
    p = np.array([50.0, 0.0, 30.0, 0.0, 0.0, 51.0, 22.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    camera = camera_from_info(messages.camera_info(d=[0.1] * 5, p=p), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (50.0, 51.0, 30.0, 22.0)
    assert camera.distortion_model == 'none'


def test_rectified_images_without_p_are_told_so(messages: SimpleNamespace) -> None:
    with pytest.raises(CameraError, match=r'publish a CameraInfo with its P'):
        camera_from_info(messages.camera_info(p=np.zeros(12)), rectified=True)


def test_a_region_of_interest_and_binning_keep_the_rays(messages: SimpleNamespace) -> None:
    info: CameraInfo = messages.camera_info(binning_x=2, binning_y=2)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 8, 4, 40, 32
    camera, full = camera_from_info(info), camera_from_info(messages.camera_info())
    assert (camera.width, camera.height) == (20, 16)
    point = np.array([[0.1, -0.05, 1.0]])
    # A bin's centre lies between its two pixels.
    expected = (full.project(point) - (8, 4) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(camera.project(point), expected)


BAD_CAMERA_INFOS: list[dict[str, Any]] = [
    {'k': np.zeros(9)},
    {'k': np.full(9, np.nan)},
    {'k': np.array([60.0, 0.0, np.inf, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0])},
    {'distortion_model': 'kaleidoscope', 'd': [0.1]},
    {'d': [0.1, 0.2]},
    {'d': [np.nan] * 5},
    {'width': 0},
    {'height': 0},
    {'binning_x': 1000, 'binning_y': 1},
]


@pytest.mark.parametrize('changes', BAD_CAMERA_INFOS)
def test_a_malformed_camera_info_is_refused(
    messages: SimpleNamespace, changes: dict[str, Any]
) -> None:
    with pytest.raises(CameraError):
        camera_from_info(messages.camera_info(**changes))


def test_a_region_outside_of_the_image_is_refused(messages: SimpleNamespace) -> None:
    info = messages.camera_info()
    info.roi.x_offset, info.roi.width, info.roi.height = 60, 10, 10
    with pytest.raises(CameraError, match='leaves the image'):
        camera_from_info(info)
