"""What a GPU computes, computed on the CPU: it is the function of training, within a tolerance."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from implicit_loc import preprocessing
from implicit_loc.backbones import BACKBONES
from implicit_loc.camera import Camera
from implicit_loc.network import NetworkConfig, SceneNetwork
from implicit_loc.runtimes import agreement, packing
from implicit_loc.runtimes.device_network import DeviceNetwork, fill
from implicit_loc.runtimes.device_resize import TOLERANCE, DeviceResize
from implicit_loc.runtimes.half_precision import fold_normalisations, half_precision_copy


def _image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise of every frequency, with white and black borders."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image[:3], image[-3:] = 255, 0
    return image


def _network(backbone: str = 'mobilenet_v3_large', **layout: object) -> SceneNetwork:
    if backbone == 'hrnetv2':
        pytest.importorskip('timm', reason='timm, an optional dependency, is not installed')
    torch.manual_seed(0)
    network = SceneNetwork(NetworkConfig(backbone, decoder_channels=16, **layout))
    # Normalisations of a new network do nothing that folding could lose.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
    return network.eval()


@pytest.mark.parametrize(
    ('size', 'resized'),
    [
        ((480, 640), (240, 320)),
        ((480, 640), (160, 213)),
        ((480, 640), (120, 160)),
        ((720, 1280), (240, 427)),
        ((241, 323), (240, 322)),
        ((120, 160), (240, 320)),
        ((100, 133), (240, 319)),
        ((240, 320), (240, 320)),
    ],
)
def test_resizing_on_the_device_gives_the_pixels_of_opencv(
    size: tuple[int, int], resized: tuple[int, int]
) -> None:
    """Whole grey levels, one apart at most: OpenCV's enlarging truncates. Halving is exact."""
    image = _image(*size)
    found = DeviceResize(*size, *resized)(torch.from_numpy(image)).numpy()
    expected = preprocessing.resize(image, resized[1], resized[0])
    np.testing.assert_array_equal(found, np.round(found))
    difference = found - expected
    assert np.abs(difference).max() <= TOLERANCE
    assert abs(difference.mean()) < 0.15
    if size == (480, 640) and resized == (240, 320):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('name', BACKBONES)
def test_folding_the_normalisations_changes_no_prediction(name: str) -> None:
    network = _network(name)
    image, focal_length = torch.randn(1, 3, 48, 64), torch.tensor([60.0])
    with torch.inference_mode():
        expected = network(image, focal_length).map(lambda t: t[0].numpy())
        count = len(list(network.modules()))
        found = fold_normalisations(network)(image, focal_length).map(lambda t: t[0].numpy())
    assert len(list(network.modules())) == count
    assert any(isinstance(module, torch.nn.Identity) for module in network.modules())
    assert max(agreement.difference(found, expected).values()) < 1e-4


@pytest.mark.parametrize('name', ['mobilenet_v3_large', 'efficientnet_lite0', 'resnet34'])
@pytest.mark.parametrize('camera_output', ['depth', 'points'])
def test_the_network_of_the_graph_predicts_what_training_would(
    name: str, camera_output: str
) -> None:
    """From the bytes of a larger image to the packed geometry, in half precision."""
    camera = Camera(160, 120, 131.0, 131.0, 79.5, 59.5)
    network = _network(name, camera_output=camera_output)
    network.landmarks = network.empty_landmarks(3)
    resized = preprocessing.input_camera(camera, 60)
    image = _image(120, 160)
    small = preprocessing.resize(image, resized.width, resized.height)
    focal_length = torch.tensor([resized.focal_length])
    device = DeviceNetwork(half_precision_copy(network), camera, resized)
    upload = np.zeros(device.upload_bytes, np.uint8)
    fill(upload, image, resized.focal_length)
    with torch.inference_mode():
        images = preprocessing.normalise(preprocessing.to_tensor(small)[None])
        expected = network(images, focal_length).map(lambda t: t[0].numpy())
        packed, descriptors = device(torch.from_numpy(upload))
    assert packed.dtype == descriptors.dtype == torch.float32
    geometry, parts = device.read(packed.numpy())
    assert parts is None
    found = replace(geometry, descriptors=descriptors.numpy())
    differences = agreement.difference(found, expected)
    assert differences.keys() >= {'world_points', 'depth', 'weights', 'descriptors'}
    assert ('own_camera_points' in differences) == (camera_output == 'points')
    assert max(differences.values()) < 0.1 * agreement.HALF_PRECISION
    assert next(network.parameters()).dtype == torch.float32


def test_another_focal_length_of_the_same_size_needs_no_other_network() -> None:
    camera = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
    device = DeviceNetwork(_network(), camera, camera)
    upload = np.zeros(device.upload_bytes, np.uint8)
    depths = []
    for focal_length in (60.0, 120.0):
        fill(upload, _image(48, 64), focal_length)
        with torch.inference_mode():
            packed, nothing = device(torch.from_numpy(upload))
        assert nothing is None
        depths.append(device.read(packed.numpy())[0].depth)
    np.testing.assert_allclose(depths[1], 2 * depths[0], rtol=1e-6)


def test_packing_loses_nothing() -> None:
    with torch.inference_mode():
        geometry = _network(camera_output='points')(torch.randn(1, 3, 48, 64), torch.ones(1))
    packed, shapes = packing.pack(geometry)
    found = packing.unpack(packed.numpy(), shapes)
    assert found.descriptors is None
    for name, tensor in packing.tensors(geometry).items():
        np.testing.assert_array_equal(getattr(found, name), tensor[0].numpy())


@pytest.mark.parametrize('output', ['world_points', 'depth', 'weights'])
def test_another_prediction_is_noticed(output: str) -> None:
    """Also where it is not finite, has another shape, or lacks an output."""
    with torch.inference_mode():
        geometry = _network()(torch.randn(1, 3, 48, 64), torch.ones(1))
    expected = geometry.map(lambda t: t[0].numpy())
    agreement.require_agreement('it', expected, expected, 0.0)
    array = getattr(expected, output)
    for wrong in (array + np.ptp(array), np.full_like(array, np.nan), array[1:]):
        found = replace(expected, **{output: wrong})
        with pytest.raises(Exception, match=f'it predicts other {output}'):
            agreement.require_agreement('it', found, expected, 1e-2)
    descriptors = replace(expected, descriptors=np.ones((2, 2, 4), np.float32))
    with pytest.raises(Exception, match='it predicts other descriptors'):
        agreement.require_agreement('it', expected, descriptors, 1e-2)
