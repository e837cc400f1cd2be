"""Whether samples are copies of the training set."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.frechet import as_features
from jaxgan.metrics.neighbours import Nearest, nearest

# The share of held-out items that "near" is set by, and how many times as many samples are too many
# to be a matter of chance or of style.
_QUANTILE = 0.01
_TOO_MANY = 5


class Memorisation(NamedTuple):
    """How near samples are to the training set, against held-out items, which are no copies.

    Attributes:
        samples: the two nearest training items of each sample: distances and indices [n, 2].
        held_out: those of each held-out item, [m, 2].
        median_distance: of the samples to their nearest training item.
        held_out_median_distance: of the held-out items to theirs.
        near_share: the share of the samples that are as near to a single training item as the
            nearest hundredth of the held-out items. About 0.01 or less without copying; the share
            of the copies, or more, with it.
        copies: the verdict: near_share is more than 5 times that of held-out items, about 0.01.
    """

    samples: Nearest
    held_out: Nearest
    median_distance: float
    held_out_median_distance: float
    near_share: float
    copies: bool


def memorisation(samples: ArrayLike, held_out: ArrayLike, training: ArrayLike) -> Memorisation:
    """Compares how near samples and held-out items are to the training set.

    "Near" is the distance to the nearest training item over that to the second nearest: 0 for a
    copy, about 1 for what is merely among the training items (Yoon et al. 2023, "Diffusion
    probabilistic models generalize when they fail to memorize"; they call a ratio below 1/3 a
    copy). The bare distance would call samples copies that are all of a class whose images are
    alike, and miss blurred or noisy copies of others. What is near is set by held-out items, as in
    Meehan et al. 2020 (arXiv 2004.05675), since fresh data are no copies.

    Where training items occur twice, only exact copies of those are seen.

    Args:
        samples: real [n, d], n at least 1: features, or pixels as rows.
        held_out: real [m, d], m at least 100, from the data's distribution but not trained on.
        training: real [t, d], t at least 2, what was trained on.

    Raises:
        ValueError: another shape, unequal widths, or numbers that are not finite.
    """
    samples, held_out, training = as_features(
        1, samples=samples, held_out=held_out, training=training
    )
    if len(held_out) < 1 / _QUANTILE or len(training) < 2:
        raise ValueError(
            f"at least 100 held-out and 2 training rows are needed, "
            f"not {len(held_out)} and {len(training)}"
        )
    of_samples, of_held_out = nearest(samples, training, 2), nearest(held_out, training, 2)
    ratios, held_out_ratios = _ratios(of_samples), _ratios(of_held_out)
    near = np.quantile(held_out_ratios, _QUANTILE)
    # Below 1: beside an item that occurs twice nothing is near a single one but a copy.
    near_share, expected = (np.mean((r <= near) & (r < 1)) for r in (ratios, held_out_ratios))
    return Memorisation(
        samples=of_samples,
        held_out=of_held_out,
        median_distance=float(np.median(of_samples.distances[:, 0])),
        held_out_median_distance=float(np.median(of_held_out.distances[:, 0])),
        near_share=float(near_share),
        # More than a hundredth of the held-out items are near where many ratios are 0.
        copies=bool(near_share > _TOO_MANY * max(_QUANTILE, expected)),
    )


def _ratios(found: Nearest) -> np.ndarray:
    first, second = found.distances.T
    # A copy of an item that occurs twice is a copy.
    return np.divide(first, second, out=np.zeros_like(first), where=second > 0)
