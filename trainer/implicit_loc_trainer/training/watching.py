"""What TensorBoard shows of a training: figures after every epoch, pictures at validations."""

import copy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import lightning
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray

from implicit_loc.checkpoint import CheckpointDescription
from implicit_loc.errors import ImplicitLocError
from implicit_loc.localizer import Localizer
from implicit_loc_trainer.datasets import Sample
from implicit_loc_trainer.evaluation.colours import depth_colours, weight_colours, world_colours

if TYPE_CHECKING:
    from implicit_loc_trainer.training.scene_training import SceneTraining

ByteImage = NDArray[np.uint8]

FOLDER = 'tensorboard'
_PICTURED_FRAMES = 4
_PICTURE_HEIGHT = 180


class TensorBoardLog(TensorBoardLogger):
    """Lightning's logger, which gives up with one line where it would end the training.

    Args:
        folder: of the run; a resumed run goes on in the same log.
        report: takes a line for the person who watches.
    """

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        super().__init__(
            save_dir=str(folder), name=FOLDER, version='', max_queue=1000, flush_secs=30
        )
        self._report = report
        self._has_failed = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes numbers."""
        self._attempt(lambda: super(TensorBoardLog, self).log_metrics(metrics, step))

    def log_picture(self, name: str, picture: ByteImage, step: int) -> None:
        """Writes a picture, (H, W, 3) RGB."""
        self._attempt(lambda: self.experiment.add_image(name, picture, step, dataformats='HWC'))

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
        """Writes none: the recipe lies beside the log."""

    def save(self) -> None:
        """Flushes what was written."""
        self._attempt(lambda: self.experiment.flush())

    def finalize(self, _status: str) -> None:
        """Closes the file."""
        if self._experiment is not None:
            self._attempt(lambda: self.experiment.close())

    @property
    def experiment(self) -> Any:
        """The writer; None where its file cannot be made."""
        try:
            return super().experiment
        except OSError as error:
            self._give_up(error)
            return None

    def _attempt(self, write: Callable[[], None]) -> None:
        if self._has_failed or self.experiment is None:
            return
        try:
            write()
        # Lightning makes a ValueError of whatever the writer raises.
        except (OSError, ValueError) as error:
            self._give_up(error.__cause__ or error)

    def _give_up(self, reason: BaseException) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._report(f'warning: TensorBoard gets nothing more of this training: {reason}')


class Watching(Callback):
    """Logs learning rate and speed, and shows held-out frames to TensorBoard.

    Args:
        batch_size: images of a step.
        log: takes the pictures.
    """

    def __init__(self, batch_size: int, log: TensorBoardLog) -> None:
        self._batch_size = batch_size
        self._log = log
        self._started = 0.0
        self._first_step = 0

    def on_train_start(
        self, trainer: lightning.Trainer, module: lightning.LightningModule
    ) -> None:
        """Begin to measure the speed: a resumed training may begin within an epoch."""
        self.on_train_epoch_start(trainer, module)

    def on_train_epoch_start(
        self, trainer: lightning.Trainer, _: lightning.LightningModule
    ) -> None:
        """Begin to measure the speed."""
        self._started = time.monotonic()
        self._first_step = trainer.global_step

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: 'SceneTraining') -> None:  # type: ignore[override]
        """Log what is known once an epoch; draw where the module validates."""
        seconds = max(time.monotonic() - self._started, 1e-6)
        images = (trainer.global_step - self._first_step) * self._batch_size
        module.log('learning_rate', trainer.optimizers[0].param_groups[0]['lr'])
        module.log('images_per_second', images / seconds)
        if trainer.is_global_zero and module.validates_now():
            self._draw(trainer, module)

    def _draw(self, trainer: lightning.Trainer, module: 'SceneTraining') -> None:
        # A copy: the Localizer puts its network into evaluation mode and its own memory format.
        network = copy.deepcopy(module.learned_network)
        localizer = Localizer(network, module.description, str(module.device))
        frames = module.held_out
        for sample in frames[:: -(-len(frames) // _PICTURED_FRAMES)]:
            try:
                picture = predicted_picture(localizer, sample)
            except ImplicitLocError:
                # The validation, which sees the same frames, has its own say about this.
                continue
            self._log.log_picture(f'held_out/{sample.name}', picture, trainer.global_step)


def predicted_picture(localizer: Localizer, sample: Sample) -> ByteImage:
    """Image, depth, world coordinates as RGB and weights of one frame, side by side.

    Depths and weights are shown from their least to their largest, world coordinates within the
    same bounds in every picture.

    Returns:
        (H, 4 W, 3) RGB.

    Raises:
        ImplicitLocError: the image cannot be read, or is not one for this network.
    """
    image = sample.load_image()
    geometry = localizer.predict(image, sample.camera)
    depth = np.nan_to_num(geometry.depth)
    near, far = np.percentile(depth, (1.0, 99.0))
    weights = geometry.weights / max(float(np.nanmax(geometry.weights)), 1e-6)
    width = round(_PICTURE_HEIGHT * sample.camera.aspect_ratio)
    parts = [
        cv2.resize(image, (width, _PICTURE_HEIGHT), interpolation=cv2.INTER_AREA),
        *(
            cv2.resize(part, (width, _PICTURE_HEIGHT), interpolation=cv2.INTER_NEAREST)
            for part in (
                depth_colours(depth, float(near), float(max(far, near + 1e-3))),
                world_colours(geometry.world_points, _seen_bounds(localizer.description)),
                weight_colours(weights),
            )
        ),
    ]
    return np.concatenate(parts, axis=1)


def _seen_bounds(
    description: CheckpointDescription,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """About the part of the world that the training cameras saw: theirs, and a fifth of far."""
    low, high = np.array(description.extent)
    margin = 0.2 * description.network.far
    return low - margin, high + margin
