"""What the stages from image to pose must compute and move, counted on one image."""

from collections.abc import Mapping
from pathlib import Path

import torch

from implicit_loc.cells import cells_of_prediction
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.preprocessing import input_camera, normalise, resize, to_tensor
from implicit_loc_trainer.benchmark.counting import Work, work_of
from implicit_loc_trainer.benchmark.peers import BareBackbone
from implicit_loc_trainer.benchmark.views import View

PREPROCESSING = 'preprocessing'
NETWORK = 'network'
BACKBONE = 'of it, the backbone'
CELLS = 'pose from cells'
LANDMARKS = 'pose from landmarks'

# The measured rows that make up each.
MEASURED: Mapping[str, tuple[str, ...]] = {
    PREPROCESSING: ('stage:preprocessing',),
    NETWORK: ('stage:network',),
    BACKBONE: ('peer:backbone',),
    CELLS: ('stage:alignment', 'stage:refinement', 'stage:consensus', 'stage:uncertainty'),
    LANDMARKS: ('stage:landmarks',),
}


def work_of_stages(checkpoint: Path, view: View) -> dict[str, Work]:
    """Count the work of one image in float32.

    A solver must read what it is given; its few thousand multiply-adds are not worth counting.

    Args:
        checkpoint: of the size that is counted.
        view: with a prediction of that size.

    Raises:
        ImplicitLocError: the checkpoint cannot be read.
    """
    network, description = load_checkpoint(checkpoint)
    camera = input_camera(view.camera, description.input_height)
    resized = resize(view.image, camera.width, camera.height)
    images = normalise(to_tensor(resized)[None])
    geometry = view.geometry
    assert geometry is not None
    cells = cells_of_prediction(geometry, camera, description.network.stride)
    with torch.inference_mode():
        backbone = work_of(lambda: BareBackbone(network.backbone)(images))
        whole = work_of(lambda: network(images, torch.tensor([camera.focal_length])))
    found = {
        PREPROCESSING: _moved(view.image.nbytes + resized.nbytes),
        NETWORK: whole,
        BACKBONE: backbone,
        CELLS: _moved(sum(tensor.nbytes for tensor in vars(cells).values())),
    }
    if network.landmarks is not None and geometry.descriptors is not None:
        positions = network.landmarks.positions
        found[LANDMARKS] = _moved(geometry.descriptors.nbytes + positions.nbytes)
    return found


def _moved(count: int) -> Work:
    return Work(0, count / 1e6)
