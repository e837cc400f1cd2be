"""The pictures of a run in a notebook, where it is trained in one."""

import sys
from collections.abc import Mapping

import numpy as np

from jaxgan.run import images


def is_there() -> bool:
    """Whether this process runs the cells of a notebook."""
    # A program that is not in IPython has not imported it, and need not have it installed.
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class Picture:
    """A logger that shows the newest grid of samples below the cell, in place of the one before."""

    def __init__(self, scale: int):
        """Shows nothing yet.

        Args:
            scale: the side, in pixels of the notebook, of the square that each pixel becomes.
        """
        self._scale = scale
        self._shown = None

    def __call__(self, step: int, values: Mapping[str, float | np.ndarray]) -> None:
        """Shows the "samples" among the values, if they are there."""
        if "samples" not in values:
            return
        picture = images.picture(np.asarray(values["samples"]), self._scale)
        if self._shown is None:
            from IPython.display import display

            self._shown = display(picture, display_id=True)
        else:
            self._shown.update(picture)
