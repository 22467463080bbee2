"""What stands in the demo room, and where; metres, z up, the origin on the floor's middle."""

from __future__ import annotations

import numpy as np

from implicit_loc_trainer.demo_room import pictures, textures
from implicit_loc_trainer.demo_room.shapes import UP, Ball, Box, Curved, Material, Patch, Tube
from implicit_loc_trainer.demo_room.shell import LAMP_RADIUS, LAMPS, ROOM, ROOM_LOW
from implicit_loc_trainer.demo_room.textures import Colour

OAK, PINE, WALNUT = (156, 108, 62), (206, 164, 104), (96, 62, 40)


def boxes() -> list[Box]:
    """All furniture with flat sides."""
    return [*shelf_wall(), *cupboards(), *desk(), *sofa(), *dining(), *stacked(), *fixtures()]


def block(
    low: tuple[float, float, float],
    high: tuple[float, float, float],
    material: Material,
    **faces: Material,
) -> Box:
    """A box from its lowest and highest corner; faces: px, nx, py, ny, pz, nz (p plus)."""
    corners = np.array([low, high])
    named: dict[str, Material | None] = {
        {'p': '+', 'n': '-'}[name[0]] + name[1]: face for name, face in faces.items()
    }
    for axis, name in enumerate('xyz'):
        # A face that touches the room's shell is never seen.
        if abs(low[axis] - ROOM_LOW[axis]) < 0.011:
            named[f'-{name}'] = None
        if abs(high[axis] + ROOM_LOW[axis] - 2 * ROOM.centre[axis]) < 0.011:
            named[f'+{name}'] = None
    return Box(corners.mean(axis=0), corners[1] - corners[0], 0.0, material, named)


def wooden(seed: int, colour: Colour = OAK, boards: int = 1, gloss: float = 0.1) -> Material:
    """Varnished wood."""
    return Material(textures.wood(colour, boards), seed, gloss, 90.0)


def shelf_wall() -> list[Box]:
    """Bookcase, sideboard with things on it, along the north wall."""
    side, spines = wooden(21, WALNUT), Material(pictures.books(5), 22)
    board = Material(pictures.fronts((176, 120, 72), 2, 4, (220, 200, 150)), 25, 0.3)
    return [
        block((-2.3, 2.14, 0.0), (-0.3, 2.5, 2.05), side, ny=spines),
        block((-2.2, 2.2, 2.05), (-1.7, 2.48, 2.33), Material(pictures.carton('ARCHIVE'), 23)),
        block((-1.3, 2.2, 2.05), (-0.8, 2.48, 2.27), Material(pictures.carton('MAPS'), 24)),
        block((0.75, 2.08, 0.0), (2.45, 2.5, 0.84), wooden(26), ny=board),
        block(
            (0.85, 2.2, 0.84),
            (1.3, 2.42, 1.16),
            wooden(27, WALNUT),
            ny=Material(pictures.screen, 28, 0.25),
        ),
        block((2.0, 2.15, 0.84), (2.34, 2.4, 1.05), Material(pictures.carton('TEA'), 29)),
    ]


def cupboards() -> list[Box]:
    """Tall cupboard and chest of drawers along the south wall."""
    doors = Material(pictures.fronts((84, 118, 112), 2, 3, (230, 220, 190)), 31, 0.4)
    drawers = Material(pictures.fronts((190, 150, 96), 4, 2, (60, 46, 40)), 33, 0.3)
    return [
        block(
            (-1.35, -2.5, 0.0),
            (-0.25, -2.02, 2.0),
            Material(textures.plain((78, 108, 104)), 32),
            py=doors,
        ),
        block((0.3, -2.5, 0.0), (1.45, -2.06, 1.0), wooden(34, PINE), py=drawers),
        block((0.4, -2.42, 1.0), (0.85, -2.12, 1.3), Material(pictures.carton('TOOLS'), 35)),
        block((1.02, -2.4, 1.0), (1.36, -2.16, 1.42), Material(pictures.books(1), 36)),
        block((-1.2, -2.45, 2.0), (-0.6, -2.1, 2.28), Material(pictures.carton('WINTER'), 37)),
    ]


