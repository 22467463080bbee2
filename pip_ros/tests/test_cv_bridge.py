"""Images survive the way into messages and back; contradictions are refused."""

import cv2
import numpy as np
import pytest
from cv_bridge import CvBridge, CvBridgeError
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

BRIDGE = CvBridge()
RANDOM = np.random.default_rng(3)
BGR = RANDOM.integers(0, 256, (6, 8, 3), dtype=np.uint8)
# A smooth picture: a mosaic or half the colour samples keep it nearly as it is.
RAMP = cv2.cvtColor(
    np.tile(np.linspace(40, 200, 32, dtype=np.uint8)[None, :], (24, 1)), cv2.COLOR_GRAY2BGR
)


def message_of(encoding: str, height: int, width: int, step: int, data: bytes) -> Image:
    return Image(height=height, width=width, encoding=encoding, step=step, data=data)


@pytest.mark.parametrize(
    ('encoding', 'image'),
    [
        ('bgr8', BGR),
        ('rgb8', BGR),
        ('bgra8', RANDOM.integers(0, 256, (6, 8, 4), dtype=np.uint8)),
        ('rgba8', RANDOM.integers(0, 256, (6, 8, 4), dtype=np.uint8)),
        ('mono8', BGR[:, :, 0]),
        ('mono16', RANDOM.integers(0, 65536, (6, 8), dtype=np.uint16)),
        ('yuv422', BGR[:, :, :2]),
        ('bayer_rggb8', BGR[:, :, 1]),
        ('32FC1', RANDOM.random((6, 8), dtype=np.float32)),
        ('16UC1', RANDOM.integers(0, 65536, (6, 8), dtype=np.uint16)),
        ('passthrough', BGR),
    ],
)
def test_message_and_back_is_the_same_image(encoding: str, image: np.ndarray):
    header = Header(frame_id='camera')
    message = BRIDGE.cv2_to_imgmsg(image, encoding, header)
    assert message.encoding == ('8UC3' if encoding == 'passthrough' else encoding)
    assert message.header.frame_id == 'camera'
    assert message.step * message.height == len(message.data)
    found = BRIDGE.imgmsg_to_cv2(message)
    assert found.dtype == image.dtype
    assert np.array_equal(found, image)


@pytest.mark.parametrize('source', ['bgr8', 'rgb8', 'bgra8', 'rgba8'])
@pytest.mark.parametrize('target', ['bgr8', 'rgb8', 'bgra8', 'rgba8'])
def test_colours_keep_their_names_in_every_order(source: str, target: str):
    channels = dict(zip('bgr', cv2.split(BGR), strict=True))
    channels['a'] = np.full_like(BGR[:, :, 0], 255)

    def arranged(order: str) -> np.ndarray:
        return np.dstack([channels[name] for name in order.removesuffix('8')])

    message = BRIDGE.cv2_to_imgmsg(arranged(source), source)
    assert np.array_equal(BRIDGE.imgmsg_to_cv2(message, target), arranged(target))


def test_grey_and_colour_become_each_other():
    grey = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(BGR, 'bgr8'), 'mono8')
    assert np.array_equal(grey, cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY))
    colour = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(grey, 'mono8'), 'rgb8')
    assert np.array_equal(colour, np.dstack([grey] * 3))


def test_mono16_scales_to_the_full_range_of_mono8():
    message = BRIDGE.cv2_to_imgmsg(np.array([[0, 257, 65535]], np.uint16), 'mono16')
    assert BRIDGE.imgmsg_to_cv2(message, 'mono8').tolist() == [[0, 1, 255]]


def test_padding_at_the_end_of_rows_is_left_out():
    rows = np.zeros((6, 31), np.uint8)
    rows[:, :24] = BGR.reshape(6, 24)
    rows[:, 24:] = 99
    message = message_of('bgr8', 6, 8, 31, rows.tobytes())
    assert np.array_equal(BRIDGE.imgmsg_to_cv2(message, 'bgr8'), BGR)


def test_big_endian_mono16_is_read_with_padding_too():
    values = RANDOM.integers(0, 65536, (4, 5), dtype=np.uint16)
    data = b''.join(row.astype('>u2').tobytes() + b'\x11\x22\x33' for row in values)
    message = message_of('mono16', 4, 5, 13, data)
    message.is_bigendian = 1
    found = BRIDGE.imgmsg_to_cv2(message)
    assert found.dtype == np.uint16
    assert found.dtype.isnative
    assert np.array_equal(found, values)


