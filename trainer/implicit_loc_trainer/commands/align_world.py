"""Find where the world of a checkpoint lies in the robot's map: prints `world_alignment`.

A checkpoint gives poses in the world of the recording that it was trained on. A robot that has a
map already, such as Nav2's, wants them in that map. Drive a round on which both are known, and
write two files, the poses of the same body (the camera, say) in each, a line per pose:
timestamp tx ty tz qx qy qz qw. Then

    implicit-loc align-world --world camera_in_the_world.tum --map camera_in_the_map.tum

prints the line to copy into the node's YAML file. From a bag with images and poses in the map,
`implicit-loc evaluate-bag` writes both files:

    implicit-loc evaluate-bag drive map.safetensors --output found
    implicit-loc align-world --world found/estimate.tum --map found/truth.tum
"""

import argparse
from pathlib import Path

from implicit_loc.errors import ImplicitLocError
from implicit_loc_trainer.commands.common import non_negative

# Beyond these medians the two do not tell of the same body, or of the same axes.
_SUSPICIOUS_M, _SUSPICIOUS_DEG = 0.5, 10.0
_WORST = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the subcommand."""
    parser.add_argument(
        '--world',
        metavar='F',
        type=Path,
        help='TUM trajectory of a body in the world of the checkpoint, such as `evaluate` writes',
    )
    parser.add_argument(
        '--map', metavar='F', type=Path, help='TUM trajectory of the same body in the map'
    )
    parser.add_argument(
        '--pairs',
        metavar='F',
        type=Path,
        help='instead of both: lines of 14 numbers, x y z qx qy qz qw in the world, then in the '
        'map',
    )
    parser.add_argument(
        '--lever',
        metavar='M',
        type=non_negative,
        default=1.0,
        help='an error of one radian counts as one of so many metres (default: 1)',
    )
    parser.add_argument(
        '--positions-only',
        action='store_true',
        help='let orientations not count: the two are different bodies in one place, such as a '
        'camera and a prism beside it',
    )


def run(arguments: argparse.Namespace) -> int:
    """Reads the pairs, fits, and prints the line for the YAML file and the residuals.

    Returns:
        The exit status: 0.

    Raises:
        ImplicitLocError: a file cannot be used, or the pairs do not determine the motion.
    """
    given = [arguments.world is not None, arguments.map is not None, arguments.pairs is not None]
    if given not in ([True, True, False], [False, False, True]):
        raise ImplicitLocError('give both --world and --map, or --pairs alone')
    if arguments.lever == 0 and not arguments.positions_only:
        raise ImplicitLocError(
            '--lever is 0: say --positions-only if orientations shall not count'
        )
    # PyTorch takes seconds to import: not for --help.
    import numpy as np

    from implicit_loc_trainer import world_alignment

    if arguments.pairs is not None:
        pairs = world_alignment.pairs_of_table(arguments.pairs)
    else:
        pairs = world_alignment.pairs_of_trajectories(arguments.world, arguments.map)
    fit = world_alignment.fit(pairs, 0.0 if arguments.positions_only else arguments.lever)
    print(f'world_alignment: [{", ".join(f"{value:.9f}" for value in fit.values)}]')
    print(f'# {len(pairs.names)} pairs of poses')
    for unit, errors in (('m', fit.errors_m), ('deg', fit.errors_deg)):
        if unit == 'deg' and arguments.positions_only:
            continue
        worst = ', '.join(pairs.names[i] for i in np.argsort(errors)[::-1][:_WORST])
        print(
            f'# residuals in {unit}: median {np.median(errors):.4f}, '
            f'95 % {np.percentile(errors, 95):.4f}, largest {errors.max():.4f} (at {worst})'
        )
    far = np.median(fit.errors_m) > _SUSPICIOUS_M
    turned = np.median(fit.errors_deg) > _SUSPICIOUS_DEG and not arguments.positions_only
    if far or turned:
        print(
            '# these residuals are large: are both poses of the same body (optical frame or '
            'base), with the same axes, at stamps of the same clock?'
        )
    return 0
