"""Tasks whose pairs can be made from any images: the inputs are computed from the outputs."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import scipy.ndimage

# A pixel is part of a line if the gradient of the luminance in [0, 1], by Sobel's filters, is
# longer than this.
_EDGE = 0.24
# The weights of red, green and blue, ITU-R BT.601.
_LUMINANCE = (0.299, 0.587, 0.114)
_GREY = 128


class Task(NamedTuple):
    """A translation whose inputs are computed from its outputs.

    Attributes:
        channels: the channels of the inputs; 0 stands for the channels of the outputs.
        inputs: the outputs, uint8 [n, height, width, 1 or 3] -> the inputs, uint8
            [n, height, width, channels].
        about: what the inputs look like, in a few words.
    """

    channels: int
    inputs: Callable[[np.ndarray], np.ndarray]
    about: str


def grey(images: np.ndarray) -> np.ndarray:
    """The luminance of uint8 images [n, height, width, 1 or 3]: uint8 [n, height, width, 1]."""
    if images.shape[-1] == 1:
        return images
    return np.rint(images @ np.asarray(_LUMINANCE, np.float32)).astype(np.uint8)[..., None]


def edges(images: np.ndarray) -> np.ndarray:
    """Black lines on white where the luminance changes; shapes and dtypes as in `grey`."""
    lines = np.empty((*images.shape[:3], 1), np.uint8)
    # One image at a time, since the arrays in between take up to eight times the memory.
    for image, line in zip(grey(images), lines, strict=True):
        plane = image[..., 0] / np.float32(255)
        across, down = (scipy.ndimage.sobel(plane, axis) for axis in (1, 0))
        line[..., 0] = np.where(np.hypot(across, down) > _EDGE, 0, 255)
    return lines


def masked(images: np.ndarray) -> np.ndarray:
    """The images, uint8 [n, height, width, channels], with a grey middle of half their size."""
    height, width = images.shape[1:3]
    hidden = images.copy()
    hidden[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = _GREY
    return hidden


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "edges2face": Task(1, edges, "black lines on white"),
        "grey2colour": Task(1, grey, "grey by luminance"),
        "mask2face": Task(0, masked, "images whose middle is grey"),
    }
)
