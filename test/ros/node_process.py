"""The node as a process of its own, for tests."""

import subprocess
import sys
from pathlib import Path


def start_node(
    log: Path,
    namespace: str,
    program: tuple[str, ...] = ('-m', 'implicit_loc_ros.localization_node'),
    **parameters: str,
) -> 'subprocess.Popen[bytes]':
    """Run the node on the CPU.

    Args:
        log: gets all that it says.
        namespace: of the node.
        program: for the interpreter.
        parameters: beside those of every test.
    """
    arguments = ['--ros-args', '-r', f'__ns:={namespace}']
    # The confidence of a network that was never trained is as it happens.
    own = {'device': 'cpu', 'runtime': 'eager', 'threads': '1', 'min_confidence': '0.0'}
    for name, value in {**own, **parameters}.items():
        arguments += ['-p', f'{name}:={value}']
    command = [sys.executable, *program, *arguments]
    with log.open('wb') as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
