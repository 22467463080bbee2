"""Surfaces and solids of the demo room: where they are, and how far a point is from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
# (random generator, rows, columns) -> (rows, columns, 3) uint8 RGB
Painter = Callable[[np.random.Generator, int, int], Array]

UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks.

    Attributes:
        painter: Paints the texture.
        seed: Seed of the painter; equal seeds and sizes give equal textures.
        gloss: Brightness of a lamp's mirror image, 0 (matt) to 1.
        sharpness: Exponent of the highlight: large is small and crisp.
        glows: Unlit, it shines with its own texture.
    """

    painter: Painter
    seed: int
    gloss: float = 0.0
    sharpness: float = 60.0
    glows: bool = False


@dataclass(frozen=True, eq=False)
class Patch:
    """A flat surface: origin + s * edge_u + t * edge_v, with s, t in [0, 1], in metres.

    Seen from its front, u points to the right and v downwards. A disc fills the inscribed
    ellipse only.
    """

    origin: Array
    edge_u: Array
    edge_v: Array
    material: Material
    disc: bool = False

    @property
    def normal(self) -> Array:
        """Unit normal on the visible side, (3,)."""
        normal: Array = np.cross(self.edge_v, self.edge_u)
        normal /= np.linalg.norm(normal)
        return normal

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the texture in metres."""
        return float(np.linalg.norm(self.edge_u)), float(np.linalg.norm(self.edge_v))

    def sample(self, s: Array, t: Array) -> tuple[Array, Array]:
        """Points and unit normals at texture coordinates: (N,), (N,) -> (N, 3), (N, 3)."""
        points = self.origin + s[:, None] * self.edge_u + t[:, None] * self.edge_v
        return points, np.broadcast_to(self.normal, points.shape)


@dataclass(frozen=True, eq=False)
class Tube:
    """The side of an upright cylinder: centre of its bottom, radius and height in metres."""

    bottom: Array
    radius: float
    height: float
    material: Material

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the texture in metres."""
        return 2.0 * np.pi * self.radius, self.height

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner of the bounding box, (3,) each."""
        reach = np.array([self.radius, self.radius, 0.0])
        return self.bottom - reach, self.bottom + reach + self.height * UP

    def sample(self, s: Array, t: Array) -> tuple[Array, Array]:
        """Points and unit normals at texture coordinates: (N,), (N,) -> (N, 3), (N, 3)."""
        angle = 2.0 * np.pi * (s - 0.5)
        normals = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
        points = self.bottom + self.radius * normals
        points[:, 2] += self.height * (1.0 - t)
        return points, normals

    def normals(self, points: Array) -> Array:
        """Unit normals at points of the surface, (N, 3)."""
        outward = (points - self.bottom) / self.radius
        outward[:, 2] = 0.0
        return outward

    def hit(self, centre: Array, rays: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Nearest intersection with rays from outside.

        Args:
            centre: Camera centre, (3,).
            rays: World directions per unit depth: three arrays of one shape.

        Returns:
            Depth (infinite where there is none) and texture coordinates s and t.
        """
        x, y, z = rays
        start = centre - self.bottom
        square = x * x + y * y
        half = start[0] * x + start[1] * y
        rest = start[0] ** 2 + start[1] ** 2 - self.radius**2
        root = half * half - square * rest
        depth = (-half - np.sqrt(np.maximum(root, 0.0))) / np.maximum(square, 1e-9)
        t = 1.0 - (start[2] + depth * z) / self.height
        s = np.arctan2(start[1] + depth * y, start[0] + depth * x) / (2.0 * np.pi) + 0.5
        missed = (root < 0.0) | (depth <= 0.0) | (t < 0.0) | (t > 1.0)
        return np.where(missed, np.inf, depth), s, t


