"""The demo room itself: walls with what hangs on them, floor, ceiling, and where the lamps are.

Metres, z up, the origin on the middle of the floor.
"""

from __future__ import annotations

import numpy as np

from implicit_loc_trainer.demo_room import pictures, textures
from implicit_loc_trainer.demo_room.shapes import FACES, Box, Material, Patch, box_face

ROOM = Box(
    np.array([0.0, 0.0, 1.35]),
    np.array([6.0, 5.0, 2.7]),
    0.0,
    Material(textures.plain((200, 200, 200)), 0),
)
ROOM_LOW = ROOM.centre - ROOM.size / 2

# Gloss and sharpness of painted walls and of the prints on them.
SATIN = (0.2, 50.0)

# Where the two lamps hang, (2, 3), and their colours relative to white, (2, 3).
LAMPS = np.array([[1.35, -0.55, 2.36], [-1.4, 0.6, 2.36]])
LAMP_COLOURS = np.array([[1.0, 0.93, 0.8], [0.86, 0.95, 1.0]])
LAMP_RADIUS = 0.14


def room_patches() -> list[Patch]:
    """Walls with what hangs on them, floor and ceiling."""
    blue = textures.wallpaper((150, 172, 190), (84, 112, 150))
    sand = textures.wallpaper((206, 188, 150), (164, 122, 82))
    east = [
        (0.03, 0.2, 0.13, 0.36, pictures.poster('HARBOUR')),
        (0.24, 0.22, 0.32, 0.42, pictures.window),
        (0.62, 0.14, 0.12, 0.28, pictures.poster('MAPLE')),
        (0.79, 0.2, 0.17, 0.4, pictures.poster('ORBIT')),
    ]
    west = [
        (0.05, 0.14, 0.15, 0.4, pictures.poster('JAZZ')),
        (0.26, 0.16, 0.22, 0.34, pictures.poster('EXPEDITION')),
        (0.52, 0.12, 0.14, 0.4, pictures.poster('TULIPS')),
        (0.72, 0.2, 0.22, 0.42, pictures.window),
    ]
    north = [
        (0.02, 0.12, 0.1, 0.4, pictures.poster('COMET')),
        (0.46, 0.1, 0.09, 0.33, pictures.poster('ALPS')),
        (0.63, 0.18, 0.12, 0.4, pictures.poster('REACTOR')),
        (0.78, 0.13, 0.19, 0.38, pictures.poster('VOYAGER')),
    ]
    south = [
        (0.04, 0.16, 0.1, 0.35, pictures.poster('CIRCUS')),
        (0.18, 0.12, 0.22, 0.32, pictures.poster('METROPOLIS')),
        (0.46, 0.14, 0.09, 0.3, pictures.poster('FJORD')),
        (0.79, 0.23, 0.14, 0.77, pictures.door),
    ]
    materials = {
        '+x': Material(pictures.wall(sand, east), 11, *SATIN),
        '-x': Material(pictures.wall(sand, west), 12, *SATIN),
        '+y': Material(pictures.wall(blue, north), 13, *SATIN),
        '-y': Material(pictures.wall(blue, south), 14, *SATIN),
        '+z': Material(textures.panels((212, 210, 202)), 15),
        '-z': Material(textures.tiles(((196, 176, 150), (120, 92, 78))), 16, 0.35, 160.0),
    }
    patches = [
        box_face(ROOM, FACES[face], material, inside=True) for face, material in materials.items()
    ]
    carpet = Material(textures.rug(((150, 44, 40), (34, 52, 96), (214, 190, 140))), 17)
    down, right = np.array([0.0, -2.2, 0.0]), np.array([3.2, 0.0, 0.0])
    patches.append(Patch(np.array([-1.6, 1.1, 0.004]), right, down, carpet))
    return patches
