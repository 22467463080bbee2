"""Another map at run time: it takes over between two images, or not at all."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('lifecycle_msgs', reason='lifecycle_msgs is not installed')
pytest.importorskip('tf2_msgs', reason='tf2_msgs is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from safetensors import safe_open
from safetensors.torch import save_file

from implicit_loc.checkpoint import load_checkpoint, save_described_anew
from implicit_loc.localizer import Localizer
from implicit_loc_ros.maps import Loading, MapLoader
from implicit_loc_ros.parameters import Parameters

Start = Callable[..., Any]

# The second map, 90 degrees to the left and 2 m up.
TURNED = [1.0, 0.0, 2.0, 0.0, 0.0, 0.5**0.5, 0.5**0.5]


@pytest.fixture(scope='module')
def second_checkpoint(tiny_checkpoint: Path) -> Path:
    path = tiny_checkpoint.with_name('second.safetensors')
    description = load_checkpoint(tiny_checkpoint)[1]
    save_described_anew(tiny_checkpoint, path, replace(description, dataset='second'))
    return path


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras stand at x = 10 in the second map's world, at x = 0 in any other."""

    def localize(localizer: Localizer, image: Any, camera: Any) -> SimpleNamespace:
        time.sleep(0.02)
        pose = np.eye(4)
        pose[0, 3] = 10.0 if localizer.description.dataset == 'second' else 0.0
        return SimpleNamespace(
            world_from_camera=pose,
            covariance=np.diag([1e-4, 4e-4, 9e-4, 1e-4, 1e-4, 1e-4]),
            confidence=0.9,
            used_consensus=False,
            timings={},
        )

    monkeypatch.setattr(Localizer, 'localize', localize)
    # It would ask for poses, too.
    monkeypatch.setattr(Localizer, 'warm_up', lambda *_, **__: time.sleep(0.1) or 0.0)


class Camera:
    """Sends images at 25 Hz in a thread of its own."""

    def __init__(self, peer: Any, messages: Any) -> None:
        peer.wait_for_subscriber(peer.images)
        peer.wait_for_subscriber(peer.camera_infos)
        self._peer, self._messages = peer, messages
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ended.wait(0.04):
            stamp = self._peer.next_stamp()
            self._peer.camera_infos.publish(self._messages.camera_info(stamp))
            self._peer.images.publish(self._messages.image(stamp))


@pytest.fixture
def film(messages: Any) -> Iterator[Callable[[Any], Camera]]:
    cameras: list[Camera] = []

    def begin(peer: Any) -> Camera:
        cameras.append(Camera(peer, messages))
        return cameras[-1]

    yield begin
    for camera in cameras:
        camera.stop()


def set_map(peer: Any, checkpoint: Path | None, alignment: list[float] | None = None) -> Any:
    parameters = []
    if checkpoint is not None:
        text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(checkpoint))
        parameters.append(Parameter(name='checkpoint', value=text))
    if alignment is not None:
        kind = ParameterType.PARAMETER_DOUBLE_ARRAY
        values = ParameterValue(type=kind, double_array_value=alignment)
        parameters.append(Parameter(name='world_alignment', value=values))
    request = SetParametersAtomically.Request(parameters=parameters)
    return peer.call(SetParametersAtomically, 'set_parameters_atomically', request).result


def without_a_weight(checkpoint: Path, folder: Path) -> Path:
    path = folder / 'damaged.safetensors'
    with safe_open(checkpoint, framework='pt') as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())[1:]}
        save_file(tensors, path, metadata=file.metadata())
    return path


def checkpoint_parameter(peer: Any) -> str:
    request = GetParameters.Request(names=['checkpoint'])
    return str(peer.call(GetParameters, 'get_parameters', request).values[0].string_value)


def position(pose: Any) -> tuple[float, float, float]:
    p = pose.pose.position
    return round(p.x, 3), round(p.y, 3), round(p.z, 3)


