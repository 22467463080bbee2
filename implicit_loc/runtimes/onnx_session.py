"""One exported network in ONNX Runtime, an optional dependency."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implicit_loc.preprocessing import ByteImage
from implicit_loc.runtimes import packing
from implicit_loc.runtimes.base import Geometry, RuntimeUnavailableError, versioned
from implicit_loc.runtimes.onnx_files import FOCAL_LENGTH, IMAGE

# ONNX Runtime writes to stderr what it also raises; 4 is 'fatal'.
_SILENT = 4
_PACKAGES = {'CPUExecutionProvider': 'onnxruntime'}
_PACKAGE_FOR_GPUS = 'onnxruntime-gpu'


def require_provider(provider: str) -> None:
    """See whether ONNX Runtime is installed with an execution provider.

    Raises:
        RuntimeUnavailableError: with what to install.
    """
    package = _PACKAGES.get(provider, _PACKAGE_FOR_GPUS)
    # Since 1.31, it tells its maker over the internet what it executes, unless this is set before.
    os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailableError(
            f'ONNX Runtime is not installed ({error}): pip install {package} onnx onnxscript'
        ) from error
    found = onnxruntime.get_available_providers()
    if provider not in found:
        raise RuntimeUnavailableError(
            f'ONNX Runtime {onnxruntime.__version__} has no {provider}, only {", ".join(found)}: '
            f'pip install {package} in the place of onnxruntime'
        )


class OnnxSession:
    """A loaded network; how often it is used does not change it.

    Args:
        content: of the ONNX file.
        provider: of ONNX Runtime, installed.
        threads: of the CPU.

    Attributes:
        name: exact.
        metadata: of the file.

    Raises:
        RuntimeUnavailableError: it is no ONNX file of such a network, or the provider refuses it.
    """

    def __init__(self, content: bytes, provider: str, threads: int) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        # They have no base in common.
        found = vars(state).values()
        self._errors = tuple(
            kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception)
        )
        self.name = versioned('onnxruntime', onnxruntime.__version__, provider, threads)
        try:
            self._session = onnxruntime.InferenceSession(
                content, _options(onnxruntime, threads), providers=[provider]
            )
        except self._errors as error:
            raise RuntimeUnavailableError(f'no usable ONNX file ({_line(error)})') from error
        used = self._session.get_providers()[0]
        if used != provider:
            # ONNX Runtime does so where the libraries of CUDA or TensorRT are missing.
            raise RuntimeUnavailableError(f'ONNX Runtime falls back from {provider} to {used}')
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, image: ByteImage, focal_length: float) -> Geometry:
        """Execute the network.

        Args:
            image: RGB, (h, w, 3), of the exported size.
            focal_length: pixels, at this size.

        Raises:
            RuntimeUnavailableError: the provider failed, for instance for lack of memory.
        """
        inputs = {
            IMAGE: np.ascontiguousarray(image),
            FOCAL_LENGTH: np.array([focal_length], np.float32),
        }
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(None, inputs)
        except self._errors as error:
            raise RuntimeUnavailableError(f'{self.name} failed ({_line(error)})') from error
        named = zip(self._outputs, outputs, strict=True)
        return packing.geometry_of({name: array[0] for name, array in named})


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    # Threads that spin while they wait would take the cores from the solver and from ROS.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    return options


def _line(error: Exception) -> str:
    return ' '.join(str(error).split())
