"""What the node reports on /diagnostics once a second; docs/operation.md lists every key.

The message begins with a state, which is also a value of its own:

| state | meaning |
|---|---|
| WAITING | no image comes or is wanted, or none had an accepted pose since everything began anew |
| TRACKING | the pose of an image was published within `lost_after_s` |
| LOST | images come, but for `lost_after_s` no pose was accepted; nothing is published |
| PAUSED | `~/enable` has switched localization off |

| level | condition | what the message says |
|---|---|---|
| ERROR | a defect was caught; its traceback is in the log | the error |
| ERROR | LOST | why the last image has no pose |
| ERROR | images came, and all of them were refused | the last reason |
| WARN | no image for two seconds | the topic and how many publish on it |
| WARN | the same, since the process stood still | that Fast DDS may have lost the camera |
| WARN | images, but no CameraInfo | its topic |
| WARN | a new map was refused; the old one is in use | the reason |
| WARN | some images were refused, or a transform was missing | the last reason |
| WARN | poses are older than 1 s when published | which clocks to look at |
| WARN | images are stamped more than 0.1 s ahead of the clock | which clocks to look at |
| WARN | images arrive at less than 60 % of the camera's rate | how to transport large images |
| WARN | not the best runtime executes the network | why not; ends every other warning, too |
"""

from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from implicit_loc_ros.counting import WINDOW_S, Summary
from implicit_loc_ros.pose_gate import Tracking

PAUSED = 'PAUSED'

_SILENCE_S = 2.0
_LOST_SHARE = 0.6
_FOR_LARGE_IMAGES = (
    'start the camera driver with config/fastdds_large_images.xml, let it publish reliably, or '
    'use compressed images'
)
# Rarely it listens on to shared memory that everybody else has given up (eProsima/Fast-DDS#5737).
_AFTER_A_STANDSTILL = 'if the camera runs, Fast DDS has lost it: start the node anew'
# Older poses come from another clock, or too late to steer by.
_OLD_S = 1.0
# Clocks that are synchronised over a network differ by less.
_AHEAD_S = 0.1


@dataclass(frozen=True)
class Inputs:
    """State of the node at the moment of a report.

    Attributes:
        image_publishers: how many the graph shows.
        tracking: the gate's state, which only images change.
        enabled: whether `~/enable` lets images be looked at.
        on_demand: whether only `~/localize_once` does.
        runtime: what executes the network.
        runtime_note: why not a faster one; empty if there is nothing to say.
        map_path: of the checkpoint in use.
        map_change: what becomes of a new one: empty, 'loading ...' or 'refused: ...'.
        lost: what the middleware has lost of the node, in words; empty if nothing.
    """

    image_topic: str
    image_publishers: int
    image_reliable: bool
    camera_info_topic: str
    has_camera_info: bool
    device: str
    tracking: Tracking = Tracking.WAITING
    enabled: bool = True
    on_demand: bool = False
    runtime: str = ''
    runtime_note: str = ''
    map_path: str = ''
    map_change: str = ''
    lost: str = ''


def status_of(name: str, summary: Summary, inputs: Inputs) -> DiagnosticStatus:
    """Level, message and values of one report."""
    state = _state(summary, inputs)
    level, message = _judge(summary, inputs, state)
    return DiagnosticStatus(
        level=level,
        name=name,
        message=': '.join(part for part in (state, message) if part),
        hardware_id=inputs.device,
        values=[
            KeyValue(key=key, value=value)
            for key, value in {'state': state, **_values(summary, inputs)}.items()
        ],
    )


def _state(summary: Summary, inputs: Inputs) -> str:
    """The gate's state, unless images neither come nor are answered."""
    if not inputs.enabled:
        return PAUSED
    silent = summary.since_answer_s > WINDOW_S
    if summary.since_image_s > _SILENCE_S or (inputs.tracking is Tracking.TRACKING and silent):
        return Tracking.WAITING.value
    return inputs.tracking.value


def _judge(summary: Summary, inputs: Inputs, state: str) -> tuple[bytes, str]:
    second = summary.second
    if second.defects:
        return DiagnosticStatus.ERROR, f'a defect was caught: {summary.last_error}'
    if state == Tracking.LOST.value:
        return DiagnosticStatus.ERROR, f'no pose is accepted: {summary.last_error}'
    if second.refused and not second.answered and inputs.enabled:
        return DiagnosticStatus.ERROR, f'all images are refused: {summary.last_error}'
    if warnings := [text for text in (_warning(summary, inputs), inputs.runtime_note) if text]:
        return DiagnosticStatus.WARN, '; '.join(warnings)
    if not inputs.enabled:
        return DiagnosticStatus.OK, 'call ~/enable with true'
    if inputs.on_demand and state == Tracking.WAITING.value:
        return DiagnosticStatus.OK, 'call ~/localize_once'
    return DiagnosticStatus.OK, ''


