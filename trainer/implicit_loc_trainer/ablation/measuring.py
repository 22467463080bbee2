"""How good and how fast the checkpoint of a run is."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc_trainer.ablation.scenes import Scene
from implicit_loc_trainer.datasets import open_dataset
from implicit_loc_trainer.evaluation.frames import evaluate, summary
from implicit_loc_trainer.evaluation.metrics import ErrorSummary


def measure(checkpoint: Path, scene: Scene, split: Path, device: str) -> dict[str, float | None]:
    """Errors of both poses, and milliseconds, on the frames of a list.

    Raises:
        ImplicitLocError: checkpoint or recording cannot be used.
    """
    localizer = _Timed(Localizer.load(checkpoint, device))
    stride = localizer.localizer.description.network.stride
    results = evaluate(localizer, open_dataset(scene.path, split), pnp_stride=stride, shown=0)
    pnp = {f'pnp_{name}': value for name, value in _figures(summary(results.pnp)).items()}
    return {**_figures(summary(results.frames)), **pnp, **localizer.figures()}


def _figures(errors: ErrorSummary) -> dict[str, float | None]:
    return {name: errors.as_json()[name] for name in asdict(errors)}


class _Timed:
    """A localizer that remembers how long each part took and how many cells there were."""

    def __init__(self, localizer: Localizer) -> None:
        self.localizer = localizer
        self._timings: list[dict[str, float]] = []
        self._cells = (0, 0)

    def localize(self, image: NDArray[np.uint8], camera: Camera) -> PoseEstimate:
        """The pose of one image."""
        estimate = self.localizer.localize(image, camera)
        self._timings.append(estimate.timings)
        rows, columns = estimate.geometry.weights.shape
        self._cells = (rows, columns)
        return estimate

    def figures(self) -> dict[str, float | None]:
        """Median milliseconds, and the cells of the output."""
        if not self._timings:
            return {}

        def median_ms(*parts: str) -> float:
            return 1000 * float(np.median([sum(map(t.__getitem__, parts)) for t in self._timings]))

        return {
            'processing_ms': median_ms('preprocessing', 'network'),
            'pose_ms': median_ms('alignment'),
            'total_ms': median_ms('total'),
            'rows': self._cells[0],
            'columns': self._cells[1],
        }
