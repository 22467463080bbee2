"""How much memory a training takes on a CPU.

    python trainer/benchmarks/training_memory.py trainer/configs/default.yaml --frames 1000

Writes a recording of 640x480 images, lets `implicit-loc train` read it, train a few steps and
write its state, and prints the largest memory that the process had; then ends it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

# Different images; the recording's frames are links to them in turn.
_IMAGES = 20
_HELD_OUT = 20


def write_recording(folder: Path, frames: int) -> None:
    """A folder as that of redkitchen."""
    random = np.random.default_rng(0)
    (folder / 'rgb').mkdir(parents=True)
    for number in range(_IMAGES):
        coarse = random.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number}.jpg'), cv2.resize(coarse, (640, 480)))
    names = [f'{index:06d}' for index in range(frames + _HELD_OUT)]
    for index, name in enumerate(names):
        os.link(folder / f'{index % _IMAGES}.jpg', folder / 'rgb' / f'frame-{name}.jpg')
    places = random.uniform(-1, 1, (len(names), 3)).round(3)
    poses = [f'{name} {x} {y} {z} 0 0 0 1' for name, (x, y, z) in zip(names, places, strict=True)]
    (folder / 'poses_sfm.txt').write_text('\n'.join(poses))
    (folder / 'train.txt').write_text('\n'.join(names[:frames]))
    (folder / 'test.txt').write_text('\n'.join(names[frames:]))


def largest_memory(command: list[str], state: Path, states: int) -> int:
    """Bytes of the process, shared pages included, until it has written a number of states."""
    process = subprocess.Popen(command)
    seen, largest = set(), 0
    try:
        while len(seen) < states:
            if process.poll() is not None:
                raise SystemExit(f'the training ended early, with status {process.returncode}')
            status = Path(f'/proc/{process.pid}/status').read_text(encoding='ascii')
            # A process that has just ended has none.
            for line in status.splitlines():
                if line.startswith('VmHWM'):
                    largest = 1024 * int(line.split()[1])
            if state.is_file():
                seen.add(state.stat().st_mtime_ns)
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    return largest


def main() -> None:
    """Train, and print the memory."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('recipe', help='the training, for instance default.yaml')
    parser.add_argument('--frames', type=int, default=1000, help='default %(default)s')
    parser.add_argument('--steps', type=int, default=5, help='default %(default)s')
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        recording, run = Path(name) / 'recording', Path(name) / 'run'
        write_recording(recording, arguments.frames)
        command = [sys.executable, '-m', 'implicit_loc_trainer.cli', 'train', arguments.recipe]
        entries = {
            'data.path': recording,
            'run.output': run,
            'run.device': 'cpu',
            # A state before every step.
            'run.save_every_minutes': 1e-9,
        }
        for entry, value in entries.items():
            command += [f'--{entry}', str(value)]
        largest = largest_memory(command, run / 'last.ckpt', arguments.steps)
    console = Console(highlight=False)
    console.print(f'{arguments.frames} frames: at most {largest / 1e9:.2f} GB of memory')


if __name__ == '__main__':
    main()
