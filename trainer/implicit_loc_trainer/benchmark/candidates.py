"""What is timed: this software under every runtime, and its peers.

A candidate is one builder and one line of CANDIDATES.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.errors import AlignmentError
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc.preprocessing import input_camera
from implicit_loc.runtimes import select_device
from implicit_loc.solvers import DEFAULT_SOLVER
from implicit_loc_trainer.benchmark import onnx_peers, peers
from implicit_loc_trainer.benchmark.rehearsal import Rehearsal
from implicit_loc_trainer.benchmark.runtimes import EAGER, ONNX, PYTORCH, require_used
from implicit_loc_trainer.benchmark.views import Geometry, View

LOCALIZE = 'localize'
PAPER = 'peer:paper_eager'
PNP = 'peer:pnp_ransac'


def _nothing(view: View) -> None:
    """No preparation is needed."""


@dataclass(frozen=True)
class Run:
    """What is timed, image by image.

    Attributes:
        answer: takes a view from the image to the answer, and returns the seconds of its stages,
            by their names, where it has any.
        prepare: what a view needs beforehand, which nobody would wait for in earnest.
    """

    answer: Callable[[View], Mapping[str, float]]
    prepare: Callable[[View], None] = _nothing


@dataclass(frozen=True)
class Subject:
    """What is to be timed.

    Attributes:
        name: a key of CANDIDATES.
        runtime: that executes its network.
    """

    name: str
    runtime: str


@dataclass(frozen=True)
class Setting:
    """Where it is timed.

    Attributes:
        checkpoint: of the size that is timed.
        camera: of the images.
        folder: for exported peers.
        device: 'auto', 'cpu' or 'cuda'.
        threads: of PyTorch, OpenCV and the runtime.
    """

    checkpoint: Path
    camera: Camera
    folder: Path
    device: str
    threads: int


def build(subject: Subject, setting: Setting) -> Run:
    """Make a candidate ready; its first run may still be slow.

    Raises:
        ImplicitLocError: the checkpoint cannot be read, or the runtime does not exist.
    """
    torch.set_num_threads(setting.threads)
    cv2.setNumThreads(setting.threads)
    return CANDIDATES[subject.name].build(subject.runtime, setting)


class _HostRehearsal(Localizer):
    """A localizer that solves what it is given in the place of its own prediction.

    Attributes:
        given: the prediction of a trained network; None for its own.
    """

    given: Geometry | None = None

    def solve(
        self,
        geometry: Geometry,
        camera: Camera,
        mask: NDArray[np.generic] | None = None,
        solver: str | None = None,
    ) -> PoseEstimate:
        """See Localizer."""
        return super().solve(geometry if self.given is None else self.given, camera, mask, solver)

    def give(self, geometry: Geometry | None) -> None:
        """See Rehearsal."""
        self.given = geometry


def _localize(runtime: str, setting: Setting) -> Run:
    return _image_to_pose(runtime, setting, DEFAULT_SOLVER)


def _pnp(runtime: str, setting: Setting) -> Run:
    return _image_to_pose(runtime, setting, 'pnp_ransac')


def _image_to_pose(runtime: str, setting: Setting, solver: str) -> Run:
    network, description = load_checkpoint(setting.checkpoint)
    options = (setting.device, solver, runtime, setting.threads, setting.checkpoint)
    rehearsal: Rehearsal | _HostRehearsal
    if runtime in PYTORCH:
        # Poses may follow on the device, from what the network gives out there.
        rehearsal = Rehearsal(network)
        localizer = Localizer(network, description, *options)
    else:
        rehearsal = localizer = _HostRehearsal(network, description, *options)
    localizer.warm_up(setting.camera)
    require_used(runtime, localizer.runtime)

    def answer(view: View) -> Mapping[str, float]:
        try:
            timings = localizer.localize(view.image, view.camera).timings
        except AlignmentError:
            # A real image may be of nothing that the map knows.
            return {}
        return {name: seconds for name, seconds in timings.items() if name != 'total'}

    return Run(answer, lambda view: rehearsal.give(view.geometry))


def _paper_on_own_network(runtime: str, setting: Setting) -> Run:
    network, description = load_checkpoint(setting.checkpoint)
    network = peers.without_landmarks(network)
    return _paper(
        peers.PaperPose(network, description.input_height, select_device(setting.device))
    )


def _paper_on_its_network(runtime: str, setting: Setting) -> Run:
    _, description = load_checkpoint(setting.checkpoint)
    network = peers.paper_network(description.network)
    return _paper(
        peers.PaperPose(network, description.input_height, select_device(setting.device))
    )


def _paper(method: peers.PaperPose) -> Run:
    def answer(view: View) -> Mapping[str, float]:
        method(view.image, view.camera)
        return {}

    return Run(answer)


def _backbone(runtime: str, setting: Setting) -> Run:
    network, description = load_checkpoint(setting.checkpoint)
    resized = input_camera(setting.camera, description.input_height)
    execute = _execution(peers.BareBackbone(network.backbone), runtime, setting, resized)
    images = torch.rand(1, 3, resized.height, resized.width)

    def answer(view: View) -> Mapping[str, float]:
        execute(images)
        return {}

    return Run(answer)


def _pose_regression(runtime: str, setting: Setting) -> Run:
    network, description = load_checkpoint(setting.checkpoint)
    torch.manual_seed(0)
    resized = input_camera(setting.camera, description.input_height)
    execute = _execution(peers.PoseRegression(network.backbone), runtime, setting, resized)

    def answer(view: View) -> Mapping[str, float]:
        execute(peers.network_input(view.image, resized))
        return {}

    return Run(answer)


def _execution(
    module: nn.Module, runtime: str, setting: Setting, resized: Camera
) -> peers.Execution:
    if runtime == EAGER:
        return peers.eager(module, select_device(setting.device))
    size = (resized.height, resized.width)
    path = setting.folder / f'{type(module).__name__}_{size[1]}x{size[0]}.onnx'
    return onnx_peers.execution(module.eval(), (1, 3, *size), path, setting.threads)


@dataclass(frozen=True)
class Kind:
    """One line of CANDIDATES.

    Attributes:
        build: takes the runtime and where it is timed.
        runtimes: under which it is timed, of those that are asked for; None for all.
        meaning: what it is, for the tables.
    """

    build: Callable[[str, Setting], Run]
    runtimes: tuple[str, ...] | None
    meaning: str


CANDIDATES: dict[str, Kind] = {
    LOCALIZE: Kind(_localize, None, 'image to pose, covariance and confidence'),
    PAPER: Kind(
        _paper_on_own_network, (EAGER,), "the paper read straightforwardly, this map's network"
    ),
    'peer:paper_network': Kind(
        _paper_on_its_network, (EAGER,), "the same with the paper's network, MobileNetV3-Large"
    ),
    'peer:backbone': Kind(
        _backbone, (EAGER, ONNX), "this map's backbone alone, without preprocessing"
    ),
    'peer:pose_regression': Kind(
        _pose_regression, (EAGER, ONNX), 'image to pose by pooled features and one layer (PoseNet)'
    ),
    PNP: Kind(_pnp, None, 'image to pose as here, the pose by PnP + RANSAC (OpenCV)'),
}


def subjects(runtimes: Collection[str]) -> list[Subject]:
    """All that is timed under these runtimes; peers that need none of them take PyTorch's."""
    found = []
    for name, kind in CANDIDATES.items():
        chosen = [one for one in runtimes if kind.runtimes is None or one in kind.runtimes]
        found += [Subject(name, one) for one in chosen or (EAGER,)]
    return found