@pytest.mark.usefixtures('known')
def test_a_new_map_takes_over_between_two_images(
    start: Start, film: Callable[[Any], Camera], tiny_checkpoint: Path, second_checkpoint: Path
) -> None:
    # Strict: but for the change, the gate would call the poses of the other map a jump.
    peer = start(reopen_after='10000', gate_timeout_s='3600.0')
    film(peer)
    peer.wait(lambda: len(peer.poses) > 5, 'poses')
    swaps = 6
    for number in range(swaps):
        seen = len(peer.poses)
        path = tiny_checkpoint if number % 2 else second_checkpoint
        assert set_map(peer, path).successful
        wanted = 0.0 if number % 2 else 10.0
        peer.wait(lambda wanted=wanted: peer.poses[-1].pose.position.x == wanted, 'the map')
        assert len(peer.poses) > seen
    xs = [pose.pose.position.x for pose in peer.poses]
    # One change each: no pose of the old map comes after the first of the new one.
    assert np.count_nonzero(np.diff(xs)) == swaps
    # Meanwhile the old map goes on: a dozen images are far less than a change takes.
    stamps = [p.header.stamp.sec + p.header.stamp.nanosec / 1e9 for p in peer.poses]
    assert max(np.diff(stamps)) < 2.5
    counters = peer.counters()
    assert (counters['map'], counters['change of the map']) == (str(tiny_checkpoint), '')
    assert 'refused: jump' not in counters


@pytest.mark.usefixtures('known')
def test_a_map_that_is_none_changes_nothing(
    start: Start, film: Callable[[Any], Camera], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    peer = start()
    film(peer)
    missing = set_map(peer, tmp_path / 'missing.safetensors')
    assert not missing.successful
    assert 'does not exist' in missing.reason
    truncated = tmp_path / 'truncated.safetensors'
    truncated.write_bytes(tiny_checkpoint.read_bytes()[:-1])
    cut = set_map(peer, truncated, TURNED)
    assert not cut.successful
    assert 'truncated.safetensors is truncated' in cut.reason
    # Only whoever reads all of it sees what is wrong with its weights.
    assert set_map(peer, without_a_weight(tiny_checkpoint, tmp_path), TURNED).successful
    peer.wait(lambda: 'refused' in peer.counters()['change of the map'], 'the refusal')
    status = peer.statuses[-1]
    assert status.level == DiagnosticStatus.WARN
    assert 'lacks the weight' in status.message
    assert peer.counters()['map'] == str(tiny_checkpoint)
    assert checkpoint_parameter(peer) == str(tiny_checkpoint)
    before = len(peer.poses)
    peer.wait(lambda: len(peer.poses) > before + 5, 'poses')
    assert {position(pose) for pose in peer.poses} == {(0.0, 0.0, 0.0)}


@pytest.mark.usefixtures('known')
def test_a_map_comes_with_its_alignment(
    start: Start, film: Callable[[Any], Camera], second_checkpoint: Path
) -> None:
    peer = start()
    film(peer)
    peer.wait(lambda: peer.poses, 'poses')
    assert not set_map(peer, second_checkpoint, [0.0] * 7).successful
    assert set_map(peer, second_checkpoint, TURNED).successful
    # x of the world points along y of the map.
    peer.wait(lambda: position(peer.poses[-1]) == (1.0, 10.0, 2.0), 'the aligned pose')
    assert {position(p) for p in peer.poses} == {(0.0, 0.0, 0.0), (1.0, 10.0, 2.0)}
    last = peer.poses_with_covariance[-1].pose
    assert last.covariance.reshape(6, 6).diagonal()[:3] == pytest.approx([4e-4, 1e-4, 9e-4])
    assert last.pose.orientation.z == pytest.approx(0.5**0.5)


@pytest.mark.usefixtures('known')
def test_an_inactive_node_takes_the_new_map_for_its_activation(
    start: Start,
    film: Callable[[Any], Camera],
    second_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[Loading] = []
    take = MapLoader.take

    def record(loader: MapLoader) -> Loading | None:
        loading = take(loader)
        loaded.extend([loading] if loading is not None else [])
        return loading

    monkeypatch.setattr(MapLoader, 'take', record)
    peer = start()

    def change(transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert peer.call(ChangeState, 'change_state', request).success

    change(Transition.TRANSITION_DEACTIVATE)
    assert set_map(peer, second_checkpoint).successful
    peer.wait(lambda: loaded, 'the new map')
    change(Transition.TRANSITION_ACTIVATE)
    film(peer)
    peer.wait(lambda: peer.poses, 'poses')
    assert position(peer.poses[0]) == (10.0, 0.0, 0.0)


@pytest.mark.usefixtures('known')
def test_an_alignment_alone_loads_nothing(
    start: Start, film: Callable[[Any], Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = start()
    loads: list[Parameters] = []
    monkeypatch.setattr(MapLoader, 'begin', lambda _, parameters: loads.append(parameters))
    film(peer)
    peer.wait(lambda: peer.poses, 'poses')
    assert set_map(peer, None, TURNED).successful
    peer.wait(lambda: position(peer.poses[-1]) == (1.0, 0.0, 2.0), 'the aligned pose')
    assert not loads
