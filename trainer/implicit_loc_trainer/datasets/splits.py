"""Which frames belong to a split: lists of names, or blocks of time."""

from collections.abc import Callable, Sequence
from pathlib import Path

from implicit_loc_trainer.datasets.parsing import numbered_lines
from implicit_loc_trainer.datasets.sample import DataError, Sample

# Stamps of frames whose recording has none count at this rate.
FRAMES_PER_SECOND = 30.0

# Without lists a recording is cut into this many blocks of time, and every fifth is for testing:
# neighbouring frames are nearly alike, so single frames taken out would test nothing.
BLOCKS = 10
TEST_EVERY = 5

SPLITS = ('train', 'test')


def check_split(path: Path, split: str | Path) -> None:
    """Refuses a split that is neither 'train' nor 'test' nor a list.

    Raises:
        DataError: it is.
    """
    if not isinstance(split, Path) and split not in SPLITS:
        raise DataError(f'{path} has the splits train and test, not {split!r}')


def select_listed(samples: Sequence[Sample], file: Path) -> list[Sample]:
    """The samples that a file names, one a line, in the order of its lines.

    Raises:
        DataError: the file cannot be read, or a name is not a frame or there twice.
    """
    by_name = {sample.name: sample for sample in samples}
    chosen: dict[str, Sample] = {}
    for number, name in numbered_lines(file):
        if name not in by_name:
            raise DataError(f'{file}:{number}: the recording has no frame {name!r}')
        if name in chosen:
            raise DataError(f'{file}:{number}: the frame {name!r} is named twice')
        chosen[name] = by_name[name]
    return list(chosen.values())


def read_listed(
    path: Path, split: str | Path, read_split: Callable[[Path, str], list[Sample]]
) -> list[Sample]:
    """A split of a format that has its own: 'train', 'test', or a list of names from both.

    Raises:
        DataError: an unknown split, what read_split raises, or a name that is not a frame.
    """
    check_split(path, split)
    if isinstance(split, Path):
        both = [sample for name in SPLITS for sample in read_split(path, name)]
        return select_listed(both, split)
    return read_split(path, split)


def has_lists(root: Path) -> bool:
    """Whether train.txt or test.txt say which frames belong where."""
    return any((root / f'{name}.txt').is_file() for name in SPLITS)


def split_samples(
    root: Path,
    samples: Sequence[Sample],
    split: str | Path,
    blocks: int = BLOCKS,
    test_every: int = TEST_EVERY,
) -> list[Sample]:
    """A split of a format that has none of its own.

    A list given as the split wins; then train.txt and test.txt in root, where one of them alone
    leaves all other frames to the other split; else blocks of frames, of which every
    test_every-th is for testing.

    Raises:
        DataError: an unknown split, or a list that names what is not a frame.
    """
    check_split(root, split)
    if isinstance(split, Path):
        return select_listed(samples, split)
    own = root / f'{split}.txt'
    other = root / ('test.txt' if split == 'train' else 'train.txt')
    if own.is_file():
        return select_listed(samples, own)
    if other.is_file():
        taken = {sample.name for sample in select_listed(samples, other)}
        return [sample for sample in samples if sample.name not in taken]
    # A block holds at least one frame: else short recordings would have no test frames.
    blocks = min(blocks, len(samples))
    chosen = []
    for index, sample in enumerate(samples):
        block = index * blocks // len(samples)
        if (block % test_every == test_every - 1) == (split == 'test'):
            chosen.append(sample)
    return chosen
