"""Light that does not depend on the view, baked into one texture atlas with its mip levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from implicit_loc_trainer.demo_room.scene import Scene
from implicit_loc_trainer.demo_room.shapes import Array, Surface
from implicit_loc_trainer.demo_room.shell import LAMP_COLOURS, LAMPS
from implicit_loc_trainer.demo_room.textures import TEXELS_PER_METRE, to_image

AMBIENT = 0.4
LAMP_POWER = 1.5
LIGHT_CELLS_PER_METRE = 10.0
LEVELS = 5
# The border round each texture; at the coarsest level one texel of it is left.
GUTTER: int = 1 << (LEVELS - 1)
ATLAS_WIDTH = 4096


@dataclass(frozen=True)
class Atlas:
    """All textures, lit, in one image, with its mip levels.

    Attributes:
        image: (rows, columns, 3) uint8 RGB.
        corners: Left and top texel of every surface at level 0, (N, 2) float32.
        sizes: Columns and rows of every surface at level 0, (N, 2) float32.
        levels: Left and top of every level, (LEVELS, 2) float32.
    """

    image: Array
    corners: Array
    sizes: Array
    levels: Array


def build_atlas(scene: Scene) -> Atlas:
    """Paint, light and pack all surfaces."""
    lit = lit_textures(scene)
    order = sorted(range(len(lit)), key=lambda index: -lit[index].shape[0])
    corners = np.zeros((len(lit), 2), int)
    left = top = shelf = 0
    for index in order:
        rows, columns = (_padded(int(extent)) for extent in lit[index].shape[:2])
        if left + columns > ATLAS_WIDTH:
            left, top, shelf = 0, top + shelf, 0
        corners[index] = left + GUTTER, top + GUTTER
        left, shelf = left + columns, max(shelf, rows)
    level = np.zeros((top + shelf, ATLAS_WIDTH, 3), np.uint8)
    for (column, row), texture in zip(corners, lit, strict=True):
        rows, columns = texture.shape[:2]
        after = _padded(rows) - rows - GUTTER, _padded(columns) - columns - GUTTER
        padded = cv2.copyMakeBorder(
            texture, GUTTER, after[0], GUTTER, after[1], cv2.BORDER_REPLICATE
        )
        high, wide = padded.shape[:2]
        level[row - GUTTER : row - GUTTER + high, column - GUTTER : column - GUTTER + wide] = (
            padded
        )
    image, levels = _with_levels(level)
    sizes = np.array([texture.shape[1::-1] for texture in lit], np.float32)
    return Atlas(image, corners.astype(np.float32), sizes, levels)


def _padded(extent: int) -> int:
    """Extent with gutters, a whole number of coarsest texels."""
    return math.ceil((extent + 2 * GUTTER) / GUTTER) * GUTTER


def _with_levels(level: Array) -> tuple[Array, Array]:
    """Append ever coarser copies: in a column to the right of level 0."""
    rows, columns = level.shape[:2]
    image = np.zeros((rows, columns + columns // 2, 3), np.uint8)
    corners, top = [(0, 0)], 0
    image[:, :columns] = level
    for step in range(1, LEVELS):
        size = (columns >> step, rows >> step)
        level = cv2.resize(level, size, interpolation=cv2.INTER_AREA)
        image[top : top + size[1], columns : columns + size[0]] = level
        corners.append((columns, top))
        top += size[1]
    return image, np.array(corners, np.float32)


def lit_textures(scene: Scene) -> list[Array]:
    """The texture of every surface under the lamps, (rows, columns, 3) uint8 each."""
    grids = [light_grid(surface) for surface in scene.surfaces]
    # All points at once: the shadow test then runs over long arrays.
    points, normals = (
        np.concatenate(parts)
        for parts in zip(
            *(
                surface.sample(s.ravel(), t.ravel())
                for surface, (s, t) in zip(scene.surfaces, grids, strict=True)
            ),
            strict=True,
        )
    )
    light = irradiance(points, normals, scene).astype(np.float32)
    textures, start = [], 0
    for surface, (s, _) in zip(scene.surfaces, grids, strict=True):
        part = light[start : start + s.size].reshape(*s.shape, 3)
        textures.append(lit_texture(surface, part))
        start += s.size
    return textures


def light_grid(surface: Surface) -> tuple[Array, Array]:
    """Texture coordinates at which light is computed, (down, across) each."""
    across, down = (max(round(extent * LIGHT_CELLS_PER_METRE), 3) for extent in surface.extent)
    s, t = np.meshgrid((np.arange(across) + 0.5) / across, (np.arange(down) + 0.5) / down)
    return s, t


def lit_texture(surface: Surface, light: Array) -> Array:
    """Paint a surface and multiply its light, given on the grid of light_grid."""
    columns, rows = (max(round(extent * TEXELS_PER_METRE), 4) for extent in surface.extent)
    generator = np.random.default_rng(surface.material.seed)
    texture = surface.material.painter(generator, rows, columns)
    if surface.material.glows:
        return texture
    light = cv2.GaussianBlur(light, (3, 3), 0.7)
    light = cv2.resize(light, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return to_image(texture * light)


def irradiance(points: Array, normals: Array, scene: Scene) -> Array:
    """Lambert's law for both lamps with soft shadows, and ambient light, (N, 3)."""
    # Ambient light fades towards the floor and in the corners, as bounced light does.
    ambient = AMBIENT * (0.75 + 0.1 * points[:, 2:] + 0.06 * normals[:, 2:])
    total = np.repeat(ambient, 3, axis=1)
    for lamp, colour in zip(LAMPS, LAMP_COLOURS, strict=True):
        for offset in ((0.1, 0.0, -0.05), (-0.05, 0.09, 0.05), (-0.05, -0.09, 0.0)):
            towards = lamp + offset - points
            square = (towards * towards).sum(axis=1)
            cosine = np.maximum((towards * normals).sum(axis=1), 0.0) / np.sqrt(square)
            # A bounded falloff keeps the ceiling above the lamp from burning out.
            power = LAMP_POWER / 3.0 * cosine / (0.9 + 0.35 * square)
            power[cosine > 0.0] *= ~shadowed(
                points[cosine > 0.0] + 0.01 * normals[cosine > 0.0], lamp + offset, scene
            )
            total += power[:, None] * colour
    return total


def shadowed(points: Array, light: Array, scene: Scene) -> Array:
    """Whether a thing stands between the points and the light, (N,) bool."""
    blocked = np.zeros(len(points), bool)
    for box in scene.boxes:
        start = (points - box.centre) @ box.world_from_box
        step = (light - box.centre) @ box.world_from_box - start
        step = np.where(np.abs(step) < 1e-9, 1e-9, step)
        first, second = (-0.5 * box.size - start) / step, (0.5 * box.size - start) / step
        enters = np.minimum(first, second).max(axis=1)
        leaves = np.maximum(first, second).min(axis=1)
        blocked |= (enters < leaves) & (leaves > 0.0) & (enters < 1.0)
    for solid in scene.curved:
        # Cast from the light: within its own globe, whose inside does not count as a hit.
        x, y, z = (points - light).T
        depth, _, _ = solid.hit(light, (x, y, z))
        blocked |= depth < 0.999
    return blocked