@dataclass(frozen=True, eq=False)
class Ball:
    """A sphere: centre and radius in metres."""

    centre: Array
    radius: float
    material: Material

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the texture in metres."""
        return 2.0 * np.pi * self.radius, np.pi * self.radius

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner of the bounding box, (3,) each."""
        return self.centre - self.radius, self.centre + self.radius

    def sample(self, s: Array, t: Array) -> tuple[Array, Array]:
        """Points and unit normals at texture coordinates: (N,), (N,) -> (N, 3), (N, 3)."""
        azimuth, polar = 2.0 * np.pi * (s - 0.5), np.pi * t
        ring = np.sin(polar)
        normals = np.stack([ring * np.cos(azimuth), ring * np.sin(azimuth), np.cos(polar)], -1)
        return self.centre + self.radius * normals, normals

    def normals(self, points: Array) -> Array:
        """Unit normals at points of the surface, (N, 3)."""
        return (points - self.centre) / self.radius

    def hit(self, centre: Array, rays: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Nearest intersection with rays from outside; see Tube.hit."""
        x, y, z = rays
        start = centre - self.centre
        square = x * x + y * y + z * z
        half = start[0] * x + start[1] * y + start[2] * z
        root = half * half - square * (float(start @ start) - self.radius**2)
        depth = (-half - np.sqrt(np.maximum(root, 0.0))) / square
        s = np.arctan2(start[1] + depth * y, start[0] + depth * x) / (2.0 * np.pi) + 0.5
        t = np.arccos(np.clip((start[2] + depth * z) / self.radius, -1.0, 1.0)) / np.pi
        return np.where((root < 0.0) | (depth <= 0.0), np.inf, depth), s, t


Curved = Tube | Ball
Surface = Patch | Tube | Ball


@dataclass(frozen=True, eq=False)
class Box:
    """An upright box, turned about the vertical by yaw.

    Attributes:
        centre: Middle of the box, (3,), metres.
        size: Length of its sides, (3,), metres.
        yaw: Radians.
        material: Of every face that `faces` does not name.
        faces: Materials by face: +x -x +y -y +z -z in the frame of the box. None: no such face.
    """

    centre: Array
    size: Array
    yaw: float
    material: Material
    faces: dict[str, Material | None] = field(default_factory=dict)

    @property
    def world_from_box(self) -> Array:
        """Rotation, (3, 3)."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

    def surfaces(self) -> list[Patch]:
        """The visible faces, outside."""
        patches = []
        for face, normal in FACES.items():
            material = self.faces.get(face, self.material)
            if material is not None:
                patches.append(box_face(self, normal, material))
        return patches

    def distance(self, points: Array) -> Array:
        """Distance from points to the box, negative inside: (N, 3) -> (N,)."""
        local = np.abs((points - self.centre) @ self.world_from_box) - 0.5 * self.size
        return _outside(local)


FACES = {
    '+x': np.array([1.0, 0.0, 0.0]),
    '-x': np.array([-1.0, 0.0, 0.0]),
    '+y': np.array([0.0, 1.0, 0.0]),
    '-y': np.array([0.0, -1.0, 0.0]),
    '+z': np.array([0.0, 0.0, 1.0]),
    '-z': np.array([0.0, 0.0, -1.0]),
}


def face_axes(normal: Array) -> tuple[Array, Array]:
    """Right and down, as seen by somebody who looks at a face with this normal, (3,) each."""
    if abs(normal[2]) > 0.5:
        return np.array([1.0, 0.0, 0.0]), np.array([0.0, -normal[2], 0.0])
    return np.cross(-normal, UP), -UP


def box_face(box: Box, normal: Array, material: Material, inside: bool = False) -> Patch:
    """One face of a box as a patch; inside: visible from within, like the wall of a room."""
    right, down = face_axes(-normal if inside else normal)
    edge_u, edge_v = right * (np.abs(right) @ box.size), down * (np.abs(down) @ box.size)
    origin = 0.5 * (normal * box.size - edge_u - edge_v)
    turn = box.world_from_box
    return Patch(box.centre + turn @ origin, turn @ edge_u, turn @ edge_v, material)


def surface_distance(surface: Curved, points: Array) -> Array:
    """Distance from points to a filled cylinder or sphere, negative inside: (N, 3) -> (N,)."""
    if isinstance(surface, Ball):
        return np.asarray(np.linalg.norm(points - surface.centre, axis=-1) - surface.radius)
    local = points - surface.bottom
    side = np.linalg.norm(local[:, :2], axis=-1) - surface.radius
    end = np.maximum(-local[:, 2], local[:, 2] - surface.height)
    return _outside(np.stack([side, end], axis=-1))


def _outside(beyond: Array) -> Array:
    """Distance to a solid from how far a point lies beyond each pair of its sides, (N, k)."""
    outside: Array = np.linalg.norm(np.maximum(beyond, 0.0), axis=-1)
    outside += np.minimum(beyond.max(axis=-1), 0.0)
    return outside
