"""Pairs that can be made of any images: what a translation is given, of what it is to give."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import scipy.ndimage

# The length of the gradient of Sobel's filters, for grey in [0, 1], from which on there is a line.
_EDGE = 0.24
# ITU-R 601.
_LUMINANCE = (0.299, 0.587, 0.114)
_GREY = 128


class Task(NamedTuple):
    """A translation.

    Attributes:
        channels: of its inputs; 0 if as many as its outputs have.
        inputs: uint8 images [n, height, width, channels] -> uint8 [n, height, width, channels].
        about: what the inputs are.
    """

    channels: int
    inputs: Callable[[np.ndarray], np.ndarray]
    about: str


def grey(images: np.ndarray) -> np.ndarray:
    """The luminance of uint8 images [n, height, width, 1 or 3]: uint8 [n, height, width, 1]."""
    if images.shape[-1] == 1:
        return images
    return np.rint(images @ np.float32(_LUMINANCE)).astype(np.uint8)[..., None]


def edges(images: np.ndarray) -> np.ndarray:
    """Black lines on white where the luminance of uint8 images changes; as `grey`."""
    lines = np.empty((*images.shape[:3], 1), np.uint8)
    # One by one: what is between is four times as large, of eight bytes.
    for image, line in zip(grey(images), lines, strict=True):
        plane = image[..., 0] / np.float32(255)
        across, down = (scipy.ndimage.sobel(plane, axis) for axis in (1, 0))
        line[..., 0] = np.where(np.hypot(across, down) > _EDGE, 0, 255)
    return lines


def masked(images: np.ndarray) -> np.ndarray:
    """uint8 images whose middle, half of height and width, is grey; of the same shape."""
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