def desk() -> list[Box]:
    """Desk with a monitor, a pedestal and a stack of books at the east wall."""
    top = wooden(41, PINE, 3, 0.35)
    pedestal = Material(pictures.fronts((150, 150, 160), 3, 1, (50, 50, 60)), 42, 0.15)
    leg = Material(textures.plain((60, 60, 66)), 43, 0.2)
    return [
        block((2.36, -0.45, 0.7), (3.0, 1.15, 0.75), top),
        block((2.45, 0.65, 0.0), (2.98, 1.1, 0.7), leg, nx=pedestal),
        block((2.4, -0.42, 0.0), (2.46, -0.36, 0.7), leg),
        block((2.9, -0.42, 0.0), (2.96, -0.36, 0.7), leg),
        block(
            (2.78, -0.05, 0.86),
            (2.83, 0.65, 1.28),
            leg,
            nx=Material(pictures.screen, 44, 0.3, 120.0),
        ),
        block((2.76, 0.24, 0.75), (2.85, 0.36, 0.86), leg),
        block((2.5, 0.78, 0.75), (2.75, 1.05, 0.93), Material(pictures.books(1), 45)),
        block(
            (2.45, 0.08, 0.75),
            (2.62, 0.5, 0.775),
            Material(textures.cloth((40, 40, 44), (120, 120, 124), 9), 46),
        ),
    ]


def sofa() -> list[Box]:
    """Sofa with cushions and a lamp table at the west wall."""
    tartan = Material(textures.cloth((126, 42, 44), (40, 72, 64)), 51)
    seat = Material(textures.cloth((132, 52, 48), (44, 70, 70)), 52)
    boxes = [
        block((-2.98, -1.25, 0.0), (-2.72, 0.95, 0.86), tartan),
        block((-2.72, -1.05, 0.0), (-2.28, 0.75, 0.43), seat),
        block((-2.72, -1.25, 0.0), (-2.28, -1.05, 0.6), tartan),
        block((-2.72, 0.75, 0.0), (-2.28, 0.95, 0.6), tartan),
        block((-2.9, 1.15, 0.0), (-2.42, 1.65, 0.55), wooden(53, WALNUT)),
    ]
    for y, colour, seed in ((-0.75, (220, 178, 60), 54), (0.4, (60, 120, 160), 55)):
        cushion = Material(textures.cloth(colour, (240, 236, 220), 18), seed)
        boxes.append(Box(np.array([-2.55, y, 0.56]), np.array([0.16, 0.4, 0.3]), 0.25, cushion))
    return boxes


def dining() -> list[Box]:
    """A table in the middle, turned a little, and two chairs that are exactly alike."""
    yaw = np.radians(10.0)
    boxes = [
        Box(
            np.array([0.0, 0.0, 0.725]),
            np.array([1.25, 0.72, 0.05]),
            yaw,
            wooden(61, OAK, 5, 0.4),
        )
    ]
    boxes += legs((0.0, 0.0), yaw, (0.56, 0.3), 0.7, 0.06, 62)
    boxes.append(
        Box(
            np.array([0.22, 0.1, 0.83]),
            np.array([0.3, 0.2, 0.16]),
            0.5,
            Material(pictures.carton('OATS', (206, 92, 60)), 63),
        )
    )
    boxes.append(
        Box(
            np.array([-0.3, 0.05, 0.765]),
            np.array([0.3, 0.22, 0.03]),
            -0.2,
            Material(pictures.poster('ATLAS', 3), 64),
        )
    )
    for side in (-1.0, 1.0):
        boxes += chair(side, yaw)
    return boxes


def chair(side: float, yaw: float) -> list[Box]:
    """A chair at the end of the table; its textures do not depend on the side."""
    along = np.array([np.cos(yaw), np.sin(yaw)]) * side
    seat_at, back_at = 0.66 * along, 0.85 * along
    turn = yaw + (np.pi if side < 0 else 0.0)
    seat = Material(textures.cloth((54, 84, 128), (226, 214, 180), 20), 71)
    back = Material(textures.wood(WALNUT, 3), 72, 0.12)
    boxes = [
        Box(np.array([*seat_at, 0.45]), np.array([0.4, 0.4, 0.05]), turn, seat),
        Box(np.array([*back_at, 0.72]), np.array([0.04, 0.4, 0.4]), turn, back),
    ]
    return boxes + legs((float(seat_at[0]), float(seat_at[1])), turn, (0.17, 0.17), 0.43, 0.04, 73)


