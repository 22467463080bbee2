"""Scenes spread over the machines and GPUs of a Ray cluster."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.many.jobs import Job, train_scene
from implicit_loc_trainer.many.scenes import FAILED, INTERRUPTED, Outcome
from implicit_loc_trainer.recipes.sections import RunConfig

# Ray starts a task again when its machine dies; the training then goes on from its state.
_MOST_RESTARTS = 3

LOCAL = 'local'


class ClusterError(ImplicitLocError):
    """Ray is missing, or its cluster cannot train these scenes."""


def train_on_cluster(jobs: Sequence[Job], run: RunConfig, address: str) -> Iterator[Outcome]:
    """Train the scenes, as many at once as the cluster has room for; in the order they end.

    Args:
        jobs: one task each.
        run: of the recipe; says what one scene takes.
        address: of the cluster ('auto', 'host:6379', 'ray://host:10001'), or LOCAL for this
            machine alone.

    Raises:
        ClusterError: Ray is not installed, or the cluster is not there or too small.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "--ray needs Ray, which is not installed: pip install 'implicit-loc-trainer[ray]'"
        ) from error
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
    try:
        # Ray's web page is for clusters; alone it only makes the start slower.
        own = {'include_dashboard': False} if address == LOCAL else {}
        ray.init(address=address, log_to_driver=False, logging_level='ERROR', **own)
    except Exception as error:  # Ray has no class of its own for these
        raise ClusterError(f'no Ray cluster at {address!r}: {error}') from error
    try:
        share = _share(run, ray.nodes())
        task = ray.remote(train_scene).options(max_retries=_MOST_RESTARTS, **share)
        yield from _outcomes(ray, {task.remote(job): job for job in jobs})
    finally:
        ray.shutdown()


def _outcomes(ray: Any, waiting: dict[Any, Job]) -> Iterator[Outcome]:
    try:
        while waiting:
            ended, _ = ray.wait(list(waiting), num_returns=1)
            yield _result(ray, ended[0], waiting.pop(ended[0]))
    except KeyboardInterrupt:
        for reference in waiting:
            ray.cancel(reference)
        for reference, job in waiting.items():
            yield _result(ray, reference, job)
        raise


def _result(ray: Any, reference: Any, job: Job) -> Outcome:
    state, message = FAILED, ''
    try:
        return ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        state = INTERRUPTED
    except ray.exceptions.RayError as error:
        message = f'its process on the cluster ended: {str(error).strip().splitlines()[0]}'
    scene = job.scene
    return Outcome(scene.name, scene.data, state, minutes=job.minutes_before, message=message)


def _share(run: RunConfig, nodes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What one scene takes of a machine: GPUs where there are any, else cores.

    Raises:
        ClusterError: no machine has as much.
    """
    alive = [node['Resources'] for node in nodes if node['Alive']]
    gpus = max((machine.get('GPU', 0) for machine in alive), default=0)
    cores = max((machine.get('CPU', 0) for machine in alive), default=0)
    devices = max(run.devices, 1)
    if run.device == 'cuda' or (run.device == 'auto' and gpus):
        if devices > gpus:
            raise ClusterError(
                f'a scene takes {devices} GPUs, no machine of the cluster has more than {gpus:g}'
            )
        return {'num_gpus': devices}
    needed = devices * max(run.threads, 1)
    if needed > cores:
        raise ClusterError(
            f'a scene takes {needed} cores, no machine of the cluster has more than {cores:g}: '
            'lower run.devices or run.threads'
        )
    return {'num_cpus': needed}
