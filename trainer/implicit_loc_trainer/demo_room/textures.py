"""Painters of the demo room's materials: wood, cloth, paper, tiles, leaves.

Everything carries noise of several octaves: no patch of the room is plain, and none repeats
exactly even where its pattern does.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from implicit_loc_trainer.demo_room.shapes import Array, Painter

TEXELS_PER_METRE = 256
Colour = tuple[int, int, int]


def noise(rng: np.random.Generator, rows: int, columns: int, cells: tuple[float, ...]) -> Array:
    """Smooth noise of several octaves, (rows, columns) float32, roughly normal.

    Args:
        rng: Source of randomness.
        rows: Height in texels.
        columns: Width in texels.
        cells: Size in texels of the features of each octave, all of equal strength.
    """
    total: Array = np.zeros((rows, columns), np.float32)
    for cell in cells:
        shape = (int(rows / cell) + 2, int(columns / cell) + 2)
        grid = rng.standard_normal(shape, dtype=np.float32)
        size = (max(columns, int(shape[1] * cell)), max(rows, int(shape[0] * cell)))
        total += cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)[:rows, :columns]
    total /= np.sqrt(np.float32(len(cells)))
    return total


def to_image(picture: Array) -> Array:
    """Clip to [0, 255] uint8."""
    return np.clip(picture, 0.0, 255.0).astype(np.uint8)


def mottle(
    picture: Array, rng: np.random.Generator, strength: float, cells: tuple[float, ...]
) -> Array:
    """Brightness noise on a picture, and a little colour noise; strength is relative."""
    rows, columns = picture.shape[:2]
    factor = 1.0 + strength * noise(rng, rows, columns, cells)
    tint = 0.5 * strength * noise(rng, rows, columns, cells[:2])
    gains = np.stack([factor + tint, factor, factor - tint], axis=-1)
    return to_image(picture * gains)


def plain(colour: Colour, strength: float = 0.16) -> Painter:
    """Painted surface with stains and scratches."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = np.full((rows, columns, 3), colour, np.uint8)
        return mottle(picture, rng, strength, (90.0, 40.0, 17.0, 7.0))

    return paint


