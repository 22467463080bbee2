"""The demo room as a whole: all that can be seen or bumped into."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from implicit_loc_trainer.demo_room import furniture
from implicit_loc_trainer.demo_room.shapes import Array, Box, Curved, Surface, surface_distance
from implicit_loc_trainer.demo_room.shell import ROOM, room_patches


@dataclass(frozen=True)
class Scene:
    """Everything that can be seen or bumped into.

    Attributes:
        surfaces: All visible surfaces, patches first.
        boxes: Solids with flat sides.
        curved: Solids with round sides, lamps included.
    """

    surfaces: tuple[Surface, ...]
    boxes: tuple[Box, ...]
    curved: tuple[Curved, ...]

    def clearance(self, points: Array) -> Array:
        """Distance to the nearest surface, negative inside of things: (N, 3) -> (N,) metres."""
        nearest: Array = -ROOM.distance(points)
        for box in self.boxes:
            nearest = np.minimum(nearest, box.distance(points))
        for surface in self.curved:
            nearest = np.minimum(nearest, surface_distance(surface, points))
        return nearest


@lru_cache(maxsize=1)
def build_scene() -> Scene:
    """The demo room; the same at every call."""
    boxes = furniture.boxes()
    round_things, discs = furniture.round_furniture()
    flat = [*room_patches(), *discs]
    for box in boxes:
        flat += box.surfaces()
    return Scene((*flat, *round_things), tuple(boxes), tuple(round_things))
