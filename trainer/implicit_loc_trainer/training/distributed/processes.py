"""What the processes of one training tell each other; a process alone talks to nobody.

Every function is collective: all processes call it, in the same order.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from implicit_loc.errors import ImplicitLocError

Item = TypeVar('Item')


def process_count() -> int:
    """The processes that train together."""
    return distributed.get_world_size() if _connected() else 1


def process_rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if _connected() else 0


def is_first_process() -> bool:
    """Whether this is the process that writes files and speaks."""
    return process_rank() == 0


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum over the processes, to which the gradient of every process flows back."""
    return values if process_count() == 1 else _Sum.apply(values)


def global_mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values of the whole batch; 0 where none is chosen.

    Gradients are averaged over the processes, so each returns its own share, scaled such that
    the average over the processes is the mean: the sum of its own values, divided by the average
    number of chosen values per process.

    Args:
        values: any shape.
        chosen: bool, the same shape.
    """
    count = chosen.sum()
    if process_count() > 1:
        # A copy of its own: the reduction works in place.
        count = sum_over_processes(count.to(values.dtype))
    return torch.where(chosen, values, 0).sum() * process_count() / count.clamp_min(1)


def on_any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process.

    Args:
        flag: of this process.
        device: of the training: what NCCL sends lies there.
    """
    if process_count() == 1:
        return flag
    return bool(sum_over_processes(torch.tensor(float(flag), device=device)) > 0)


def own_share(items: Sequence[Item]) -> list[Item]:
    """Every n-th item, beginning with this process's own number."""
    return list(items[process_rank() :: process_count()])


def gather_shares(share: Sequence[Item]) -> list[Item]:
    """The items of which every process holds its own_share, in their first order."""
    if process_count() == 1:
        return list(share)
    shares: list[Any] = [None] * process_count()
    distributed.all_gather_object(shares, list(share))
    longest = max(map(len, shares))
    return [part[index] for index in range(longest) for part in shares if index < len(part)]


def together(action: Callable[[], Item]) -> Item:
    """Act on every process; where one fails, all end, and the first that failed says why.

    Raises:
        ImplicitLocError: the action failed here, and on no process before this one.
        OSError: likewise.
        SystemExit: it failed on another process.
    """
    if process_count() == 1:
        return action()
    failure: Exception | None = None
    try:
        result = action()
    except (ImplicitLocError, OSError) as error:
        failure = error
    failed: list[Any] = [None] * process_count()
    distributed.all_gather_object(failed, failure is not None)
    if not any(failed):
        return result
    if failure is not None and failed.index(True) == process_rank():
        raise failure
    raise SystemExit(1)


def on_first_process(action: Callable[[], Item]) -> Item:
    """Act once; all processes get the result, or end as in `together`."""
    outcome = [together(lambda: action() if is_first_process() else None)]
    if process_count() > 1:
        distributed.broadcast_object_list(outcome, src=0)
    return cast('Item', outcome[0])


def _connected() -> bool:
    return distributed.is_available() and distributed.is_initialized()


class _Sum(torch.autograd.Function):
    """All-reduce whose gradient is the all-reduce of the gradients."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total
