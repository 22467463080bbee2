"""The public face: `Localizer.load(path).localize(image, camera) -> PoseEstimate`."""

import math
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from implicit_loc import landmark_search, preprocessing, uncertainty
from implicit_loc.camera import Camera
from implicit_loc.cells import cells_of_prediction
from implicit_loc.checkpoint import CheckpointDescription, load_checkpoint
from implicit_loc.device_solving import Outcome
from implicit_loc.errors import AlignmentError, CameraError, ImplicitLocError
from implicit_loc.landmark_search import Landmarks, Sight
from implicit_loc.network import SceneNetwork
from implicit_loc.pose_estimate import PoseEstimate
from implicit_loc.runtimes import Execution, Prediction, RuntimeStatus, Solving, select_device
from implicit_loc.runtimes.base import Geometry
from implicit_loc.solvers import DEFAULT_SOLVER, require_solver, solve

__all__ = ['Localizer', 'PoseEstimate']

# A wider or narrower image than in training shows the network cells that it never saw.
_ASPECT_TOLERANCE = 0.1


class Localizer:
    """A network trained for one place, and the way from its prediction to a pose.

    Not thread-safe: one thread owns it.

    Args:
        network: in evaluation mode.
        description: of the checkpoint that it came from.
        device: 'auto' (CUDA where there is one), 'cpu', 'cuda' or 'cuda:N'.
        solver: how the pose is found, a key of implicit_loc.solvers.SOLVERS.
        runtime: how the network is executed, a key of implicit_loc.runtimes.RUNTIMES, or 'auto'.
            One that is not installed gives way to the next best; `runtime` says so.
        threads: bound of the CPU's, for PyTorch in the whole process and for ONNX Runtime; None
            for what PyTorch has. NumPy, which solves, is bounded by the environment variable
            OPENBLAS_NUM_THREADS alone.
        checkpoint: file that the network comes from; what is compiled of it is kept beside it.

    Raises:
        ImplicitLocError: the device, the solver or the runtime does not exist.

    Attributes:
        landmarks: of the map; None where it has none.
    """

    def __init__(
        self,
        network: SceneNetwork,
        description: CheckpointDescription,
        device: str = 'auto',
        solver: str = DEFAULT_SOLVER,
        runtime: str = 'eager',
        threads: int | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        require_solver(solver)
        self.solver = solver
        self.description = description
        self.device = select_device(device)
        self.landmarks = landmarks_on_host(network)
        self._network = network.eval()
        self._execution = Execution(
            self._network,
            description.input_height,
            self.device,
            runtime,
            threads,
            checkpoint,
            Solving(self.landmarks) if solver == DEFAULT_SOLVER else None,
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str = 'auto',
        solver: str = DEFAULT_SOLVER,
        runtime: str = 'auto',
        threads: int | None = None,
    ) -> 'Localizer':
        """Read a checkpoint; for the arguments see the class.

        Raises:
            CheckpointError: the file is missing, damaged, foreign or of another version.
            ImplicitLocError: the device, the solver or the runtime does not exist.
        """
        checkpoint = Path(path).expanduser().absolute()
        network, description = load_checkpoint(path)
        return cls(network, description, device, solver, runtime, threads, checkpoint)

    @property
    def runtime(self) -> RuntimeStatus:
        """What executes the network, by its exact name, and why not another runtime."""
        return self._execution.status

    def settle(self) -> None:
        """Between two images: prepare the runtime for what `warm_up` has not seen or exported.

        On CPUs it only starts what takes long and sees whether it has ended; a CUDA graph is
        captured here, within a second. Without it, images of such a camera stay slower.
        """
        self._execution.settle()

    def warm_up(
        self, camera: Camera | None = None, *, export: bool = True, images: int = 3
    ) -> float:
        """Prepare the runtime and run it on grey images, so that no real one finds it cold.

        The first time, ONNX Runtime's export of a checkpoint takes ten seconds or more. A runtime
        that has failed, like a GPU that ran out of memory, is tried again.

        Args:
            camera: whose images will come; None for the training camera.
            export: whether to wait for that export; else `settle` makes it behind the images,
                which are slower until then.
            images: how many, at least one; the last of three takes the time of a warmed one.

        Returns:
            Seconds that the last image took.
        """
        camera = camera or self.description.training_camera
        self._check_aspect(camera)
        self._execution.prepare(camera, export=export)
        grey = np.full((camera.height, camera.width, 3), 128, np.uint8)
        for _ in range(images):
            start = time.perf_counter()
            # A grey image is of no place: its cells may well have no pose.
            with suppress(AlignmentError):
                self.localize(grey, camera)
        return time.perf_counter() - start

    def localize(
        self,
        image: NDArray[np.uint8],
        camera: Camera,
        mask: NDArray[np.generic] | None = None,
    ) -> PoseEstimate:
        """Find the pose of one image.

        Args:
            image: RGB, (H, W, 3) uint8, as the camera makes it, distortion included.
            camera: its intrinsics at this size.
            mask: pixels to ignore, (H, W), non-zero = ignore; None for none.

        Raises:
            ImageError: the image is no uint8 RGB image of the camera's size, or the mask has
                another size.
            CameraError: the aspect ratio is far from the training camera's.
            AlignmentError: the prediction does not determine a pose.
        """
        start = time.perf_counter()
        predicted = self._predict_timed(
            image, camera, solved=mask is None and self.solver == DEFAULT_SOLVER
        )
        if predicted.outcome is None:
            estimate = self.solve(predicted.geometry, camera, mask)
        else:
            estimate = self._concluded(predicted.geometry, predicted.outcome, camera)
        timings = predicted.timings
        total = {'total': time.perf_counter() - start}
        return replace(estimate, timings=timings | estimate.timings | total)

    def solve(
        self,
        geometry: Geometry,
        camera: Camera,
        mask: NDArray[np.generic] | None = None,
        solver: str | None = None,
    ) -> PoseEstimate:
        """The pose that follows from a prediction, as `localize` finds it.

        Args:
            geometry: of `predict`.
            camera: of the image that it was predicted from.
            mask: as in `localize`.
            solver: a key of implicit_loc.solvers.SOLVERS; None for the localizer's own.

        Raises:
            ImageError: the mask has another size than the camera.
            AlignmentError: the prediction does not determine a pose.
            ImplicitLocError: there is no such solver, or the prediction is without descriptors,
                like that of an image that a GPU has solved.
        """
        start = time.perf_counter()
        solver = solver or self.solver
        resized_camera = preprocessing.input_camera(camera, self.description.input_height)
        stride = self.description.network.stride
        cells = cells_of_prediction(geometry, resized_camera, stride)
        if mask is not None:
            ignored = preprocessing.ignored_cells(mask, camera, resized_camera, stride)
            visible = torch.from_numpy(~ignored.reshape(1, -1))
            cells = replace(cells, weights=torch.where(visible, cells.weights, 0))
        sight = self._sight(geometry, camera, resized_camera, mask, solver)
        solution = solve(cells, solver, sight)
        solved = time.perf_counter()
        assessment = uncertainty.assess(solution, self.description)
        end = time.perf_counter()
        timings = {'uncertainty': end - solved, 'total': end - start}
        return PoseEstimate(
            world_from_camera=solution.world_from_camera[0].numpy(),
            first_pose=solution.first_pose[0].numpy(),
            used_consensus=bool(solution.used_consensus[0]),
            covariance=assessment.covariance,
            confidence=assessment.confidence,
            evidence=assessment.evidence,
            residuals=assessment.residuals,
            geometry=geometry,
            camera=resized_camera,
            timings=solution.timings | timings,
        )

    def _concluded(self, geometry: Geometry, outcome: Outcome, camera: Camera) -> PoseEstimate:
        """As `solve`, where the pose has come with the prediction."""
        start = time.perf_counter()
        facts = outcome.facts()
        assessment = uncertainty.conclude(facts, self.description)
        seconds = time.perf_counter() - start
        return PoseEstimate(
            world_from_camera=facts.world_from_camera,
            first_pose=facts.first_pose,
            used_consensus=False,
            covariance=assessment.covariance,
            confidence=assessment.confidence,
            evidence=assessment.evidence,
            residuals=assessment.residuals,
            geometry=geometry,
            camera=preprocessing.input_camera(camera, self.description.input_height),
            timings={'uncertainty': seconds},
            landmarks_found=outcome.landmarks_found,
        )

    def _sight(
        self,
        geometry: Geometry,
        camera: Camera,
        resized_camera: Camera,
        mask: NDArray[np.generic] | None,
        solver: str,
    ) -> Sight | None:
        """What a solver needs to look for landmarks; None where it does not, or there are none."""
        if self.landmarks is None or solver != DEFAULT_SOLVER:
            return None
        if geometry.descriptors is None:
            raise ImplicitLocError(
                'the prediction has no descriptors to find landmarks by: a GPU that solves for '
                'the pose keeps them. Solve what `predict` gives, or take another solver'
            )
        ignored = None
        if mask is not None:
            stride = landmark_search.STRIDE
            ignored = preprocessing.ignored_cells(mask, camera, resized_camera, stride)
        return Sight(self.landmarks, geometry.descriptors, resized_camera, ignored)

    def predict(self, image: NDArray[np.uint8], camera: Camera) -> Geometry:
        """The network's geometry alone, without a pose; arguments and errors as `localize`."""
        return self._predict_timed(image, camera, solved=False).geometry

    def _predict_timed(self, image: NDArray[np.uint8], camera: Camera, solved: bool) -> Prediction:
        start = time.perf_counter()
        preprocessing.check_image(image, camera)
        self._check_aspect(camera)
        checked = time.perf_counter() - start
        predicted = self._execution.predict(image, camera, solved=solved)
        preprocessed = checked + predicted.timings['preprocessing']
        timings = predicted.timings | {'preprocessing': preprocessed}
        return predicted._replace(timings=timings)

    def _check_aspect(self, camera: Camera) -> None:
        trained = self.description.training_camera
        if abs(math.log(camera.aspect_ratio / trained.aspect_ratio)) > _ASPECT_TOLERANCE:
            raise CameraError(
                f'the camera has {camera.width}x{camera.height} pixels, the network was trained '
                f'for {trained.width}x{trained.height}: crop the image to that aspect ratio'
            )


def landmarks_on_host(network: SceneNetwork) -> Landmarks | None:
    """The landmarks of a map as the host looks for them; None where it has none."""
    found = network.landmarks
    if found is None:
        return None
    centre = np.array(network.config.scene_centre)
    return Landmarks(
        positions=found.positions.cpu().double().numpy() + centre,
        descriptors=found.descriptors.cpu().float().numpy(),
        directions=found.directions.cpu().double().numpy(),
        distances=found.distances.cpu().double().numpy(),
    )
