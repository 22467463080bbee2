"""The ways from an image's cells to its pose.

A solver is one function and one line of SOLVERS. `solve` is what is called: it refuses cells that
determine no pose, whichever solver follows, and poses that leave the points behind the camera.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from implicit_loc.alignment import align
from implicit_loc.arrays import lightest, row_sums, to_torch, unwarned
from implicit_loc.cells import Cells, usable_cells
from implicit_loc.consensus import consensus, soft_inliers
from implicit_loc.errors import AlignmentError, ImplicitLocError
from implicit_loc.landmark_alignment import (
    LandmarkPose,
    align_nearby,
    align_to_landmarks,
    better,
)
from implicit_loc.landmark_search import Sight
from implicit_loc.poses import invert, transform_points
from implicit_loc.ransac import pnp_ransac, rigid_ransac
from implicit_loc.refinement import refine
from implicit_loc.resection import resect

# Weighted share of the cells that must agree with a refined pose for it to stand unquestioned,
# and how many times as many must agree with one that takes its place: a few more may as well be
# the cells of one wrong region.
LEAST_INLIER_RATIO = 0.1
_CLEAR_MAJORITY = 2.0

# How far R R^T of a pose may be from the identity, in float32 too.
_RIGID = 1e-4


@dataclass(frozen=True)
class Solution:
    """Poses of B images.

    Attributes:
        world_from_camera: (B, 4, 4), metres, optical frame.
        first_pose: world_from_camera of the closed form that a refinement began with, (B, 4, 4);
            of a solver without refinement, its pose.
        used_consensus: whether the robust fallback gave the pose, or that with which the search
            for landmarks began, (B,) bool.
        cells: those that were solved for: without the ones that are not finite.
        timings: seconds of 'alignment', 'refinement', 'consensus' and 'landmarks', of the host.
        on_landmarks: what looking for landmarks gave; None where none were looked for. The pose
            is theirs where they were found.
    """

    world_from_camera: Tensor
    first_pose: Tensor
    used_consensus: Tensor
    cells: Cells
    timings: dict[str, float]
    on_landmarks: LandmarkPose | None = None


# Takes the cells of B images, and of one image also its sight of the map's landmarks.
Solver = Callable[[Cells, Sight | None], Solution]


def solve(cells: Cells, solver: str, sight: Sight | None = None) -> Solution:
    """The poses of B images.

    Args:
        cells: of the images.
        solver: a key of SOLVERS.
        sight: of the map's landmarks in the one image; None where there are none.

    Raises:
        AlignmentError: the cells of an image determine no pose, or most of them lie behind the
            camera under the pose that fits best.
        ImplicitLocError: there is no such solver.
    """
    require_solver(solver)
    usable = usable_cells(cells)
    solution = SOLVERS[solver](usable, sight)
    if not is_pose(solution.world_from_camera):
        raise AlignmentError('the predicted points determine no pose: it would not be rigid')
    has_landmarks = solution.on_landmarks is not None and solution.on_landmarks.is_found
    # Landmarks are seen in front of the camera: what the cells say against that is their error.
    if not has_landmarks and mostly_behind(solution.world_from_camera, usable).any():
        raise AlignmentError('most of the predicted points lie behind the camera')
    return solution


def is_pose(world_from_camera: Tensor) -> bool:
    """Whether all are finite and turn without bending."""
    rotation = world_from_camera[:, :3, :3]
    identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    is_rigid = ((rotation @ rotation.mT - identity).abs() < _RIGID).all()
    return bool(is_rigid & world_from_camera.isfinite().all())


def mostly_behind(world_from_camera: Tensor, cells: Cells) -> Tensor:
    """Whether most of the weight of an image lies behind the camera, (B,) bool."""
    seen = transform_points(invert(world_from_camera), cells.world_points)
    in_front = (cells.weights * (seen[..., 2] > 0)).sum(dim=-1)
    return in_front < cells.weights.sum(dim=-1) / 2


def require_solver(name: str) -> None:
    """Refuse a name that SOLVERS does not have.

    Raises:
        ImplicitLocError: with the names that it has.
    """
    if name not in SOLVERS:
        known = ', '.join(SOLVERS)
        raise ImplicitLocError(f'the solver {name!r} is not known; known are {known}')


def _single(solver: Callable[[Cells], Tensor]) -> Solver:
    """A solver whose first pose is its last."""

    def solve_at_once(cells: Cells, _: Sight | None = None) -> Solution:
        start = time.perf_counter()
        pose = solver(cells)
        seconds = time.perf_counter() - start
        return Solution(pose, pose, _nowhere(cells), cells, {'alignment': seconds})

    return solve_at_once


def _unweighted(cells: Cells) -> Tensor:
    return align(cells.world_points, cells.camera_points, (cells.weights > 0).to(cells.weights))


def _weighted(cells: Cells) -> Tensor:
    return align(cells.world_points, cells.camera_points, cells.weights)


def solve_refined(cells: Cells, _: Sight | None = None) -> Solution:
    """Refinement from the closed form, with or without depth, that fits better.

    Nothing waits for the host.
    """
    start = time.perf_counter()
    rigid = _weighted(cells)
    resected = resect(cells.world_points, cells.rays, cells.weights)
    aligned = time.perf_counter()
    refined = refine(rigid, cells, rival=resected)
    timings = {'alignment': aligned - start, 'refinement': time.perf_counter() - aligned}
    return Solution(refined.world_from_camera, refined.start, _nowhere(cells), cells, timings)


def _robust(cells: Cells, _: Sight | None = None) -> Solution:
    """Refinement, and consensus where too few cells agree with what it gave."""
    solution = solve_refined(cells)
    refined = solution.world_from_camera
    start = time.perf_counter()
    # The only decision on the host: most images need no fallback, which costs several times more.
    agreeing = inlier_ratio(refined, cells)
    questionable = agreeing < LEAST_INLIER_RATIO
    pose, chosen = refined, _nowhere(cells)
    if questionable.any():
        found = consensus(cells)
        # Where most cells are wrong, a scale estimated from all of them is too: costs say nothing.
        chosen = questionable & (inlier_ratio(found, cells) > _CLEAR_MAJORITY * agreeing)
        pose = torch.where(chosen[:, None, None], found, refined)
    timings = solution.timings | {'consensus': time.perf_counter() - start}
    return Solution(pose, solution.first_pose, chosen, cells, timings)


def _on_landmarks(cells: Cells, sight: Sight | None) -> Solution:
    """A pose of the cells, refined on the landmarks that should be in sight from there.

    Where landmarks are clearly found from the closed form, they make more of it than the cells
    could: the robust pose, which costs more, is for the others.
    """
    if sight is None:
        return _robust(cells)
    if len(cells.weights) != 1:
        raise ImplicitLocError(f'{len(cells.weights)} images with the sight of one: solve each')
    closed_form = _single(_weighted)(cells, sight)
    start = time.perf_counter()
    near = align_nearby(sight, closed_form.world_from_camera)
    seconds = time.perf_counter() - start
    if near is not None and near.is_clear:
        return _with_landmarks(closed_form, near, seconds)
    robust = _robust(cells)
    start = time.perf_counter()
    found = better(near, align_to_landmarks(sight, robust.world_from_camera))
    seconds += time.perf_counter() - start
    alignment = closed_form.timings['alignment'] + robust.timings['alignment']
    whole = replace(robust, timings=robust.timings | {'alignment': alignment})
    return _with_landmarks(whole, found, seconds)


def _with_landmarks(solution: Solution, found: LandmarkPose | None, seconds: float) -> Solution:
    timings = solution.timings | {'landmarks': seconds}
    pose = solution.world_from_camera
    if found is not None and found.is_found:
        pose = found.world_from_camera
    return replace(solution, world_from_camera=pose, on_landmarks=found, timings=timings)


def inlier_ratio(world_from_camera: Tensor, cells: Cells) -> Tensor:
    """Weighted share of the cells that agree with a pose, softly, (B,)."""
    inliers, weights = lightest(
        soft_inliers(world_from_camera[:, None], cells)[:, 0], cells.weights
    )
    with unwarned():
        return to_torch(row_sums(inliers, weights) / weights.sum(axis=-1))


def _nowhere(cells: Cells) -> Tensor:
    return torch.zeros_like(cells.weights[:, 0], dtype=torch.bool)


# The first four are those of Altillawi et al. 2023, Table III.
SOLVERS: dict[str, Solver] = {
    'unweighted': _single(_unweighted),
    'weighted': _single(_weighted),
    'rigid_ransac': _single(rigid_ransac),
    'pnp_ransac': _single(pnp_ransac),
    'refined': solve_refined,
    'robust': _robust,
    'landmarks': _on_landmarks,
}

# Of a map without landmarks, the robust one.
DEFAULT_SOLVER = 'landmarks'
