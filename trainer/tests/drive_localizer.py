"""What the tests of bag evaluations share: the drive of bag_messages, and who knows its poses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from bag_messages import OPTICAL_TURN, START_NS, Message, image, info, poses, write_bag
from known_localizer import KnownLocalizer

from implicit_loc_trainer import cli
from implicit_loc_trainer.datasets.parsing import rigid_from_quaternion

RATE_HZ = 10


def true_pose(index):
    """world_from_camera of an image of the drive."""
    return rigid_from_quaternion('the drive', (1.0, 2.0 + index / RATE_HZ, 3.0), OPTICAL_TURN)


def stamp(index):
    """Of an image, nanoseconds."""
    return START_NS + index * 10**9 // RATE_HZ


def drive_images(count=10) -> list[Message]:
    """Images whose red is their number, by which they are localized."""
    return [image(stamp(index), value=index) for index in range(count)]


def drive(folder: Path, *more: Message, **options) -> Path:
    """A bag of ten images with their poses."""
    return write_bag(folder, [*drive_images(), info(), *poses(), *more], **options)


class DriveLocalizer(KnownLocalizer):
    """Knows the drive's poses; errors in metres along x, None = no pose; repeated."""

    def __init__(self, errors_m=(0.0,), confidences=(0.9,)):
        super().__init__(list(errors_m))
        self.confidences = confidences
        self.localized = []

    def warm_up(self, camera):
        """Nothing to warm up."""

    def localize(self, image, camera, mask=None):
        """The true pose, moved by the known error."""
        index = int(image[0, 0, 0])
        self.localized.append(index)
        estimate = super().localize(image, camera, mask)
        pose = true_pose(index)
        pose[0, 3] += self.errors_m[index % len(self.errors_m)]
        return replace(
            estimate,
            world_from_camera=pose,
            covariance=1e-4 * np.eye(6),
            confidence=self.confidences[index % len(self.confidences)],
        )


def run(patch, localizer, *arguments, plots=False):
    """The exit status of the command with a localizer that is known."""
    from implicit_loc.localizer import Localizer
    from implicit_loc_trainer.bag_evaluation import page
    from implicit_loc_trainer.evaluation import pictures

    if not plots:
        # They take seconds.
        patch.setattr(pictures, 'draw', lambda *_: [])
        patch.setattr(page.charts, 'trust_charts', lambda *_: {})
    patch.setattr(Localizer, 'load', localizer.load)
    return cli.main(['evaluate-bag', *map(str, arguments)])
