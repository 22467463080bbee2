"""`python -m implicit_loc.runtimes.onnx_export_program FOLDER METADATA NICENESS`.

Exports the network of the checkpoint in a temporary folder, for images of the size of its training
camera. When standard input ends, whoever asked has ended: so does this program, and removes the
folder.
"""

import json
import os
import shutil
import sys
import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from implicit_loc import preprocessing
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.network import SceneNetwork
from implicit_loc.runtimes import packing
from implicit_loc.runtimes.onnx_descriptors import ConvolvedDescriptors
from implicit_loc.runtimes.onnx_export import OUTPUT, SOURCE
from implicit_loc.runtimes.onnx_files import FOCAL_LENGTH, IMAGE

_STDIN = 0


class _FromPixels(nn.Module):
    """The network with its normalisation: (H, W, 3) uint8, pixels (1,) -> one tensor per output.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, focal_length: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(network_input(image), focal_length)
        return tuple(packing.tensors(outputs).values())


def network_input(image: Tensor) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) as of `preprocessing.normalise`, in two operations."""
    mean, deviation = preprocessing.statistics(image.device)
    scale, shift = 1 / (255 * deviation), -mean / deviation
    return torch.addcmul(shift, image.permute(2, 0, 1)[None].float(), scale)


def export(checkpoint: Path, output: Path, metadata: dict[str, str]) -> None:
    """Write the ONNX file.

    Args:
        checkpoint: whose training camera has the size of the network's input.
        output: where to.
        metadata: to put into it.
    """
    network, description = load_checkpoint(checkpoint)
    if network.landmarks is not None:
        network.landmarks = ConvolvedDescriptors(network.landmarks)
    camera = description.training_camera
    image = torch.zeros(camera.height, camera.width, 3, dtype=torch.uint8)
    focal_length = torch.tensor([camera.focal_length])
    with torch.inference_mode():
        outputs = network(network_input(image), focal_length)
    program = torch.onnx.export(
        _FromPixels(network).eval(),
        (image, focal_length),
        dynamo=True,
        verbose=False,
        input_names=[IMAGE, FOCAL_LENGTH],
        output_names=list(packing.tensors(outputs)),
    )
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.save(output, external_data=False)


def _end_with_asker(folder: Path) -> None:
    # Not sys.stdin, whose lock a thread must not hold when the interpreter ends.
    while os.read(_STDIN, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    # The other thread is deep in the exporter.
    os._exit(1)


def main(folder: Path, metadata: dict[str, str], niceness: int) -> None:
    """Export within the folder, as long as standard input stays open."""
    threading.Thread(target=_end_with_asker, args=[folder], daemon=True).start()
    os.nice(niceness)
    export(folder / SOURCE, folder / OUTPUT, metadata)


if __name__ == '__main__':
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]))
