"""Whether the samples of a conditional generator show what was asked for."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.inception import as_probabilities
from jaxgan.metrics.scoring import embed


class Agreement(NamedTuple):
    """How often a classifier sees in images what was asked for.

    Attributes:
        shares: for each attribute the share of the images whose likeliest class is the one asked
            for, in [0, 1].
        together: the share of the images for which this holds in all attributes, in [0, 1].
    """

    shares: dict[str, float]
    together: float


def agreement(probabilities: Mapping[str, ArrayLike], asked: Mapping[str, ArrayLike]) -> Agreement:
    """Compares what a classifier sees in generated images with what was asked for.

    It is the accuracy on generated images of a classifier that was trained on real ones:
    "GAN-test" in Shmelkov et al. 2018 (arXiv 1807.09499). The classifier's own mistakes count too,
    so real images do not reach 1.

    Args:
        probabilities: for each attribute the probabilities of its classes, real [n, classes].
        asked: for at least one of these attributes the classes asked for, int [n] in
            [0, classes), n at least 1.

    Raises:
        ValueError: `asked` is empty or has an attribute without probabilities; an array has
            another shape; a number is no class or no probability.
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
    images: np.ndarray | jax.Array, classifier: Callable[..., Mapping[str, ArrayLike]]
) -> dict[str, np.ndarray]:
    """Classifies the attributes of images, in batches as in `scoring.embed`.

    Args:
        images: [n, height, width, channels], n at least 1: float in [0, 1], or uint8.
        classifier: float32 images -> for each attribute the probabilities of its classes, real
            [n, classes]; for one, `evaluator.load_attribute_classifier` gives such a function.

    Returns:
        For each attribute the probabilities of its classes, real [n, classes].

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
