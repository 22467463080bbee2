"""Calibration of a checkpoint: at the end of its training, or at any time after."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from implicit_loc.checkpoint import load_checkpoint, save_described_anew
from implicit_loc_trainer.calibration.calibrating import Outcome, calibrate
from implicit_loc_trainer.calibration.measuring import measure
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.recipes.recipe import Recipe
from implicit_loc_trainer.tracking import tracked
from implicit_loc_trainer.training.afterwards import attempt
from implicit_loc_trainer.training.frame_cache import Report, shrunk_in_memory


def calibrate_checkpoint(
    checkpoint: Path,
    samples: Sequence[Sample],
    data: str,
    output: Path,
    report: Report,
    device: str = 'auto',
) -> Outcome:
    """Measures a checkpoint on frames that it never learned, and writes what that says.

    Args:
        checkpoint: to calibrate.
        samples: frames with whole poses that it never learned from.
        data: their recording.
        output: where the calibrated checkpoint goes; may be the same file.
        report: takes a line about every frame that cannot be read.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        CalibrationError: too few frames have a pose.
        ImplicitLocError: no image can be read, or the device does not exist.
        OSError: the output cannot be written.
    """
    network, description = load_checkpoint(checkpoint)
    # Spoilt at one size, whatever the recording's: at the end of a training they are small, too.
    small = shrunk_in_memory(samples, description.input_height, report, 'calibration')
    frames = tracked(small, 'calibrating')
    outcome = calibrate(measure(network, description, frames, len(small), data, device))
    header = replace(description, calibration=outcome.calibration)
    save_described_anew(checkpoint, output, header)
    return outcome


def calibrate_after(
    recipe: Recipe, samples: Sequence[Sample], checkpoint: Path, console: Console
) -> None:
    """Calibrates the checkpoint of a training that has just ended, or says why it is not.

    The training has succeeded by now: nothing that goes wrong here takes that back.

    Args:
        recipe: of the training.
        samples: the frames that were held out from it.
        checkpoint: that it wrote; replaced.
        console: takes what is said.
    """
    if not samples:
        return
    data, device = recipe.data.path, recipe.run.device

    def calibrate_it() -> str:
        return calibrate_checkpoint(
            checkpoint, samples, data, checkpoint, console.print, device
        ).described()

    again = f'implicit-loc calibrate {checkpoint} --data {data}'
    attempt(calibrate_it, 'the map is not calibrated', again, console)
