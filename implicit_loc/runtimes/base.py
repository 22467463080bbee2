"""What every runtime is: a uint8 image and its camera in, a prediction on the host out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc.camera import Camera
from implicit_loc.device_solving import Outcome
from implicit_loc.errors import ImplicitLocError
from implicit_loc.landmark_search import Landmarks
from implicit_loc.network import SceneGeometry, SceneNetwork
from implicit_loc.preprocessing import ByteImage

Geometry = SceneGeometry[NDArray[np.float32]]
Timings = dict[str, float]


class Prediction(NamedTuple):
    """What a runtime makes of an image.

    Attributes:
        geometry: on the host; nothing overwrites it.
        timings: seconds of 'preprocessing' and 'network'.
        outcome: of solving for the pose, where a runtime has done so as part of its work and
            needed no decision of the host; the geometry is then without descriptors.
    """

    geometry: Geometry
    timings: Timings
    outcome: Outcome | None = None


class RuntimeUnavailableError(ImplicitLocError):
    """A runtime does not work here; the message says in one line what it lacks."""


@dataclass(frozen=True)
class RuntimeStatus:
    """What executes the network.

    Attributes:
        name: exact: library, version, device or provider, threads.
        note: why not the one that was asked for or would be faster, and what helps; empty where
            there is nothing to say.
    """

    name: str
    note: str = ''


@dataclass(frozen=True)
class Solving:
    """What a runtime needs to solve for poses, too, with the default solver.

    Attributes:
        landmarks: of the map; None where it has none.
    """

    landmarks: Landmarks | None


@dataclass(frozen=True)
class Task:
    """What a runtime is to execute, and where.

    Attributes:
        network: in evaluation mode; who executes it there takes it to the device.
        host_network: the same on the CPU; where that is the device, itself.
        input_height: of the network's input, pixels.
        device: where PyTorch executes it.
        threads: of the CPU.
        checkpoint: that the network comes from; None where it comes from no file.
        solving: None where nobody wants more than predictions.
    """

    network: SceneNetwork
    host_network: SceneNetwork
    input_height: int
    device: torch.device
    threads: int
    checkpoint: Path | None = None
    solving: Solving | None = None


class Runtime(ABC):
    """One way to execute the network. Not thread-safe: one thread at a time."""

    @property
    @abstractmethod
    def status(self) -> RuntimeStatus:
        """What executes the images of the newest camera; any thread may ask."""

    @abstractmethod
    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        """Execute the network; compiles nothing, whatever the camera.

        The first image of a size may take longer: what was compiled for it once is opened.

        Args:
            image: RGB, (H, W, 3), of the camera's size.
            camera: of the image.
            solved: whether the pose is wanted, of a runtime that can solve for it.

        Raises:
            RuntimeUnavailableError: what executes it has failed.
        """

    @abstractmethod
    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        """Compile what images of a camera need; may take seconds.

        Where it cannot be compiled, images are executed in another way, and `status` says why.

        Args:
            camera: whose images will come.
            export: whether to wait for an export that takes long; else `settle` does it behind
                the images, which are executed in a slower way until then.

        Raises:
            RuntimeUnavailableError: what executes it has failed.
        """

    @abstractmethod
    def settle(self) -> None:
        """Between two images: prepare for cameras that `prepare` has not been finished for.

        Raises:
            RuntimeUnavailableError: what executes it has failed.
        """


def versioned(library: str, version: str, device: str, threads: int | None = None) -> str:
    """'library version device, n threads'."""
    counted = {None: '', 1: ', 1 thread'}.get(threads, f', {threads} threads')
    return f'{library} {version} {device}{counted}'


def on_host(task: Task) -> Task:
    """The same on the CPU."""
    return replace(task, network=task.host_network, device=torch.device('cpu'))
