"""Localizes a recording with the real ROS 2 node, over DDS and in real time, and sums it up."""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc_trainer.commands.common import count, positive
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.output_files import check_writable
from replay import picture, recording, report
from replay.answered_recording import write_answered
from replay.arguments import add_map
from replay.child_process import ROOT, transport_environment
from replay.ending import exit_status
from replay.errors import ReplayError
from replay.playback import replay
from replay.recording import Frame

PICTURE = 'trajectory.png'
ANSWERED = 'localized'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; known errors end in one line and exit status 1."""
    parsed = _parser().parse_args(arguments)
    os.environ.update(transport_environment())
    return exit_status(lambda: run(parsed), parsed.output, _say)


def run(parsed: argparse.Namespace) -> None:
    """Record, play, compare, write.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, a process ended, no pose arrived.
        OSError: an output cannot be written.
    """
    output: Path = parsed.output
    for path in (output / PICTURE, parsed.json):
        if path is not None:
            check_writable(path)
    # The node would refuse a bad checkpoint, too, but only after all images are rendered.
    _, description = load_checkpoint(parsed.checkpoint)
    samples = open_dataset(parsed.data, parsed.split or 'test')[: parsed.frames]
    frames = recording.frames_at(samples, parsed.rate)
    bag = output / 'recording'
    _record(bag, samples, frames, parsed.rate)
    _say(
        f'playing {len(frames)} images at {parsed.rate:g} Hz to the node, '
        f'{len(frames) / parsed.rate:.0f} s; to watch, set '
        f'ROS_DOMAIN_ID={os.environ["ROS_DOMAIN_ID"]}'
    )
    parameters = {'checkpoint': str(parsed.checkpoint.resolve()), 'device': parsed.device}
    arrivals = replay(bag, frames, parameters, output)
    results = report.results(arrivals, frames)
    figures = report.figures(
        results, report.transforms_received(arrivals, frames), report.refusals(arrivals)
    )
    print(f'{parsed.checkpoint.name} ({description.dataset}) on {parsed.data}')
    print(report.summary_text(figures))
    if parsed.json is not None:
        report.write_json(parsed.json, figures)
    title = (
        f'{parsed.data}: {figures.poses_received} poses for {len(frames)} images at '
        f'{parsed.rate:g} Hz, latency {figures.latency_p50_ms:.0f} ms'
    )
    picture.draw(output / PICTURE, title, results)
    offset = report.clock_offset(arrivals, frames)
    write_answered(output / ANSWERED, bag, arrivals, offset)
    print(f'picture          {output / PICTURE}')
    print(f'recording        {output / ANSWERED} (mcap with images, truth, poses and TF)')


def _record(bag: Path, samples: Sequence[Sample], frames: Sequence[Frame], rate_hz: float) -> None:
    """Make the recording, unless it is there."""
    mark = recording.fingerprint(samples, rate_hz)
    needed = sum(sample.camera.width * sample.camera.height * 3 for sample in samples)
    recorded = recording.is_recorded(bag, mark)
    # The recording, and its copy with the answers, which is compressed but perhaps not by much.
    needed *= 1 if recorded else 2
    free = shutil.disk_usage(bag.parent).free
    if free < needed:
        raise ReplayError(
            f'{bag.parent} has {free / 1e6:.0f} MB left, the recordings need '
            f'{needed / 1e6:.0f} MB: free some, or name another folder with --output'
        )
    if recorded:
        return
    _say(f'recording {len(samples)} images (kept in {bag} for the next time)')
    progress = track(
        samples,
        description='recording',
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    recording.record(bag, progress, frames, mark)


def _say(text: str) -> None:
    print(f'demo: {text}', file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='scripts/demo',
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add_map(parser)
    add(
        '--split',
        metavar='FILE',
        type=Path,
        help='names of the frames, one a line; without it, the test split of the data',
    )
    add('--rate', metavar='HZ', type=positive, default=10.0, help='images per second')
    add('--frames', metavar='N', type=count, help='play the first N frames only')
    add(
        '--output',
        metavar='DIR',
        type=Path,
        default=ROOT / 'output' / 'demo',
        help='folder for recordings, picture and logs',
    )
    add('--json', metavar='FILE', type=Path, help='write the figures')
    add('--device', metavar='D', default='auto', help='auto, cpu, cuda or cuda:N')
    return parser
