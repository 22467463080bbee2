"""How and where a training runs."""

from dataclasses import dataclass

from implicit_loc_trainer.recipes.sections.ranges import require

# NumPy takes no larger one.
_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class RunConfig:
    """How and where the training runs.

    Attributes:
        output: folder of the run: state for resuming, the checkpoint, the log.
        start_from: checkpoint whose weights the training begins with; empty = from scratch.
        device: 'auto', 'cpu' or 'cuda'.
        devices: GPUs of this machine (processes on a CPU) that share every batch; 0 = all GPUs.
            Where torchrun or SLURM started the processes, their number counts instead.
        seed: of weights, order and augmentation; 32 bits without a sign.
        validate_every: epochs between validations.
        threads: of PyTorch on a CPU; 0 = its own choice.
        workers: processes that make the views on a CPU; 0 = the training's own. On CUDA there
            are as many as there are cores to spare, up to eight.
        save_every_minutes: the state for resuming is written at the end of every epoch, and
            within epochs that are longer than this; 0 = at the ends alone.
        report: write report.html after the training: the errors on the validation frames,
            and the map that was learned.
    """

    output: str = 'runs/default'
    start_from: str = ''
    device: str = 'auto'
    devices: int = 1
    seed: int = 1
    validate_every: int = 10
    threads: int = 0
    workers: int = 0
    save_every_minutes: float = 10.0
    report: bool = True

    def __post_init__(self) -> None:
        zero = dict.fromkeys(('devices', 'seed', 'threads', 'workers', 'save_every_minutes'), 0)
        at_least = {**zero, 'validate_every': 1}
        require('run', self, at_least=at_least, at_most={'seed': _LARGEST_SEED})
