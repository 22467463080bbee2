"""Reports as files: of any checkpoint, and of a training that has just ended."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.localizer import Localizer
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.recipes.recipe import Recipe, load_recipe
from implicit_loc_trainer.recipes.sections import ConfigError
from implicit_loc_trainer.report.measuring import measure
from implicit_loc_trainer.report.page import render
from implicit_loc_trainer.report.run_log import read_log
from implicit_loc_trainer.tracking import tracked
from implicit_loc_trainer.training.afterwards import attempt
from implicit_loc_trainer.training.run_folder import RECIPE

REPORT = 'report.html'
# Frames to measure where a recipe holds none out.
_FEW = 50


def write_report(
    path: Path,
    checkpoint: Path,
    data: str,
    training: Sequence[Sample],
    held_out: Sequence[Sample],
    most_frames: int,
    run: Path,
    device: str = 'auto',
    remarks: Sequence[str] = (),
) -> None:
    """Measures a checkpoint and writes the page.

    Args:
        path: of the page.
        checkpoint: to report on.
        data: what the recording is called in the page.
        training: frames that were learned from, at least one.
        held_out: frames that were not; if there are none, training frames take their place,
            and the page says so.
        most_frames: so many held-out frames are localized at most, evenly spaced.
        run: folder with the recipe and the log of the training; either may be missing.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        remarks: what else stands below the verdict.

    Raises:
        ImplicitLocError: the checkpoint or an image cannot be used.
        OSError: the page cannot be written.
    """
    localizer = Localizer.load(checkpoint, device, runtime='eager')
    measured = measure(localizer, training, held_out or training, most_frames, tracked)
    notes = [*remarks]
    if not held_out:
        notes.append(
            'No frame was held out: these are frames of the training. '
            'How good new ones will be is not known.'
        )
    elif len(measured.held_out.frames) < measured.held_out_of:
        notes.append(
            f'Measured on {len(measured.held_out.frames)} of {measured.held_out_of} held-out '
            'frames, evenly spaced.'
        )
    now = datetime.now().astimezone().strftime('%Y-%m-%d %H:%M')
    page = render(
        title=f'Localizing in {localizer.description.dataset or Path(data).name}',
        origin=f'{checkpoint} on {data}, {now}, on {localizer.device.type.upper()}',
        measured=measured,
        curves=read_log(run),
        configuration={
            'checkpoint': _facts(localizer.description),
            **_recipe_entries(run / RECIPE, localizer.description),
        },
        remarks=notes,
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding='utf-8')


def write_report_after(
    recipe: Recipe, training: Sequence[Sample], held_out: Sequence[Sample], checkpoint: Path
) -> None:
    """Writes the report of a training beside its checkpoint, or says why there is none.

    The training has succeeded by now: nothing that goes wrong here takes that back.

    Args:
        recipe: of the training.
        training: frames that were learned from.
        held_out: frames that were watched; all of them are measured.
        checkpoint: that the training wrote.
    """
    console = Console()
    if not recipe.run.report:
        return
    path = checkpoint.with_name(REPORT)
    most = len(held_out) or recipe.data.validation_frames or _FEW
    watched = (
        'Measured on the frames that were watched during the training. All of them: '
        f'`implicit-loc report {checkpoint} --data {recipe.data.path}`'
    )

    def write() -> str:
        write_report(
            path, checkpoint, recipe.data.path, training, held_out, most, path.parent,
            recipe.run.device, [watched] if held_out else (),
        )  # fmt: skip
        return f'report: {path}'

    again = f'implicit-loc report {checkpoint} --data {recipe.data.path} --output {path}'
    attempt(write, 'no report was written', again, console)


def _facts(description: CheckpointDescription) -> dict[str, Any]:
    camera = description.training_camera
    low, high = description.extent
    sides = ' x '.join(f'{b - a:.1f}' for a, b in zip(low, high, strict=True))
    return {
        'recording': description.dataset,
        'fingerprint': description.dataset_fingerprint,
        'image size (px)': f'{camera.width} x {camera.height}',
        'focal length (px)': f'{camera.focal_length:.1f}',
        'distortion': camera.distortion_model,
        'extent of the training (m)': sides,
        'input height (px)': description.input_height,
        'written by': f'implicit_loc {description.software_version}',
    }


def _recipe_entries(
    path: Path, description: CheckpointDescription
) -> Mapping[str, Mapping[str, Any]]:
    """The sections of the recipe, the network's completed by what followed from the recording.

    Of no recipe, or one of another version, the network's alone is left.
    """
    network = dataclasses.asdict(description.network)
    try:
        recipe = dataclasses.asdict(load_recipe(path))
    except ConfigError:
        return {'network': network}
    return {**recipe, 'network': {**recipe['network'], **network}}
