"""Where exported networks are kept, and to which checkpoint a file belongs."""

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from implicit_loc import __version__
from implicit_loc.network import SceneNetwork

# Counts the meanings that inputs and outputs of an exported network have had.
EXPORT_FORMAT = 1
IMAGE, FOCAL_LENGTH = 'image', 'focal_length'


@dataclass(frozen=True)
class ExportKey:
    """What an exported network must agree with.

    Attributes:
        fingerprint: of layout and weights.
        width: of the input, pixels.
        height: of the input, pixels.
    """

    fingerprint: str
    width: int
    height: int

    def metadata(self) -> dict[str, str]:
        """What stands in the file: another version of anything that made it makes it stale."""
        return {
            'implicit_loc.network': self.fingerprint,
            'implicit_loc.input': f'{self.width}x{self.height}',
            'implicit_loc.exporter': f'{EXPORT_FORMAT}, {__version__}, {torch.__version__}',
        }


def fingerprint(network: SceneNetwork) -> str:
    """SHA-256 of the layout and the weights, wherever they lie."""
    found = hashlib.sha256(repr(sorted(asdict(network.config).items())).encode())
    for name, tensor in sorted(network.state_dict().items()):
        found.update(f'{name} {tuple(tensor.shape)} {tensor.dtype}'.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def places(key: ExportKey, checkpoint: Path | None) -> Iterator[Path]:
    """Where an export is looked for and kept, the better place first.

    Next to the checkpoint it is found by whoever has the checkpoint; the user's cache folder
    serves where that folder is read-only, or where the network comes from no file.
    """
    size = f'{key.width}x{key.height}'
    if checkpoint is not None:
        yield checkpoint.with_name(f'{checkpoint.stem}.{size}.onnx')
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    try:
        folder = Path(cache).expanduser()
    except RuntimeError:
        # A process without a home has no cache folder.
        return
    yield folder / 'implicit_loc' / f'{key.fingerprint[:32]}.{size}.onnx'


def keep(content: bytes, candidates: Iterator[Path]) -> str:
    """Write an export to the first place that takes it.

    Returns:
        '' or, where no place takes it, the reason in words.
    """
    reasons = []
    for path in candidates:
        try:
            _write_whole(path, content)
        except OSError as error:
            reasons.append(f'{path.parent} cannot be written ({error.strerror or error})')
        else:
            return ''
    return 'the exported network is not kept: ' + ' and '.join(reasons or ['no place for it'])


def _write_whole(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f'{os.getpid()}.{threading.get_ident()}'
    temporary = path.with_name(f'.{path.name}.{writer}.part')
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
