"""Measures the real ROS 2 node: image published to pose received, over DDS, at several rates."""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from replay.child_process import Child, running, transport_environment
from replay.collector import Collector
from replay.ending import exit_status
from replay.playback import await_active, node_command
from rich.console import Console

from bench import figures
from bench.arguments import add_recording_and_node, recorded_samples
from bench.camera import TOPICS as TRANSPORTS
from bench.session import TOPICS, run
from bench.shots import write_shots
from implicit_loc.checkpoint import load_checkpoint
from implicit_loc_trainer.commands.common import count
from implicit_loc_trainer.output_files import check_writable

_WIDTH = 180


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; known errors end in one line and exit status 1."""
    parsed = _parser().parse_args(arguments)
    os.environ.update(transport_environment())
    return exit_status(lambda: measure(parsed), parsed.output, _say)


def measure(parsed: argparse.Namespace) -> None:
    """Prepare the images, run all rates over all transports, print and write the figures.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, or a process ended.
        OSError: an output cannot be written.
    """
    for path in (parsed.output / 'log', parsed.json, parsed.markdown):
        if path is not None:
            check_writable(path)
    # The node would refuse a bad checkpoint, too, but only after all images are rendered.
    load_checkpoint(parsed.checkpoint)
    samples = recorded_samples(parsed)
    rows = []
    with tempfile.TemporaryDirectory(prefix='implicit-loc-') as shots:
        _say(f'preparing {len(samples)} images')
        write_shots(Path(shots), samples)
        for transport in parsed.transports:
            with _active_node(parsed, transport) as (node, collector):
                for number, (rate, watched) in enumerate(_runs(parsed)):
                    frames, looked = parsed.frames, ', watched' if watched else ''
                    _say(f'{transport}: {frames} at {rate:g} Hz{looked}, {frames / rate:.0f} s')
                    log = parsed.output / f'camera_{transport}_{number}_{rate:g}.log'
                    found = run(
                        collector, node, Path(shots), transport, rate, frames, log, watched
                    )
                    rows.append(figures.figures(found))
    camera = samples[0].camera
    title = (
        f'{parsed.checkpoint.name} on {parsed.data}, {camera.width}x{camera.height}, '
        f'{parsed.frames} images each'
    )
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    console.print(figures.table(rows, title))
    for change in figures.changes(rows):
        console.print(change.text())
    if parsed.json is not None:
        settings = {
            'checkpoint': str(parsed.checkpoint),
            'data': parsed.data,
            'parameters': _parameters(parsed),
        }
        figures.write_json(parsed.json, rows, settings)
    if parsed.markdown is not None:
        figures.write_markdown(parsed.markdown, rows, title)


def _runs(parsed: argparse.Namespace) -> Iterator[tuple[float, bool]]:
    """Rates, and whether somebody looks at the debug topics."""
    turns = [False, True] * parsed.watched if parsed.watched else [False]
    for rate in parsed.rates:
        yield from ((rate, watched) for watched in turns)


@contextmanager
def _active_node(parsed: argparse.Namespace, transport: str) -> Iterator[tuple[Child, Collector]]:
    command = node_command({'image_transport': transport, **_parameters(parsed)})
    log = parsed.output / f'node_{transport}.log'
    with Collector(TOPICS) as collector, running('the node', command, log) as node:
        await_active(node, collector, TRANSPORTS[transport][0])
        yield node, collector


def _parameters(parsed: argparse.Namespace) -> dict[str, str | float]:
    # What the images show is played faster than it was recorded, and backwards: with the gate,
    # poses would be refused for their speed.
    own = {
        'checkpoint': str(parsed.checkpoint.resolve()),
        'device': parsed.device,
        'min_confidence': 0.0,
        'gate_timeout_s': 0.0,
    }
    return {**own, **dict(parsed.parameter)}


def _say(text: str) -> None:
    print(f'bench_node: {text}', file=sys.stderr, flush=True)


def _rates(text: str) -> list[float]:
    try:
        rates = [float(part) for part in text.split(',')]
    except ValueError:
        rates = [math.nan]
    if not all(0 < rate < math.inf for rate in rates):
        raise argparse.ArgumentTypeError(f'{text!r} must be numbers above 0')
    return rates


def _transports(text: str) -> list[str]:
    names = [part.strip() for part in text.split(',')]
    if unknown := [name for name in names if name not in TRANSPORTS]:
        raise argparse.ArgumentTypeError(f'{unknown[0]!r} is none of {", ".join(TRANSPORTS)}')
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='scripts/bench_node',
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_recording_and_node(parser, 'bench_node')
    add = parser.add_argument
    add('--rates', metavar='HZ,...', type=_rates, default='10,30,70,200', help='images per second')
    add('--frames', metavar='N', type=count, default=300, help='images at each rate')
    add(
        '--transports',
        metavar='T,...',
        type=_transports,
        default=','.join(TRANSPORTS),
        help='raw images, or compressed ones (JPEG)',
    )
    add(
        '--watched',
        metavar='TURNS',
        type=count,
        default=0,
        help='so many times each run, in turns with and without listeners of the debug image, the '
        'points and the path',
    )
    add('--markdown', metavar='FILE', type=Path, help='write the table')
    return parser
