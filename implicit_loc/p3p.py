"""Camera poses from three world points and their rays: Lambda Twist, batched.

After Persson and Nordberg 2018. The three distances solve a pair of conics; one root of a cubic
splits the pencil of the two into a pair of planes, and each plane gives a quadratic. Up to four
poses come back, masked instead of counted, so that all shapes are fixed.
"""

import torch
from torch import Tensor

from implicit_loc.poses import rigid_transform, skew

_TINY = 1e-300
# The cubic's root is polished after its closed form, and the distances after theirs.
_CUBIC_STEPS = 3
_DISTANCE_STEPS = 3


def p3p(world_points: Tensor, rays: Tensor) -> tuple[Tensor, Tensor]:
    """Every pose under which three points lie on their rays, in front of the camera.

    Args:
        world_points: (..., 3, 3), one point per row, metres.
        rays: one ray per row, (..., 3, 3), of any length > 0.

    Returns:
        camera_from_world, (..., 4, 4, 4), float64, and which of them are solutions, (..., 4).
        What is none is the identity. Points on a line, and equal ones, have no solution.
    """
    points = world_points.double()
    unit = torch.nn.functional.normalize(rays.double(), dim=-1)
    centre = points.mean(dim=-2, keepdim=True)
    points = points - centre
    sides, cosines = _sides(points), _cosines(unit)
    distances, valid = _distances(sides, cosines)
    distances = _polish(distances, sides[..., None, :], cosines[..., None, :])
    camera_points = distances[..., None] * unit[..., None, :, :]
    rotation = triad(camera_points) @ triad(points)[..., None, :, :].mT
    translation = camera_points.mean(dim=-2)
    translation = translation - (rotation @ centre[..., None, 0, :, None])[..., 0]
    pose = rigid_transform(rotation, translation)
    valid = valid & (distances > 0).all(dim=-1) & pose.isfinite().all(dim=-1).all(dim=-1)
    identity = torch.eye(4, dtype=pose.dtype, device=pose.device)
    return torch.where(valid[..., None, None], pose, identity), valid


def _sides(points: Tensor) -> Tensor:
    """Squared lengths 12, 13, 23 of the triangle, (..., 3, 3) -> (..., 3)."""
    first, second, third = points.unbind(-2)
    sides = torch.stack([first - second, first - third, second - third], dim=-2)
    return sides.square().sum(dim=-1)


def _cosines(unit: Tensor) -> Tensor:
    """Cosines of the angles 12, 13, 23 between unit rays, (..., 3, 3) -> (..., 3)."""
    first, second, third = unit.unbind(-2)
    pairs = torch.stack([first * second, first * third, second * third], dim=-2)
    return pairs.sum(dim=-1)


