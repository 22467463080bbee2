"""The peers in ONNX Runtime, executed as this software's own networks are."""

import contextlib
import io
import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from implicit_loc.runtimes import RuntimeUnavailableError
from implicit_loc.runtimes.onnx_session import require_provider
from implicit_loc_trainer.benchmark.peers import Execution

_PROVIDER = 'CPUExecutionProvider'


def execution(
    module: nn.Module, shape: tuple[int, int, int, int], path: Path, threads: int
) -> Execution:
    """A module of one input and one output in ONNX Runtime on the CPU.

    Args:
        module: in evaluation mode.
        shape: of its input.
        path: where it is exported to, unless it is there already.
        threads: of the CPU.

    Raises:
        RuntimeUnavailableError: ONNX Runtime, or a package for exporting, is missing.
        OSError: the file cannot be written.
    """
    require_provider(_PROVIDER)
    # An optional dependency of the core.
    import onnxruntime

    if not path.exists():
        _export(module, shape, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # As in implicit_loc.runtimes: what waits must not take the cores from what works.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=[_PROVIDER])
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> object:
        return session.run(None, {name: np.ascontiguousarray(images.numpy())})

    return run


def _export(module: nn.Module, shape: tuple[int, int, int, int], path: Path) -> None:
    missing = [name for name in ('onnx', 'onnxscript') if find_spec(name) is None]
    if missing:
        raise RuntimeUnavailableError(
            f'exporting the peers to ONNX needs {" and ".join(missing)}: '
            f'pip install {" ".join(missing)}, or leave onnx out with --runtimes'
        )
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.part')
    # PyTorch's exporter tells every step, and warns of what does not concern a network like these.
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        program = torch.onnx.export(module.eval(), (torch.zeros(shape),), dynamo=True)
    assert program is not None
    program.save(temporary, external_data=False)
    os.replace(temporary, path)