@pytest.mark.parametrize(
    ('encoding', 'first_pixels'),
    [('bayer_rggb8', 'rg'), ('bayer_bggr8', 'bg'), ('bayer_gbrg8', 'gb'), ('bayer_grbg8', 'gr')],
)
def test_mosaic_names_its_first_two_pixels(encoding: str, first_pixels: str):
    values = {'r': 200, 'g': 120, 'b': 40}
    second = {'rg': 'gb', 'bg': 'gr', 'gb': 'rg', 'gr': 'bg'}[first_pixels]
    tile = [[values[name] for name in row] for row in (first_pixels, second)]
    mosaic = np.tile(np.array(tile, np.uint8), (8, 8))
    rgb = BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(mosaic, encoding), 'rgb8')
    assert rgb[8, 8].tolist() == [200, 120, 40]
    assert BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(mosaic, encoding)).shape == (16, 16)


@pytest.mark.parametrize(('encoding', 'luma_at'), [('yuv422', 1), ('yuv422_yuy2', 0)])
def test_yuv_has_its_luma_where_the_name_says(encoding: str, luma_at: int):
    packed = np.full((4, 6, 2), 128, np.uint8)
    packed[:, :, luma_at] = 235
    message = BRIDGE.cv2_to_imgmsg(packed, encoding)
    assert (BRIDGE.imgmsg_to_cv2(message, 'mono8') == 235).all()
    assert (BRIDGE.imgmsg_to_cv2(message, 'bgr8') == 255).all()


@pytest.mark.parametrize(
    ('message', 'reason'),
    [
        (message_of('bgr8', 2, 2, 6, bytes(11)), 'data has 11 bytes'),
        (message_of('bgr8', 2, 2, 5, bytes(12)), 'step is 5'),
        (message_of('mono16', 2, 2, 2, bytes(4)), 'step is 2'),
        (message_of('mono8', 0, 4, 4, b''), 'the image is 4 x 0'),
        (message_of('mono8', 4, 0, 0, b''), 'the image is 0 x 4'),
        (message_of('h264', 2, 2, 2, bytes(4)), 'Unrecognized image encoding'),
        (message_of('', 2, 2, 2, bytes(4)), 'Unrecognized image encoding'),
        (message_of('64UC1', 2, 2, 2, bytes(4)), 'step is 2'),
        (message_of('8FC1', 2, 2, 2, bytes(4)), 'Unrecognized image encoding'),
    ],
)
def test_contradictions_in_a_message_are_refused(message: Image, reason: str):
    with pytest.raises(CvBridgeError, match=reason):
        BRIDGE.imgmsg_to_cv2(message)


def test_impossible_conversions_are_refused():
    depth = BRIDGE.cv2_to_imgmsg(np.ones((2, 2), np.float32))
    with pytest.raises(CvBridgeError, match='32FC1'):
        BRIDGE.imgmsg_to_cv2(depth, 'bgr8')
    with pytest.raises(CvBridgeError, match='Unsupported conversion'):
        BRIDGE.imgmsg_to_cv2(BRIDGE.cv2_to_imgmsg(BGR, 'bgr8'), 'yuv422')
    with pytest.raises(CvBridgeError, match='incompatible type 8UC3'):
        BRIDGE.cv2_to_imgmsg(BGR, 'mono8')
    with pytest.raises(CvBridgeError):
        BRIDGE.cv2_to_imgmsg(np.zeros((2, 2), np.complex64))


def test_error_is_a_type_error_as_in_ros():
    assert issubclass(CvBridgeError, TypeError)


@pytest.mark.parametrize(('suffix', 'tolerance'), [('.png', 0), ('.jpg', 4)])
def test_compressed_images_are_read(suffix: str, tolerance: int):
    data = cv2.imencode(suffix, RAMP)[1].tobytes()
    message = CompressedImage(format=suffix.removeprefix('.'), data=data)
    for encoding in ('passthrough', 'bgr8'):
        found = BRIDGE.compressed_imgmsg_to_cv2(message, encoding)
        assert np.abs(found.astype(int) - RAMP).max() <= tolerance
    found = BRIDGE.compressed_imgmsg_to_cv2(message, 'rgb8')
    assert np.abs(found[:, :, ::-1].astype(int) - RAMP).max() <= tolerance
    assert BRIDGE.compressed_imgmsg_to_cv2(message, 'mono8').shape == RAMP.shape[:2]


@pytest.mark.parametrize(
    'data', [b'', b'not an image', cv2.imencode('.png', RAMP)[1].tobytes()[:40]]
)
def test_broken_compressed_images_are_refused(data: bytes):
    with pytest.raises(CvBridgeError, match='no image'):
        BRIDGE.compressed_imgmsg_to_cv2(CompressedImage(format='png', data=data))
