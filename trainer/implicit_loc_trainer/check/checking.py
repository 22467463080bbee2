"""The whole check of a recording, from its frames to its findings."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from implicit_loc_trainer.check import (
    epipolar,
    image_findings,
    label_findings,
    leaps,
    scene_findings,
)
from implicit_loc_trainer.check.consistency import Consistency, judge
from implicit_loc_trainer.check.coverage import Coverage, coverage_of
from implicit_loc_trainer.check.depth import DepthFacts, depth_facts
from implicit_loc_trainer.check.findings import Finding, Grade
from implicit_loc_trainer.check.image_findings import Blur
from implicit_loc_trainer.check.labels import LabelDiagnosis, diagnose
from implicit_loc_trainer.check.leaps import Leaps
from implicit_loc_trainer.check.motion import Steps, steps_of
from implicit_loc_trainer.check.pairs import Pairs, confirmed_pairs
from implicit_loc_trainer.check.recording import Recording, spread_frames

LEAST_FRAMES = 5
LEAST_PAIRS = 6

# Images looked at; of a longer recording, pieces of four neighbours.
MOST_LOOKS = 1000
_PIECE = 4

DEFAULT_MATCHED_FRAMES = 300


@dataclass
class Report:
    """Everything that a check found.

    Attributes:
        recording: what was looked at.
        findings: worst first.
        blur: sharpness of the frames.
        steps: of the poses as given.
        coverage: None with too few frames.
        pairs: None with too few frames.
        labels: None where no pair was confirmed.
        consistency: likewise.
        leaps: likewise.
        depth: likewise.
    """

    recording: Recording
    findings: list[Finding]
    blur: Blur
    steps: Steps
    coverage: Coverage | None = None
    pairs: Pairs | None = None
    labels: LabelDiagnosis | None = None
    consistency: Consistency | None = None
    leaps: Leaps | None = None
    depth: DepthFacts | None = None

    @property
    def is_fit(self) -> bool:
        """Whether nothing speaks against training on the recording."""
        return all(finding.grade is not Grade.ERROR for finding in self.findings)


def check(
    recording: Recording,
    matched_frames: int = DEFAULT_MATCHED_FRAMES,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Checks a recording; equal recordings give equal reports.

    Args:
        recording: its images are loaded as far as that was not done before.
        matched_frames: of how many frames features are matched; frames that look suspicious by
            their poses are added.
        say: is told what is being done.
    """
    count = len(recording.samples)
    matched = spread_frames(count, matched_frames)
    say(f'looking at {min(count, MOST_LOOKS)} images')
    recording.look(_looked_at(count, matched), frozenset(matched))
    steps = steps_of(recording.world_from_camera, recording.timestamps, recording.split)
    blur = image_findings.blur_of(recording)
    report = Report(recording, image_findings.findings(recording, blur), blur, steps)
    if count < LEAST_FRAMES:
        report.findings.append(label_findings.too_few(count, LEAST_FRAMES))
    else:
        say('matching pairs of frames')
        _check_labels(report, matched, say)
    order = [Grade.ERROR, Grade.WARN, Grade.OK]
    report.findings.sort(key=lambda finding: order.index(finding.grade))
    return report


def _looked_at(count: int, matched: list[int]) -> list[int]:
    if count <= MOST_LOOKS:
        return list(range(count))
    pieces = np.linspace(0, count - _PIECE, MOST_LOOKS // _PIECE).astype(int)
    neighbours = {int(start) + step for start in pieces for step in range(_PIECE)}
    return sorted(neighbours | set(matched))


def _check_labels(report: Report, matched: list[int], say: Callable[[str], None]) -> None:
    recording = report.recording
    pairs = confirmed_pairs(recording, matched)
    report.pairs = pairs
    if len(pairs.matches) < LEAST_PAIRS:
        report.findings.append(label_findings.no_pairs(recording, pairs))
        report.coverage = _coverage(report, recording, float('nan'))
        return
    say(f'testing hypotheses on {len(pairs.matches)} pairs')
    labels = diagnose(recording, pairs)
    report.labels = labels
    told = labels.known[labels.points.first] & labels.known[labels.points.second]
    report.consistency = judge(
        labels.points.first[told],
        labels.points.second[told],
        labels.errors[told],
        labels.unit_px,
        recording.split,
    )
    steps = steps_of(labels.poses, recording.timestamps, recording.split)
    report.leaps = _leaps(report, labels, report.consistency, pairs, steps, matched)
    good = told & (labels.errors <= report.consistency.limit_px)
    kept = [match for match, keep in zip(pairs.matches, good, strict=True) if keep]
    points = labels.points.chosen(good)
    relative = epipolar.relative_poses(labels.poses, points)
    report.depth = depth_facts(recording, kept, relative, points)
    report.coverage = _coverage(report, recording, report.depth.percentiles[1])
    report.findings += label_findings.findings(
        recording, pairs, labels, report.consistency, report.leaps, report.steps
    )
    report.findings += scene_findings.findings(
        recording,
        report.depth,
        report.coverage,
        report.steps,
        labels,
        report.consistency.bad_share,
    )


def _leaps(
    report: Report,
    labels: LabelDiagnosis,
    consistency: Consistency,
    pairs: Pairs,
    steps: Steps,
    matched: list[int],
) -> Leaps:
    stride = len(report.recording.samples) / max(len(matched), 1)
    return leaps.examine(
        report.recording,
        steps,
        labels,
        max(1, round(min(pairs.gaps) * stride)),
        consistency.limit_px,
    )


def _coverage(report: Report, recording: Recording, typical_depth: float) -> Coverage:
    labels = report.labels
    poses = labels.poses if labels else recording.world_from_camera
    steps = steps_of(poses, recording.timestamps, recording.split)
    extent = float(np.ptp(poses[:, :3, 3], axis=0).max())
    usual = typical_depth if np.isfinite(typical_depth) else max(extent, 1e-6)
    return coverage_of(poses, recording.timestamps, recording.split, steps, usual)
