"""Whether samples show what was asked of them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.inception import as_probabilities
from jaxgan.metrics.scoring import embed


class Agreement(NamedTuple):
    """How often a classifier sees in images what they were to show.

    Attributes:
        shares: by attribute, the share of the images whose likeliest class is the one asked for.
        together: the share of those that all attributes are right of.
    """

    shares: dict[str, float]
    together: float


def agreement(probabilities: Mapping[str, ArrayLike], asked: Mapping[str, ArrayLike]) -> Agreement:
    """Compares what a classifier sees in images with what they were drawn for.

    The accuracy of a classifier trained on real images, on generated ones: "GAN-test" in Shmelkov
    et al. 2018 (arXiv 1807.09499). Its own mistakes count too, so that real images reach less
    than 1.

    Args:
        probabilities: by attribute, of its classes, real [n, classes].
        asked: by attribute, the classes asked for, int [n] in [0, classes), n at least 1. It may
            have fewer attributes than the former, and has at least one.

    Raises:
        ValueError: nothing was asked for, or of an attribute that has no probabilities; arrays of
            other shapes, or numbers that are no classes or no probabilities.
    """
    if not asked:
        raise ValueError("at least one attribute must be asked for")
    right = {}
    for name, codes in asked.items():
        if name not in probabilities:
            raise ValueError(
                f"there are no probabilities of {name!r}, only of {', '.join(probabilities)}"
            )
        seen, codes = as_probabilities(probabilities[name]), np.asarray(codes)
        if codes.shape != (len(seen),) or codes.dtype.kind not in "iu":
            raise ValueError(
                f"the classes asked for of {name} must be {len(seen)} integers, one for each row "
                f"of probabilities, not {codes.dtype} of the shape {codes.shape}"
            )
        if codes.min() < 0 or codes.max() >= seen.shape[1]:
            raise ValueError(
                f"the classes asked for of {name} must be from 0 to {seen.shape[1] - 1}, not "
                f"{codes.min()} to {codes.max()}"
            )
        right[name] = seen.argmax(axis=1) == codes
    if len({len(each) for each in right.values()}) > 1:
        counts = ", ".join(f"{len(each)} of {name}" for name, each in right.items())
        raise ValueError(f"all attributes must be of the same images: there are {counts}")
    return Agreement(
        shares={name: float(np.mean(each)) for name, each in right.items()},
        together=float(np.mean(np.all(list(right.values()), axis=0))),
    )


def classify(
    images: ArrayLike, classifier: Callable[..., Mapping[str, ArrayLike]]
) -> dict[str, np.ndarray]:
    """Shows images to a classifier of attributes, some at a time, as `scoring.embed` does.

    Args:
        images: [n, height, width, channels], n at least 1: float in [0, 1], or uint8.
        classifier: float32 images -> by attribute, probabilities [n, classes], such as
            `evaluator.load_attribute_classifier` gives.

    Returns:
        What it gives for all images.

    Raises:
        ValueError: as `scoring.embed`.
    """
    counts = {}

    def side_by_side(batch: np.ndarray) -> np.ndarray:
        seen = classifier(batch)
        counts.update({name: np.shape(each)[-1] for name, each in seen.items()})
        return np.concatenate([np.asarray(each) for each in seen.values()], axis=1)

    together = embed(images, side_by_side).features
    parts = np.split(together, np.cumsum(list(counts.values()))[:-1], axis=1)
    return dict(zip(counts, parts, strict=True))
