"""Scores by nearest neighbours: precision, recall, density and coverage. In bounded memory."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.frechet import as_features

_BLOCK = 1 << 23  # distances in memory at a time


class NeighbourScores(NamedTuple):
    """How two sets of features overlap.

    Attributes:
        precision: the share of the fake rows that lie in the ball of a real row, in [0, 1].
        recall: the share of the real rows that lie in the ball of a fake row, in [0, 1].
        density: the mean number of real balls that a fake row lies in, divided by the number
            expected of a real row; 0 or more, about 1 if the distributions are the same.
        coverage: the share of the real balls that hold a fake row, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


class Nearest(NamedTuple):
    """For each query the rows of a database that are nearest to it, the nearest first.

    Attributes:
        distances: float64 [n, k], Euclidean.
        indices: int64 [n, k], rows of the database.
    """

    distances: np.ndarray
    indices: np.ndarray


def neighbour_scores(
    real_features: ArrayLike,
    fake_features: ArrayLike,
    *,
    k_precision: int = 3,
    k_density: int = 5,
) -> NeighbourScores:
    """Improved precision and recall, and density and coverage.

    All four count rows within balls. Each row has a ball around it, whose radius is the distance
    to the k-th nearest other row of its set. Precision and recall: Kynkaanniemi et al. 2019 (arXiv
    1904.06991), equations 1 and 2. Density and coverage: Naeem et al. 2020 (arXiv 2002.09797),
    section 3.2. Only scores of sets of equal size can be compared: recall and coverage grow with
    the number of fake rows.

    Args:
        real_features: real [n, d], n more than either k.
        fake_features: real [m, d], m more than either k.
        k_precision: the k of precision and recall, 1 or more.
        k_density: the k of density and coverage, 1 or more.

    Raises:
        ValueError: the features have another shape or too few rows, differ in width, or are not
            finite; or a k is below 1.
    """
    if min(k_precision, k_density) < 1:
        raise ValueError(f"k must be 1 or more: k_precision {k_precision}, k_density {k_density}")
    real, fake = as_features(
        max(k_precision, k_density) + 1, real_features=real_features, fake_features=fake_features
    )
    # Centred: far from 0, squared distances would be small differences of large numbers.
    centre = real.mean(axis=0, dtype=np.float64)
    real, fake = real - centre, fake - centre
    real_small, real_large = _squared_radii(real, (k_precision, k_density))
    (fake_small,) = _squared_radii(fake, (k_precision,))

    fake_among_real = np.zeros(len(fake), bool)
    num_recalled = num_inside = num_covered = 0
    for part, squares in _squared_distances(real, fake):
        fake_among_real |= np.any(squares <= real_small[part, None], axis=0)
        num_recalled += int(np.count_nonzero(np.any(squares <= fake_small, axis=1)))
        inside = squares <= real_large[part, None]
        num_inside += int(np.count_nonzero(inside))
        num_covered += int(np.count_nonzero(np.any(inside, axis=1)))
    return NeighbourScores(
        precision=float(np.mean(fake_among_real)),
        recall=float(num_recalled / len(real)),
        density=float(num_inside / (k_density * len(fake))),
        coverage=float(num_covered / len(real)),
    )


def nearest(queries: ArrayLike, database: ArrayLike, k: int = 1) -> Nearest:
    """Finds the k rows of a database that are nearest to each query.

    The search is in float32: of rows at almost the same distance any may be found. The distances to
    the rows found are computed in float64, and the distance to a copy is 0.

    Args:
        queries: real [n, d], n at least 1.
        database: real [m, d], m at least k.
        k: 1 or more. It should be small, since each neighbour costs a pass over all distances.

    Raises:
        ValueError: an array has another shape, differs in width, or is not finite; or k is out of
            range.
    """
    queries, database = as_features(1, queries=queries, database=database)
    if not 1 <= k <= len(database):
        raise ValueError(f"k must be between 1 and the {len(database)} rows searched, not {k}")
    # Centred: far from 0, squared distances would be small differences of large numbers.
    centre = database.mean(axis=0, dtype=np.float64)
    near_queries, near_database = (
        (array - centre.astype(array.dtype)).astype(np.float32, copy=False)
        for array in (queries, database)
    )
    distances, indices = np.empty((len(queries), k)), np.empty((len(queries), k), np.int64)
    for part, squares in _squared_distances(near_queries, near_database):
        for rank in range(k):
            found = np.argmin(squares, axis=1)
            squares[np.arange(len(found)), found] = np.inf
            offsets = np.subtract(queries[part], database[found], dtype=np.float64)
            distances[part, rank] = np.linalg.norm(offsets, axis=1)
            indices[part, rank] = found
    # The search in float32 may have swapped rows at almost the same distance.
    order = np.argsort(distances, axis=1)
    return Nearest(*(np.take_along_axis(array, order, axis=1) for array in (distances, indices)))


def _squared_distances(
    queries: np.ndarray, database: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Block after block: (rows of queries, their squared distances to the whole database)."""
    query_norms, database_norms = (np.einsum("ij,ij->i", x, x) for x in (queries, database))
    step = max(1, _BLOCK // len(database))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        squares = queries[part] @ database.T
        squares *= -2
        squares += query_norms[part, None]
        squares += database_norms
        yield part, squares


def _squared_radii(features: np.ndarray, ks: tuple[int, ...]) -> np.ndarray:
    """float64 [len(ks), n]: the squared distance to the k-th nearest other row, for each k.

    It is enlarged by the rounding error of a dot product, so that a row at just this distance, such
    as a copy, lies within.
    """
    order = [k - 1 for k in ks]
    radii = np.empty((len(ks), len(features)))
    for part, squares in _squared_distances(features, features):
        rows = np.arange(len(squares))
        squares[rows, part.start + rows] = np.inf
        radii[:, part] = np.partition(squares, order, axis=1)[:, order].T
    rounding = features.shape[1] * np.finfo(np.float64).eps
    return radii + rounding * (radii + np.sum(features**2, axis=1))
