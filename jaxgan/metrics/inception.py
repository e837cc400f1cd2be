"""The inception score, from the probabilities of any classifier."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from jaxgan.metrics.frechet import as_features


class InceptionScore(NamedTuple):
    """The inception score of samples.

    Attributes:
        value: the mean of the scores of the splits, from 1 (all samples look the same) to the
            number of classes.
        standard_deviation: of the scores of the splits.
    """

    value: float
    standard_deviation: float


def inception_score(probabilities: ArrayLike, num_splits: int = 10) -> InceptionScore:
    """exp(E[KL(p(class | sample) || p(class))]), p(class) the mean over the samples of a split.

    Salimans et al. 2016 (arXiv 1606.03498), section 4.

    Args:
        probabilities: real [n, classes], a row for each sample, in random order, since each split
            is a block of consecutive rows.
        num_splits: 1 to n. The more splits, the smaller they are, and the lower they score.

    Raises:
        ValueError: a row is no probabilities, or num_splits is out of range.
    """
    probabilities = as_probabilities(probabilities)
    if not 1 <= num_splits <= len(probabilities):
        raise ValueError(
            f"num_splits must be between 1 and the {len(probabilities)} samples, not {num_splits}"
        )
    scores = [
        np.exp(np.mean(np.sum(rel_entr(split, split.mean(axis=0)), axis=1)))
        for split in np.array_split(probabilities, num_splits)
    ]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))


def as_probabilities(probabilities: ArrayLike) -> np.ndarray:
    """Checks the probabilities that a score is given.

    Args:
        probabilities: real [n, classes], n and classes at least 1. Each number is 0 or more, and
            each row has the sum 1 within 1e-3.

    Returns:
        float64 [n, classes], each row divided by its sum.

    Raises:
        ValueError: the shape is another, or a row is no probabilities, such as logits.
    """
    (probabilities,) = as_features(1, probabilities=probabilities)
    sums = probabilities.sum(axis=1, dtype=np.float64, keepdims=True)
    wrong = (np.abs(sums - 1) > 1e-3)[:, 0] | (probabilities.min(axis=1) < 0)
    if wrong.any():
        row = np.argmax(wrong)
        raise ValueError(
            f"each row of probabilities must be 0 or more and sum to 1: row {row} has the least "
            f"{probabilities[row].min():.6g} and the sum {sums[row, 0]:.6g}"
        )
    return probabilities / sums
