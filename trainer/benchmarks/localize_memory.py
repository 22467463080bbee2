"""Whether a localizer's memory stays flat over many images.

    python trainer/benchmarks/localize_memory.py models/redkitchen.safetensors --data RECORDING

Localizes the test frames again and again in one process and prints its resident memory on the way.
"""

import argparse
import time
from itertools import cycle, islice
from pathlib import Path

from rich.console import Console

from implicit_loc.errors import AlignmentError
from implicit_loc.localizer import Localizer
from implicit_loc_trainer.datasets import open_dataset

# What has been done once by then is everything that a localizer does.
_SETTLED = 500
_LOOKS = (1, 100, _SETTLED, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


def resident_mb() -> float:
    """Resident memory of this process, 10^6 bytes."""
    status = Path('/proc/self/status').read_text(encoding='ascii')
    (line,) = (line for line in status.splitlines() if line.startswith('VmRSS'))
    return 1024 * int(line.split()[1]) / 1e6


def main() -> None:
    """Localize, and print the memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('checkpoint')
    parser.add_argument('--data', required=True, help='a recording of its place')
    parser.add_argument('--frames', type=int, default=10_000, help='default %(default)s')
    parser.add_argument('--threads', type=int, default=1, help='default %(default)s')
    parser.add_argument('--runtime', default='auto', help='default %(default)s')
    arguments = parser.parse_args()
    console = Console(highlight=False)
    localizer = Localizer.load(
        arguments.checkpoint, 'cpu', runtime=arguments.runtime, threads=arguments.threads
    )
    samples = open_dataset(arguments.data, 'test')
    localizer.warm_up(samples[0].camera)
    console.print(localizer.runtime.name)
    settled, lost, begin = None, 0, time.monotonic()
    for number, sample in enumerate(islice(cycle(samples), arguments.frames), 1):
        try:
            localizer.localize(sample.load_image(), sample.camera)
        except AlignmentError:
            lost += 1
        if number in _LOOKS or number == arguments.frames:
            resident = resident_mb()
            settled = resident if number == _SETTLED else settled
            grown = '' if settled is None else f', {resident - settled:+.1f} MB since {_SETTLED}'
            seconds = time.monotonic() - begin
            console.print(f'{number} frames, {seconds:.0f} s: {resident:.1f} MB{grown}')
    console.print(f'{lost} of {arguments.frames} frames had no pose')


if __name__ == '__main__':
    main()
