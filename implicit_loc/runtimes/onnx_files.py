"""Where exported networks are kept, and to which checkpoint a file belongs."""

import glob
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from implicit_loc import __version__
from implicit_loc.network import SceneNetwork

# Counts the meanings that inputs and outputs of an exported network have had.
EXPORT_FORMAT = 1
IMAGE, FOCAL_LENGTH = 'image', 'focal_length'
# Nobody writes an export for so long; process ids would tell nothing across containers.
_STALE_S = 600.0


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

    def requirements(self) -> dict[str, str]:
        """Entries of the metadata without which a file is not believed.

        The versions that made it are none of them: a file that a robot brings along was made
        elsewhere, and its prediction is compared whenever it is opened.
        """
        return {
            'implicit_loc.network': self.fingerprint,
            'implicit_loc.input': f'{self.width}x{self.height}',
            'implicit_loc.format': str(EXPORT_FORMAT),
        }

    def metadata(self) -> dict[str, str]:
        """What stands in the file."""
        exporter = f'implicit_loc {__version__}, torch {torch.__version__}'
        return {**self.requirements(), 'implicit_loc.exporter': exporter}


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
    _remove_left_over(path)
    writer = f'{os.getpid()}.{threading.get_ident()}'
    temporary = path.with_name(f'.{path.name}.{writer}.part')
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_left_over(path: Path) -> None:
    """What processes that were killed while they wrote have left."""
    for part in path.parent.glob(f'.{glob.escape(path.name)}.*.part'):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink()
