"""Small positive definite systems, in arithmetic that a CUDA graph can capture.

torch.linalg leaves them to cuSOLVER on a GPU, which allocates memory and may wait for the host.
"""

import torch
from torch import Tensor


def eliminate(matrix: Tensor, right: Tensor) -> Tensor:
    """The solutions of positive definite systems, (..., n, n), (..., n, m) -> (..., n, m).

    Gauss-Jordan elimination without a choice of pivots: of positive definite matrices its forward
    error is bounded as that of Cholesky's decomposition is (Higham 2002, section 14.4). Where a
    matrix is not positive definite its solution may be anything; the others are not affected.
    """
    system = torch.cat([matrix, right], dim=-1)
    for _ in range(matrix.shape[-1]):
        first = system[..., :1, 1:] / system[..., :1, :1]
        others = system[..., 1:, 1:]
        reduced = torch.addcmul(others, system[..., 1:, :1], first, value=-1)
        # Behind the others: after the last step all rows are in order again.
        system = torch.cat([reduced, first], dim=-2)
    return system


def least_pivot(matrix: Tensor) -> Tensor:
    """The least pivot of symmetric matrices (..., n, n) -> (...); 0 of one not positive definite.

    The pivots are the squares of the diagonal of Cholesky's factor.
    """
    pivots = [matrix[..., 0, 0]]
    while matrix.shape[-1] > 1:
        column, first = matrix[..., 1:, :1], matrix[..., :1, 1:]
        matrix = torch.addcmul(matrix[..., 1:, 1:], column / matrix[..., :1, :1], first, value=-1)
        pivots.append(matrix[..., 0, 0])
    least = torch.stack(pivots, dim=-1).amin(dim=-1)
    return torch.where(least > 0, least, 0)
