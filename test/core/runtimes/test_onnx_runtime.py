"""ONNX Runtime: what it predicts, and when it exports."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.localizer import Localizer
from implicit_loc.runtimes import RuntimeUnavailableError, agreement
from implicit_loc.runtimes.eager import EagerRuntime
from implicit_loc.runtimes.onnx_runtime import OnnxRuntime

if TYPE_CHECKING:
    from conftest import Exported

Exports = Callable[[bytes | str], list[int]]


def test_it_predicts_what_eager_pytorch_predicts_at_any_focal_length(kept: 'Exported') -> None:
    runtime, eager = kept.runtime(), EagerRuntime(kept.task())
    twice = np.repeat(np.repeat(kept.image, 2, axis=0), 2, axis=1)
    for camera, image in (
        (kept.camera, kept.image),
        (replace(kept.camera, fx=90.0, fy=90.0), kept.image[:, ::-1]),
        (kept.camera.scaled(128, 96), twice),
    ):
        found, timings, _ = runtime.predict(image, camera)
        expected = eager.predict(image, camera).geometry
        assert max(agreement.difference(found, expected).values()) < 1e-5
        assert timings.keys() == {'preprocessing', 'network'}
        assert runtime.status.name == kept.name


def test_the_localizer_uses_the_export_beside_its_checkpoint(
    copied: 'Exported', description: CheckpointDescription
) -> None:
    """And says so; with it or without, predictions and names of the timings are the same."""
    network = copied.task().network
    small = replace(description, input_height=48, training_camera=copied.camera)
    fast, eager = (
        Localizer(network, small, 'cpu', runtime=name, checkpoint=copied.checkpoint)
        for name in ('onnx', 'eager')
    )
    assert fast.warm_up(export=False) > 0
    fast.settle()
    threads = torch.get_num_threads()
    assert fast.runtime.name.startswith('onnxruntime ')
    assert f'CPUExecutionProvider, {threads} thread' in fast.runtime.name
    found, expected = (each.predict(copied.image, copied.camera) for each in (fast, eager))
    assert max(agreement.difference(found, expected).values()) < 1e-5
    first, second = (each.localize(copied.image, copied.camera) for each in (fast, eager))
    assert first.timings.keys() >= {'preprocessing', 'network', 'total'}
    assert second.timings.keys() >= {'preprocessing', 'network', 'total'}


def test_no_later_image_overwrites_a_prediction(kept: 'Exported') -> None:
    runtime = kept.runtime()
    found = runtime.predict(kept.image, kept.camera).geometry
    before = found.map(np.copy)
    runtime.predict(255 - kept.image, kept.camera)
    np.testing.assert_array_equal(found.world_points, before.world_points)
    np.testing.assert_array_equal(found.depth, before.depth)


def test_an_unannounced_camera_is_answered_at_once_and_exported_between_images(
    copied: 'Exported', exports: Exports
) -> None:
    content = copied.file.read_bytes()
    copied.file.unlink()
    asked = exports(content)
    runtime = copied.runtime()
    runtime.predict(copied.image, copied.camera)
    assert 'eager' in runtime.status.name
    assert asked == []
    runtime.settle()
    assert 'behind the images, once; slower until then' in runtime.status.note
    runtime.settle()
    assert runtime.status.name == copied.name
    assert copied.file.read_bytes() == content
    runtime.settle()
    runtime.prepare(copied.camera)
    assert asked == [64]


def test_an_announced_camera_may_be_exported_behind_its_images(
    copied: 'Exported', exports: Exports
) -> None:
    """Whoever starts a robot waits for no export, is told, and gets it nevertheless."""
    content = copied.file.read_bytes()
    copied.file.unlink()
    asked = exports(content)
    runtime = copied.runtime()
    for _ in range(2):
        runtime.prepare(copied.camera, export=False)
        assert asked == []
        assert 'eager' in runtime.status.name
        assert 'behind the images, once; slower until then' in runtime.status.note
    runtime.settle()
    runtime.prepare(copied.camera, export=False)
    runtime.predict(copied.image, copied.camera)
    runtime.settle()
    assert asked == [64]
    assert runtime.status.name == copied.name
    assert runtime.status.note == ''
    again = copied.runtime()
    again.prepare(copied.camera, export=False)
    assert again.status.name == copied.name


def test_what_the_exporter_needs_is_said_before_the_first_image(copied: 'Exported') -> None:
    copied.file.unlink()
    runtime = copied.runtime()
    runtime.prepare(copied.camera, export=False)
    assert 'needs onnx_exporter_that_is_not_there: pip install' in runtime.status.note


def test_a_failing_export_is_tried_once_between_images_and_again_when_asked(
    copied: 'Exported', exports: Exports
) -> None:
    copied.file.unlink()
    asked = exports('there is no memory')
    runtime = copied.runtime()
    for _ in range(4):
        runtime.predict(copied.image, copied.camera)
        runtime.settle()
    assert asked == [64]
    assert runtime.status.note == 'there is no memory'
    runtime.prepare(copied.camera)
    assert asked == [64, 64]


def test_an_export_that_predicts_something_else_is_neither_used_nor_kept(
    copied: 'Exported', exports: Exports, double_weights: Callable[[Path], None]
) -> None:
    double_weights(copied.file)
    exports(copied.file.read_bytes())
    copied.file.unlink()
    runtime = copied.runtime()
    runtime.prepare(copied.camera)
    assert 'than eager PyTorch' in runtime.status.note
    assert 'eager' in runtime.status.name
    assert not copied.file.exists()


def test_cameras_may_alternate_from_image_to_image(copied: 'Exported') -> None:
    """One with an export, one without."""
    wider = replace(copied.camera, width=66, cx=32.5)
    wider_image = np.random.default_rng(1).integers(0, 256, (48, 66, 3), dtype=np.uint8)
    runtime, eager = copied.runtime(), EagerRuntime(copied.task())
    for _ in range(3):
        for image, camera, name in (
            (copied.image, copied.camera, 'onnxruntime'),
            (wider_image, wider, 'eager'),
        ):
            found, expected = (each.predict(image, camera).geometry for each in (runtime, eager))
            assert max(agreement.difference(found, expected).values()) < 1e-5
            assert name in runtime.status.name


def test_cameras_without_end_do_not_fill_the_memory(
    kept: 'Exported', monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session of the camera that came first goes, and comes back from its file."""
    monkeypatch.setattr('implicit_loc.runtimes.onnx_runtime._MOST_SESSIONS', 1)
    runtime = kept.runtime()
    runtime.predict(kept.image, kept.camera)
    for _ in range(2):
        (first,) = runtime._sessions.values()
        # As if another camera had come.
        runtime._sessions = {(1, 1): first}
        runtime.predict(kept.image, kept.camera)
        assert list(runtime._sessions) == [(64, 48)]
        assert runtime.status.name == kept.name


def test_a_provider_that_is_not_installed_gives_way_with_what_to_install(
    kept: 'Exported',
) -> None:
    import onnxruntime

    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this ONNX Runtime has CUDA')
    with pytest.raises(RuntimeUnavailableError, match=r'has no CUDA.* install onnxruntime-gpu'):
        OnnxRuntime(kept.task(), 'CUDAExecutionProvider')
