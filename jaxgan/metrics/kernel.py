"""The kernel distance between two sets of features (KID)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.frechet import as_features

_BLOCK = 1 << 22  # elements of the kernel matrix in memory at a time


class KernelDistance(NamedTuple):
    """An estimate of the squared maximum mean discrepancy.

    Attributes:
        value: unbiased. If the distributions are the same, it is negative about as often as
            positive.
        standard_error: the standard deviation of `value` over draws of both sets, estimated by the
            jackknife. If the distributions are the same, it is somewhat too large.
    """

    value: float
    standard_error: float


def kernel_distance(real_features: ArrayLike, fake_features: ArrayLike) -> KernelDistance:
    """The squared MMD for the kernel k(x, y) = (x'y / d + 1)^3, d the width of the features.

    Binkowski et al. 2018 (arXiv 1801.01401), section 4. Others often compute it as a mean over
    random subsets, which has the same expectation. Here it is computed from all pairs, so it needs
    no seed and varies less. The standard error leaves out each row in turn (the jackknife for two
    samples, Arvesen 1969).

    Args:
        real_features: real [n, d], n at least 3.
        fake_features: real [m, d], m at least 3.

    Raises:
        ValueError: the features have another shape, differ in width, or are not finite.
    """
    real, fake = (
        features.astype(np.float64, copy=False)
        for features in as_features(3, real_features=real_features, fake_features=fake_features)
    )
    real_own, fake_own = (
        _kernel_sums(features, features)[0]
        - (np.sum(features**2, axis=1) / features.shape[1] + 1) ** 3
        for features in (real, fake)
    )
    real_other, fake_other = _kernel_sums(real, fake)
    n, m = len(real), len(fake)

    def discrepancy(n, m, real_sum, fake_sum, cross_sum):
        return real_sum / (n * (n - 1)) + fake_sum / (m * (m - 1)) - 2 * cross_sum / (n * m)

    sums = np.sum(real_own), np.sum(fake_own), np.sum(real_other)
    # The sum over the pairs of a set holds each row twice: as the first and as the second of pairs.
    without_real = discrepancy(n - 1, m, sums[0] - 2 * real_own, sums[1], sums[2] - real_other)
    without_fake = discrepancy(n, m - 1, sums[0], sums[1] - 2 * fake_own, sums[2] - fake_other)
    variance = (n - 1) * np.var(without_real) + (m - 1) * np.var(without_fake)
    return KernelDistance(float(discrepancy(n, m, *sums)), float(np.sqrt(variance)))


def _kernel_sums(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the kernel matrix [n, m] over its columns, [n], and over its rows, [m]."""
    over_columns, over_rows = np.zeros(len(left)), np.zeros(len(right))
    step = max(1, _BLOCK // len(right))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        kernel = left[part] @ right.T
        kernel /= left.shape[1]
        kernel += 1
        kernel *= kernel * kernel
        over_columns[part] = kernel.sum(axis=1)
        over_rows += kernel.sum(axis=0)
    return over_columns, over_rows
