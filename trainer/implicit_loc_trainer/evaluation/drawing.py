"""What the pictures of an evaluation share."""

from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

TRUE_COLOUR, ESTIMATED_COLOUR, ERROR_COLOUR = '#222222', '#1f77b4', '#d62728'
# A logarithmic axis over more than this has room for powers of ten alone.
WIDE = 1e3


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in inches, without pyplot's global state or a display."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def tick_1_2_5(axis: Axis, extent: float) -> None:
    """Labels 1, 2, 5, 10, ... on a logarithmic axis.

    Args:
        axis: logarithmic.
        extent: its upper limit over its lower one.
    """
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if extent <= WIDE else (1.0,)))
    axis.set_major_formatter('{x:g}')
    axis.set_minor_formatter('')
