"""The images that are timed, each with a prediction of its place for networks that know none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from implicit_loc.camera import Camera, output_size
from implicit_loc.landmark_search import STRIDE as DESCRIPTOR_STRIDE
from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneGeometry
from implicit_loc.preprocessing import input_camera, resize
from implicit_loc_trainer.benchmark.situations import Situation
from implicit_loc_trainer.datasets.sample import Sample

Geometry = SceneGeometry[NDArray[np.float32]]


@dataclass(frozen=True)
class View:
    """One image to localize.

    Attributes:
        image: RGB, (H, W, 3) uint8.
        camera: that took it.
        geometry: what is solved in place of the prediction, which is made all the same; None
            where the prediction itself is solved.
    """

    image: NDArray[np.uint8]
    camera: Camera
    geometry: Geometry | None


def views_of_recording(
    localizer: Localizer, samples: Sequence[Sample], count: int
) -> Iterable[View]:
    """Evenly spaced frames of one size, with what the trained network predicts of them.

    Raises:
        ImplicitLocError: an image cannot be read, or is not of the checkpoint's aspect.
    """
    first = samples[0].camera
    # Another size would meet runtimes that are not prepared for it.
    samples = [one for one in samples if _size(one.camera) == _size(first)]
    chosen = np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int)
    for index in chosen:
        image, camera = samples[index].load_image(), samples[index].camera
        yield View(image, camera, localizer.predict(image, camera))


def _size(camera: Camera) -> tuple[int, int]:
    return camera.width, camera.height


def view_at(view: View, situation: Situation) -> View:
    """A view as a network of another size gets it, with a prediction of that size.

    An image smaller than the network's input is enlarged beforehand: whoever wants the larger
    input has a camera for it.

    Args:
        view: with a prediction of any size.
        situation: the size wanted.
    """
    image, camera = view.image, view.camera
    resized = input_camera(camera, situation.height)
    if situation.height > camera.height:
        image, camera = resize(image, resized.width, resized.height), resized
    geometry = view.geometry
    if geometry is not None:
        cells = output_size(resized.width, resized.height, situation.stride)
        places = output_size(resized.width, resized.height, DESCRIPTOR_STRIDE)
        descriptors = geometry.descriptors
        geometry = replace(
            geometry.map(lambda array: _sampled(array, cells)),
            descriptors=None if descriptors is None else _sampled(descriptors, places),
        )
    return View(image, camera, geometry)


def _sampled(array: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """An array (h, w) or (h, w, C) at another number of rows and columns."""
    if array.shape[:2] == size:
        return array
    channels = torch.from_numpy(np.atleast_3d(array)).permute(2, 0, 1)[None]
    sampled = functional.interpolate(channels, size, mode='bilinear', align_corners=False)
    restored = sampled[0].permute(1, 2, 0).reshape(*size, *array.shape[2:])
    return np.ascontiguousarray(restored.numpy())
