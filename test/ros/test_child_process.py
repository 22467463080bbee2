"""The processes of a replay: stopped whatever happens, and heard when they die."""

import signal
import sys
import time
from pathlib import Path

import pytest
from replay import child_process
from replay.errors import ReplayError


def test_children_are_stopped_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child_process, 'PATIENCE_S', {signal.SIGINT: 0.2, signal.SIGTERM: 0.2})
    log = tmp_path / 'log'
    deaf = (
        'import signal, time\n'
        'for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)\n'
        "print('ready', flush=True)\n"
        'time.sleep(60)'
    )
    children = []

    def interrupted() -> None:
        with child_process.running('the deaf', [sys.executable, '-c', deaf], log) as child:
            children.append(child)
            while 'ready' not in log.read_text():
                time.sleep(0.02)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(ReplayError, match='status -9'):
        children[0].has_ended()


def test_child_that_dies_is_reported_with_its_last_words(tmp_path: Path):
    dying = "print('[ERROR] [17.5] [node]: no \\'network\\''); raise SystemExit(3)"
    log = tmp_path / 'log'
    with child_process.running('the node', [sys.executable, '-c', dying], log) as child:
        while child._process.poll() is None:
            time.sleep(0.02)
        with pytest.raises(ReplayError, match="the node ended with status 3: no 'network'"):
            child.check_alive()