def wood(colour: Colour, boards: int = 1) -> Painter:
    """Grain along the longer side, in boards of different shades."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        if columns > rows:
            return paint(rng, columns, rows).transpose(1, 0, 2)
        wide = max(columns * 6, 8)
        grain = noise(rng, rows, wide, (120.0, 60.0, 24.0))
        grain = cv2.resize(grain, (columns, rows), interpolation=cv2.INTER_AREA)
        rings = np.sin(6.0 * grain + np.linspace(0.0, 9.0, columns, dtype=np.float32))
        knots = noise(rng, rows, columns, (55.0, 25.0))
        shade = 1.0 + 0.13 * rings + 0.12 * grain + 0.1 * knots
        picture = shade[..., None] * np.array(colour, np.float32)
        edges = np.linspace(0, columns, boards + 1).astype(int)
        for left, right in itertools.pairwise(edges):
            picture[:, left:right] *= rng.uniform(0.78, 1.2)
            picture[:, left : left + 2 * (boards > 1)] *= 0.55
        return to_image(picture)

    return paint


def wallpaper(base: Colour, accent: Colour, pitch: int = 64) -> Painter:
    """A repeated motif on a ground whose colour drifts along the wall."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = np.full((rows, columns, 3), base, np.uint8)
        for row in range(0, rows + pitch, pitch):
            for column in range(0, columns + pitch, pitch):
                shift = pitch // 2 if (row // pitch) % 2 else 0
                centre = (column + shift, row)
                cv2.ellipse(
                    picture, centre, (pitch // 3, pitch // 6), 45, 0, 360, accent, 2, cv2.LINE_AA
                )
                cv2.circle(picture, centre, pitch // 9, accent, -1, cv2.LINE_AA)
        drift = noise(rng, rows, columns, (400.0, 220.0))[..., None]
        swing = np.array([1.0, 0.2, -1.0], np.float32) * 0.09
        drifted = to_image(picture * (1.0 + swing * drift))
        return mottle(drifted, rng, 0.15, (150.0, 60.0, 26.0, 11.0))

    return paint


def tiles(colours: tuple[Colour, Colour], pitch: int = 80) -> Painter:
    """Chequered tiles with joints; every tile has its own shade and veins."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        down, across = np.arange(rows)[:, None] // pitch, np.arange(columns)[None] // pitch
        palette = np.array(colours, np.float32)
        picture = palette[(down + across) % 2]
        shades = rng.uniform(0.72, 1.25, (rows // pitch + 1, columns // pitch + 1, 1))
        tints = rng.uniform(0.93, 1.07, (*shades.shape[:2], 3))
        picture *= (shades * tints)[down, across].astype(np.float32)
        veins = noise(rng, rows, columns, (70.0, 35.0))
        picture *= (1.0 - 0.28 * np.exp(-((veins / 0.12) ** 2)))[..., None]
        joints = (np.arange(rows)[:, None] % pitch < 4) | (np.arange(columns)[None] % pitch < 4)
        picture[joints] = (110.0, 104.0, 96.0)
        return mottle(to_image(picture), rng, 0.1, (120.0, 30.0, 12.0, 5.0))

    return paint


def panels(colour: Colour, pitch: int = 154) -> Painter:
    """Ceiling panels: a faint grid, water stains, scattered marks."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = np.full((rows, columns, 3), colour, np.uint8)
        for _ in range(rows * columns // 9000):
            centre = (int(rng.integers(columns)), int(rng.integers(rows)))
            shade = tuple(int(value) for value in rng.integers(120, 235, 3))
            axes = (int(rng.integers(4, 26)), int(rng.integers(3, 12)))
            cv2.ellipse(
                picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, shade, -1, cv2.LINE_AA
            )
        picture[np.arange(rows) % pitch < 5] = (120, 116, 108)
        picture[:, np.arange(columns) % pitch < 5] = (120, 116, 108)
        return mottle(picture, rng, 0.16, (200.0, 80.0, 32.0, 12.0))

    return paint


def cloth(base: Colour, stripe: Colour, pitch: int = 26) -> Painter:
    """Tartan: crossing stripes of uneven width, soft folds."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        widths = rng.uniform(0.2, 0.6, 64)

        def band(count: int) -> Array:
            position = np.arange(count)
            covered: Array = position % pitch / pitch < widths[position // pitch % 64]
            return covered.astype(np.float32)

        weight = 0.5 * band(rows)[:, None] + 0.5 * band(columns)[None]
        weight = cv2.GaussianBlur(weight.astype(np.float32), (5, 5), 1.2)[..., None]
        picture = np.array(base, np.float32) * (1 - weight) + np.array(stripe) * weight
        return mottle(to_image(picture), rng, 0.17, (110.0, 45.0, 18.0))

    return paint


def rug(colours: tuple[Colour, Colour, Colour]) -> Painter:
    """Nested frames, a row of lozenges, fringes."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = np.full((rows, columns, 3), colours[0], np.uint8)
        for index, inset in enumerate(range(8, min(rows, columns) // 2, 22)):
            corner = (columns - inset, rows - inset)
            cv2.rectangle(picture, (inset, inset), corner, colours[index % 3], -1)
        for index in range(7):
            centre = np.array([(index + 0.5) * columns / 7, rows / 2])
            reach = np.array([columns / 17, rows / rng.uniform(3.2, 6.5)])
            corners = centre + reach * np.array([[-1, 0], [0, -1], [1, 0], [0, 1]])
            colour = tuple(int(value) for value in rng.integers(30, 240, 3))
            cv2.fillConvexPoly(picture, corners.astype(np.int32), colour, cv2.LINE_AA)
        return mottle(picture, rng, 0.2, (80.0, 30.0, 12.0, 5.0))

    return paint


def leaves(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Foliage: many overlapping leaves."""
    picture = np.full((rows, columns, 3), (22, 48, 20), np.uint8)
    for _ in range(rows * columns // 60):
        centre = (int(rng.integers(columns)), int(rng.integers(rows)))
        green = int(rng.integers(70, 210))
        colour = (int(green * rng.uniform(0.3, 0.8)), green, int(green * rng.uniform(0.2, 0.5)))
        axes = (int(rng.integers(7, 17)), int(rng.integers(3, 6)))
        cv2.ellipse(
            picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA
        )
    return picture


def globe(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Oceans, continents and a net of meridians."""
    land = noise(rng, rows, columns, (46.0, 22.0, 11.0)) > 0.25
    picture = np.where(land[..., None], (176, 150, 84), (52, 104, 168)).astype(np.uint8)
    picture[:: max(rows // 8, 1)] = (228, 226, 214)
    picture[:, :: max(columns // 12, 1)] = (228, 226, 214)
    return mottle(cv2.GaussianBlur(picture, (3, 3), 0.8), rng, 0.08, (20.0, 9.0))


def shade_of_lamp(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A paper lampshade, lit from within: ribs and a warm gradient."""
    gradient = np.linspace(0.8, 1.05, rows, dtype=np.float32)[:, None, None]
    picture = np.full((rows, columns, 3), (250, 236, 200), np.float32) * gradient
    picture[:: max(rows // 9, 1)] *= 0.8
    return mottle(to_image(picture), rng, 0.04, (30.0, 12.0))
