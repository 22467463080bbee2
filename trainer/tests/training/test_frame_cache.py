"""Resized frames in memory and on disk: complete, current, or a clear error."""

import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import small_training
import torch
from numpy.typing import NDArray
from rich.console import Console

from implicit_loc.localizer import Localizer
from implicit_loc.network import SceneNetwork
from implicit_loc_trainer.datasets import DataError, Sample
from implicit_loc_trainer.output_files import OutputError
from implicit_loc_trainer.recipes.sections import ConfigError, DataConfig
from implicit_loc_trainer.training import frame_cache, frame_decoding
from implicit_loc_trainer.training.description import describe
from implicit_loc_trainer.training.frame_cache import FrameCache, shrunk_in_memory

INPUT_HEIGHT = 16  # the frames are kept at a height of 24


class Recording:
    """Samples that count how often their images are loaded."""

    def __init__(self, frames: int) -> None:
        self.loaded: list[str] = []
        self.broken: dict[str, Exception] = {}
        self.samples = [
            replace(sample, load_image=self._counted(sample))
            for sample in small_training.samples(frames)
        ]

    def _counted(self, sample: Sample) -> Callable[[], NDArray[np.uint8]]:
        def load() -> NDArray[np.uint8]:
            self.loaded.append(sample.name)
            if sample.name in self.broken:
                raise self.broken[sample.name]
            return sample.load_image()

        return load


def _cache(samples: list[Sample], folder: Path, cache: str = 'disk') -> FrameCache:
    config = DataConfig(path='made-up', cache=cache, cache_folder=str(folder))
    return FrameCache(samples, INPUT_HEIGHT, config, Console())


def _frames(samples: list[Sample], folder: Path) -> list[Sample]:
    return _cache(samples, folder).frames(on_disk=True)


def _assert_resized(found: list[Sample], samples: list[Sample]) -> None:
    for kept, whole in zip(found, samples, strict=True):
        size = (kept.camera.width, kept.camera.height)
        assert size == (32, 24)
        expected = cv2.resize(whole.load_image(), size, interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(kept.load_image(), expected)


@pytest.mark.parametrize('on_disk', [False, True])
def test_kept_frames_are_the_resized_ones_with_their_masks(on_disk: bool, tmp_path: Path) -> None:
    samples = small_training.samples(5)
    mask = np.zeros((48, 64), dtype=bool)
    mask[:24, :32] = True
    samples[2] = replace(samples[2], load_mask=lambda: mask)
    found = _cache(samples, tmp_path).frames(on_disk)
    _assert_resized(found, samples)
    assert [sample.load_mask is not None for sample in found] == [False, False, True, False, False]
    kept = found[2].load_mask
    assert kept is not None
    np.testing.assert_array_equal(kept(), mask[::2, ::2])


@pytest.mark.parametrize('on_disk', [False, True])
def test_helper_processes_write_the_same(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1, 2})
    recording = Recording(60)
    _assert_resized(
        _cache(recording.samples, tmp_path).frames(on_disk), small_training.samples(60)
    )
    assert not recording.loaded  # by this process


def test_a_helper_that_is_killed_ends_in_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: {0, 1})
    samples = small_training.samples(60)
    samples[30] = replace(
        samples[30], load_image=lambda: os.kill(os.getpid(), signal.SIGKILL) or np.zeros(0)
    )
    with pytest.raises(DataError, match='a process that reads frames died'):
        _frames(samples, tmp_path)


def test_frames_on_disk_are_read_once(tmp_path: Path) -> None:
    """Later, but for a few that show whether the images are still the same."""
    recording = Recording(30)
    _frames(recording.samples, tmp_path)
    assert len(recording.loaded) == 30
    recording.loaded.clear()
    _assert_resized(_frames(recording.samples, tmp_path), small_training.samples(30))
    assert len(recording.loaded) <= 4


def test_other_sizes_and_splits_do_not_share_frames(tmp_path: Path) -> None:
    samples = small_training.samples(6)
    _frames(samples, tmp_path)
    _frames(samples[1:], tmp_path)
    replace(_cache(samples, tmp_path), input_height=20).frames(on_disk=True)
    assert len(list(tmp_path.iterdir())) == 3
    _assert_resized(_frames(samples, tmp_path), samples)


def test_changed_images_are_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = small_training.samples(6)
    earlier = _frames(samples, tmp_path)
    changed = [
        replace(sample, load_image=lambda old=sample.load_image: 255 - old())  # type: ignore[misc]
        for sample in samples
    ]
    _assert_resized(_frames(changed, tmp_path), changed)
    assert 'have changed' in capsys.readouterr().out
    # A training that began before goes on with what it had.
    _assert_resized(earlier, samples)


def test_a_killed_process_leaves_frames_that_the_next_one_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_cache, '_SECONDS_BETWEEN_COMMITS', 0.0)
    samples = small_training.samples(20)
    fatal = list(samples)
    fatal[12] = replace(
        samples[12], load_image=lambda: os.kill(os.getpid(), signal.SIGKILL) or np.zeros(0)
    )
    process = small_training.in_a_fork(lambda: _frames(fatal, tmp_path))
    assert os.waitpid(process, 0)[1] == signal.SIGKILL
    recording = Recording(20)
    _assert_resized(_frames(recording.samples, tmp_path), samples)
    probes, rest = recording.loaded[:-8], recording.loaded[-8:]
    assert rest == [f'frame-{index}' for index in range(12, 20)]
    assert len(probes) <= 4


