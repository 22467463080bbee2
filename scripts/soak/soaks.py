"""The two soaks: random faults, and changes of the map."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
from bench.memory import MemoryWatch
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from replay.child_process import Child
from replay.errors import ReplayError

from implicit_loc.checkpoint import load_checkpoint, save_described_anew
from soak.faults import FAULTS, Scene
from soak.judging import (
    FloatArray,
    Memory,
    in_words,
    maps_of,
    memory_of,
    old_answers,
    wrong_answers,
    wrong_maps,
    wrong_places,
)
from soak.robot import Robot

# After a change that should have ended, the run goes on for as long to tell slow from never.
_PATIENCE_S = 15.0
_SWAP_PATIENCE_S = 60.0
# What belongs to one image arrives within this.
_SETTLED_S = 0.5
# Poses in one map or another cannot be confused.
_OTHER_WORLD_M = 100.0
_NEXT_PLACE_M = 1000.0
# What is waited for among maps.
_SWAP, _PAUSE = 'the call for the next map', 'a pose, at most'

Say = Callable[[str], None]


@dataclass
class Course:
    """What happened.

    Attributes:
        kind: 'faults' or 'swaps'.
        seconds: it took.
        images: published.
        poses: received.
        waits: seconds by what was waited for: from the first good image after a fault to its
            pose and transform, or from the call for a map to its first pose.
        memory: of the node; None where the system does not tell.
        failures: what must not be, a sentence each.
    """

    kind: str
    seconds: float = 0.0
    images: int = 0
    poses: int = 0
    waits: dict[str, list[float]] = field(default_factory=dict)
    memory: Memory | None = None
    failures: list[str] = field(default_factory=list)


def among_faults(
    robot: Robot,
    node: Child,
    names: Sequence[str],
    seconds: float,
    seed: int,
    longest_s: float,
    latest_s: float,
    say: Say,
) -> Course:
    """Let faults happen, every one of a round in a new order, at least one round.

    Args:
        robot: around the node.
        node: active.
        names: keys of FAULTS.
        seconds: no fault begins later, once there was a round.
        seed: of what is drawn.
        longest_s: of a fault.
        latest_s: a pose that comes later after its image, or after a fault, is a failure.
        say: gets what happens.

    Raises:
        ReplayError: the node ended, or does not answer.
    """
    random = Random(seed)
    scene = Scene(robot, node.pid, random, longest_s)
    course = Course('faults')
    begin, rounds, first_round = time.monotonic(), 0, 0
    with MemoryWatch(node.pid, shared=False) as memory:
        _recover(robot, node, 'the beginning', course, latest_s)
        while not rounds or time.monotonic() < begin + seconds:
            for name in random.sample(list(names), len(names)):
                if rounds and time.monotonic() >= begin + seconds:
                    break
                say(f'{time.monotonic() - begin:.0f} s: {name}')
                FAULTS[name](scene)
                _recover(robot, node, name, course, latest_s)
            rounds += 1
            first_round = first_round or len(memory.samples)
    # A transform may come before its pose.
    transforms = list(robot.transforms)
    robot.film(_SETTLED_S)
    answers = list(robot.answers)
    course.failures += wrong_answers(robot.sent, answers)
    course.failures += old_answers(robot.sent, answers, scene.stops, latest_s)
    course.failures += wrong_places(robot.sent, answers)
    stamps = {answer.stamp for answer in answers}
    course.failures += wrong_places(robot.sent, transforms, 'transform')
    strange = sum(transform.stamp not in stamps for transform in transforms)
    if strange:
        course.failures.append(f'{strange} transforms have the stamp of no pose')
    _conclude(course, robot, node, memory, begin, first_round)
    return course


def among_maps(
    robot: Robot,
    node: Child,
    checkpoints: Sequence[Path],
    swaps: int,
    latest_s: float,
    say: Say,
) -> Course:
    """Change the map while images come.

    Args:
        robot: around the node; its positions are those of the camera.
        node: active, with the first checkpoint and no alignment.
        checkpoints: of `two_maps`, in turns.
        swaps: how many.
        latest_s: a longer pause between two poses is a failure.
        say: gets what happens.

    Raises:
        ReplayError: the node ended, or does not answer.
    """
    course = Course('swaps')
    begin = time.monotonic()
    offsets, first_round = [np.zeros(3)], 0
    with MemoryWatch(node.pid, shared=False) as memory:
        _recover(robot, node, 'the beginning', course, _PATIENCE_S, with_transform=False)
        for number in range(1, swaps + 1):
            say(f'{time.monotonic() - begin:.0f} s: swap {number}')
            turn = number % len(checkpoints)
            place = np.array([number * _NEXT_PLACE_M, 0.0, 0.0])
            offsets.append(place + np.array([0.0, turn * _OTHER_WORLD_M, 0.0]))
            asked = time.monotonic()
            _ask_for_map(robot, checkpoints[turn], place)
            if not robot.film_until(lambda: _newest_map(robot, offsets), _SWAP_PATIENCE_S):
                raise ReplayError(
                    f'no pose of map {number} came in {_SWAP_PATIENCE_S:g} s; the node said '
                    f'last: {node.last_line()} (whole output: {node.log})'
                )
            course.waits.setdefault(_SWAP, []).append(time.monotonic() - asked)
            node.check_alive()
            if number == len(checkpoints):
                first_round = len(memory.samples)
    answers = list(robot.answers)
    course.failures += wrong_answers(robot.sent, answers)
    course.failures += wrong_maps(maps_of(robot.sent, answers, offsets), len(offsets))
    pause = float(np.diff([answer.time for answer in answers]).max(initial=0.0))
    course.waits[_PAUSE] = [pause]
    # While a map is loaded, the one before goes on.
    if pause > latest_s:
        course.failures.append(f'no pose came for {pause:.1f} s')
    _conclude(course, robot, node, memory, begin, first_round)
    return course


def two_maps(checkpoint: Path, folder: Path) -> list[Path]:
    """A checkpoint, and the same place in a world whose origin lies elsewhere."""
    other = folder / 'other_world.safetensors'
    shift = np.array([0.0, _OTHER_WORLD_M, 0.0])
    description = load_checkpoint(checkpoint)[1]
    least, largest = (tuple(corner + shift) for corner in np.asarray(description.extent))
    poses = np.array(description.keyframes, dtype=np.float64).reshape(-1, 7)
    poses[:, :3] += shift
    network = replace(
        description.network, scene_centre=tuple(description.network.scene_centre + shift)
    )
    moved = replace(
        description,
        network=network,
        extent=(least, largest),
        keyframes=tuple(map(tuple, poses.tolist())),
    )
    save_described_anew(checkpoint, other, moved)
    return [checkpoint, other]


def _recover(
    robot: Robot,
    node: Child,
    what: str,
    course: Course,
    latest_s: float,
    with_transform: bool = True,
) -> None:
    """Film until the next images are answered; too long is a failure."""
    first = len(robot.sent)

    def answered() -> bool:
        return robot.answer_after(first, with_transform) is not None

    came = robot.film_until(answered, _PATIENCE_S)
    node.check_alive()
    if not came:
        course.failures.append(f'no pose came within {_PATIENCE_S:g} s after {what}')
        return
    at = robot.answer_after(first, with_transform)
    begin = next(image.time for image in robot.sent.values() if image.number == first)
    assert at is not None
    course.waits.setdefault(what, []).append(at - begin)
    if at - begin > latest_s:
        course.failures.append(f'the first pose after {what} came after {at - begin:.1f} s')


def _newest_map(robot: Robot, offsets: Sequence[FloatArray]) -> bool:
    """Whether the last pose is in the last map."""
    return maps_of(robot.sent, robot.answers[-1:], offsets) == [len(offsets) - 1]


def _ask_for_map(robot: Robot, checkpoint: Path, place: FloatArray) -> None:
    kinds = ParameterType
    text = ParameterValue(type=kinds.PARAMETER_STRING, string_value=str(checkpoint.resolve()))
    alignment = [*map(float, place), 0.0, 0.0, 0.0, 1.0]
    values = ParameterValue(type=kinds.PARAMETER_DOUBLE_ARRAY, double_array_value=alignment)
    request = SetParametersAtomically.Request(
        parameters=[
            Parameter(name='checkpoint', value=text),
            Parameter(name='world_alignment', value=values),
        ]
    )
    result = robot.call(SetParametersAtomically, 'set_parameters_atomically', request).result
    if not result.successful:
        raise ReplayError(f'the node refuses the map {checkpoint}: {result.reason}')


def _conclude(
    course: Course,
    robot: Robot,
    node: Child,
    memory: MemoryWatch,
    begin: float,
    first_round: int,
) -> None:
    course.seconds = time.monotonic() - begin
    course.images, course.poses = len(robot.sent), len(robot.answers)
    samples = [megabytes for _, megabytes in memory.samples]
    if samples:
        course.memory = memory_of(samples, first_round)
        if course.memory.is_flat is False:
            course.failures.append(f'the memory grows: {in_words(course.memory)}')
    if 'Traceback' in node.log.read_text(encoding='utf-8', errors='replace'):
        course.failures.append(f'the node has logged a traceback: {node.log}')
