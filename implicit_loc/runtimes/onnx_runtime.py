"""ONNX Runtime: on CPUs two to three times as fast as eager PyTorch.

The network is exported once per checkpoint and input size. An image of a size that has not been
exported yet is executed by eager PyTorch; `prepare` exports, `settle` does so behind the images.
"""

import time
from dataclasses import dataclass, replace

from implicit_loc import preprocessing
from implicit_loc.camera import Camera
from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import agreement, onnx_files
from implicit_loc.runtimes.base import (
    Prediction,
    Runtime,
    RuntimeStatus,
    RuntimeUnavailableError,
    Task,
    on_host,
)
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.onnx_export import Export, require_exporter
from implicit_loc.runtimes.onnx_files import ExportKey
from implicit_loc.runtimes.onnx_session import OnnxSession, require_provider
from implicit_loc.runtimes.onnx_turn import ExportTurn

CPU_PROVIDER = 'CPUExecutionProvider'
_Size = tuple[int, int]
# A camera driver that switches between a few modes finds all of them ready.
_MOST_SESSIONS = 4
_NICENESS_BEHIND_IMAGES = 10
_EXPORTING = 'the network is exported to ONNX for {} behind the images, once; slower until then'


@dataclass(frozen=True)
class _Running:
    """An export, and for which images it is."""

    export: Export
    turn: ExportTurn
    camera: Camera
    size: _Size


