"""Painters of the demo room's distinctive things: posters, books, screens, labels, a window."""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from implicit_loc_trainer.demo_room.shapes import Array, Painter
from implicit_loc_trainer.demo_room.textures import Colour, mottle, noise, to_image

FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_COMPLEX)


def random_colour(rng: np.random.Generator, low: int = 20, high: int = 245) -> Colour:
    """A colour as plain integers, which is what OpenCV draws with."""
    red, green, blue = (int(value) for value in rng.integers(low, high, 3))
    return red, green, blue


def write(picture: Array, text: str, centre: tuple[int, int], width: int, colour: Colour) -> None:
    """Write one line of text of about the given width in texels, centred."""
    font = FONTS[len(text) % len(FONTS)]
    (natural, _), _ = cv2.getTextSize(text, font, 1.0, 2)
    scale = width / natural
    thick = max(1, round(2 * scale))
    (wide, high), _ = cv2.getTextSize(text, font, scale, thick)
    corner = (centre[0] - wide // 2, centre[1] + high // 2)
    cv2.putText(picture, text, corner, font, scale, colour, thick, cv2.LINE_AA)


def gradient(rows: int, columns: int, top: Colour, bottom: Colour) -> Array:
    """Vertical gradient, (rows, columns, 3) uint8."""
    weight = np.linspace(0.0, 1.0, rows)[:, None, None]
    picture = np.array(top) * (1.0 - weight) + np.array(bottom) * weight
    return np.repeat(picture, columns, axis=1).astype(np.uint8)


def poster(title: str, margin: int = 8) -> Painter:
    """A print of random discs, triangles and bars under a title, in a frame."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = gradient(rows, columns, random_colour(rng), random_colour(rng))
        reach = min(rows, columns)
        for _ in range(14):
            spot = (int(rng.integers(columns)), int(rng.integers(rows)))
            colour = random_colour(rng, 0, 255)
            kind = rng.integers(3)
            if kind == 0:
                cv2.circle(
                    picture,
                    spot,
                    int(reach * rng.uniform(0.05, 0.25)),
                    colour,
                    int(rng.choice([-1, 5])),
                    cv2.LINE_AA,
                )
            elif kind == 1:
                corners = np.array(spot) + rng.uniform(-0.3, 0.3, (3, 2)) * reach
                cv2.fillConvexPoly(picture, corners.astype(np.int32), colour, cv2.LINE_AA)
            else:
                end = (int(rng.integers(columns)), int(rng.integers(rows)))
                cv2.line(picture, spot, end, colour, int(rng.integers(3, 14)), cv2.LINE_AA)
        band = rows // 7
        picture[rows - 2 * band : rows - band // 2] = random_colour(rng, 190, 250)
        write(
            picture,
            title,
            (columns // 2, rows - band * 5 // 4),
            columns * 3 // 4,
            random_colour(rng, 0, 90),
        )
        cv2.rectangle(
            picture, (0, 0), (columns - 1, rows - 1), random_colour(rng, 10, 90), 2 * margin
        )
        return mottle(picture, rng, 0.05, (60.0, 24.0))

    return paint


def books(shelves: int) -> Painter:
    """Rows of book spines between boards; a gap here and there."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = np.full((rows, columns, 3), (46, 34, 26), np.uint8)
        edges = np.linspace(0, rows, shelves + 1).astype(int)
        for top, bottom in itertools.pairwise(edges):
            shelf_of_books(picture[top:bottom], rng)
        board = (120, 84, 52)
        for edge in edges:
            cv2.line(picture, (0, int(edge)), (columns, int(edge)), board, 10)
        cv2.rectangle(picture, (0, 0), (columns - 1, rows - 1), board, 12)
        return mottle(picture, rng, 0.1, (50.0, 20.0, 8.0))

    return paint


def shelf_of_books(picture: Array, rng: np.random.Generator) -> None:
    """Draw spines side by side into the picture of one shelf."""
    rows, columns = picture.shape[:2]
    left = 6
    while left < columns - 8:
        width = int(rng.integers(7, 20))
        if rng.random() < 0.07:
            left += 2 * width
            continue
        right, top = min(left + width, columns - 6), int(rows * rng.uniform(0.1, 0.4))
        colour, label = random_colour(rng, 25, 225), random_colour(rng, 120, 255)
        cv2.rectangle(picture, (left, top), (right - 1, rows), colour, -1)
        cv2.line(picture, (left, top), (left, rows), (20, 16, 14), 1)
        stripe = top + int((rows - top) * rng.uniform(0.15, 0.6))
        cv2.rectangle(picture, (left + 1, stripe), (right - 2, stripe + width // 2 + 3), label, -1)
        left = right


def window(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Sky, hills, houses behind glazing bars."""
    picture = gradient(rows, columns, (150, 190, 240), (240, 235, 215))
    across = np.arange(columns)
    for step in range(3):
        ridge = noise(rng, 1, columns, (columns / 3.0, columns / 9.0))[0] * rows * 0.07
        horizon = (rows * (0.45 + 0.17 * step) + ridge).astype(int)
        picture[np.arange(rows)[:, None] > horizon[None]] = (60, 120 - 25 * step, 70 - 15 * step)
        for left in rng.integers(0, columns - 30, 4):
            size, foot = int(rng.integers(16, 38)), int(horizon[across[left]]) + 10
            cv2.rectangle(
                picture,
                (int(left), foot - size),
                (int(left) + size, foot),
                random_colour(rng, 90, 240),
                -1,
            )
    for line in (0, columns // 3, 2 * columns // 3, columns - 1):
        cv2.line(picture, (line, 0), (line, rows), (236, 234, 228), 14)
    for line in (0, rows // 3, rows - 1):
        cv2.line(picture, (0, line), (columns, line), (236, 234, 228), 14)
    return mottle(picture, rng, 0.07, (60.0, 25.0, 9.0))


def door(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A panelled door with a handle and a number."""
    picture = np.full((rows, columns, 3), (128, 74, 52), np.uint8)
    for top, bottom in ((0.08, 0.3), (0.38, 0.6), (0.66, 0.94)):
        corners = (columns // 7, int(rows * top)), (columns * 6 // 7, int(rows * bottom))
        cv2.rectangle(picture, *corners, (92, 48, 34), 8)
        cv2.rectangle(picture, *corners, (150, 96, 68), 2)
    cv2.circle(picture, (columns // 12, rows // 2), columns // 20, (220, 190, 90), -1, cv2.LINE_AA)
    write(picture, '27', (columns // 2, rows * 19 // 100), columns // 3, (230, 210, 150))
    cv2.rectangle(picture, (0, 0), (columns - 1, rows), (222, 214, 198), 18)
    return mottle(picture, rng, 0.15, (90.0, 35.0, 12.0))


def screen(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """A monitor: a curve over a grid, lines of text, a dark bezel."""
    picture = gradient(rows, columns, (18, 40, 66), (30, 66, 92))
    picture[:: max(rows // 8, 1)] = (60, 100, 120)
    picture[:, :: max(columns // 12, 1)] = (60, 100, 120)
    curve = rows * (0.6 + 0.12 * noise(rng, 1, columns, (columns / 5.0, columns / 14.0))[0])
    points = np.stack([np.arange(columns), curve], axis=-1).astype(np.int32)
    cv2.polylines(picture, [points], False, (250, 210, 60), 3, cv2.LINE_AA)
    write(
        picture, 'ROOM TEMPERATURE', (columns // 2, rows // 5), columns * 2 // 3, (235, 240, 245)
    )
    cv2.rectangle(picture, (0, 0), (columns - 1, rows - 1), (16, 16, 18), 12)
    return picture


def carton(text: str, colour: Colour = (178, 134, 84)) -> Painter:
    """Cardboard with tape, a printed word and a label."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = np.full((rows, columns, 3), colour, np.uint8)
        tape = columns // 8
        picture[:, columns // 2 - tape // 2 : columns // 2 + tape // 2] = (214, 190, 140)
        write(
            picture, text, (columns // 2, rows // 2), columns * 4 // 5, random_colour(rng, 0, 90)
        )
        left, top = int(rng.integers(columns // 2)), int(rng.integers(max(rows * 2 // 3, 1)))
        corner = (left + columns // 3, top + rows // 5)
        cv2.rectangle(picture, (left, top), corner, (238, 238, 232), -1)
        for bar in range(left + 3, corner[0] - 2, 4):
            cv2.line(
                picture,
                (bar, top + 3),
                (bar, corner[1] - 3),
                (20, 20, 20),
                int(rng.integers(1, 3)),
            )
        return mottle(picture, rng, 0.17, (60.0, 26.0, 10.0))

    return paint


def fronts(colour: Colour, rows_of: int, columns_of: int, handle: Colour) -> Painter:
    """Drawer or door fronts of a cupboard, each with a handle and its own shade."""

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = np.empty((rows, columns, 3), np.float32)
        downs = np.linspace(0, rows, rows_of + 1).astype(int)
        acrosses = np.linspace(0, columns, columns_of + 1).astype(int)
        for top, bottom in itertools.pairwise(downs):
            for left, right in itertools.pairwise(acrosses):
                picture[top:bottom, left:right] = np.array(colour) * rng.uniform(0.75, 1.2)
                cv2.rectangle(picture, (left, top), (right, bottom), (40, 30, 26), 3)
                middle = ((left + right) // 2, (top + bottom) // 2)
                wide = max((right - left) // 6, 3)
                cv2.line(
                    picture,
                    (middle[0] - wide, middle[1]),
                    (middle[0] + wide, middle[1]),
                    handle,
                    6,
                    cv2.LINE_AA,
                )
        return mottle(to_image(picture), rng, 0.17, (80.0, 35.0, 14.0))

    return paint


def wall(ground: Painter, hangings: list[tuple[float, float, float, float, Painter]]) -> Painter:
    """A wall with things painted on it.

    Args:
        ground: Painter of the wall itself, which also gets a skirting board.
        hangings: Left, top, width, height as parts of the wall, and the painter of each.
    """

    def paint(rng: np.random.Generator, rows: int, columns: int) -> Array:
        picture = ground(rng, rows, columns)
        picture[rows - rows // 22 :] = picture[rows - rows // 22 :] // 2 + np.uint8(20)
        for left, top, width, height, painter in hangings:
            x, y = int(left * columns), int(top * rows)
            wide, high = int(width * columns), int(height * rows)
            picture[y : y + high, x : x + wide] = painter(rng, high, wide)
            # A soft shadow line under the frame makes it sit on the wall.
            picture[y + high : y + high + 5, x + 4 : x + wide + 4] //= 2
        return picture

    return paint
