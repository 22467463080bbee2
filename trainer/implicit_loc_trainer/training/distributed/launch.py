"""Starting the processes of a training on this machine."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from dataclasses import asdict
from pathlib import Path

import yaml
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.distributed import worker
from implicit_loc_trainer.training.distributed.placement import Placement

_GO_ON = 'the same command goes on where it stopped'


class ProcessError(ImplicitLocError):
    """A process of a training failed."""


def launch(recipe: Recipe, place: Placement) -> None:
    """Train with several processes on this machine, through torchrun's own launcher.

    Raises:
        ProcessError: one of them failed; the others were ended.
        KeyboardInterrupt: the training was interrupted.
    """
    # Its log repeats every failure in many lines.
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    # PyTorch would advise every process against looking for parameters without a gradient.
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    with tempfile.TemporaryDirectory(prefix='implicit-loc-') as folder:
        copy = Path(folder) / 'recipe.yaml'
        copy.write_text(yaml.safe_dump(asdict(recipe), sort_keys=False), encoding='utf-8')
        start = elastic_launch(_configuration(place, folder), sys.executable)
        try:
            start('-m', worker.__name__, str(copy))
        except ChildFailedError as error:
            raise ProcessError(_reason(error)) from error
        except SignalException as stop:
            if stop.sigval == signal.SIGINT:
                raise KeyboardInterrupt from stop
            raise SystemExit(128 + stop.sigval) from stop


def _configuration(place: Placement, folder: str) -> LaunchConfig:
    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=place.devices,
        logs_specs=DefaultLogsSpecs(log_dir=folder),
        run_id=uuid.uuid4().hex,
        rdzv_backend='c10d',
        rdzv_endpoint='localhost:0',
        # A machine's own name is often unknown to its own network.
        local_addr='localhost',
        max_restarts=0,
    )


def _reason(error: ChildFailedError) -> str:
    """What the first process that failed has to say; the others only miss it."""
    for failure in error.failures.values():
        if failure.exitcode == worker.KNOWN_ERROR:
            return failure.message
    rank, failure = error.get_first_failure()
    if failure.exitcode < 0:
        return f'process {rank} was ended by {failure.signal_name()}; {_GO_ON}'
    return f'process {rank} ended with status {failure.exitcode}; its own words stand above'
