"""Whether samples have all the classes of the data, and as often."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from jaxgan.metrics.inception import as_probabilities


class ModeCoverage(NamedTuple):
    """The classes of samples compared with those of the data.

    Attributes:
        num_classes_hit: how many of the data's classes have at least one sample.
        kl_divergence: KL(samples || data) of the class shares, in nats, 0 or more.
        shares: float64 [classes], each class's share of the samples.
    """

    num_classes_hit: int
    kl_divergence: float
    shares: np.ndarray


def mode_coverage(predictions: ArrayLike, data_shares: ArrayLike) -> ModeCoverage:
    """Counts the classes that samples hit, and compares their shares with those of the data.

    Metz et al. 2017 (arXiv 1611.02163) do both for their stacked digits, after Che et al. 2017
    (arXiv 1612.02136). The divergence in this direction stays finite when samples miss a class: it
    is at most log(1 / share of the rarest class). It is infinite if and only if samples have a
    class that the data do not have.

    Args:
        predictions: of a classifier for the samples, as in `class_shares`.
        data_shares: real [classes], each class's share of the data, with the sum 1.

    Raises:
        ValueError: as in `class_shares`, or the shares are no probabilities.
    """
    if np.ndim(data_shares) != 1:
        raise ValueError(f"data_shares must have the shape (classes,), not {np.shape(data_shares)}")
    (data,) = as_probabilities(np.asarray(data_shares)[None])
    shares = class_shares(predictions, len(data))
    return ModeCoverage(
        num_classes_hit=int(np.count_nonzero((shares > 0) & (data > 0))),
        kl_divergence=float(max(0.0, np.sum(rel_entr(shares, data)))),
        shares=shares,
    )


def class_shares(predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """Each class's share of images, by their likeliest classes.

    Args:
        predictions: int [n] in [0, num_classes), or probabilities, real [n, num_classes]; n at
            least 1.
        num_classes: 1 or more.

    Returns:
        float64 [num_classes], with the sum 1.

    Raises:
        ValueError: the predictions have another shape, a label is out of range, or a row is no
            probabilities.
    """
    labels = np.asarray(predictions)
    if labels.ndim == 2 and labels.shape[1] == num_classes:
        labels = np.argmax(as_probabilities(labels), axis=1)
    elif labels.ndim != 1 or len(labels) < 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"predictions must be integers of the shape (n,) or probabilities of the shape "
            f"(n, {num_classes}), n at least 1, not {labels.dtype} of {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels must be between 0 and {num_classes - 1}, not {labels.min()} to {labels.max()}"
        )
    return np.bincount(labels.astype(np.int64), minlength=num_classes) / len(labels)
