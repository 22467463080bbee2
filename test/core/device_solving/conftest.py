"""What tests of solving on a device share: predictions, and how host and device solve them."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from implicit_loc import uncertainty
from implicit_loc.camera import Camera
from implicit_loc.cells import cells_of_prediction
from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.device_solving import DeviceSolver, Outcome, outcome
from implicit_loc.landmark_search import Landmarks, Sight
from implicit_loc.network import NetworkConfig, SceneGeometry
from implicit_loc.runtimes import Solving, cuda_graph
from implicit_loc.runtimes.base import Task, on_host
from implicit_loc.runtimes.captured_graph import CapturedGraph
from implicit_loc.runtimes.cuda_graph import CudaGraphRuntime
from implicit_loc.runtimes.device_network import DeviceNetwork
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.solvers import DEFAULT_SOLVER, Solution, solve
from implicit_loc.uncertainty import Assessment

if TYPE_CHECKING:
    from conftest import KnownPlace

STRIDE = 8

PLUMB_BOB = Camera(
    320, 240, 263.0, 260.0, 158.0, 121.0, 'plumb_bob', (-0.25, 0.08, 0.001, -0.002, 0.0)
)
RATIONAL = Camera(
    320, 240, 263.0, 260.0, 158.0, 121.0, 'rational_polynomial',
    (0.3, 0.1, 0.001, -0.002, 0.01, 0.55, 0.15, 0.02),
)  # fmt: skip
EQUIDISTANT = Camera(320, 240, 150.0, 150.0, 160.0, 118.0, 'equidistant', (0.02, -0.01, 0.0, 0.0))
NONE = Camera(320, 240, 263.0, 263.0, 159.5, 119.5)
CAMERAS = {'none': NONE, 'plumb_bob': PLUMB_BOB, 'rational': RATIONAL, 'fisheye': EQUIDISTANT}

Geometry = SceneGeometry[NDArray[np.float32]]


@pytest.fixture(scope='session', params=list(CAMERAS))
def camera(request: pytest.FixtureRequest) -> Camera:
    """One of every distortion model."""
    return CAMERAS[request.param]


@dataclass(frozen=True)
class Scene:
    """A prediction, and the landmarks that are in its image.

    Attributes:
        geometry: as a network might predict it.
        landmarks: of the map; None where it has none.
        camera: of the network's input.
    """

    geometry: Geometry
    landmarks: Landmarks | None
    camera: Camera

    def on_device(self) -> Outcome:
        """What a device finds out."""
        solver = DeviceSolver(self.camera, STRIDE, self.landmarks)
        with torch.inference_mode():
            parts = solver(self.geometry.map(lambda array: torch.from_numpy(array)[None]))
            packed, shapes = outcome.pack(parts)
        return Outcome(outcome.unpack(packed.numpy(), shapes), self.camera.focal_length)

    def on_host(self) -> Solution:
        """What the default solver finds, or its error."""
        cells = cells_of_prediction(self.geometry, self.camera, STRIDE)
        sight = None
        if self.landmarks is not None and self.geometry.descriptors is not None:
            sight = Sight(self.landmarks, self.geometry.descriptors, self.camera)
        return solve(cells, DEFAULT_SOLVER, sight)

    def assessments(self, description: CheckpointDescription) -> tuple[Assessment, Assessment]:
        """Of device and host."""
        return (
            uncertainty.conclude(self.on_device().facts(), description),
            uncertainty.assess(self.on_host(), description),
        )


MakeScene = Callable[..., Scene]


@pytest.fixture(scope='session')
def make_scene(make_place: Callable[..., 'KnownPlace']) -> MakeScene:
    """`make_scene(place, offset_m=..., noise=...)` -> what a network might predict there."""

    def make(
        camera: Camera = NONE,
        seed: int = 0,
        shift: tuple[float, float, float] = (0.03, -0.02, 0.04),
        noise: float = 0.02,
        outliers: float = 0.1,
        has_landmarks: bool = True,
        **of_place: float,
    ) -> Scene:
        place = make_place(seed, camera, **of_place)
        rng = np.random.default_rng(seed)
        rays = np.nan_to_num(camera.rays(STRIDE).astype(np.float64))
        depth = rng.uniform(1.5, 4.0, rays.shape[:2])
        pose = place.world_from_camera[0].numpy()
        points = rays * depth[..., None] @ pose[:3, :3].T + pose[:3, 3] + shift
        is_wrong = rng.uniform(size=(*depth.shape, 1)) < outliers
        points += (noise + 2.0 * is_wrong) * rng.normal(size=points.shape)
        geometry = SceneGeometry(
            points.astype(np.float32),
            (depth + noise * rng.normal(size=depth.shape)).astype(np.float32),
            rng.uniform(0.1, 1.0, depth.shape).astype(np.float32),
            None,
            place.sight.descriptors if has_landmarks else None,
        )
        return Scene(geometry, place.sight.landmarks if has_landmarks else None, camera)

    return make


class KnownNetwork(nn.Module):
    """Stands in for a network: predicts the geometry of a scene, wherever it lies."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.config = NetworkConfig(stride=STRIDE)
        self.backbone = nn.Linear(1, 1)
        self.names = [name for name, values in vars(scene.geometry).items() if values is not None]
        for name in self.names:
            values = torch.from_numpy(getattr(scene.geometry, name).copy())[None]
            self.register_buffer(name, values)

    def forward(self, images: Tensor, focal_length: Tensor) -> SceneGeometry[Tensor]:
        """The scene, whatever the images show."""
        return SceneGeometry(**{name: getattr(self, name) for name in self.names})