def _distances(sides: Tensor, cosines: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of the three points from the camera, (..., 4, 3), and which are real, (..., 4).

    The names are those of the paper: a are squared sides, b are -2 cosines.
    """
    a12, a13, a23 = sides.unbind(-1)
    b12, b13, b23 = (-2 * cosines).unbind(-1)
    planes, real = _planes(_degenerate_conic(sides, cosines))
    w0, w1 = planes.unbind(-1)
    a12, a13, a23, b12, b13, b23 = (value[..., None] for value in (a12, a13, a23, b12, b13, b23))
    # lambda1 = w0 lambda2 + w1 lambda3 leaves a quadratic in tau = lambda3 / lambda2.
    square = (a13 - a12) * w1 * w1 - a12 * b13 * w1 - a12
    linear = a13 * b12 * w1 - a12 * b13 * w0 - 2 * w0 * w1 * (a12 - a13)
    constant = (a13 - a12) * w0 * w0 + a13 * b12 * w0 + a13
    discriminant = linear * linear - 4 * square * constant
    root = discriminant.clamp_min(0).sqrt()
    # The larger of the two roots' numerators does not cancel; the other follows from it.
    stable = -0.5 * (linear + torch.where(linear < 0, -root, root))
    tau = torch.cat([_divide(stable, square), _divide(constant, stable)], dim=-1)
    w0, w1, real = (torch.cat([value, value], dim=-1) for value in (w0, w1, real))
    scale = tau * (b23 + tau) + 1
    second = _divide(a23, scale).clamp_min(0).sqrt()
    third = tau * second
    first = w0 * second + w1 * third
    real = real & torch.cat([discriminant, discriminant], dim=-1).ge(0) & (scale > 0)
    return torch.stack([first, second, third], dim=-1), real


def _degenerate_conic(sides: Tensor, cosines: Tensor) -> Tensor:
    """The member of the pencil of conics that is a pair of planes, (..., 3, 3), symmetric."""
    a12, a13, a23 = sides.unbind(-1)
    c12, c13, c23 = cosines.unbind(-1)
    s12, s13, s23 = (1 - cosines.square()).unbind(-1)
    blob = c12 * c23 * c13 - 1
    cubic = (
        a13 * (a23 * s13 - a13 * s23),
        2 * blob * a23 * a13 + a13 * (2 * a12 + a13) * s23 + a23 * (a23 - a12) * s13,
        a23 * (a13 - a23) * s12 - a12 * a12 * s23 - 2 * a12 * (blob * a23 + a13 * s23),
        a12 * (a12 * s23 - a23 * s12),
    )
    g = _real_root(*(_divide(coefficient, cubic[0]) for coefficient in cubic[1:]))
    d00, d01, d02 = a23 * (1 - g), -a23 * c12, a23 * c13 * g
    d11, d12, d22 = a23 - a12 + a13 * g, c23 * (a12 - a13 * g), g * (a13 - a23) - a12
    rows = [d00, d01, d02, d01, d11, d12, d02, d12, d22]
    return torch.stack(rows, dim=-1).reshape(*g.shape, 3, 3)


def _real_root(square: Tensor, linear: Tensor, constant: Tensor) -> Tensor:
    """A real root of x^3 + square x^2 + linear x + constant (Cardano, Viete), polished."""
    shift = -square / 3
    p = linear - square * square / 3
    q = constant + square * (2 * square * square / 9 - linear) / 3
    discriminant = (q / 2).square() + (p / 3) ** 3
    radius = (-p / 3).clamp_min(0).sqrt()
    # Three real roots: the one farthest from the others, where the slope is largest.
    cosine = (_divide(-q / 2, radius**3)).clamp(-1, 1)
    sign = torch.where(cosine < 0, -1.0, 1.0)
    three = sign * 2 * radius * torch.cos(torch.acos(cosine.abs()) / 3)
    offset = -q / 2 - torch.where(q < 0, -1.0, 1.0) * discriminant.clamp_min(0).sqrt()
    cube = offset.sign() * offset.abs() ** (1 / 3)
    single = cube - _divide(p / 3, cube)
    root = shift + torch.where(discriminant > 0, single, three)
    for _ in range(_CUBIC_STEPS):
        value = ((root + square) * root + linear) * root + constant
        slope = (3 * root + 2 * square) * root + linear
        root = root - _divide(value, slope)
    return root


def _planes(conic: Tensor) -> tuple[Tensor, Tensor]:
    """Both planes lambda1 = w0 lambda2 + w1 lambda3 of a degenerate conic.

    With M = l m^T + m l^T the adjugate is -n n^T, n = l x m, and M + [n]x is 2 m l^T or its
    transpose: rank one, rows and columns are the planes (Richter-Gebert 2011, section 11.1).

    Returns:
        (..., 2, 2) and whether they are real, (..., 1) broadcast to (..., 2).
    """
    a, b, c = conic.unbind(-2)
    crosses = [torch.linalg.cross(*pair) for pair in ((b, c), (c, a), (a, b))]
    adjugate = torch.stack(crosses, dim=-2)
    diagonal = adjugate.diagonal(dim1=-2, dim2=-1)
    index = diagonal.abs().argmax(dim=-1, keepdim=True)
    largest = -diagonal.gather(-1, index)
    column = adjugate.gather(-2, index[..., None].expand(*index.shape, 3))[..., 0, :]
    n = _divide(column, largest.clamp_min(0).sqrt())
    product = conic + skew(n)
    # The row and the column with the entry farthest from zero.
    flat = product.abs().flatten(-2).argmax(dim=-1, keepdim=True)
    row = product.gather(-2, (flat // 3)[..., None].expand(*flat.shape, 3))[..., 0, :]
    along = product.mT.gather(-2, (flat % 3)[..., None].expand(*flat.shape, 3))[..., 0, :]
    planes = torch.stack([row, along], dim=-2)
    return -_divide(planes[..., 1:], planes[..., :1]), (largest > 0).expand(*largest.shape[:-1], 2)


def _polish(distances: Tensor, sides: Tensor, cosines: Tensor) -> Tensor:
    """Newton steps on lambda_i^2 + lambda_j^2 - 2 cos lambda_i lambda_j = a_ij."""
    for _ in range(_DISTANCE_STEPS):
        first, second, third = distances.unbind(-1)
        i = torch.stack([first, first, second], dim=-1)
        j = torch.stack([second, third, third], dim=-1)
        error = i * i + j * j - 2 * cosines * i * j - sides
        by_i, by_j = 2 * (i - cosines * j), 2 * (j - cosines * i)
        a1, a2 = by_i[..., 0], by_j[..., 0]
        b1, b3 = by_i[..., 1], by_j[..., 1]
        c2, c3 = by_i[..., 2], by_j[..., 2]
        # Cramer's rule for the rows (a1 a2 0), (b1 0 b3), (0 c2 c3).
        determinant = -a1 * b3 * c2 - a2 * b1 * c3
        e1, e2, e3 = error.unbind(-1)
        step = torch.stack(
            [
                -e1 * b3 * c2 - a2 * (e2 * c3 - b3 * e3),
                a1 * (e2 * c3 - b3 * e3) - e1 * b1 * c3,
                e1 * b1 * c2 - a1 * e2 * c2 - a2 * b1 * e3,
            ],
            dim=-1,
        )
        distances = distances - _divide(step, determinant[..., None])
    return distances


def triad(points: Tensor) -> Tensor:
    """An orthonormal frame fixed to a triangle, in columns, (..., 3, 3) -> (..., 3, 3)."""
    first, second, third = points.unbind(-2)
    along = torch.nn.functional.normalize(second - first, dim=-1, eps=_TINY)
    normal = torch.linalg.cross(along, third - first)
    normal = torch.nn.functional.normalize(normal, dim=-1, eps=_TINY)
    return torch.stack([along, normal, torch.linalg.cross(normal, along)], dim=-1)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and a huge one instead of a division by zero."""
    return numerator / torch.where(denominator.abs() > _TINY, denominator, _TINY)
