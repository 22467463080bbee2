"""What the steps from cells to a pose cost on the CPU, beside the network.

    python trainer/benchmarks/solver_cost.py models/redkitchen.safetensors

Cells are made up: points at 1 to 5 m with noise, a tenth of them wrong. All steps and the network
take turns, so that whatever else the machine does meets all of them. Printed are medians and the
fastest tenth; with one thread of the time that the processor spent, which other programs disturb
less, though they still empty its caches; with several of that of the clock.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from implicit_loc.alignment import align
from implicit_loc.cells import Cells
from implicit_loc.consensus import consensus
from implicit_loc.localizer import Localizer
from implicit_loc.poses import exp_se3, transform_points
from implicit_loc.refinement import refine
from implicit_loc.resection import resect
from implicit_loc_trainer.benchmark.peers import align_by_svd

FOCAL_LENGTH = 525.0
WARM_UP = 5


def made_up_cells(rows: int, columns: int, dtype: torch.dtype) -> tuple[Cells, torch.Tensor]:
    """Cells of one image and a pose 5 cm and 3 degrees off."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, y = torch.meshgrid(
        torch.linspace(-0.6, 0.6, columns, dtype=torch.float64),
        torch.linspace(-0.45, 0.45, rows, dtype=torch.float64),
        indexing='xy',
    )
    rays = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(1, -1, 3)
    depth = 3 + 2 * torch.sin(4 * rays[..., :1] + 3 * rays[..., 1:2])
    pose = exp_se3(normal(1, 6))
    world = transform_points(pose, depth * rays) + 0.02 * normal(*rays.shape)
    wrong = torch.rand(depth.shape, generator=generator, dtype=torch.float64) < 0.1
    cells = Cells(
        torch.where(wrong, world + normal(*world.shape), world),
        depth * rays * (1 + 0.02 * normal(*depth.shape)),
        rays,
        torch.rand(rays.shape[:-1], generator=generator, dtype=torch.float64),
        torch.full((1,), FOCAL_LENGTH, dtype=torch.float64),
    )
    start = pose @ exp_se3(torch.full((1, 6), 0.03, dtype=torch.float64))
    return cells.map(lambda part: part.to(dtype)), start.to(dtype)


def solving_steps(cells: Cells, start: torch.Tensor) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    world, camera, rays, weights = (
        cells.world_points,
        cells.camera_points,
        cells.rays,
        cells.weights,
    )
    return {
        'rigid alignment': lambda: align(world, camera, weights),
        'rigid alignment by SVD': lambda: align_by_svd(world[0], camera[0], weights[0]),
        'resection': lambda: resect(world, rays, weights),
        'refinement': lambda: refine(start, cells),
        'consensus': lambda: consensus(cells),
    }


def measure(steps: dict[str, Callable[[], object]], turns: int) -> dict[str, np.ndarray]:
    """Milliseconds of every step, (turns,)."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(turns + WARM_UP):
        for name, step in steps.items():
            begun = clock()
            step()
            if turn >= WARM_UP:
                times[name].append(1000 * (clock() - begun))
    return {name: np.array(numbers) for name, numbers in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('checkpoint', help='whose network to time')
    parser.add_argument('--turns', type=int, default=100, help='default %(default)s')
    parser.add_argument('--threads', type=int, default=1, help='of PyTorch (default %(default)s)')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    localizer = Localizer.load(arguments.checkpoint, device='cpu')
    camera = localizer.description.training_camera
    grey = np.full((camera.height, camera.width, 3), 128, np.uint8)
    steps: dict[str, Callable[[], object]] = {'network': lambda: localizer.predict(grey, camera)}
    for rows, columns in ((30, 40), (60, 80)):
        for dtype in (torch.float64, torch.float32):
            precision = str(dtype).removeprefix('torch.')
            cells, start = made_up_cells(rows, columns, dtype)
            for name, step in solving_steps(cells, start).items():
                steps[f'{name}, {rows * columns} cells, {precision}'] = step
    with torch.inference_mode():
        times = measure(steps, arguments.turns)
    table = Table('step', 'median ms', 'fastest tenth ms')
    for name, numbers in times.items():
        table.add_row(name, f'{np.median(numbers):.2f}', f'{np.quantile(numbers, 0.1):.2f}')
    Console(highlight=False).print(table)


if __name__ == '__main__':
    main()
