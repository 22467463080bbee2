"""Runs the real localization node for long, among faults and changes of its map, and judges it."""
