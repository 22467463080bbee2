"""The same pixels and rays as on the host."""

import numpy as np
import pytest
import torch

from implicit_loc.camera import Camera
from implicit_loc.device_solving.camera import DeviceCamera
from implicit_loc.landmark_search import STRIDE

WIDE_FISHEYE = Camera(320, 240, 90.0, 90.0, 159.5, 119.5, 'equidistant', (0.02, 0.01, 0.0, 0.0))


def _places(camera: Camera, seed: int = 0) -> tuple[np.ndarray, torch.Tensor]:
    """A pixel within each place, and its index."""
    shift = np.random.default_rng(seed).uniform(-0.5, 0.5, (60, 80, 2))
    cells = np.stack(np.meshgrid(np.arange(80), np.arange(60)), axis=-1) + 0.5 + shift
    return cells.reshape(-1, 2) * STRIDE - 0.5, torch.arange(60 * 80)


def _require_same(device: DeviceCamera, camera: Camera) -> None:
    pixels, place = _places(camera)
    expected = camera.unproject(pixels)
    tangents, has_ray = device.unproject(torch.from_numpy(pixels), place)
    covered = np.isfinite(expected).all(axis=1)
    # At the border of what a lens shows, the place may be beyond it and a pixel of it not.
    assert (has_ray.numpy() == covered).mean() > 0.98
    both = covered & has_ray.numpy()
    assert both.mean() > 0.5
    # As far as an angle tells: the tangents of wide rays are large.
    error = np.abs(tangents.numpy() - expected[:, :2]) / (1 + expected[:, :2] ** 2)
    assert error[both].max() < 1e-9
    seen = device.project(tangents[torch.from_numpy(both)])
    np.testing.assert_allclose(seen, camera.project(expected[both]), atol=1e-6)


def test_it_projects_and_unprojects_as_the_host(camera: Camera) -> None:
    _require_same(DeviceCamera(camera, 8), camera)


def test_so_does_a_fisheye_of_nearly_the_half_space() -> None:
    """And its corners, where it has no ray, are found out."""
    blind = ~np.isfinite(WIDE_FISHEYE.rays(STRIDE)).all(axis=-1)
    assert 0.02 < blind.mean() < 0.4
    _require_same(DeviceCamera(WIDE_FISHEYE, 8), WIDE_FISHEYE)


@pytest.mark.parametrize('length', [0.0, 1e-20, 1e-9])
def test_the_optical_axis_is_no_exception(camera: Camera, length: float) -> None:
    device = DeviceCamera(camera, 8)
    found = device.project(torch.tensor([[length, 0.0]], dtype=torch.float64))
    np.testing.assert_allclose(found, [[camera.cx, camera.cy]], atol=1e-6)


def test_another_camera_of_the_same_model_takes_its_place(camera: Camera) -> None:
    """With all of its numbers, in the memory that a graph reads."""
    device = DeviceCamera(camera, 8)
    memory = {name: values.data_ptr() for name, values in device.named_buffers()}
    other = Camera(
        320,
        240,
        1.1 * camera.fx,
        0.98 * camera.fy,
        camera.cx + 3,
        camera.cy - 2,
        camera.distortion_model,
        tuple(0.9 * value for value in camera.distortion),
    )
    device.use(other)
    _require_same(device, other)
    fresh = DeviceCamera(other, 8)
    for name, values in device.named_buffers():
        assert values.data_ptr() == memory[name]
        torch.testing.assert_close(values, fresh.get_buffer(name), equal_nan=True, rtol=0, atol=0)
