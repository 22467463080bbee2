"""The state from which an interrupted training goes on."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from implicit_loc_trainer.output_files import replacing


class AtomicState(TorchCheckpointIO):
    """Replaces a state only by a whole one.

    Lightning writes to the system's temporary folder and moves the file; where that is another
    file system, the move is a copy, which a full disk or a kill leaves in half.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write beside the target, then rename.

        Raises:
            OSError: the file cannot be written; an earlier one is untouched.
        """
        # In memory first: on a full disk torch's own writer ends in an error about its archive.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(content.getbuffer())