def _warning(summary: Summary, inputs: Inputs) -> str:
    """The most important thing that is wrong although poses may come; empty if none."""
    second = summary.second
    if summary.since_image_s > _SILENCE_S:
        what = f'no image on {inputs.image_topic} ({inputs.image_publishers} publishers)'
        if inputs.lost:
            return f'{what}: {inputs.lost}: start the node anew'
        if inputs.image_publishers and summary.silent_since_standstill:
            return f'{what} since the process stood still: {_AFTER_A_STANDSTILL}'
        if inputs.image_publishers and summary.camera_infos_come:
            return (
                f'{what}, though CameraInfo comes: are they lost on the way? {_FOR_LARGE_IMAGES}'
            )
        return f'{what}: check the remapping, image_transport and the QoS'
    if summary.images_come and not inputs.has_camera_info:
        return f'no CameraInfo on {inputs.camera_info_topic}'
    if inputs.map_change.startswith('refused'):
        return f'the old map is kept, the new one {inputs.map_change}'
    if second.refused or second.without_transform:
        return summary.last_error
    if second.ages and max(second.ages) > _OLD_S:
        return (
            f'poses are {max(second.ages):.1f} s old when published: set use_sim_time for a bag, '
            "synchronise the clocks of camera and robot, or lower the camera's rate"
        )
    if second.ages and min(second.ages) < -_AHEAD_S:
        return (
            f'images are stamped {-min(second.ages):.1f} s ahead of the clock: set use_sim_time '
            'for a simulation, or synchronise the clocks of camera and robot'
        )
    if summary.arrived_hz < _LOST_SHARE * summary.made_hz:
        rates = f'{summary.arrived_hz:.1f} images/s arrive of {summary.made_hz:.1f}'
        return f'{rates}: {_FOR_LARGE_IMAGES}'
    return ''


def _values(summary: Summary, inputs: Inputs) -> dict[str, str]:
    counts, second, trust = summary.counts, summary.second, summary.trust
    values = {
        'mode': 'on_demand' if inputs.on_demand else 'continuous',
        'images received': str(counts.received),
        'poses published': str(counts.answered),
        'poses from the consensus': str(counts.by_consensus),
        'images overtaken by newer ones': str(counts.overtaken),
        'images skipped': str(counts.skipped.total()),
        **{f'skipped: {reason}': str(n) for reason, n in sorted(counts.skipped.items())},
        'images refused': str(counts.refused.total()),
        **{f'refused: {reason}': str(n) for reason, n in sorted(counts.refused.items())},
        'poses without a transform': str(counts.without_transform),
        'last pose overruled': str(counts.gate_reopened),
        'jumps back in time': str(counts.time_jumps),
        'standstills': str(counts.standstills),
        'time to the first image (s)': _seconds(summary.first_image_s),
        'time to the first pose (s)': _seconds(summary.first_pose_s),
        'last confidence': f'{trust.confidence:.3f}' if trust else '',
        'last standard deviation (m)': f'{trust.deviation_m:.3f}' if trust else '',
        'last standard deviation (deg)': f'{np.degrees(trust.deviation_rad):.2f}' if trust else '',
        'last error': summary.last_error,
        'input rate (Hz)': f'{summary.arrived_hz:.1f}',
        'camera rate (Hz)': f'{summary.made_hz:.1f}' if summary.made_hz else '',
        'image QoS': 'reliable' if inputs.image_reliable else 'best_effort',
        'map': inputs.map_path,
        'change of the map': inputs.map_change,
        'device': inputs.device,
        'runtime': ': '.join(part for part in (inputs.runtime, inputs.runtime_note) if part),
    }
    for stage, seconds in second.timings.items():
        values[f'{stage} (ms)'] = f'{1e3 * sum(seconds) / len(seconds):.1f}'
    if second.ages:
        values['age of the image when published (ms)'] = f'{1e3 * max(second.ages):.1f}'
    return values


def _seconds(value: float | None) -> str:
    return '' if value is None else f'{value:.2f}'
