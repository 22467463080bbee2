"""From a prediction to a pose in fixed shapes and a fixed number of steps, on any device.

It is what `implicit_loc.solvers` and `implicit_loc.uncertainty` do for most images, without a
decision on the host: a CUDA graph can capture it once it has run. What takes a decision is left
to the host, which then solves the prediction as always.
"""

from implicit_loc.device_solving.outcome import Outcome
from implicit_loc.device_solving.solver import DeviceSolver

__all__ = ['DeviceSolver', 'Outcome']
