"""One safetensors file holds the weights and, in its header, everything else that a robot needs.

No pickle is ever loaded, and nothing is loaded in part: a file that differs from what its header
says is refused with the reason.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from implicit_loc.calibration import Calibration, parse_calibration
from implicit_loc.camera import Camera
from implicit_loc.errors import CameraError, CheckpointError
from implicit_loc.network import NetworkConfig, SceneNetwork

FORMAT = 1
_NEVER_FILLED = 'covariance_calibration'
_HEADER_KEY = 'implicit_loc'
_HELP = 'use a file that `implicit-loc train` wrote'


@dataclass(frozen=True)
class CheckpointDescription:
    """What the header says.

    Attributes:
        network: layout and output ranges of the network.
        input_height: height to which images are resized, pixels.
        training_camera: camera of the recording, at its own size.
        dataset: name of the recording.
        dataset_fingerprint: hash of the names and poses of its training frames.
        extent: least and largest camera position in training, ((3), (3)), metres.
        keyframes: training poses, thinned, each x y z qx qy qz qw (world_from_camera).
        calibration: of covariance and confidence; the default one where there was none.
        validation: figures on held-out frames at the end of training.
        software_version: of the trainer that wrote the file.
        format_version: of the file.
    """

    network: NetworkConfig
    input_height: int
    training_camera: Camera
    dataset: str
    dataset_fingerprint: str
    extent: tuple[tuple[float, ...], tuple[float, ...]]
    keyframes: tuple[tuple[float, ...], ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    validation: Mapping[str, float] = field(default_factory=dict)
    software_version: str = ''
    format_version: int = FORMAT


def save_checkpoint(
    path: str | Path,
    network: SceneNetwork,
    description: CheckpointDescription,
    half_precision: bool = True,
) -> None:
    """Write a checkpoint; an existing file is replaced only by a whole one.

    Args:
        path: ends in .safetensors by convention; its folder must exist.
        network: whose weights to save.
        description: becomes the header.
        half_precision: convolution weights as fp16; everything else keeps its type.

    Raises:
        CheckpointError: a weight is not finite, or not within fp16's range.
        OSError: the file cannot be written.
    """
    path = Path(path)
    tensors = {}
    learned = {name for name, parameter in network.named_parameters() if parameter.ndim > 1}
    for name, tensor in _stored_tensors(network).items():
        shrink = half_precision and name in learned
        stored = tensor.detach().to('cpu', torch.float16 if shrink else tensor.dtype)
        if not torch.isfinite(stored).all():
            raise CheckpointError(f'the weight {name} is not finite as {stored.dtype}: not saved')
        tensors[name] = stored.contiguous()
    _write(path, tensors, description)


def save_described_anew(
    source: str | Path, path: str | Path, description: CheckpointDescription
) -> None:
    """Write the weights of a checkpoint, as they are stored, under another description.

    Args:
        source: the checkpoint, which may be `path` itself.
        path: an existing file is replaced only by a whole one.
        description: becomes the header; of the same network.

    Raises:
        CheckpointError: the source cannot be read.
        OSError: the file cannot be written.
    """
    load_checkpoint(source)
    with safe_open(Path(source).expanduser(), framework='pt') as file:
        tensors = _tensors(file)
    _write(Path(path), tensors, description)


def _write(path: Path, tensors: dict[str, Tensor], description: CheckpointDescription) -> None:
    header = {_HEADER_KEY: json.dumps(asdict(description), sort_keys=True, allow_nan=False)}
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        temporary.write_bytes(save(tensors, metadata=header))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> tuple[SceneNetwork, CheckpointDescription]:
    """Read a checkpoint on the CPU, the network in evaluation mode and float32.

    Raises:
        CheckpointError: the file is missing, truncated, foreign, of another format version,
            or its weights are not those that its header describes.
    """
    path = _existing(path)
    with _opened(path) as file:
        description = _read_header(path, file.metadata() or {})
        tensors = _tensors(file)
    try:
        network = SceneNetwork(description.network)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f'the header of {path} is malformed ({error}): {_HELP}') from error
    _assign(path, network, tensors)
    return network.eval(), description


def read_description(path: str | Path) -> CheckpointDescription:
    """Read what a checkpoint says of itself, in a moment: its weights stay on the disk.

    Raises:
        CheckpointError: the file is missing, truncated, foreign or of another format version;
            weights that are not those that the header describes are found by `load_checkpoint`.
    """
    path = _existing(path)
    with _opened(path) as file:
        return _read_header(path, file.metadata() or {})


def _existing(path: str | Path) -> Path:
    """The path of a file, or a CheckpointError: also names that no file can have."""
    try:
        expanded = Path(path).expanduser()
        found = 'is a folder' if expanded.is_dir() else 'does not exist'
        if not expanded.is_file():
            raise CheckpointError(f'the checkpoint {expanded} {found}')
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f'the checkpoint {path} cannot be opened: {error}') from error
    return expanded


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The safetensors file; whatever is wrong with it is a CheckpointError."""
    try:
        with safe_open(path, framework='pt') as file:
            yield file
    except SafetensorError as error:
        raise CheckpointError(
            f'{path} is truncated or no safetensors file ({error}): {_HELP}'
        ) from error
    except OSError as error:
        raise CheckpointError(f'the checkpoint {path} cannot be read: {error}') from error


