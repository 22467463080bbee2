"""Say whether a recording is fit to train on, and what is wrong with it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from implicit_loc_trainer.output_files import check_writable

if TYPE_CHECKING:
    from implicit_loc_trainer.check.checking import Report
    from implicit_loc_trainer.datasets.sample import Sample

UNFIT = 2

_COLOURS = {'OK': 'green', 'WARN': 'yellow', 'ERROR': 'bold red'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument('data', metavar='DATA', type=Path, help='a recording, or demo-room')
    parser.add_argument(
        '--split',
        metavar='S',
        default='train',
        help='train, test, both, or a file that lists frame names, one a line (default: train)',
    )
    parser.add_argument(
        '--frames',
        metavar='N',
        type=_at_least_five,
        default=300,
        help='frames whose features are matched (default: 300)',
    )
    parser.add_argument('--json', metavar='F', type=Path, help='write findings and figures')
    parser.add_argument('--picture', metavar='F', type=Path, help='draw everything on one page')
    parser.add_argument(
        '--output', metavar='DIR', type=Path, help='the same as DIR/check.json and DIR/check.png'
    )


def run(arguments: argparse.Namespace) -> int:
    """Checks, prints the findings and writes what was asked for.

    Returns:
        The exit status: 0 where the recording is fit to train on, 2 where something must be
        repaired first.

    Raises:
        ImplicitLocError: the recording cannot be opened, or an output cannot be written; the
            latter is found before the check starts.
        OSError: reading or writing failed.
    """
    json_file, picture_file = arguments.json, arguments.picture
    if arguments.output is not None:
        json_file = json_file or arguments.output / 'check.json'
        picture_file = picture_file or arguments.output / 'check.png'
    for path in (json_file, picture_file):
        if path is not None:
            check_writable(path)
    splits = _splits(arguments.data, arguments.split)
    # SciPy and OpenCV take a second to import: not for --help.
    from implicit_loc_trainer.check import files
    from implicit_loc_trainer.check.checking import check
    from implicit_loc_trainer.check.recording import Recording

    with Console(stderr=True).status('opening', spinner='dots') as status:
        quiet = not sys.stderr.isatty()
        say = (lambda _: None) if quiet else status.update
        report = check(Recording.of(splits), arguments.frames, say)
    _print(report, str(arguments.data))
    if json_file is not None:
        files.write_json(json_file, report)
        print(f'written: {json_file}')
    if picture_file is not None:
        from implicit_loc_trainer.check.page import draw

        draw(picture_file, report, str(arguments.data))
        print(f'written: {picture_file}')
    return 0 if report.is_fit else UNFIT


def _at_least_five(text: str) -> int:
    value = int(text)
    if value < 5:
        raise argparse.ArgumentTypeError('at least 5 frames are needed')
    return value


def _splits(data: Path, split: str) -> 'dict[str, list[Sample]]':
    from implicit_loc_trainer.datasets import open_dataset

    if split == 'both':
        return {name: open_dataset(data, name) for name in ('train', 'test')}
    if split in ('train', 'test'):
        return {split: open_dataset(data, split)}
    return {split: open_dataset(data, Path(split))}


def _print(report: 'Report', name: str) -> None:
    console = Console(soft_wrap=True)
    for finding in report.findings:
        grade = finding.grade.value
        line = Text.assemble((f'{grade:5}', _COLOURS[grade]), ' ', finding.message)
        console.print(line)
        if finding.advice and grade != 'OK':
            console.print(Text(f'      -> {finding.advice}'))
    depth = report.depth
    if depth is not None and depth.near == depth.near:
        console.print(
            Text(f'recipe:\n  network:\n    near: {depth.near:g}\n    far: {depth.far:g}')
        )
    errors = sum(finding.grade.value == 'ERROR' for finding in report.findings)
    warnings = sum(finding.grade.value == 'WARN' for finding in report.findings)
    verdict = 'fit to train on' if report.is_fit else 'NOT fit to train on'
    console.print(Text(f'{name}: {verdict} ({errors} errors, {warnings} warnings)', style='bold'))
