"""The inception score, of any classifier's probabilities."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import rel_entr

from jaxgan.metrics.frechet import as_features


class InceptionScore(NamedTuple):
    """Between 1 (all samples look the same) and the number of classes.

    Attributes:
        value: the mean over the splits.
        standard_deviation: of the splits' scores.
    """

    value: float
    standard_deviation: float


def inception_score(probabilities: ArrayLike, num_splits: int = 10) -> InceptionScore:
    """exp(E[KL(p(class | sample) || p(class))]), p(class) the mean over the samples of a split.

    Salimans et al. 2016 (arXiv 1606.03498), section 4.

    Args:
        probabilities: real [n, classes], a row for each sample, in random order: a split is of
            samples that follow each other.
        num_splits: 1 to n. More splits are smaller ones, and score less.

    Raises:
        ValueError: rows that are no probabilities, or num_splits out of range.
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
    """The probabilities that a score is given, checked.

    Args:
        probabilities: real [n, classes], n and classes at least 1, each row from 0 and to the sum
            of 1 within 1e-3.

    Returns:
        float64 [n, classes]; each row sums to 1 as exactly as float64 can.

    Raises:
        ValueError: another shape, or rows that are no probabilities, such as logits.
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
