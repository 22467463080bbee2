"""Maps are read in a thread of their own, and each localizer belongs to one thread."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')
pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')

import rclpy
from rclpy.lifecycle import TransitionCallbackReturn

from implicit_loc.localizer import Localizer
from implicit_loc_ros import maps
from implicit_loc_ros.maps import Loading, MapLoader
from implicit_loc_ros.node import LocalizationNode
from implicit_loc_ros.parameters import Parameters
from implicit_loc_ros.worker import NewestItemWorker


def taken(loader: MapLoader) -> Loading:
    deadline = time.monotonic() + 60
    while (loading := loader.take()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return loading


def test_of_several_wishes_the_last_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    localizer: Any = SimpleNamespace(warm_up=lambda export: None)
    monkeypatch.setattr(maps, 'load_localizer', lambda parameters: localizer)
    loader = MapLoader()
    for path in ('a.safetensors', 'a.safetensors', 'b.safetensors'):
        loader.begin(Parameters(checkpoint=path))
    loading = taken(loader)
    assert loading.choice.checkpoint == 'b.safetensors'
    assert loading.localizer is localizer
    assert (loader.take(), loader.wish) == (None, None)
    loader.stop()


def test_a_file_that_is_wished_for_again_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    reading, go_on = threading.Event(), threading.Event()

    def load(parameters: Parameters) -> Any:
        localizer = SimpleNamespace(warm_up=lambda export: None)
        read.append(localizer)
        reading.set()
        assert go_on.wait(10)
        return localizer

    monkeypatch.setattr(maps, 'load_localizer', load)
    loader = MapLoader()
    parameters = Parameters(checkpoint='a.safetensors')
    loader.begin(parameters)
    assert reading.wait(10)
    # Meanwhile the file may have been written anew.
    loader.begin(parameters)
    go_on.set()
    loading = taken(loader)
    assert len(read) == 2
    assert loading.localizer is read[1]
    loader.stop()


def test_no_localizer_has_two_threads(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    warming, go_on = threading.Event(), threading.Event()
    stop = NewestItemWorker.stop
    monkeypatch.setattr(
        NewestItemWorker, 'stop', lambda worker, timeout_s=0.05: stop(worker, 0.05)
    )
    values = {'checkpoint': tiny_checkpoint, 'device': 'cpu', 'runtime': 'eager'}
    rclpy.init(args=['--ros-args', *(a for k, v in values.items() for a in ('-p', f'{k}:={v}'))])
    node = LocalizationNode()
    try:
        assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS

        def warm_up(localizer: Localizer, **options: object) -> None:
            warming.set()
            go_on.wait(10)

        monkeypatch.setattr(Localizer, 'warm_up', warm_up)
        assert node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        assert warming.wait(60)
        assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
        assert node.trigger_activate() == TransitionCallbackReturn.FAILURE
        assert 'cannot activate: the last activation is still at work' in capfd.readouterr().err
        go_on.set()
        deadline = time.monotonic() + 60
        while node.trigger_activate() != TransitionCallbackReturn.SUCCESS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        go_on.set()
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
