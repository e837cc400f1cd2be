"""The Frechet distance between two sets of features (FID), and the check of features."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# The largest size of a number in features. Its powers, which the scores take, are finite.
_LARGEST = 1e15
_BLOCK = 1 << 22  # elements in memory at a time


class Moments(NamedTuple):
    """The moments of a set of features.

    Attributes:
        mean: float64 [d].
        covariance: float64 [d, d], with the divisor n - 1.
    """

    mean: np.ndarray
    covariance: np.ndarray


def moments(features: ArrayLike) -> Moments:
    """The mean and the covariance of features, summed in float64.

    Args:
        features: real [n, d], n at least 2. n may be less than d.

    Raises:
        ValueError: the features have another shape, or are not finite.
    """
    (features,) = as_features(2, features=features)
    num_rows, width = features.shape
    mean = features.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((width, width))
    step = max(1, _BLOCK // width)
    for start in range(0, num_rows, step):
        centred = features[start : start + step] - mean
        covariance += centred.T @ centred
    return Moments(mean, covariance / (num_rows - 1))


def frechet_distance(real: Moments, fake: Moments) -> float:
    """|m - n|^2 + tr(C + D - 2 (C D)^(1/2)), for means m and n and covariances C and D.

    The squared 2-Wasserstein distance of two normal distributions. Heusel et al. 2017
    (arXiv 1706.08500), equation 6.

    Args:
        real: of the data, of d features.
        fake: of the samples, of d features. The distance is symmetric.

    Returns:
        0 or more; 0 for equal moments, up to rounding.

    Raises:
        ValueError: the moments have another shape, are not equally wide, or are not finite; or a
            covariance is not symmetric.
    """
    for name, (mean, covariance) in (("real", real), ("fake", fake)):
        if np.ndim(mean) != 1 or np.shape(covariance) != 2 * np.shape(mean):
            raise ValueError(
                f"{name} moments must have the shapes (d,) and (d, d), not {np.shape(mean)} and "
                f"{np.shape(covariance)}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise ValueError(f"{name} moments must be finite")
        if not np.allclose(covariance, np.transpose(covariance)):
            raise ValueError(f"the {name} covariance must be symmetric")
    if len(real.mean) != len(fake.mean):
        raise ValueError(
            f"moments must be equally wide: real {len(real.mean)}, fake {len(fake.mean)}"
        )
    # For C = F F' and D = G G', the trace of (C D)^(1/2) is the sum of the singular values of F' G.
    # A root of C D itself would have half as many correct digits for a singular C or D, and could
    # be complex.
    shared = np.linalg.svd(_factor(real).T @ _factor(fake), compute_uv=False)
    apart = np.sum(np.square(np.subtract(real.mean, fake.mean, dtype=np.float64)))
    trace = np.trace(real.covariance) + np.trace(fake.covariance) - 2 * np.sum(shared)
    return float(max(0.0, apart + trace))


def as_features(least: int, **features: ArrayLike) -> tuple[np.ndarray, ...]:
    """Checks the sets of features that a score is given.

    Args:
        least: the least number of rows of each set.
        **features: real [n, d] each, with one d for all, by their names in messages.

    Returns:
        The sets, [n, d] each: float32 where they were given so, else float64.

    Raises:
        ValueError: a set has another rank or type, or too few rows; the widths differ; or a number
            is not finite or is beyond 1e15 in size.
    """
    arrays = {name: np.asarray(array) for name, array in features.items()}
    for name, array in arrays.items():
        if not np.can_cast(array.dtype, np.float64):
            raise ValueError(f"{name} must be real numbers, not {array.dtype}")
        if array.ndim != 2 or len(array) < least or array.shape[1] < 1:
            raise ValueError(
                f"{name} must have the shape (n, d), n at least {least} and d at least 1, "
                f"not {array.shape}"
            )
        if array.dtype != np.float32:
            arrays[name] = array = array.astype(np.float64, copy=False)
        # Written with `not`, since any comparison with NaN is false.
        if not (array.min() >= -_LARGEST and array.max() <= _LARGEST):
            row, column = np.argwhere(~(np.abs(array) <= _LARGEST))[0]
            raise ValueError(
                f"{name} must be finite and within 1e15 of 0, not {array[row, column]} "
                f"(row {row}, column {column})"
            )
    if len({array.shape[1] for array in arrays.values()}) > 1:
        widths = ", ".join(f"{name} {array.shape[1]}" for name, array in arrays.items())
        raise ValueError(f"each row must have the same number of columns: {widths}")
    return tuple(arrays.values())


def _factor(moments: Moments) -> np.ndarray:
    """A matrix F for which F F' is the covariance."""
    values, vectors = np.linalg.eigh(np.asarray(moments.covariance, np.float64))
    # Rounding can make eigenvalues of a singular covariance negative.
    return vectors * np.sqrt(np.maximum(values, 0))
