"""One evaluation of a bag, from its checkpoint to its files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from implicit_loc.localizer import Localizer
from implicit_loc_trainer.bag_evaluation import outputs
from implicit_loc_trainer.bag_evaluation.alignment import (
    WorldAlignment,
    aligned,
    fit_alignment,
)
from implicit_loc_trainer.bag_evaluation.evaluating import BagEvaluation, evaluate_bag, rejection
from implicit_loc_trainer.bag_evaluation.figures import BagFigures, bag_figures
from implicit_loc_trainer.bag_evaluation.frame_pictures import FramePictures, evenly_spaced
from implicit_loc_trainer.bag_evaluation.page import Page, render
from implicit_loc_trainer.bag_evaluation.remarks import alignment_text, node_lines, remarks
from implicit_loc_trainer.bag_evaluation.requirements import Requirement
from implicit_loc_trainer.bag_evaluation.source import BagFrames, Selection, open_frames
from implicit_loc_trainer.bag_evaluation.through_node import (
    NodeOutcome,
    check_node,
    through_node,
)
from implicit_loc_trainer.bag_evaluation.truth import TruthSource
from implicit_loc_trainer.datasets.bag_options import Recording
from implicit_loc_trainer.evaluation import pictures
from implicit_loc_trainer.evaluation.frames import Evaluation, ShownFrame
from implicit_loc_trainer.output_files import replacing
from implicit_loc_trainer.report.measuring import apart


@dataclass(frozen=True)
class Task:
    """What is to be evaluated, and how.

    Attributes:
        checkpoint: .safetensors file.
        recording: the bag and its topics.
        selection: which of its images.
        truth: where the true poses are.
        min_confidence: that of an accepted pose at least.
        align: whether one rigid motion is taken out before poses are compared.
        device: as for `Localizer`.
        solver: likewise.
        pictures: of how many frames the page keeps pictures.
        through_node: whether the images are also shown to the running node.
        runtime: as for `Localizer`.
        threads: likewise.
    """

    checkpoint: Path
    recording: Recording
    selection: Selection
    truth: TruthSource
    min_confidence: float
    align: bool
    device: str
    solver: str
    pictures: int
    through_node: bool = False
    runtime: str = 'auto'
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        source: the images.
        found: by the localizer; its estimates aligned, if that was asked for.
        figures: of all frames.
        alignment: that was taken out; None if none was.
        device: that the network ran on.
        runtime: that executed it, by its exact name.
        node: what came through the node; None if that was not asked for.
    """

    source: BagFrames
    found: BagEvaluation
    figures: BagFigures
    alignment: WorldAlignment | None
    device: str
    runtime: str
    node: NodeOutcome | None = None

    @property
    def evaluation(self) -> Evaluation:
        """The frames, in the order of time."""
        return self.found.evaluation

    @property
    def numbers(self) -> dict[str, float]:
        """All figures that are one number, by name."""
        through_node = {} if self.node is None else asdict(self.node.figures)
        return {**self.figures.numbers, **through_node}


def evaluate_task(task: Task) -> Outcome:
    """Opens bag and checkpoint and localizes the images.

    Raises:
        ImplicitLocError: bag, truth or checkpoint cannot be used, the camera is unlike the
            training camera, or `align` is not possible.
    """
    if task.through_node:
        check_node()
    source = open_frames(task.recording, task.selection, task.truth)
    localizer = Localizer.load(
        task.checkpoint, task.device, task.solver, task.runtime, task.threads
    )
    # Refuses a camera that no image of it could be localized with.
    localizer.warm_up(source.camera)
    names = [sample.name for sample in source.samples]
    found = evaluate_bag(
        localizer, source.samples, FramePictures(evenly_spaced(names, task.pictures))
    )
    evaluation, alignment = found.evaluation, None
    if task.align:
        accepted = [
            frame for frame in evaluation.frames if not rejection(frame, task.min_confidence)
        ]
        alignment = fit_alignment(accepted)
        evaluation = _aligned(evaluation, alignment)
    evaluation = replace(
        evaluation,
        best=apart(evaluation.best, source.samples),
        worst=apart(evaluation.worst, source.samples),
    )
    figures = bag_figures(evaluation.frames, task.min_confidence)
    found = replace(found, evaluation=evaluation)
    device, runtime = str(localizer.device), localizer.runtime.name
    outcome = Outcome(source, found, figures, alignment, device, runtime)
    if not task.through_node:
        return outcome
    # Its network is no longer needed, and the node's needs the memory.
    del localizer
    node = through_node(task.recording.bag, source, _parameters(task), alignment)
    return replace(outcome, node=node)


