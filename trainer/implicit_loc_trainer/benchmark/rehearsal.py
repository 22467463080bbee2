"""Predictions that are given out in the place of a network's own, which it makes all the same.

A network with random weights takes as long as a trained one, but no pose follows from what it
predicts.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from implicit_loc.network import SceneGeometry, SceneNetwork
from implicit_loc_trainer.benchmark.views import Geometry


class Rehearsal:
    """What networks say of every image, wherever PyTorch executes them.

    A captured graph contains the replacement, too: it reads memory that `give` writes.

    Args:
        network: says so, with all copies that are made of it.
    """

    def __init__(self, network: SceneNetwork) -> None:
        self._given: Geometry | None = None
        # Of each device: the prediction, and whether it counts.
        self._memory: dict[torch.device, tuple[SceneGeometry[Tensor], Tensor]] = {}
        network.register_forward_hook(self._replaced)

    def __deepcopy__(self, memo: dict[int, object]) -> 'Rehearsal':
        # A copy of the network is told what the network is told.
        return self

    def give(self, geometry: Geometry | None) -> None:
        """Say this of the next images.

        Args:
            geometry: of the network's own shapes; None for what it predicts itself.
        """
        self._given = geometry
        for memory in self._memory.values():
            _write(*memory, geometry)

    def _replaced(
        self, network: SceneNetwork, images: tuple[Tensor, ...], own: SceneGeometry[Tensor]
    ) -> SceneGeometry[Tensor]:
        device = own.depth.device
        if device not in self._memory:
            # The first run on a device is not yet captured.
            counts = torch.zeros((), dtype=torch.bool, device=device)
            memory = own.map(lambda tensor: torch.zeros_like(tensor, dtype=torch.float32)), counts
            _write(*memory, self._given)
            self._memory[device] = memory
        given, counts = self._memory[device]
        chosen: dict[str, Any] = {
            name: None if tensor is None else torch.where(counts, getattr(given, name), tensor)
            for name, tensor in vars(own).items()
        }
        return replace(own, **chosen)


def _write(memory: SceneGeometry[Tensor], counts: Tensor, given: Geometry | None) -> None:
    # Where a run in inference mode has made it, it cannot be written outside.
    with torch.inference_mode():
        counts.fill_(given is not None)
        for name, tensor in vars(memory).items():
            if given is not None and tensor is not None:
                tensor[0].copy_(torch.from_numpy(getattr(given, name)))
