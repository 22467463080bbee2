"""The sizes at which a checkpoint is timed: height of the network's input, stride of its output.

A checkpoint has one size. For the others its network is built anew, with its weights where they
fit and random ones elsewhere: such networks tell how long they take, and nothing about places.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from implicit_loc.checkpoint import load_checkpoint, save_checkpoint
from implicit_loc.network import SceneNetwork


@dataclass(frozen=True)
class Situation:
    """One size.

    Attributes:
        height: of the network's input, pixels.
        stride: pixels of the input per output cell.
    """

    height: int
    stride: int


def own_situation(checkpoint: Path) -> Situation:
    """The size that a checkpoint was trained at.

    Raises:
        CheckpointError: it cannot be read.
    """
    _, description = load_checkpoint(checkpoint)
    return Situation(description.input_height, description.network.stride)


def checkpoint_at(source: Path, situation: Situation, folder: Path) -> Path:
    """A checkpoint of the same layout at another size.

    Args:
        source: the trained checkpoint.
        situation: the size wanted.
        folder: where one of another size than the source's is written.

    Returns:
        The source itself where that is its size.

    Raises:
        CheckpointError: the source cannot be read, or there is no such stride.
        OSError: the folder cannot be written.
    """
    trained, description = load_checkpoint(source)
    if situation == Situation(description.input_height, description.network.stride):
        return source
    config = replace(description.network, stride=situation.stride)
    torch.manual_seed(0)
    network = SceneNetwork(config)
    weights = network.state_dict()
    fitting = {
        name: tensor
        for name, tensor in trained.state_dict().items()
        if name in weights and weights[name].shape == tensor.shape
    }
    network.load_state_dict({**weights, **fitting})
    path = folder / f'{source.stem}_{situation.height}_{situation.stride}.safetensors'
    changed = replace(description, network=config, input_height=situation.height)
    save_checkpoint(path, network.eval(), changed)
    return path
