"""A node that is told to end while it exports its network: at once, and nothing is left."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('bag_player', reason='pip_ros is not installed')
pytest.importorskip('implicit_loc_trainer', reason='the trainer is not installed')
pytest.importorskip('onnxscript', reason='onnxscript is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')

from replay.child_process import Child, running
from replay.playback import node_command

PROMPT_S = 3.0


def exporters(folder: Path) -> list[int]:
    """Processes that export in a folder, by number."""
    found = []
    for file in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            words = file.read_bytes().decode(errors='replace').split('\0')
        except OSError:
            continue
        if any(word.endswith('onnx_export_program') for word in words) and any(
            word.startswith(str(folder)) for word in words
        ):
            found.append(int(file.parent.name))
    return found


def ended(node: Child) -> float:
    """Seconds until a process has ended, well."""
    begin = time.monotonic()
    while not node.has_ended():
        assert time.monotonic() < begin + 60
        time.sleep(0.02)
    return time.monotonic() - begin


def test_sigterm_ends_the_node_and_its_export(
    tmp_path: Path, tiny_checkpoint: Path, make_peer: Any, messages: Any
) -> None:
    # Nobody has exported it, and nothing is found in a cache.
    checkpoint, temporary = tmp_path / 'map.safetensors', tmp_path / 'temporary'
    checkpoint.write_bytes(tiny_checkpoint.read_bytes())
    temporary.mkdir()
    own = {'TMPDIR': str(temporary), 'XDG_CACHE_HOME': str(tmp_path / 'cache')}
    parameters = {'checkpoint': str(checkpoint), 'device': 'cpu', 'runtime': 'onnx'}
    command = node_command({**parameters, 'threads': 1, 'min_confidence': 0.0})
    log = tmp_path / 'node.log'
    with running('the node', command, log, {**os.environ, **own}) as node:
        peer = make_peer('')
        peer.wait_for_subscriber(peer.images)

        def exports() -> bool:
            # It begins behind an image.
            peer.camera_infos.publish(messages.camera_info())
            peer.images.publish(messages.image(peer.next_stamp()))
            return bool(exporters(temporary))

        peer.wait(exports, 'the export')
        os.kill(node.pid, signal.SIGTERM)
        assert ended(node) < PROMPT_S
    begin = time.monotonic()
    while exporters(temporary):
        assert time.monotonic() < begin + PROMPT_S
        time.sleep(0.02)
    # Neither the exporter's folder nor the identifier that ONNX Runtime's telemetry would keep.
    assert not list(temporary.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {
        *('map.safetensors', 'temporary', 'node.log')
    }
    assert 'Traceback' not in log.read_text()
    peer.close()
