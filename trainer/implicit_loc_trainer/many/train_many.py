"""All scenes of one call: those that are finished are left alone, the others are trained."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from implicit_loc.errors import CheckpointError
from implicit_loc_trainer.evaluation.tables import errors_text
from implicit_loc_trainer.many.cluster import train_on_cluster
from implicit_loc_trainer.many.jobs import Job, finished, train_scene
from implicit_loc_trainer.many.scenes import (
    EARLIER,
    FAILED,
    INTERRUPTED,
    Outcome,
    Scene,
    minutes_before,
    name_scenes,
    write_outcomes,
)
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.training.folder_lock import folder_lock
from implicit_loc_trainer.training.run_folder import is_finished

RESULTS = 'scenes.json'
_LOCK = '.lock'


def train_many(
    recipe: Recipe,
    train_arguments: Sequence[str],
    recordings: Sequence[str],
    output: Path,
    ray_address: str | None = None,
) -> int:
    """Train a recipe on every recording; prints a table and writes it as JSON.

    Args:
        recipe: of all.
        train_arguments: from which `implicit-loc train` makes this recipe.
        recordings: PATH or NAME=PATH.
        output: folder of all runs.
        ray_address: see train_on_cluster; None = one scene after the other, here.

    Returns:
        The exit status: 0, 1 if a training failed, 130 if it was interrupted.
    """
    console = Console(highlight=False, soft_wrap=True)
    scenes = name_scenes(recordings, output)
    output.mkdir(parents=True, exist_ok=True)
    with folder_lock(output, _LOCK, 'wait for it, or choose another --output'):
        spent = minutes_before(output / RESULTS)
        outcomes, jobs = _sort(scenes, recipe, train_arguments, spent)
        for outcome in outcomes.values():
            _say(console, outcome)
        coming = (
            _one_after_the_other(jobs, console)
            if ray_address is None
            else train_on_cluster(jobs, recipe.run, ray_address)
        )
        try:
            for outcome in coming if jobs else ():
                _say(console, outcome)
                outcomes[outcome.name] = outcome
                _write(output, scenes, outcomes, spent)
        except KeyboardInterrupt:
            pass
        rows = _write(output, scenes, outcomes, spent)
    console.print(_table(rows))
    console.print(f'written: {output / RESULTS}')
    states = {outcome.state for outcome in rows}
    return 130 if INTERRUPTED in states else int(FAILED in states)


def _sort(
    scenes: Sequence[Scene],
    recipe: Recipe,
    train_arguments: Sequence[str],
    spent: Mapping[str, float],
) -> tuple[dict[str, Outcome], list[Job]]:
    """Scenes that are finished, and what there is to do for the others."""
    outcomes, jobs = {}, []
    for scene in scenes:
        minutes = spent.get(scene.name, 0.0)
        if is_finished(scene.folder, scene.recipe(recipe)):
            try:
                outcomes[scene.name] = finished(scene, EARLIER, minutes)
                continue
            except CheckpointError:
                # The training writes it again.
                pass
        own = (f'--data.path={scene.data}', f'--run.output={scene.folder}')
        jobs.append(Job(scene, (*train_arguments, *own), os.getcwd(), minutes))
    return outcomes, jobs


def _one_after_the_other(jobs: Sequence[Job], console: Console) -> Iterator[Outcome]:
    for job in jobs:
        name = job.scene.name
        console.print(f'{name}: training on {job.scene.data}')
        if console.is_terminal:
            with console.status(name) as status:
                outcome = train_scene(job, partial(_show, status, name))
        else:
            outcome = train_scene(job)
        yield outcome
        if outcome.state == INTERRUPTED:
            return


def _show(status: Status, name: str, line: str) -> None:
    status.update(escape(f'{name}: {line}'))


def _write(
    output: Path,
    scenes: Sequence[Scene],
    outcomes: dict[str, Outcome],
    spent: Mapping[str, float],
) -> list[Outcome]:
    """Writes and returns one row per scene, also for those that had no turn yet."""
    rows = [
        outcomes.get(scene.name)
        or Outcome(scene.name, scene.data, INTERRUPTED, minutes=spent.get(scene.name, 0.0))
        for scene in scenes
    ]
    write_outcomes(output / RESULTS, rows)
    return rows


def _say(console: Console, outcome: Outcome) -> None:
    why = f': {outcome.message} (more in {outcome.log})' if outcome.state == FAILED else ''
    console.print(f'{outcome.name}: {outcome.state}{why}', markup=False)


def _table(rows: Sequence[Outcome]) -> Table:
    table = Table()
    for title in ('scene', 'state'):
        table.add_column(title)
    for title in ('validation median', 'minutes'):
        table.add_column(title, justify='right')
    for row in rows:
        median = '-'
        if row.median_translation_m is not None and row.median_rotation_deg is not None:
            median = errors_text(row.median_translation_m, row.median_rotation_deg)
        table.add_row(
            row.name,
            row.state,
            median,
            f'{row.minutes:.1f}',
        )
    return table
