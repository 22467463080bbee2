"""Exporting a network to ONNX, in a process of its own.

PyTorch's exporter takes ten seconds, a gigabyte and the terminal; a robot keeps none of that.
"""

import importlib.util
import json
import os
import subprocess
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from implicit_loc.camera import Camera
from implicit_loc.checkpoint import CheckpointDescription, save_checkpoint
from implicit_loc.errors import CheckpointError
from implicit_loc.network import SceneNetwork
from implicit_loc.runtimes.base import RuntimeUnavailableError
from implicit_loc.runtimes.onnx_files import ExportKey

_PROGRAM = 'implicit_loc.runtimes.onnx_export_program'
# In the folder that the program works in.
SOURCE, OUTPUT = 'network.safetensors', 'network.onnx'
NEEDED = ('onnx', 'onnxscript')
_TIMEOUT_S = 600.0


class Export:
    """A running export of one network for one input size.

    Args:
        network: on the CPU.
        key: of the export.
        niceness: of the process; 0 where somebody waits for it.

    Raises:
        RuntimeUnavailableError: a package is missing, or no process can be started.
    """

    def __init__(self, network: SceneNetwork, key: ExportKey, niceness: int = 0) -> None:
        require_exporter()
        try:
            self._folder = TemporaryDirectory(prefix='implicit_loc.')
            folder = Path(self._folder.name)
            self._output = folder / OUTPUT
            self._errors = folder / 'errors.txt'
            described = _described(network, key)
            save_checkpoint(folder / SOURCE, network, described, half_precision=False)
            with self._errors.open('wb') as errors:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, '-m', _PROGRAM, str(folder)),
                        *(json.dumps(key.metadata()), str(niceness)),
                    ],
                    # Its end tells the process that this one has ended, in whatever way.
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=_environment(),
                )
        except (OSError, CheckpointError) as error:
            raise RuntimeUnavailableError(f'exporting to ONNX cannot start: {error}') from error
        self._finalizer = weakref.finalize(self, _end, self._process)

    @property
    def finished(self) -> bool:
        """Whether `result` returns at once."""
        return self._process.poll() is not None

    def result(self) -> bytes:
        """The exported network, when the process has ended.

        Raises:
            RuntimeUnavailableError: it failed, was ended, or hangs.
        """
        try:
            code = self._process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise RuntimeUnavailableError(
                f'exporting to ONNX has not ended after {_TIMEOUT_S:.0f} s'
            ) from error
        finally:
            self._finalizer()
        try:
            if code == 0:
                return self._output.read_bytes()
            lines = self._errors.read_text(errors='replace').strip().splitlines()
        except OSError as error:
            raise RuntimeUnavailableError(f'exporting to ONNX failed: {error}') from error
        finally:
            self._folder.cleanup()
        reason = lines[-1] if lines else f'its process ended with status {code}'
        raise RuntimeUnavailableError(f'exporting to ONNX failed: {reason}')


def require_exporter() -> None:
    """See whether what the exporter needs is installed.

    Raises:
        RuntimeUnavailableError: with what to install.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeUnavailableError(
            f'exporting to ONNX needs {" and ".join(missing)}: pip install {" ".join(missing)}'
        )


def _end(process: 'subprocess.Popen[bytes]') -> None:
    with suppress(OSError):
        process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _described(network: SceneNetwork, key: ExportKey) -> CheckpointDescription:
    focal_length = network.config.canonical_focal_length
    return CheckpointDescription(
        network=network.config,
        input_height=key.height,
        training_camera=Camera(key.width, key.height, focal_length, focal_length, 0.0, 0.0),
        dataset='',
        dataset_fingerprint='',
        extent=((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    )


def _environment() -> dict[str, str]:
    """That of this process, with its modules and without its GPU."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    # One thread: the robot localizes meanwhile.
    return {**os.environ, 'PYTHONPATH': path, 'CUDA_VISIBLE_DEVICES': '', 'OMP_NUM_THREADS': '1'}