def legs(
    at: tuple[float, float],
    yaw: float,
    reach: tuple[float, float],
    high: float,
    thick: float,
    seed: int,
) -> list[Box]:
    """Four legs about a point of the floor."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    boxes = []
    for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
        across, along = x * reach[0], y * reach[1]
        foot = np.array(
            [at[0] + cos * across - sin * along, at[1] + sin * across + cos * along, high / 2]
        )
        boxes.append(Box(foot, np.array([thick, thick, high]), yaw, wooden(seed, WALNUT)))
    return boxes


def stacked() -> list[Box]:
    """Cardboard boxes in the south-east corner, turned at odd angles."""
    at = (
        ((2.5, -1.25, 0.22), (0.5, 0.46, 0.44), 0.12, 'FRAGILE', 81),
        ((2.53, -1.22, 0.6), (0.4, 0.36, 0.32), -0.2, 'PLATES', 82),
        ((2.56, -1.25, 0.87), (0.3, 0.28, 0.22), 0.35, 'CABLES', 83),
    )
    return [
        Box(np.array(centre), np.array(size), yaw, Material(pictures.carton(text), seed))
        for centre, size, yaw, text, seed in at
    ]


def fixtures() -> list[Box]:
    """Ceiling beams, a wall shelf with books, and picture frames that stand off the wall."""
    beam = wooden(91, WALNUT, 1, 0.05)
    boxes = [block((x - 0.07, -2.5, 2.56), (x + 0.07, 2.5, 2.7), beam) for x in (-2.1, 0.0, 2.1)]
    boxes.append(block((2.76, -2.3, 1.5), (3.0, -1.5, 1.54), wooden(92)))
    boxes.append(block((2.8, -2.2, 1.54), (2.98, -1.7, 1.8), Material(pictures.books(1), 93)))
    boxes.append(
        block(
            (-2.99, 1.75, 1.2), (-2.86, 2.35, 1.9), wooden(94), px=Material(pictures.books(3), 95)
        )
    )
    return boxes


def round_furniture() -> tuple[list[Curved], list[Patch]]:
    """Pillar, pots, balls and lamps; and the discs that close the cylinders."""
    upright = [
        Tube(
            np.array([0.25, 2.05, 0.0]),
            0.17,
            2.7,
            Material(textures.cloth((196, 186, 170), (150, 96, 76), 44), 101, 0.15),
        ),
        Tube(np.array([2.3, -2.05, 0.0]), 0.19, 0.42, wooden(102, (170, 84, 52))),
        Tube(
            np.array([-2.35, -1.95, 0.0]),
            0.17,
            0.5,
            Material(textures.rug(((70, 86, 110), (210, 206, 190), (34, 40, 60))), 103, 0.3),
        ),
        Tube(
            np.array([-0.02, -0.18, 0.75]),
            0.05,
            0.11,
            Material(textures.rug(((230, 226, 214), (190, 60, 50), (60, 90, 150))), 104, 0.4),
        ),
        Tube(
            np.array([1.62, 2.28, 0.84]),
            0.09,
            0.3,
            Material(textures.rug(((46, 92, 120), (220, 200, 150), (180, 90, 60))), 105, 0.5),
        ),
        Tube(np.array([-2.66, 1.4, 0.55]), 0.03, 0.4, wooden(106)),
        Tube(np.array([-2.66, 1.4, 0.95]), 0.17, 0.28, Material(textures.shade_of_lamp, 107)),
    ]
    balls = [
        Ball(np.array([1.62, 2.28, 1.26]), 0.15, Material(textures.globe, 111, 0.4)),
        Ball(np.array([2.3, -2.05, 0.72]), 0.36, Material(textures.leaves, 112)),
        Ball(
            np.array([-0.45, -1.85, 0.14]),
            0.14,
            Material(textures.rug(((240, 238, 230), (200, 50, 44), (40, 90, 170))), 113, 0.4),
        ),
    ]
    lid = Material(textures.plain((120, 96, 78), 0.25), 121)
    discs = []
    for tube in upright[1:]:
        reach = tube.radius * np.array([1.0, -1.0, 0.0])
        corner = tube.bottom + np.array([-tube.radius, tube.radius, tube.height])
        discs.append(Patch(corner, 2 * reach * [1, 0, 0], 2 * reach * [0, 1, 0], lid, disc=True))
    glow = Material(textures.shade_of_lamp, 122, glows=True)
    lamps = [Ball(place, LAMP_RADIUS, glow) for place in LAMPS]
    cords = [Tube(place + (LAMP_RADIUS - 0.01) * UP, 0.012, 0.21, lid) for place in LAMPS]
    return [*upright, *balls, *lamps, *cords], discs
