"""Measure how well a checkpoint localizes the frames of a recording."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from implicit_loc.confidence import LEAST_CONFIDENCE
from implicit_loc.errors import CameraError, ImplicitLocError
from implicit_loc_trainer.commands.common import (
    add_checkpoint,
    add_data,
    add_device,
    add_split,
    open_split,
    share,
)
from implicit_loc_trainer.output_files import check_writable
from implicit_loc_trainer.tracking import counted, tracked

if TYPE_CHECKING:
    from implicit_loc.localizer import Localizer
    from implicit_loc_trainer.datasets import Sample
    from implicit_loc_trainer.evaluation.frames import Evaluation, FrameResult
    from implicit_loc_trainer.evaluation.lost import LostDetection
    from implicit_loc_trainer.evaluation.masks import MaskSource

# Of each kind of foreign images: enough for a share within a few percent.
_FOREIGN_IMAGES = 50
_WIDTH = 140


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    add_checkpoint(parser)
    add_data(parser, 'a recording with poses')
    add_split(parser, 'frames to evaluate', 'test')
    add_device(parser)
    parser.add_argument(
        '--solver', metavar='NAME', help='how poses are found (default: as the node does)'
    )
    parser.add_argument(
        '--compare-solvers',
        action='store_true',
        help='also find poses in every other way, from the same predictions',
    )
    parser.add_argument(
        '--min-confidence',
        metavar='C',
        type=share,
        default=LEAST_CONFIDENCE,
        help=f'poses below are not accepted, 0 to 1 (default: {LEAST_CONFIDENCE:g})',
    )
    parser.add_argument(
        '--lost',
        action='store_true',
        help='also measure whether images of other places and of nothing are told apart',
    )
    _add_mask_arguments(parser)
    _add_outputs(parser)


def _add_mask_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('masks', 'which pixels are ignored; none by default')
    group.add_argument(
        '--masks',
        metavar='DIR',
        type=Path,
        help='files called like the frames, .png, non-zero = ignore',
    )
    group.add_argument(
        '--segmentation', metavar='MODEL', help='a segmentation network of torchvision'
    )
    group.add_argument(
        '--segmentation-weights', metavar='F', type=Path, help='its weights: 21 or 19 classes'
    )
    group.add_argument(
        '--ignore-classes',
        metavar='C,...',
        help='classes to ignore, for instance person,car,sky (default: all that move)',
    )


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('outputs')
    group.add_argument('--json', metavar='F', type=Path, help='write the figures')
    group.add_argument('--csv', metavar='F', type=Path, help='write the errors of every frame')
    group.add_argument('--tum', metavar='F', type=Path, help='write the estimated trajectory')
    group.add_argument(
        '--pictures',
        metavar='DIR',
        type=Path,
        help='draw errors, trajectory, frames, and what confidence and covariance are worth',
    )


def run(arguments: argparse.Namespace) -> int:
    """Evaluates, prints the figures and writes what was asked for.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: checkpoint, data or masks cannot be used, or an output cannot be
            written; the latter is found before the evaluation starts.
        OSError: reading or writing failed.
    """
    # PyTorch and matplotlib take seconds to import: not for --help.
    from implicit_loc.solvers import DEFAULT_SOLVER, SOLVERS
    from implicit_loc_trainer.evaluation.running import evaluate

    _check_outputs(arguments)
    samples = open_split(arguments.data, arguments.split)
    solver = arguments.solver or DEFAULT_SOLVER
    localizer = _load(arguments, solver, samples)
    others = [name for name in SOLVERS if name != solver] if arguments.compare_solvers else []
    results = evaluate(
        localizer, tracked(samples, 'evaluating'), others, _masks(arguments, localizer, samples)
    )
    lost = _detect_lost(arguments, localizer, samples, results) if arguments.lost else None
    # Where nobody looks, eighty columns would only break the cells of the widest table.
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    title = f'{arguments.checkpoint.name} on {arguments.data}'
    console.print(_table(results, arguments.min_confidence, title))
    if results.solvers:
        console.print(_solver_table(results))
    if lost is not None:
        console.print(_lost_table(lost, arguments.min_confidence))
    _print_lost(console, results.frames)
    for path in _write(arguments, results, lost, localizer.runtime.name):
        console.print(f'written: {path}', highlight=False, soft_wrap=True)
    return 0


def _load(arguments: argparse.Namespace, solver: str, samples: 'Sequence[Sample]') -> 'Localizer':
    """The localizer: on a GPU as the node runs it, warmed up; on a CPU in eager PyTorch.

    There, whether an export lies beside the checkpoint would decide about figures and times.
    """
    from implicit_loc.localizer import Localizer
    from implicit_loc.runtimes import AUTO, select_device

    on_gpu = select_device(arguments.device).type == 'cuda'
    runtime = AUTO if on_gpu else 'eager'
    localizer = Localizer.load(arguments.checkpoint, arguments.device, solver, runtime)
    if on_gpu:
        sizes = {(each.camera.width, each.camera.height): each.camera for each in samples}
        for camera in sizes.values():
            # Of another aspect than in training: its frames will be lost with this as the reason.
            with suppress(CameraError):
                localizer.warm_up(camera)
    return localizer


def _check_outputs(arguments: argparse.Namespace) -> None:
    from implicit_loc_trainer.evaluation.pictures import PICTURES

    for path in (arguments.json, arguments.csv, arguments.tum):
        if path is not None:
            check_writable(path)
    if arguments.pictures is not None:
        for name in PICTURES:
            check_writable(arguments.pictures / name)


def _masks(
    arguments: argparse.Namespace, localizer: 'Localizer', samples: 'Sequence[Sample]'
) -> 'MaskSource':
    from implicit_loc_trainer.evaluation import masks

    if arguments.segmentation is None:
        for option in ('segmentation_weights', 'ignore_classes'):
            if getattr(arguments, option) is not None:
                raise ImplicitLocError(f'--{option.replace("_", "-")} needs --segmentation MODEL')
        if arguments.masks is None:
            return masks.no_masks
        return masks.masks_of_folder(arguments.masks, samples)
    if arguments.masks is not None:
        raise ImplicitLocError('--masks and --segmentation exclude each other: give one')
    if arguments.segmentation_weights is None:
        raise ImplicitLocError('--segmentation needs --segmentation-weights FILE')
    # torchvision takes seconds to import, and most evaluations need no masks.
    from implicit_loc_trainer.segmentation import Segmenter

    classes = arguments.ignore_classes
    names = None if classes is None else [name.strip() for name in classes.split(',')]
    return masks.masks_of_network(
        Segmenter(arguments.segmentation, arguments.segmentation_weights, names, localizer.device)
    )


def _detect_lost(
    arguments: argparse.Namespace,
    localizer: 'Localizer',
    samples: 'Sequence[Sample]',
    results: 'Evaluation',
) -> 'LostDetection':
    from implicit_loc_trainer.evaluation.lost import detect_lost, foreign_images
    from implicit_loc_trainer.foreign_images import foreign_kinds

    kinds = foreign_kinds(arguments.data)
    total = len(kinds) * min(_FOREIGN_IMAGES, len(samples))
    images = foreign_images(samples, kinds, _FOREIGN_IMAGES)
    return detect_lost(localizer, results.frames, counted(images, 'foreign images', total))


def _write(
    arguments: argparse.Namespace,
    results: 'Evaluation',
    lost: 'LostDetection | None',
    runtime: str,
) -> list[Path]:
    """Writes the files that were asked for and returns their paths."""
    from implicit_loc_trainer.evaluation import files, pictures

    written = []
    if arguments.json is not None:
        files.write_json(arguments.json, results, arguments.min_confidence, lost, runtime)
        written.append(arguments.json)
    if arguments.csv is not None:
        files.write_csv(arguments.csv, results)
        written.append(arguments.csv)
    if arguments.tum is not None:
        files.write_estimates(arguments.tum, results.frames)
        written.append(arguments.tum)
    if arguments.pictures is not None:
        drawn = pictures.draw(arguments.pictures, results, arguments.min_confidence, lost)
        written.extend(drawn)
    return written


def _table(results: 'Evaluation', min_confidence: float, title: str) -> Table:
    from implicit_loc_trainer.evaluation import tables

    table = Table(title=title, title_justify='left')
    table.add_column('')
    table.add_column(tables.title(results.solver), justify='right')
    frames = results.frames
    for part in (
        tables.cells(frames),
        tables.stage_cells(frames),
        tables.trust_cells(frames, min_confidence),
    ):
        for label, cell in part.items():
            table.add_row(label, cell)
    return table


def _solver_table(results: 'Evaluation') -> Table:
    from implicit_loc_trainer.evaluation.tables import solver_rows

    table = Table(title='solvers on the same predictions', title_justify='left')
    rows = solver_rows(results)
    for head in rows[0]:
        whole = head in ('solver', 'median', 'mean')
        table.add_column(head, justify='left' if head == 'solver' else 'right', no_wrap=whole)
    for row in rows:
        table.add_row(*row.values())
    return table


def _lost_table(lost: 'LostDetection', min_confidence: float) -> Table:
    from implicit_loc_trainer.evaluation.tables import percent

    table = Table(title='images that are not of this place', title_justify='left')
    for name in ('', 'images', 'AUROC of the confidence', 'accepted'):
        table.add_column(name, justify='right' if name else 'left')
    every = lost.as_json(min_confidence)
    for name, row in {**every['kinds'], 'all': every}.items():
        auroc = '-' if row['auroc'] is None else f'{row["auroc"]:.3f}'
        table.add_row(name, str(row['frames']), auroc, percent(row['accepted']))
    return table


def _print_lost(console: Console, frames: 'Sequence[FrameResult]') -> None:
    """Says why most of the lost frames were lost."""
    reasons = Counter(frame.lost_reason for frame in frames if frame.estimated_pose is None)
    if reasons:
        reason, count = reasons.most_common(1)[0]
        console.print(f'lost {count}x: {reason}', highlight=False, markup=False, soft_wrap=True)
