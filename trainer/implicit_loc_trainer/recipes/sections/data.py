"""Which recording is learned."""

from dataclasses import dataclass

from implicit_loc_trainer.recipes.sections.ranges import ConfigError, require


@dataclass(frozen=True)
class DataConfig:
    """Which recording to learn.

    Attributes:
        path: the recording, or 'demo-room'.
        positions_only: take the positions of its frames alone, whether it has orientations or
            not; for fine-tuning, with run.start_from.
        more: further recordings of the same place with whole poses, mixed in.
        more_split: which of their frames: 'train', 'test', or a file that lists names.
        train_split: 'train', 'test', or a file that lists frame names.
        validation_split: frames to watch during the training, never learned from.
        calibration_share: of the training frames, kept from the training in blocks to calibrate
            covariance and confidence with; their neighbours are left out too. 0 = none, and no
            calibration.
        validation_frames: at most this many of them, evenly spaced; 0 = no validation.
        cache: where the resized training frames are kept: 'memory', 'disk', or 'auto': on disk
            where they would take more than half of the memory that is available.
        cache_folder: of the frames on disk; empty = implicit_loc in the user's cache folder.
    """

    path: str = ''
    positions_only: bool = False
    more: tuple[str, ...] = ()
    more_split: str = 'train'
    train_split: str = 'train'
    calibration_share: float = 0.1
    validation_split: str = 'test'
    validation_frames: int = 50
    cache: str = 'auto'
    cache_folder: str = ''

    def __post_init__(self) -> None:
        require(
            'data',
            self,
            at_least=dict.fromkeys(('validation_frames', 'calibration_share'), 0),
            at_most={'calibration_share': 0.5},
        )
        if self.cache not in ('memory', 'disk', 'auto'):
            raise ConfigError(f'data.cache is {self.cache!r}; it must be memory, disk or auto')
