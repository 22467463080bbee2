"""How good the poses of the CUDA graph are, and how near to those of the CPU."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from replay.arguments import add_map
from replay.ending import exit_status

from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import Localizer, PoseEstimate
from implicit_loc.preprocessing import ByteImage
from implicit_loc_trainer.datasets import Sample, open_dataset
from implicit_loc_trainer.evaluation.frames import summary
from implicit_loc_trainer.evaluation.metrics import rotation_error_deg, translation_error_m
from implicit_loc_trainer.evaluation.running import evaluate
from implicit_loc_trainer.output_files import check_writable, replacing


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; known errors end in one line and exit status 1."""
    parser = argparse.ArgumentParser(prog='gpu.accuracy', description=__doc__)
    add_map(parser)
    parser.add_argument('--json', metavar='FILE', type=Path, required=True, help='the figures')
    parsed = parser.parse_args(arguments)
    return exit_status(lambda: measure(parsed), parsed.json, print)


def measure(parsed: argparse.Namespace) -> None:
    """Localize all test frames twice, print and write the figures.

    Raises:
        ImplicitLocError: checkpoint or data cannot be used, or there is no CUDA graph.
        OSError: the output cannot be written.
    """
    check_writable(parsed.json)
    samples = open_dataset(parsed.data, 'test')
    graph = Localizer.load(parsed.checkpoint, 'cuda', runtime='cuda_graph')
    graph.warm_up(samples[0].camera)
    if 'CUDA graph' not in graph.runtime.name:
        raise ImplicitLocError(
            f'no CUDA graph executes the network but {graph.runtime.name}: {graph.runtime.note}'
        )
    host = Localizer.load(parsed.checkpoint, 'cpu', runtime='eager')
    figures = compared(graph, host, samples)
    text = json.dumps(figures, indent=2, allow_nan=False)
    print(text)
    with replacing(parsed.json) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def compared(found: Localizer, reference: Localizer, samples: Sequence[Sample]) -> dict[str, Any]:
    """Errors and times of two localizers, and how far their poses are apart.

    Args:
        found: whose poses are asked about.
        reference: what they are compared with.
        samples: frames of their place.
    """
    figures: dict[str, Any] = {}
    poses: list[dict[str, PoseEstimate]] = []
    for name, localizer in (('found', found), ('reference', reference)):
        seen: dict[str, PoseEstimate] = {}

        def keep(
            sample: Sample,
            image: ByteImage,
            estimate: PoseEstimate,
            seen: dict[str, PoseEstimate] = seen,
        ) -> None:
            seen[sample.name] = estimate

        errors = summary(evaluate(localizer, samples, observe=keep, shown=0).frames)
        figures[name] = {
            'runtime': localizer.runtime.name,
            'note': localizer.runtime.note,
            'errors': errors.as_json(),
            **_stages(list(seen.values())),
        }
        poses.append(seen)
    return figures | {'difference': _difference(*poses)}


def _stages(estimates: Sequence[PoseEstimate]) -> dict[str, float]:
    """What was left to the host, and times; nothing of no poses."""
    if not estimates:
        return {}
    total = [1e3 * estimate.timings['total'] for estimate in estimates]
    uncertainty = [1e3 * estimate.timings['uncertainty'] for estimate in estimates]
    return {
        # What is solved together with the network has no stage of its own.
        'solved_on_host': float(np.mean(['alignment' in each.timings for each in estimates])),
        'median_ms': float(np.median(total)),
        'p99_ms': float(np.quantile(total, 0.99)),
        'median_assessment_ms': float(np.median(uncertainty)),
    }


def _difference(
    found: dict[str, PoseEstimate], reference: dict[str, PoseEstimate]
) -> dict[str, float]:
    """Of the poses of the frames that have one twice; nothing where there are none."""
    names = [name for name in found if name in reference]
    if not names:
        return {}
    first, second = (
        np.stack([estimates[name].world_from_camera for name in names])
        for estimates in (found, reference)
    )
    confidence = [found[name].confidence - reference[name].confidence for name in names]
    metres, degrees = translation_error_m(second, first), rotation_error_deg(second, first)
    return {
        'frames': len(names),
        'median_m': float(np.median(metres)),
        'largest_m': float(metres.max()),
        'median_deg': float(np.median(degrees)),
        'largest_deg': float(degrees.max()),
        'largest_confidence': float(np.abs(confidence).max()),
    }


if __name__ == '__main__':
    raise SystemExit(main())