def _tensors(file: Any) -> dict[str, Tensor]:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _stored_tensors(network: SceneNetwork) -> dict[str, Tensor]:
    # The batch counter serves training only.
    state = network.state_dict()
    return {n: t for n, t in state.items() if not n.endswith('num_batches_tracked')}


def _assign(path: Path, network: SceneNetwork, tensors: dict[str, Tensor]) -> None:
    expected = _stored_tensors(network)
    for name in expected.keys() - tensors.keys():
        raise CheckpointError(f'{path} lacks the weight {name}: the file is damaged, {_HELP}')
    for name in tensors.keys() - expected.keys():
        raise CheckpointError(f'{path} has the unknown weight {name}: {_HELP}')
    for name, parameter in expected.items():
        stored = tensors[name]
        if stored.shape != parameter.shape:
            raise CheckpointError(
                f'{path}: the weight {name} has shape {tuple(stored.shape)}, '
                f'its header describes {tuple(parameter.shape)}'
            )
        if not torch.isfinite(stored).all():
            raise CheckpointError(f'{path}: the weight {name} is not finite: retrain it')
        parameter.copy_(stored)


def _read_header(path: Path, metadata: Mapping[str, str]) -> CheckpointDescription:
    if _HEADER_KEY not in metadata:
        raise CheckpointError(f'{path} is a safetensors file of something else: {_HELP}')
    try:
        header = json.loads(metadata[_HEADER_KEY])
        version = header['format_version']
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f'the header of {path} is damaged ({error!r}): {_HELP}') from error
    if version != FORMAT:
        raise CheckpointError(
            f'{path} has format {version}, this version reads {FORMAT}: retrain it or update'
        )
    try:
        return _parse_header(header)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error
    except (KeyError, TypeError, ValueError, CameraError) as error:
        raise CheckpointError(f'the header of {path} is malformed ({error}): {_HELP}') from error


def _parse_header(header: dict[str, Any]) -> CheckpointDescription:
    # What no version has ever filled; `calibration` has taken its place.
    header = {name: value for name, value in header.items() if name != _NEVER_FILLED}
    known = {item.name for item in fields(CheckpointDescription)}
    if unknown := header.keys() - known:
        raise ValueError(f'unknown entry {sorted(unknown)[0]!r}')
    network, camera = header['network'], header['training_camera']
    least, largest = header['extent']
    if not (isinstance(header['input_height'], int) and header['input_height'] > 0):
        raise ValueError(f'input_height is {header["input_height"]!r}')
    return CheckpointDescription(
        **{
            **header,
            'network': NetworkConfig(
                **{**network, 'scene_centre': tuple(network['scene_centre'])}
            ),
            'training_camera': Camera(**{**camera, 'distortion': tuple(camera['distortion'])}),
            'extent': (tuple(least), tuple(largest)),
            'keyframes': tuple(tuple(pose) for pose in header['keyframes']),
            'calibration': parse_calibration(header['calibration'])
            if 'calibration' in header
            else Calibration(),
        }
    )
