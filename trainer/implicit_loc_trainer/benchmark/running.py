"""The whole benchmark: every candidate at every size, in turns."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import torch

from implicit_loc.checkpoint import load_checkpoint
from implicit_loc.localizer import Localizer
from implicit_loc.runtimes import select_device
from implicit_loc_trainer.benchmark.alone import Needs, needs
from implicit_loc_trainer.benchmark.candidates import (
    PNP,
    Setting,
    Subject,
    build,
    subjects,
)
from implicit_loc_trainer.benchmark.counting import Rates, Work, measured_rates
from implicit_loc_trainer.benchmark.made_up import made_up_views
from implicit_loc_trainer.benchmark.runtimes import EAGER
from implicit_loc_trainer.benchmark.situations import Situation, checkpoint_at, own_situation
from implicit_loc_trainer.benchmark.stages import work_of_stages
from implicit_loc_trainer.benchmark.timing import Distribution, Times, take_turns
from implicit_loc_trainer.benchmark.views import View, view_at, views_of_recording
from implicit_loc_trainer.datasets.sample import Sample

# Distinct images: more would only fill the memory.
_MOST_VIEWS = 20

# Shows how far a loop has come: the numbers, and what they count.
Watch = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class Plan:
    """What is to be timed.

    Attributes:
        checkpoint: the trained one.
        heights: of the network's input, pixels.
        strides: pixels of the input per output cell.
        runtimes: that execute the network.
        turns: images per candidate and size.
        device: 'auto', 'cpu' or 'cuda'.
        threads: of PyTorch, OpenCV and the runtimes.
        memory: whether memory and start-up are measured, in a process for each candidate.
    """

    checkpoint: Path
    heights: Sequence[int]
    strides: Sequence[int]
    runtimes: Sequence[str]
    turns: int
    device: str
    threads: int
    memory: bool = True

    @property
    def situations(self) -> list[Situation]:
        """All sizes, small ones first."""
        return [
            Situation(height, stride) for height in self.heights for stride in self.strides[::-1]
        ]


@dataclass(frozen=True)
class Row:
    """One candidate, or one stage of this software, at one size.

    Attributes:
        name: 'localize', 'stage:...' or 'peer:...'.
        runtime: that executed the network.
        height: of the network's input, pixels.
        stride: pixels of the input per output cell.
        times: over the images, of a stage over those that needed it.
        needs: of a process of its own, of a stage of the one in which it is done; None where
            they were not measured.
    """

    name: str
    runtime: str
    height: int
    stride: int
    times: Distribution
    needs: Needs | None


@dataclass(frozen=True)
class Floor:
    """What the stages of one image cost at least, at one size.

    Attributes:
        situation: the size.
        stages: their work by name.
    """

    situation: Situation
    stages: dict[str, Work]


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        own: the size that the checkpoint was trained at.
        rows: of all sizes.
        floors: of all sizes.
        rates: of the device, in the same run.
    """

    own: Situation
    rows: list[Row]
    floors: list[Floor]
    rates: Rates


def benchmark(plan: Plan, samples: Sequence[Sample] | None, watch: Watch) -> Benchmark:
    """Measure.

    Args:
        plan: what.
        samples: of a recording of the checkpoint's place; None for made-up views.
        watch: shows how far it has come.

    Raises:
        ImplicitLocError: checkpoint, recording, runtime or device cannot be used.
        OSError: there is no room for temporary files.
    """
    torch.set_num_threads(plan.threads)
    cv2.setNumThreads(plan.threads)
    own = own_situation(plan.checkpoint)
    views = _views(plan, samples)
    rates = measured_rates(select_device(plan.device))
    rows, floors = [], []
    with tempfile.TemporaryDirectory(prefix='implicit-loc-') as folder:
        for situation in plan.situations:
            checkpoint = checkpoint_at(plan.checkpoint, situation, Path(folder))
            seen = [view_at(view, situation) for view in views]
            setting = Setting(checkpoint, seen[0].camera, Path(folder), plan.device, plan.threads)
            floors.append(Floor(situation, work_of_stages(checkpoint, seen[0])))
            if samples is not None and situation == own:
                seen = [replace(view, geometry=None) for view in seen]
            rows += _rows(plan, situation, setting, seen, watch)
            rates = rates.or_faster(measured_rates(select_device(plan.device)))
    return Benchmark(own, rows, floors, rates)


def _views(plan: Plan, samples: Sequence[Sample] | None) -> list[View]:
    count = min(_MOST_VIEWS, plan.turns)
    if samples is not None:
        localizer = Localizer.load(plan.checkpoint, plan.device, runtime=EAGER)
        return list(views_of_recording(localizer, samples, count))
    return list(made_up_views(*load_checkpoint(plan.checkpoint), count))


def _rows(
    plan: Plan, situation: Situation, setting: Setting, views: Sequence[View], watch: Watch
) -> list[Row]:
    what = f'{situation.height} px, stride {situation.stride}'
    candidates = {subject: build(subject, setting) for subject in subjects(plan.runtimes)}
    times = take_turns(candidates, views, plan.turns, lambda turns: watch(turns, f'{what}: time'))
    order = list(candidates)
    # Their memory would be counted in no process, but swapping would be felt in all.
    del candidates
    rows = []
    for index in watch(range(len(order)), f'{what}: memory'):
        subject = order[index]
        found = needs(subject, setting, views[0]) if plan.memory else None
        rows += _rows_of(subject, situation, times[subject], found)
    return rows


def _rows_of(
    subject: Subject, situation: Situation, times: Times, found: Needs | None
) -> list[Row]:
    size = (situation.height, situation.stride)
    rows = [Row(subject.name, subject.runtime, *size, Distribution.of(times.total), found)]
    stages = times.stages
    if subject.name == PNP:
        # The stages before it are those of `localize`.
        stages = {'pnp_ransac': times.stages['alignment']} if 'alignment' in stages else {}
    for stage, seconds in stages.items():
        rows.append(Row(f'stage:{stage}', subject.runtime, *size, Distribution.of(seconds), found))
    return rows
