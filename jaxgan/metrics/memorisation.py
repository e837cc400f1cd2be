"""Whether samples are copies of the training set."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.frechet import as_features
from jaxgan.metrics.neighbours import Nearest, nearest

# A sample is near if it is as near to the training set as this share of the held-out items.
_QUANTILE = 0.01
# Samples are copies if their share of near ones is more than this many times as large, which is
# more than chance or style explain.
_TOO_MANY = 5


class Memorisation(NamedTuple):
    """How near samples are to the training set, compared with held-out items, which are no copies.

    Attributes:
        samples: the two nearest training items of each sample: distances and indices [n, 2].
        held_out: the two nearest training items of each held-out item: the same, [m, 2].
        median_distance: the median of the distances from samples to their nearest training items.
        held_out_median_distance: the same for held-out items.
        near_share: the share of the samples that are as near to a single training item as the
            nearest hundredth of the held-out items. Without copies it is about 0.01 or less; with
            copies it is their share or more.
        copies: whether near_share is more than 5 times that of held-out items, which is about 0.01.
    """

    samples: Nearest
    held_out: Nearest
    median_distance: float
    held_out_median_distance: float
    near_share: float
    copies: bool


def memorisation(samples: ArrayLike, held_out: ArrayLike, training: ArrayLike) -> Memorisation:
    """Compares how near samples and held-out items are to the training set.

    Nearness is measured by the distance to the nearest training item over the distance to the
    second nearest: 0 for a copy, about 1 for an item that merely lies among the training items
    (Yoon et al. 2023, "Diffusion probabilistic models generalize when they fail to memorize"; they
    call an item with a ratio below 1/3 a copy). The distance alone would misjudge: samples of a
    class whose images are all alike would count as copies, and blurred or noisy copies of other
    classes would not. The ratio below which a sample is near comes from held-out items, as in
    Meehan et al. 2020 (arXiv 2004.05675), since new data are no copies.

    Of a training item that occurs twice, only exact copies are found.

    Args:
        samples: real [n, d], n at least 1: features, or pixels as rows.
        held_out: real [m, d], m at least 100, from the data's distribution but not trained on.
        training: real [t, d], t at least 2, the items that the generator was trained on.

    Raises:
        ValueError: an array has another shape, differs in width, or is not finite.
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
    # Ratios of 1 do not count: beside an item that occurs twice both distances are equal.
    near_share, expected = (np.mean((r <= near) & (r < 1)) for r in (ratios, held_out_ratios))
    return Memorisation(
        samples=of_samples,
        held_out=of_held_out,
        median_distance=float(np.median(of_samples.distances[:, 0])),
        held_out_median_distance=float(np.median(of_held_out.distances[:, 0])),
        near_share=float(near_share),
        # If many held-out ratios are 0, more than a hundredth of the held-out items are near.
        copies=bool(near_share > _TOO_MANY * max(_QUANTILE, expected)),
    )


def _ratios(found: Nearest) -> np.ndarray:
    first, second = found.distances.T
    # Both distances are 0 for a copy of an item that occurs twice. Its ratio is 0, as of any copy.
    return np.divide(first, second, out=np.zeros_like(first), where=second > 0)
