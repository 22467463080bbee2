"""Images as they go over the wire, prepared so that publishing them takes no time."""

from collections.abc import Sequence
from pathlib import Path

import cv2

from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.ros_messages import (
    camera_info_message,
    compressed_image_message,
    image_message,
)

JPEG_QUALITY = 90
# Any that is not zero, which means "no stamp": the camera sets it.
_SOME_STAMP = 1


def write_shots(folder: Path, samples: Sequence[Sample]) -> None:
    """Write images of one camera, raw and as JPEG, for `bench.camera`.

    Args:
        folder: must exist.
        samples: the images, at least one, all of one camera.

    Raises:
        ImplicitLocError: an image cannot be read.
        OSError: the folder cannot be written.
    """
    info = camera_info_message(_SOME_STAMP, samples[0].camera)
    (folder / 'camera_info.cdr').write_bytes(info)
    for index, sample in enumerate(samples):
        image = sample.load_image()
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        messages = {
            'raw': image_message(_SOME_STAMP, image),
            'compressed': compressed_image_message(_SOME_STAMP, jpeg.ravel()),
        }
        for transport, data in messages.items():
            (folder / f'{transport}_{index:04d}.cdr').write_bytes(data)
