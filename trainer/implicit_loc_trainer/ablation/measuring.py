"""How good and how fast the checkpoint of a run is."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc_trainer.ablation.scenes import Scene
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.evaluation.frames import summary
from implicit_loc_trainer.evaluation.metrics import ErrorSummary
from implicit_loc_trainer.evaluation.running import evaluate

# The published figures are those of the closed form: what it gives stands under its own name.
_SOLVER = 'weighted'
# Further solvers, and what stands before the names of their figures.
_PREFIXES = {'pnp_ransac': 'pnp_', 'robust': 'robust_'}


def measure(checkpoint: Path, scene: Scene, split: Path, device: str) -> dict[str, float | None]:
    """Errors of the poses of three solvers, and milliseconds, on the frames of a list.

    Raises:
        ImplicitLocError: checkpoint or recording cannot be used.
    """
    localizer = Localizer.load(checkpoint, device, _SOLVER, 'eager')
    timings = _Timings()
    results = evaluate(
        localizer,
        open_dataset(scene.path, split),
        solvers=tuple(_PREFIXES),
        observe=timings.add,
        shown=0,
    )
    others = {
        f'{_PREFIXES[solver]}{name}': value
        for solver, frames in results.solvers.items()
        for name, value in _figures(summary(frames)).items()
    }
    return {**_figures(summary(results.frames)), **others, **timings.figures()}


def _figures(errors: ErrorSummary) -> dict[str, float | None]:
    return {name: errors.as_json()[name] for name in asdict(errors)}


class _Timings:
    """How long each part of every localization took, and how many cells there were."""

    def __init__(self) -> None:
        self._timings: list[dict[str, float]] = []
        self._cells = (0, 0)

    def add(self, _sample: Sample, _image: NDArray[np.uint8], estimate: PoseEstimate) -> None:
        self._timings.append(estimate.timings)
        rows, columns = estimate.geometry.weights.shape
        self._cells = (rows, columns)

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
