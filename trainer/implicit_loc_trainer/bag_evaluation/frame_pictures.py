"""Small pictures of some frames: kept while the bag is evaluated, coloured when all are known."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from implicit_loc.network import SceneGeometry
from implicit_loc_trainer.evaluation import colours
from implicit_loc_trainer.report.data_uris import jpeg_data, jpeg_uri, png_uri

ByteImage = NDArray[np.uint8]
Geometry = SceneGeometry[NDArray[np.float32]]

_IMAGE_WIDTH = 320
_IMAGE_QUALITY = 70


@dataclass(frozen=True)
class FrameView:
    """Pictures of a frame as data URIs; those of the prediction are empty where there is none."""

    image: str
    depth: str = ''
    world: str = ''
    weights: str = ''


@dataclass(frozen=True)
class FrameViews:
    """Pictures of some frames in one scale of colours.

    Attributes:
        by_name: of the frames.
        depth_range: metres that are darkest and brightest.
    """

    by_name: Mapping[str, FrameView]
    depth_range: tuple[float, float]


@dataclass(frozen=True)
class _Prediction:
    """What the network said of a frame, in half precision: pictures need no more."""

    depth: NDArray[np.float16]
    world_points: NDArray[np.float16]
    weights: NDArray[np.float16]


@dataclass
class FramePictures:
    """Collects pictures; about 60 kB each.

    Args:
        wanted: names of the frames whose pictures are kept.
    """

    wanted: Collection[str]
    _images: dict[str, bytes] = field(default_factory=dict)
    _predictions: dict[str, _Prediction] = field(default_factory=dict)

    def add_image(self, name: str, image: ByteImage) -> None:
        """Keeps the image of a frame, if it is wanted: (H, W, 3) RGB."""
        if name in self.wanted:
            self._images[name] = jpeg_data(image, _IMAGE_WIDTH, _IMAGE_QUALITY)

    def add_geometry(self, name: str, geometry: Geometry) -> None:
        """Keeps the prediction of a frame, if it is wanted."""
        if name in self.wanted:
            self._predictions[name] = _Prediction(
                _half(geometry.depth), _half(geometry.world_points), _half(geometry.weights)
            )

    def add(self, name: str, image: ByteImage, geometry: Geometry) -> None:
        """Keeps both of a frame that turns out to be worth it."""
        self.wanted = {*self.wanted, name}
        self.add_image(name, image)
        self.add_geometry(name, geometry)

    def views(self) -> FrameViews:
        """All that were kept."""
        predictions = list(self._predictions.values())
        if not predictions:
            views = {name: FrameView(jpeg_uri(data)) for name, data in self._images.items()}
            return FrameViews(views, (0.0, 1.0))
        bounds = colours.world_bounds(
            [item.world_points.astype(np.float32) for item in predictions]
        )
        depths = np.concatenate([item.depth.astype(np.float32).ravel() for item in predictions])
        low, high = (float(value) for value in np.nanpercentile(depths, (1.0, 99.0)))
        high = max(high, low + 1e-3)
        return FrameViews(
            {
                name: _view(data, self._predictions.get(name), bounds, (low, high))
                for name, data in self._images.items()
            },
            (low, high),
        )


def evenly_spaced(names: Sequence[str], most: int) -> set[str]:
    """At most so many of the names; none for 0."""
    if not names or most < 1:
        return set()
    chosen = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return {names[index] for index in chosen}


def _view(
    image: bytes,
    prediction: _Prediction | None,
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    depth_range: tuple[float, float],
) -> FrameView:
    if prediction is None:
        return FrameView(jpeg_uri(image))
    low, high = depth_range
    weights = prediction.weights.astype(np.float32)
    # Their scale does not matter to the pose: what counts is which cells have the most.
    most = max(float(np.nanmax(weights)), 1e-6)
    return FrameView(
        jpeg_uri(image),
        png_uri(colours.depth_colours(prediction.depth.astype(np.float32), low, high)),
        png_uri(colours.world_colours(prediction.world_points.astype(np.float32), bounds)),
        png_uri(colours.weight_colours(weights / most)),
    )


def _half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    with np.errstate(over='ignore'):
        return values.astype(np.float16)
