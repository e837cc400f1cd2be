"""Whether edits of images show what was asked for, keep the rest, and are near the true edits."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.agreement import agreement
from jaxgan.metrics.inception import as_probabilities


class Change(NamedTuple):
    """What a classifier sees in images after one attribute of each was changed.

    Attributes:
        shown: the share of the images whose likeliest class of that attribute is the one asked for,
            in [0, 1].
        kept: the share of the other attributes that are as they were, over all images and
            attributes, in [0, 1]; NaN if there are no others.
        kept_of: the same of each other attribute.
    """

    shown: float
    kept: float
    kept_of: dict[str, float]


def change(
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    attribute: str,
    asked: ArrayLike,
) -> Change:
    """Compares what a classifier sees in images before and after an edit.

    An attribute is kept if its likeliest class is the same in both images, right or wrong: so a
    mistake of the classifier about the image itself does not count against the editor.

    Args:
        before: for each attribute the probabilities of its classes, real [n, classes].
        after: the same attributes of the edited images, in the same order of images.
        attribute: the one that was changed.
        asked: its classes that were asked for, int [n] in [0, classes), n at least 1.

    Raises:
        ValueError: `before` and `after` have other attributes or other shapes, `attribute` is none
            of them, a number is no class or no probability, or there are no images.
    """
    shown = agreement(after, {attribute: asked}).shares[attribute]
    if before.keys() != after.keys():
        raise ValueError(
            f"before and after must be of the same attributes, not {', '.join(before)} and "
            f"{', '.join(after)}"
        )
    kept_of = {}
    for name in before:
        if np.shape(before[name]) != np.shape(after[name]):
            raise ValueError(
                f"{name} must have one shape before and after, not {np.shape(before[name])} and "
                f"{np.shape(after[name])}"
            )
        if name != attribute:
            seen = [as_probabilities(each[name]).argmax(axis=1) for each in (before, after)]
            kept_of[name] = float(np.mean(seen[0] == seen[1]))
    kept = float(np.mean(list(kept_of.values()))) if kept_of else float("nan")
    return Change(shown, kept, kept_of)


class Distance(NamedTuple):
    """How far edits are from the true ones, as a fraction of the error of doing nothing.

    The error is the sum of the absolute differences of all pixels of all images. Doing nothing has
    no error where nothing is to change, so `total` is `inside` + `outside`, and doing nothing has
    1, 1 and 0.

    Attributes:
        total: the error over all pixels; 0 for the true edits, 1 for doing nothing.
        inside: the error over the pixels that the true edit changes, in any channel.
        outside: the error over the other pixels.
    """

    total: float
    inside: float
    outside: float


def distance(images: np.ndarray, edited: np.ndarray, truth: np.ndarray) -> Distance:
    """Compares edits with the true ones, pixel by pixel.

    Args:
        images: the images as they were, [n, height, width, channels]: float in [0, 1], or uint8.
        edited: the edits of a generator, likewise.
        truth: the true edits, likewise.

    Raises:
        ValueError: the shapes differ, or no true edit differs from its image.
    """
    if not np.shape(images) == np.shape(edited) == np.shape(truth) or np.ndim(images) != 4:
        raise ValueError(
            "images, edited and truth must have one shape (n, height, width, channels), not "
            f"{np.shape(images)}, {np.shape(edited)} and {np.shape(truth)}"
        )
    images, edited, truth = map(_in_unit_range, (images, edited, truth))
    nothing = np.abs(truth - images)
    error = np.abs(edited - truth)
    is_changed = (nothing > 0).any(axis=-1)
    whole = nothing.sum(dtype=np.float64)
    if not whole:
        raise ValueError("no true edit differs from its image: there is nothing to compare with")
    parts = (error[region].sum(dtype=np.float64) / whole for region in (is_changed, ~is_changed))
    inside, outside = map(float, parts)
    return Distance(inside + outside, inside, outside)


def _in_unit_range(images: np.ndarray) -> np.ndarray:
    """Images as float32 in [0, 1]."""
    images = np.asarray(images)
    return images.astype(np.float32) / np.float32(255 if images.dtype == np.uint8 else 1)
