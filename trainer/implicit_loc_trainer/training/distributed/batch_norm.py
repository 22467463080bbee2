"""Batch norm over the batch of all processes together."""

from typing import TypeAlias

import torch
from torch import Tensor, nn

from implicit_loc_trainer.training.distributed.processes import (
    process_count,
    sum_over_processes,
)

BatchNorm: TypeAlias = nn.BatchNorm2d | nn.SyncBatchNorm


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Normalises by the statistics of the batch of all processes; their shares are equal.

    PyTorch's SyncBatchNorm does this on CUDA alone.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W); alone or in evaluation as an ordinary batch norm."""
        if not self.training or process_count() == 1:
            return super().forward(input)
        count = process_count()
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        mean = sum_over_processes(values.mean(dim=(0, 2, 3))) / count
        centred = values - mean[:, None, None]
        # In two passes: the mean square less the square of the mean would cancel.
        variance = sum_over_processes(centred.square().mean(dim=(0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach(), count * input.numel() // input.shape[1])
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, samples: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (samples / max(samples - 1, 1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


def exchange(root: nn.Module, old: type[BatchNorm], new: type[BatchNorm]) -> None:
    """Change the kind of a network's batch norms; parameters, buffers and names stay.

    Args:
        root: changed in place.
        old: exactly this class.
        new: BatchNorm2d, SyncBatchNorm or GlobalBatchNorm2d.
    """
    for parent in list(root.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is old:
                parent.add_module(name, _as_kind(child, new))


def _as_kind(norm: BatchNorm, kind: type[BatchNorm]) -> BatchNorm:
    """A module of another kind over the same tensors."""
    # Without tensors of its own at first: it draws no random number and takes no memory.
    other = kind(norm.num_features, norm.eps, norm.momentum, affine=False, device='meta')
    other.affine, other.track_running_stats = norm.affine, norm.track_running_stats
    other._parameters, other._buffers = norm._parameters, norm._buffers
    return other.train(norm.training)
