"""All scores of generated samples at once, for any function from images to features."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.frechet import as_features, frechet_distance, moments
from jaxgan.metrics.inception import inception_score
from jaxgan.metrics.kernel import kernel_distance
from jaxgan.metrics.modes import class_shares, mode_coverage
from jaxgan.metrics.neighbours import neighbour_scores


class Embedding(NamedTuple):
    """What an evaluator computes from images.

    Attributes:
        features: real [n, d].
        probabilities: real [n, classes], of the classes of each image; None if the evaluator is no
            classifier.
    """

    features: np.ndarray | jax.Array
    probabilities: np.ndarray | jax.Array | None = None


def embed(
    images: np.ndarray | jax.Array,
    evaluator: Callable[..., np.ndarray | jax.Array | tuple],
    *,
    batch_size: int = 500,
) -> Embedding:
    """Applies an evaluator to images, always `batch_size` of them, so that it is compiled once.

    Args:
        images: [n, height, width, channels], n at least 1: float in [0, 1], or uint8.
        evaluator: float32 [batch_size, height, width, channels] in [0, 1] -> features
            [batch_size, d], or a tuple of features and probabilities [batch_size, classes], such as
            an `Embedding`. An image's row must not depend on the other images.
        batch_size: 1 or more. The last batch is filled up with copies of its last image.

    Returns:
        NumPy arrays of n rows each.

    Raises:
        ValueError: the images have another shape or range, batch_size is below 1, or the evaluator
            does not give a row for each image.
    """
    if np.ndim(images) != 4 or len(images) < 1:
        raise ValueError(
            f"images must have the shape (n, height, width, channels), n at least 1, "
            f"not {np.shape(images)}"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more, not {batch_size}")
    parts = []
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size])
        count = len(batch)
        batch = batch.astype(np.float32) / (255 if batch.dtype == np.uint8 else 1)
        if not (batch.min() >= 0 and batch.max() <= 1):
            raise ValueError(
                f"images must be in [0, 1] or uint8, not {batch.min()} to {batch.max()}"
            )
        batch = np.pad(batch, [(0, batch_size - count), (0, 0), (0, 0), (0, 0)], mode="edge")
        seen = evaluator(batch)
        embedding = Embedding(*seen) if isinstance(seen, tuple) else Embedding(seen)
        shapes = [np.shape(array) for array in embedding if array is not None]
        if any(len(shape) != 2 or shape[0] != batch_size for shape in shapes):
            raise ValueError(
                f"the evaluator must give {batch_size} rows for {batch_size} images, "
                f"not arrays of the shapes {shapes}"
            )
        features, probabilities = (x if x is None else np.asarray(x)[:count] for x in embedding)
        parts.append(Embedding(cast(np.ndarray, features), probabilities))
    return joined(parts)


def joined(parts: Iterable[Embedding]) -> Embedding:
    """The embedding of all images, from the embeddings of some at a time.

    Args:
        parts: at least one, all with probabilities or all without.

    Returns:
        NumPy arrays, with the rows in order.
    """
    features, probabilities = zip(*parts, strict=True)
    return Embedding(
        np.concatenate(features),
        None if probabilities[0] is None else np.concatenate(probabilities),
    )


def score(
    samples: Embedding,
    reference: Embedding,
    *,
    seed: int = 0,
    num_compared: int = 10_000,
    data_shares: ArrayLike | None = None,
) -> dict[str, float]:
    """Scores samples against the data. The same arguments give the same numbers.

    The Frechet distance is computed from all rows. The kernel distance and the neighbour scores are
    computed from equally many rows of both, drawn without replacement.

    Args:
        samples: the embedding of the images to score, in random order; at least 6 images, or at
            least 10 with probabilities.
        reference: the embedding of the data, at least 6 images.
        seed: of the draw.
        num_compared: how many rows of each are drawn, 6 or more. If the smaller set has fewer, all
            of its rows, and as many of the other.
        data_shares: each class's share of the data, real [classes], with the sum 1. None: the
            share of the reference.

    Returns:
        "fid" (`frechet.frechet_distance`), "kid" and "kid_standard_error"
        (`kernel.kernel_distance`), "precision", "recall", "density" and "coverage"
        (`neighbours.neighbour_scores`). If both have probabilities, also "inception_score"
        (`inception.inception_score`), "modes", the number of classes hit, and "mode_kl"
        (`modes.mode_coverage`).

    Raises:
        ValueError: the features or probabilities have another shape, are too few, or are not
            finite; or only one of the two embeddings has probabilities.
    """
    if (samples.probabilities is None) != (reference.probabilities is None):
        raise ValueError("either both samples and reference must have probabilities, or neither")
    if num_compared < 6:
        raise ValueError(f"num_compared must be 6 or more, not {num_compared}")
    fake, real = as_features(6, samples=samples.features, reference=reference.features)
    for name, (features, probabilities) in (("samples", samples), ("reference", reference)):
        if probabilities is not None and len(features) != len(probabilities):
            raise ValueError(
                f"{name} have {len(features)} rows of features and {len(probabilities)} of "
                f"probabilities: there must be as many"
            )
    count = min(len(fake), len(real), num_compared)
    rng = np.random.default_rng(seed)
    some_real, some_fake = (x[rng.choice(len(x), count, replace=False)] for x in (real, fake))
    distance = kernel_distance(some_real, some_fake)
    scores = {
        "fid": frechet_distance(moments(real), moments(fake)),
        "kid": distance.value,
        "kid_standard_error": distance.standard_error,
        **neighbour_scores(some_real, some_fake)._asdict(),
    }
    if samples.probabilities is not None and reference.probabilities is not None:
        num_classes = np.shape(reference.probabilities)[-1]
        if data_shares is None:
            data_shares = class_shares(reference.probabilities, num_classes)
        modes = mode_coverage(samples.probabilities, data_shares)
        scores |= {
            "inception_score": inception_score(samples.probabilities).value,
            "modes": float(modes.num_classes_hit),
            "mode_kl": modes.kl_divergence,
        }
    return scores
