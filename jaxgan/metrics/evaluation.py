"""Evaluates a generator by its images: scores, classes, copies of training images. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.metrics.agreement import Agreement
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.memorisation import Memorisation, memorisation
from jaxgan.metrics.modes import class_shares
from jaxgan.metrics.neighbours import Nearest, nearest
from jaxgan.metrics.scoring import Embedding, embed, score


class Scored(NamedTuple):
    """The scores of a set of images against the training set.

    Attributes:
        num_images: how many images were scored.
        scores: what `metrics.scoring.score` returns.
        class_shares: float64 [classes], the share of the images that the evaluator takes for each
            class.
    """

    num_images: int
    scores: dict[str, float]
    class_shares: np.ndarray


class Reference(NamedTuple):
    """What any number of generators of one data set are compared with.

    Attributes:
        evaluator: computes the embedding of all images.
        training_images: as given, [t, height, width, channels].
        held_out_images: as given, [h, height, width, channels].
        training: the embedding of the training images.
        held_out: the embedding of the held-out images.
        class_shares: float64 [classes], as in `Scored`, of the training images.
        floor: the scores of held-out images. No generator can be expected to do better.
        ceiling: the scores of uniform noise.
        data_shares: each class's share of the data, as in `scoring.score`.
        seed: of the draws in every score.
    """

    evaluator: Callable[..., Embedding]
    training_images: np.ndarray
    held_out_images: np.ndarray
    training: Embedding
    held_out: Embedding
    class_shares: np.ndarray
    floor: Scored
    ceiling: Scored
    data_shares: np.ndarray | None
    seed: int


class Evaluation(NamedTuple):
    """The evaluation of a generator's images.

    Attributes:
        embedding: of the images, by the evaluator.
        num_images: as in `Scored`.
        scores: as in `Scored`.
        class_shares: as in `Scored`.
        in_features: whether the images are copies of training images, by the distances between
            the evaluator's features.
        in_pixels: the same, by the distances between pixels.
    """

    embedding: Embedding
    num_images: int
    scores: dict[str, float]
    class_shares: np.ndarray
    in_features: Memorisation
    in_pixels: Memorisation


def reference(
    training_images: np.ndarray,
    held_out_images: np.ndarray,
    *,
    num_samples: int = 10_000,
    seed: int = 0,
    evaluator: Callable[..., Embedding] | None = None,
    data_shares: np.ndarray | None = None,
) -> Reference:
    """Computes what `evaluate` compares generators with.

    Args:
        training_images: [t, height, width, channels], t at least 6: float in [0, 1], or uint8.
        held_out_images: [h, height, width, channels], h at least 100: float in [0, 1], or uint8.
            No generator was trained on them.
        num_samples: how many held-out images are scored, 10 or more, or all if there are fewer;
            and as many noise images. Most scores depend on the number of images, so it should be
            the number of images that each generator is evaluated by.
        seed: of the choice of held-out images, of the noise, and of the draws in every score.
        evaluator: float32 images -> features and probabilities of the classes, as in
            `metrics.scoring.embed`. None is the evaluator of digits, for images of [28, 28, 1].
            The evaluator of faces is `metrics.evaluator.load_evaluator("toon_faces")`.
        data_shares: each class's share of the data, as in `metrics.scoring.score`; None: of the
            training images, as the evaluator sees them.

    Raises:
        ValueError: the images have another shape or range, or are too few.
    """
    if training_images.shape[1:] != held_out_images.shape[1:]:
        raise ValueError(
            f"training images have the shape {training_images.shape[1:]}, held-out images "
            f"{held_out_images.shape[1:]}: they must be alike"
        )
    if evaluator is None:
        evaluator = load_evaluator()
    rng = np.random.default_rng(seed)
    # The inception score needs a random order: MNIST's test set begins with the tidy writers.
    scored = rng.permutation(len(held_out_images))[:num_samples]
    shape = (len(scored), *training_images.shape[1:])
    noise = embed(rng.random(shape, np.float32), evaluator)
    training, held_out = embed(training_images, evaluator), embed(held_out_images, evaluator)
    # The evaluator is a classifier, so there are probabilities.
    some = Embedding(*(cast(np.ndarray, array)[scored] for array in held_out))
    return Reference(
        evaluator=evaluator,
        training_images=training_images,
        held_out_images=held_out_images,
        training=training,
        held_out=held_out,
        class_shares=_class_shares(training),
        floor=_scored(some, training, seed, data_shares),
        ceiling=_scored(noise, training, seed, data_shares),
        data_shares=data_shares,
        seed=seed,
    )


def evaluate(images: ArrayLike, reference: Reference) -> Evaluation:
    """Evaluates a generator by its images. The same arguments give the same numbers.

    Args:
        images: [n, height, width, channels] in random order, n at least 10: float in [0, 1] as
            `sampling.sample` draws them, or uint8.
        reference: of images of the same shape.

    Raises:
        ValueError: the images have another shape or range, or are too few.
    """
    images = np.asarray(images)
    shape = reference.training_images.shape[1:]
    if images.shape[1:] != shape:
        raise ValueError(
            f"images must have the shape (n, {', '.join(map(str, shape))}), not {images.shape}"
        )
    embedding = embed(images, reference.evaluator)

    held_out, training = reference.held_out, reference.training
    pixels = map(_pixels, (images, reference.held_out_images, reference.training_images))
    return Evaluation(
        embedding,
        *_scored(embedding, training, reference.seed, reference.data_shares),
        in_features=memorisation(embedding.features, held_out.features, training.features),
        in_pixels=memorisation(*pixels),
    )


def most_suspect(evaluation: Evaluation, count: int) -> np.ndarray:
    """The samples that are most likely to be copies of a training image, the likeliest first.

    They are those whose nearest training image, by features, is nearest in proportion to the second
    nearest.

    Returns:
        int64 [min(count, n)], rows of the evaluated images.
    """
    first, second = evaluation.in_features.samples.distances.T
    return np.argsort(first / np.maximum(second, np.finfo(float).tiny), stable=True)[:count]


def beside_training(
    images: ArrayLike, evaluation: Evaluation, reference: Reference, rows: np.ndarray, k: int = 3
) -> np.ndarray:
    """Puts samples beside the training images that are nearest to them, by features.

    Args:
        images: the images that were evaluated.
        evaluation: the evaluation of the images.
        reference: what the images were evaluated with.
        rows: int [r], the rows of the samples among the images.
        k: how many training images go with each sample, 1 to t.

    Returns:
        float32 [r, 1 + k, height, width, channels] in [0, 1]: each sample, then its training
        images, the nearest first.
    """
    found = nearest(evaluation.embedding.features[rows], reference.training.features, k)
    samples, training = np.asarray(images)[rows], reference.training_images[found.indices]
    return np.concatenate([_as_floats(samples)[:, None], _as_floats(training)], axis=1)


def to_json(evaluation: Evaluation, reference: Reference) -> dict[str, Any]:
    """The numbers of an evaluation, of its floor and of its ceiling, in types that JSON has."""
    columns: dict[str, Evaluation | Scored] = {
        "samples": evaluation,
        "held_out": reference.floor,
        "noise": reference.ceiling,
    }
    shares = {name: column.class_shares for name, column in columns.items()}
    shares["training"] = reference.class_shares
    spaces = {"features": evaluation.in_features, "pixels": evaluation.in_pixels}
    return {
        "num_images": {name: column.num_images for name, column in columns.items()},
        "scores": {name: column.scores for name, column in columns.items()},
        "class_shares": {name: list(map(float, array)) for name, array in shares.items()},
        "memorisation": {
            name: {
                key: value
                for key, value in found._asdict().items()
                if not isinstance(value, Nearest)
            }
            for name, found in spaces.items()
        },
    }


_ROWS = (
    ("FID, lower is better", "fid", ".3f"),
    ("KID, lower is better", "kid", ".5f"),
    ("  its standard error", "kid_standard_error", ".5f"),
    ("inception score, 1 to {}, higher is better", "inception_score", ".2f"),
    ("precision, 0 to 1, higher is better", "precision", ".3f"),
    ("recall, 0 to 1, higher is better", "recall", ".3f"),
    ("density, about 1 for real images", "density", ".3f"),
    ("coverage, 0 to 1, higher is better", "coverage", ".3f"),
    ("classes hit", "modes", ".0f"),
    ("KL of the classes, lower is better", "mode_kl", ".4f"),
)


def table(evaluation: Evaluation, reference: Reference) -> str:
    """The numbers as text: a line of at most 80 characters for each score.

    The columns are the samples, held-out images as the floor and noise as the ceiling.
    """
    columns = (evaluation, reference.floor, reference.ceiling)
    lines: list[tuple[str, ...]] = [("", "samples", "held-out", "noise")]
    lines += [("images: most scores depend on how many", *(f"{x.num_images:,}" for x in columns))]
    lines += [
        (
            label.format(len(reference.class_shares)),
            *(format(column.scores[name], form) for column in columns),
        )
        for label, name, form in _ROWS
    ]
    lines += [
        (label, *(format(pick(column.class_shares), ".2%") for column in columns))
        for label, pick in (("smallest class's share", np.min), ("largest class's share", np.max))
    ]
    for space, found in (("features", evaluation.in_features), ("pixels", evaluation.in_pixels)):
        medians = (found.median_distance, found.held_out_median_distance)
        lines += [
            (f"near-copies by {space}, about 1% by chance", f"{found.near_share:.2%}", "", ""),
            ("  distance to training, median", *(f"{median:.3f}" for median in medians), ""),
        ]
    return "\n".join(
        f"{label:44}{samples:>12}{held_out:>12}{noise:>12}".rstrip()
        for label, samples, held_out, noise in lines
    )


def table_of(scores: Mapping[str, float], num_classes: int) -> str:
    """Scores as text: a line for each of those that there are.

    Args:
        scores: what `metrics.scoring.score` returns, or some of it.
        num_classes: of the evaluator.
    """
    return "\n".join(
        f"{label.format(num_classes):44}{format(scores[name], form):>12}"
        for label, name, form in _ROWS
        if name in scores
    )


def agreement_table(samples: Agreement, held_out: Agreement) -> str:
    """Further lines of the `table` of a conditional generator: do images show what is asked for?

    Args:
        samples: of the generator's images.
        held_out: of real images and their own labels. What it lacks to 1 are mistakes of the
            evaluator.
    """
    lines = [
        (f"shows the {name} asked for", share, held_out.shares[name])
        for name, share in samples.shares.items()
    ]
    if len(lines) > 1:
        lines.append(("shows all that is asked for", samples.together, held_out.together))
    return "\n".join(f"{label:44}{a:>12.2%}{b:>12.2%}" for label, a, b in lines)


def _scored(
    embedding: Embedding, training: Embedding, seed: int, data_shares: np.ndarray | None
) -> Scored:
    scores = score(embedding, training, seed=seed, data_shares=data_shares)
    return Scored(len(embedding.features), scores, _class_shares(embedding))


def _class_shares(embedding: Embedding) -> np.ndarray:
    # The evaluator of a `Reference` is a classifier.
    probabilities = cast(np.ndarray, embedding.probabilities)
    return class_shares(probabilities, np.shape(probabilities)[-1])


def _pixels(images: np.ndarray) -> np.ndarray:
    return _as_floats(images).reshape(len(images), -1)


def _as_floats(images: np.ndarray) -> np.ndarray:
    """The same images, float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255 if images.dtype == np.uint8 else 1)
