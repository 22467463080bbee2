"""A made-up room with exact poses and depth: nothing needs to be downloaded to try things."""

from implicit_loc_trainer.demo_room.renderer import DemoRoom, demo_room

__all__ = ['DemoRoom', 'demo_room']