def test_a_truncated_file_is_read_again(tmp_path: Path) -> None:
    samples = small_training.samples(6)
    _frames(samples, tmp_path)
    (file,) = tmp_path.glob('*/frames.bin')
    os.truncate(file, 1000)
    _assert_resized(_frames(samples, tmp_path), samples)


def test_two_processes_share_the_work_of_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The second waits for the first, and says for whom."""
    slow = [
        replace(sample, load_image=lambda old=sample.load_image: (time.sleep(0.05), old())[1])  # type: ignore[misc]
        for sample in small_training.samples(10)
    ]
    process = small_training.in_a_fork(lambda: _frames(slow, tmp_path))
    while not list(tmp_path.glob('*/frames.bin')):
        time.sleep(0.001)
    recording = Recording(10)
    _assert_resized(_frames(recording.samples, tmp_path), small_training.samples(10))
    assert os.waitpid(process, 0)[1] == 0
    assert len(recording.loaded) <= 4
    assert f'waiting for process {process} on ' in capfd.readouterr().out


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file sizes stands in for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r'the frames take 13.8 kB on disk.*no room'):
            _frames(small_training.samples(6), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob('*/*.bin'))


def test_one_unreadable_frame_in_a_hundred_is_named_and_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a neighbour, pose and all; the number of frames stays. It is tried again later."""
    recording = Recording(200)
    recording.broken = {'frame-0': DataError('it is torn'), 'frame-77': OSError(5, 'I/O error')}
    whole = small_training.samples(200)
    whole[0], whole[77] = whole[1], whole[76]
    found = _frames(recording.samples, tmp_path)
    _assert_resized(found, whole)
    assert [sample.name for sample in found] == [sample.name for sample in whole]
    output = capsys.readouterr().out
    assert 'left out: frame frame-0: it is torn' in output
    assert 'left out: frame frame-77: [Errno 5] I/O error' in output
    recording.broken = {}
    _assert_resized(_frames(recording.samples, tmp_path), small_training.samples(200))


@pytest.mark.parametrize('on_disk', [False, True])
def test_more_unreadable_frames_are_an_error_that_lists_the_first(
    on_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(200)
    recording.broken = {f'frame-{index}': DataError('torn') for index in (5, 50, 150, 151)}
    monkeypatch.setattr(frame_decoding, 'open_dataset', lambda *_: recording.samples)
    message = r'3 frames of 200 cannot be read so far.*frame-5: torn; .*frame-50.*frame-150'
    with pytest.raises(DataError, match=message):
        _cache(recording.samples, tmp_path).frames(on_disk)


def test_a_vanished_recording_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before stays on the disk."""
    recording = Recording(20)
    recording.broken = {f'frame-{index}': OSError(2, 'No such file') for index in range(8, 20)}
    with pytest.raises(DataError, match=r'recording made-up vanished.*made-up: it does not exist'):
        _frames(recording.samples, tmp_path)
    recording.loaded, recording.broken = [], {}
    _assert_resized(_frames(recording.samples, tmp_path), small_training.samples(20))
    assert recording.loaded[-12:] == [f'frame-{index}' for index in range(8, 20)]
    assert len(recording.loaded) <= 16


@pytest.mark.parametrize(
    ('cache', 'available', 'on_disk'),
    [
        ('auto', 1_000_000, False),
        ('auto', 20_000, True),
        ('auto', None, False),
        ('memory', 20_000, False),
        ('disk', 1_000_000, True),
    ],
)
def test_the_memory_is_printed_before_it_is_taken(
    cache: str,
    available: int | None,
    on_disk: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(frame_cache, 'available_memory', lambda: available)
    recording = Recording(6)
    assert _cache(recording.samples, tmp_path, cache).choose_disk() == on_disk
    assert '6 frames of 32x24 take 13.8 kB' in capsys.readouterr().out
    assert not recording.loaded


def test_memory_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_cache, 'available_memory', lambda: 20_000)
    four = replace(_cache(small_training.samples(6), tmp_path, 'memory'), processes=4)
    with pytest.raises(ConfigError, match=r'take 55.3 kB in 4 processes, 20 kB .* disk'):
        four.choose_disk()


def test_validation_frames_give_the_poses_of_the_whole_images() -> None:
    recipe = small_training.recipe(Path('unused'))
    whole = small_training.samples(3)
    description = describe(recipe, whole)
    torch.manual_seed(0)
    localizer = Localizer(SceneNetwork(description.network), description, 'cpu')
    height = description.input_height
    for kept, sample in zip(shrunk_in_memory(whole, height, print), whole, strict=True):
        expected = localizer.localize(sample.load_image(), sample.camera)
        found = localizer.localize(kept.load_image(), kept.camera)
        np.testing.assert_array_equal(found.world_from_camera, expected.world_from_camera)


def test_unreadable_validation_frames_are_named_and_left_out() -> None:
    recording, said = Recording(3), list[str]()
    recording.broken = {'frame-1': DataError('torn')}
    found = shrunk_in_memory(recording.samples, INPUT_HEIGHT, said.append)
    assert [sample.name for sample in found] == ['frame-0', 'frame-2']
    assert said == ['left out of the validation: frame frame-1: torn']
    recording.broken = {f'frame-{index}': DataError('torn') for index in range(3)}
    with pytest.raises(DataError, match='no validation frame can be read'):
        shrunk_in_memory(recording.samples, INPUT_HEIGHT, said.append)