@pytest.fixture
def network_of() -> Callable[[Scene], Any]:
    """`network_of(scene)`: predicts it of every image."""
    return KnownNetwork


@pytest.fixture
def module_of() -> Callable[[Scene], DeviceNetwork]:
    """`module_of(scene)`: what a graph captures, with that network in it."""

    def make(scene: Scene) -> DeviceNetwork:
        solver = DeviceSolver(scene.camera, STRIDE, scene.landmarks)
        network: Any = KnownNetwork(scene)
        return DeviceNetwork(network, scene.camera, scene.camera, solver)

    return make


class GraphOnHost(CapturedGraph):
    """Computes anew what a graph would replay; its captures are counted, and can fail."""

    captured: ClassVar[list[bool]]
    refused: ClassVar[dict[bool, str]]
    pinned: ClassVar[list[weakref.ref[Tensor]]]

    def __init__(self, module: DeviceNetwork, camera: Camera, device: torch.device) -> None:
        assert device.type == 'cuda'
        super().__init__(module, camera, torch.device('cpu'))

    def _capture(self) -> None:
        self.captured.append(self.solves)
        self._upload = self._pin(torch.zeros(self._module.upload_bytes, dtype=torch.uint8))
        if self.solves in self.refused:
            raise RuntimeError(self.refused[self.solves])
        self._on_device = torch.empty_like(self._upload)
        self._replay()
        if self._descriptors is not None:
            self._descriptor_download = torch.empty(self._descriptors.shape)

    def _pin(self, tensor: Tensor) -> Tensor:
        self._pinned.append(tensor)
        self.pinned.append(weakref.ref(tensor))
        return tensor

    def _replay(self) -> None:
        with torch.inference_mode():
            self._download, self._descriptors = self._compute()


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> type[GraphOnHost]:
    """The captures so far, what refuses the next ones, and the memory they have pinned."""

    def staying(network: Any) -> Any:
        # Parameters that the CPU can read, wherever it is told to go.
        network.to = lambda *_, **__: network
        return network

    monkeypatch.setattr(GraphOnHost, 'captured', [], raising=False)
    monkeypatch.setattr(GraphOnHost, 'refused', {}, raising=False)
    monkeypatch.setattr(GraphOnHost, 'pinned', [], raising=False)
    monkeypatch.setattr(cuda_graph, 'CapturedGraph', GraphOnHost)
    monkeypatch.setattr(cuda_graph, 'EagerRuntime', lambda task: EagerRuntime(on_host(task)))
    monkeypatch.setattr(cuda_graph, 'half_precision_copy', staying)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: 'pretended GPU')
    return GraphOnHost


@pytest.fixture
def runtime_of(
    pretended: type[GraphOnHost], network_of: Callable[[Scene], Any]
) -> Callable[[Scene], CudaGraphRuntime]:
    """`runtime_of(scene)`: sees the scene in every image."""

    def make(scene: Scene) -> CudaGraphRuntime:
        networks = network_of(scene), network_of(scene)
        solving = Solving(scene.landmarks)
        device = torch.device('cuda:0')
        return CudaGraphRuntime(Task(*networks, 240, device, 1, solving=solving))

    return make