class OnnxRuntime(Runtime):
    """The network in ONNX Runtime, normalisation included; the image is resized before.

    Args:
        task: what to execute.
        provider: of ONNX Runtime.

    Raises:
        RuntimeUnavailableError: ONNX Runtime or its provider is not installed.
    """

    def __init__(self, task: Task, provider: str = CPU_PROVIDER) -> None:
        require_provider(provider)
        self._task = task
        self._provider = provider
        self._eager = EagerRuntime(on_host(task))
        self._fingerprint = ''
        self._sessions: dict[_Size, OnnxSession] = {}
        self._running: _Running | None = None
        # That of an export behind the images, until it is this process's.
        self._turn: ExportTurn | None = None
        # Why a size has no session, and those of these sizes that nobody has tried to export.
        self._reasons: dict[_Size, str] = {}
        self._wanted: dict[_Size, Camera] = {}
        self._not_kept = ''
        self._newest: _Size | None = None

    @property
    def status(self) -> RuntimeStatus:
        """See Runtime."""
        size = self._newest
        if size is None:
            return RuntimeStatus(f'onnxruntime {self._provider}, not used yet', self._not_kept)
        # Others may ask for the status while images change it.
        if session := self._sessions.get(size):
            return RuntimeStatus(session.name, self._not_kept)
        return replace(self._eager.status, note=self._reasons.get(size, ''))

    def predict(self, image: ByteImage, camera: Camera, *, solved: bool = False) -> Prediction:
        """See Runtime; poses are left to the host."""
        start = time.perf_counter()
        wanted = preprocessing.input_camera(camera, self._task.input_height)
        self._newest = size = (wanted.width, wanted.height)
        session = self._sessions.get(size) or self._seen_first(camera, size)
        if session is None:
            return self._eager.predict(image, camera)
        resized = preprocessing.resize(image, *size)
        prepared = time.perf_counter()
        geometry = session.run(resized, wanted.focal_length)
        timings = {'preprocessing': prepared - start, 'network': time.perf_counter() - prepared}
        return Prediction(geometry, timings)

    def prepare(self, camera: Camera, *, export: bool = True) -> None:
        """See Runtime."""
        self._newest = size = self._size(camera)
        if size in self._sessions or self._open_kept(camera, size):
            return
        if not export:
            self._announce(camera, size)
            return
        running, self._running = self._running, None
        if running is None or running.size != size:
            if running is not None:
                running.turn.end()
            turn = ExportTurn(self._task.checkpoint)
            turn.wait()
            running = self._begin(camera, size, turn)
        if running is not None:
            self._finish(running)

    def settle(self) -> None:
        """See Runtime."""
        if self._running is not None and self._running.export.finished:
            running, self._running = self._running, None
            self._finish(running)
        elif self._running is None and self._wanted:
            size, camera = next(iter(self._wanted.items()))
            self._turn = self._turn or ExportTurn(self._task.checkpoint)
            if self._turn.take():
                turn, self._turn = self._turn, None
                self._running = self._begin(camera, size, turn, _NICENESS_BEHIND_IMAGES)

    def _seen_first(self, camera: Camera, size: _Size) -> OnnxSession | None:
        # Other providers may compile for minutes: they wait for `prepare` or `settle`.
        if size not in self._reasons and self._provider == CPU_PROVIDER:
            self._open_kept(camera, size)
        if size not in self._sessions and size not in self._reasons:
            self._wanted[size] = camera
            self._reasons[size] = (
                f'the network has not been exported to ONNX for {_text(size)} yet: '
                'warming up does it'
            )
        return self._sessions.get(size)

    def _announce(self, camera: Camera, size: _Size) -> None:
        """Leave the export to `settle`."""
        if self._running is not None and self._running.size == size:
            return
        try:
            require_exporter()
        except RuntimeUnavailableError as error:
            self._reasons[size] = str(error)
            return
        self._wanted[size] = camera
        self._reasons[size] = _EXPORTING.format(_text(size))

    def _size(self, camera: Camera) -> _Size:
        wanted = preprocessing.input_camera(camera, self._task.input_height)
        return wanted.width, wanted.height

    def _key(self, size: _Size) -> ExportKey:
        self._fingerprint = self._fingerprint or onnx_files.fingerprint(self._task.host_network)
        return ExportKey(self._fingerprint, *size)

    def _open_kept(self, camera: Camera, size: _Size) -> bool:
        """Use an export of an earlier time; whatever is wrong with it, there will be a new one."""
        for path in onnx_files.places(self._key(size), self._task.checkpoint):
            try:
                self._open(path.read_bytes(), camera, size)
            except (OSError, RuntimeUnavailableError):
                continue
            return True
        return False

    def _begin(
        self, camera: Camera, size: _Size, turn: ExportTurn, niceness: int = 0
    ) -> _Running | None:
        """Export, unless another process has done so by now, or it is not possible."""
        self._wanted.pop(size, None)
        if self._open_kept(camera, size):
            turn.end()
            return None
        try:
            export = Export(self._task.host_network, self._key(size), niceness)
        except RuntimeUnavailableError as error:
            self._reasons[size] = str(error)
            turn.end()
            return None
        self._reasons[size] = _EXPORTING.format(_text(size))
        return _Running(export, turn, camera, size)

    def _finish(self, running: _Running) -> None:
        size = running.size
        try:
            content = running.export.result()
            self._open(content, running.camera, size)
            places = onnx_files.places(self._key(size), self._task.checkpoint)
            self._not_kept = onnx_files.keep(content, places)
        except RuntimeUnavailableError as error:
            self._reasons[size] = str(error)
        finally:
            running.turn.end()

    def _open(self, content: bytes, camera: Camera, size: _Size) -> None:
        session = OnnxSession(content, self._provider, self._task.threads)
        expected = self._key(size).requirements()
        if any(session.metadata.get(name) != value for name, value in expected.items()):
            raise RuntimeUnavailableError('the ONNX file belongs to another network')
        self._require_agreement(session, camera)
        while len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[size] = session
        self._reasons.pop(size, None)
        self._wanted.pop(size, None)

    def _require_agreement(self, session: OnnxSession, camera: Camera) -> None:
        """On this machine, with this provider; it is also the first run, which is slow."""
        resized = preprocessing.input_camera(camera, self._task.input_height)
        noise = agreement.noise_image(resized)
        expected = self._eager.predict(noise, resized).geometry
        found = session.run(noise, resized.focal_length)
        on_cpu = self._provider == CPU_PROVIDER
        tolerance = agreement.SINGLE_PRECISION if on_cpu else agreement.HALF_PRECISION
        agreement.require_agreement(session.name, found, expected, tolerance)


def _text(size: _Size) -> str:
    return f'{size[0]}x{size[1]} pixels'
