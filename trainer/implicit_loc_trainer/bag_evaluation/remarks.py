"""What a reader of the figures of a bag should know, in sentences."""

from implicit_loc_trainer.bag_evaluation.alignment import WorldAlignment
from implicit_loc_trainer.bag_evaluation.source import BagFrames
from implicit_loc_trainer.bag_evaluation.through_node import NodeOutcome
from implicit_loc_trainer.evaluation.tables import errors_text, percent


def remarks(source: BagFrames) -> list[str]:
    """What a reader should know of the images."""
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
