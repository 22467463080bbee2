"""Command line of the bag player: python -m bag_player BAG."""

import argparse
import math
import signal
import sys
from pathlib import Path
from threading import Event

import rclpy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from bag_player.player import Options, Player
from bag_player.recording import BagError, Recording


def main(arguments: list[str] | None = None) -> int:
    """Play a bag; return the exit status."""
    parsed = _parser().parse_args(arguments)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        with Recording(parsed.bag) as recording:
            node = rclpy.create_node('bag_player')
            player = Player(recording, node, _options(parsed), stop, _say)
            print(f'bag_player: {parsed.bag}, {recording.duration_s:.1f} s', flush=True)
            player.play()
            print(f'bag_player: {player.published} messages published', flush=True)
            node.destroy_node()
    except BagError as error:
        _say(str(error))
        return 1
    finally:
        try_shutdown()
    return 0


def _say(line: str) -> None:
    print(f'bag_player: {line}', file=sys.stderr, flush=True)


def _options(parsed: argparse.Namespace) -> Options:
    awaited = parsed.wait_for_subscribers
    return Options(
        rate=parsed.rate,
        loop=parsed.loop,
        start_s=parsed.start,
        topics=tuple(parsed.topics),
        clock_hz=parsed.clock,
        restamp=parsed.restamp,
        awaited=None if awaited is None else tuple(awaited),
        patience_s=parsed.patience,
    )


def _positive(text: str) -> float:
    number = _not_negative(text)
    if number == 0:
        raise argparse.ArgumentTypeError('must be more than 0')
    return number


def _not_negative(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f'{text} is not a number of 0 or more')
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='bag_player', description='Publishes a rosbag2 recording over DDS in real time.'
    )
    parser.add_argument('bag', type=Path, help='folder of the bag, or an .mcap or .db3 file')
    parser.add_argument('--rate', type=_positive, default=1.0, help='speed, 1 is real time')
    parser.add_argument('--loop', action='store_true', help='begin anew at the end')
    parser.add_argument(
        '--start', type=_not_negative, default=0.0, metavar='SECONDS', help='leave out the start'
    )
    parser.add_argument(
        '--topics', nargs='+', default=[], metavar='TOPIC', help='play these, not all'
    )
    parser.add_argument(
        '--wait-for-subscribers',
        nargs='*',
        metavar='TOPIC',
        help='begin when these topics, or all that are played, have a subscriber',
    )
    parser.add_argument(
        '--patience',
        type=_not_negative,
        default=30.0,
        metavar='SECONDS',
        help='how long to wait for subscribers (30)',
    )
    parser.add_argument(
        '--clock',
        type=_positive,
        nargs='?',
        const=100.0,
        default=0.0,
        metavar='HZ',
        help="publish the recording's time on /clock, 100 times a second unless told otherwise",
    )
    parser.add_argument(
        '--restamp',
        action='store_true',
        help='move stamps in headers and transforms to the time of playing',
    )
    return parser


if __name__ == '__main__':
    sys.exit(main())
