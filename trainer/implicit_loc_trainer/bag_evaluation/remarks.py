"""What a reader of the figures of a bag should know, in sentences."""

from collections.abc import Sequence
from statistics import median

from implicit_loc_trainer.bag_evaluation.alignment import (
    WorldAlignment,
    aligned,
    fit_alignment,
)
from implicit_loc_trainer.bag_evaluation.evaluating import rejection
from implicit_loc_trainer.bag_evaluation.source import BagFrames
from implicit_loc_trainer.bag_evaluation.through_node import NodeOutcome
from implicit_loc_trainer.evaluation.frames import FrameResult
from implicit_loc_trainer.evaluation.tables import errors_text, percent

# Medians beyond which errors are large, and what a rigid motion that explains them may leave.
_LARGE_M, _LARGE_DEG, _LEFT = 0.25, 5.0, 0.3


def remarks(
    source: BagFrames,
    frames: Sequence[FrameResult],
    min_confidence: float,
    alignment: WorldAlignment | None,
) -> list[str]:
    """What a reader should know of the images, and of what is wrong with all poses.

    Args:
        source: the images.
        frames: of all of them.
        min_confidence: that of an accepted pose at least.
        alignment: that was taken out; None if none was.
    """
    found = []
    if source.without_truth:
        found.append(
            f'{source.without_truth} of {source.without_truth + len(source.samples)} chosen '
            'images have no true pose and are left out.'
        )
    if source.without_stamp:
        found.append(f'{source.without_stamp} images carry no stamp and are left out.')
    if source.out_of_order:
        found.append(
            f'{source.out_of_order} images carry an older stamp than the image before them: here '
            'they are sorted, a node would drop them.'
        )
    if alignment is None:
        found += _offset([frame for frame in frames if not rejection(frame, min_confidence)])
    return found


def node_lines(node: NodeOutcome | None) -> list[str]:
    """What came through the node, a few sentences; none where it was not asked."""
    if node is None:
        return []
    found = node.figures
    reasons = ', '.join(f'{reason}: {count}' for reason, count in node.refused.items())
    lines = [
        f'Through the node in real time: {percent(found.node_availability)} of the images had a '
        f'pose, longest outage {found.node_longest_outage_s:.2f} s; refused '
        f'{sum(node.refused.values())}{reasons and f" ({reasons})"}, dropped '
        f'{found.node_dropped}, false accepts {found.node_false_accepts}.',
    ]
    if found.node_availability:
        lines.append(
            f'Through the node: median error '
            f'{errors_text(found.node_median_translation_m, found.node_median_rotation_deg)}, '
            f'latency median {found.node_latency_p50_ms:.0f} ms, 95 % '
            f'{found.node_latency_p95_ms:.0f} ms, 99 % {found.node_latency_p99_ms:.0f} ms.'
        )
    if node.late:
        lines.append(
            f'{node.late} images were shown to the node more than 50 ms late: this machine is too '
            'slow to play the bag in real time.'
        )
    return lines


def alignment_text(alignment: WorldAlignment | None) -> str:
    """What was done to the estimates before they were compared, a sentence."""
    if alignment is None:
        return 'No alignment: the estimates are compared with the truth as they are.'
    return (
        f'Aligned: all estimates were moved by the one rigid motion (no scale) that brings the '
        f'{alignment.poses} accepted poses closest to the true ones: '
        f'{100 * alignment.distance_m:.1f} cm and {alignment.angle_deg:.2f} deg.'
    )


def _offset(frames: Sequence[FrameResult]) -> list[str]:
    """Whether one rigid motion explains errors that are large; a sentence, or none."""
    errors = [frame.translation_error_m for frame in frames]
    angles = [frame.rotation_error_deg for frame in frames]
    if not frames or (median(errors) < _LARGE_M and median(angles) < _LARGE_DEG):
        return []
    alignment = fit_alignment(frames)
    left = aligned(frames, alignment)
    left_m = median(frame.translation_error_m for frame in left)
    left_deg = median(frame.rotation_error_deg for frame in left)
    if left_m > _LEFT * median(errors) or left_deg > max(_LEFT * median(angles), _LARGE_DEG):
        return []
    return [
        f'The errors are large but nearly constant: one rigid motion of '
        f'{errors_text(alignment.distance_m, alignment.angle_deg)} brings the median from '
        f'{errors_text(median(errors), median(angles))} to {errors_text(left_m, left_deg)}. The '
        'world of the map and that of the truth differ: `--align` leaves the motion out of the '
        'figures, and `implicit-loc align-world` makes of it the parameter world_alignment of '
        'the node.'
    ]