def _parameters(task: Task) -> dict[str, str | float]:
    """Of the node."""
    return {
        'checkpoint': str(task.checkpoint.resolve()),
        'device': task.device,
        'solver': task.solver,
        'min_confidence': task.min_confidence,
        'runtime': task.runtime,
        # In the parameters of the node, 0 is what PyTorch decides.
        'threads': task.threads or 0,
    }


def write_outcome(
    folder: Path, task: Task, outcome: Outcome, requirements: Sequence[Requirement]
) -> list[Path]:
    """Writes figures, frames, trajectories, plots and the page.

    Args:
        folder: for all of them.
        task: that was done.
        outcome: of it.
        requirements: on the figures.

    Returns:
        What was written.

    Raises:
        OSError: a file cannot be written.
    """
    frames, messages = outcome.evaluation.frames, outcome.source.messages
    outputs.write_figures(folder / outputs.FIGURES, _json(task, outcome, requirements))
    outputs.write_frames(folder / outputs.FRAMES, frames, messages, task.min_confidence)
    outputs.write_trajectories(folder, frames, messages, task.min_confidence)
    pictures.draw(folder / outputs.PLOTS, outcome.evaluation, task.min_confidence)
    page = render(_page(task, outcome, requirements))
    with replacing(folder / outputs.REPORT) as temporary:
        temporary.write_text(page, encoding='utf-8')
    names = (outputs.FIGURES, outputs.FRAMES, outputs.ESTIMATE, outputs.TRUTH, outputs.PLOTS)
    return [folder / name for name in (*names, outputs.REPORT)]


def settings(task: Task, outcome: Outcome) -> dict[str, Any]:
    """How it was measured, by names that the command's options have."""
    recording, truth, selection = task.recording, task.truth, task.selection
    source = outcome.source
    return {
        'bag': str(recording.bag),
        'checkpoint': str(task.checkpoint),
        'image_topic': source.image_topic,
        'truth': source.truth,
        'time_offset_s': truth.time_offset_s,
        'max_time_difference_s': recording.max_gap_s,
        'start_s': selection.start_s,
        'duration_s': selection.duration_s if math.isfinite(selection.duration_s) else None,
        'every': selection.every,
        'min_confidence': task.min_confidence,
        'solver': task.solver,
        'device': outcome.device,
        'runtime': outcome.runtime,
        'images_in_bag': source.images,
        'images_without_stamp': source.without_stamp,
        'images_without_truth': source.without_truth,
        'images_out_of_order': source.out_of_order,
    }


def _aligned(evaluation: Evaluation, alignment: WorldAlignment) -> Evaluation:
    frames = aligned(evaluation.frames, alignment)
    by_name = {frame.name: frame for frame in frames}

    def shown(part: Sequence[ShownFrame]) -> list[ShownFrame]:
        return [replace(frame, result=by_name[frame.result.name]) for frame in part]

    return replace(
        evaluation, frames=frames, best=shown(evaluation.best), worst=shown(evaluation.worst)
    )


def _json(task: Task, outcome: Outcome, requirements: Sequence[Requirement]) -> Mapping[str, Any]:
    alignment = outcome.alignment
    numbers = outcome.numbers
    return {
        **outcome.figures.as_json(),
        **({} if outcome.node is None else outcome.node.as_json()),
        'seconds_per_frame': outcome.found.seconds_per_frame,
        'truth_from_map': None if alignment is None else alignment.truth_from_map.tolist(),
        'requirements': [
            {'requirement': str(one), 'is_met': one.is_met(numbers)} for one in requirements
        ],
        'settings': settings(task, outcome),
    }


def _page(task: Task, outcome: Outcome, requirements: Sequence[Requirement]) -> Page:
    numbers = outcome.numbers
    when = datetime.now().astimezone().strftime('%Y-%m-%d %H:%M')
    bag = task.recording.bag
    return Page(
        title=f'{task.checkpoint.name} on {bag.name}',
        origin=f'{bag.resolve()}, {outcome.source.image_topic}, localized {when}',
        evaluation=outcome.evaluation,
        figures=outcome.figures,
        views=outcome.found.views,
        min_confidence=task.min_confidence,
        requirements=[(one.is_met(numbers), one.verdict(numbers)) for one in requirements],
        alignment=alignment_text(outcome.alignment),
        settings={
            name: '-' if value is None else str(value)
            for name, value in settings(task, outcome).items()
        },
        remarks=[
            *remarks(
                outcome.source, outcome.evaluation.frames, task.min_confidence, outcome.alignment
            ),
            *node_lines(outcome.node),
        ],
    )
