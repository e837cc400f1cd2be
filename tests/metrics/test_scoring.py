import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.metrics import frechet, inception, kernel, modes, neighbours
from jaxgan.metrics.scoring import Embedding, embed, score

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(23, 4, 3, 1)).astype(np.float32)


def flat(images):
    return jnp.reshape(images, (len(images), -1))


def with_probabilities(images):
    return flat(images), jax.nn.softmax(flat(images)[:, :5])


@pytest.mark.parametrize("batch_size", [1, 5, 23, 40])
def test_embed_gives_each_image_its_row(batch_size):
    features, probabilities = embed(
        IMAGES, lambda x: Embedding(*with_probabilities(x)), batch_size=batch_size
    )
    assert type(features) is type(probabilities) is np.ndarray
    expected = with_probabilities(IMAGES)
    np.testing.assert_array_equal(features, expected[0])
    np.testing.assert_allclose(probabilities, expected[1], rtol=1e-6)


def test_embed_takes_a_tuple_or_features_alone():
    np.testing.assert_allclose(
        embed(IMAGES, with_probabilities).probabilities, with_probabilities(IMAGES)[1], rtol=1e-6
    )
    alone = embed(jnp.asarray(IMAGES), flat)
    assert alone.probabilities is None
    np.testing.assert_array_equal(alone.features, flat(IMAGES))


def test_embed_traces_a_jitted_evaluator_once():
    shapes = []

    @jax.jit
    def evaluator(images):
        shapes.append((images.shape, images.dtype))
        return flat(images)

    embed(IMAGES, evaluator, batch_size=10)
    embed(IMAGES[:3].astype(np.float64), evaluator, batch_size=10)
    assert shapes == [((10, 4, 3, 1), np.float32)]


def test_embed_shows_bytes_as_numbers_to_1():
    bytes_ = RNG.integers(256, size=(7, 4, 3, 1), dtype=np.uint8)
    bytes_[0, 0, 0], bytes_[0, 0, 1] = 0, 255
    features = embed(bytes_, flat).features
    assert (features.min(), features.max()) == (0, 1)
    np.testing.assert_allclose(features, bytes_.reshape(7, -1) / 255.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("images", "evaluator", "batch_size", "message"),
    [
        (IMAGES[..., 0], flat, 5, r"images must have the shape .*, not \(23, 4, 3\)"),
        (IMAGES[:0], flat, 5, r"n at least 1, not \(0, 4, 3, 1\)"),
        (IMAGES, flat, 0, "batch_size must be 1 or more, not 0"),
        (IMAGES - 1, flat, 5, r"images must be in \[0, 1\] or uint8, not -"),
        (IMAGES * 255, flat, 5, r"images must be in \[0, 1\] or uint8"),
        (np.full_like(IMAGES, np.nan), flat, 5, r"images must be in \[0, 1\] or uint8, not nan"),
        (IMAGES, lambda x: jnp.mean(flat(x), axis=0), 5, "must give 5 rows for 5 images"),
        (IMAGES, lambda x: flat(x)[1:], 5, r"must give 5 rows .* shapes \[\(4, 12\)\]"),
        (IMAGES, lambda x: x, 5, "must give 5 rows for 5 images"),
        (IMAGES, lambda x: (flat(x), x[0, 0]), 5, "must give 5 rows for 5 images"),
    ],
)
def test_embed_refuses_what_it_cannot_show(images, evaluator, batch_size, message):
    with pytest.raises(ValueError, match=message):
        embed(images, evaluator, batch_size=batch_size)


def embedding(count, shift=0.0):
    probabilities = RNG.dirichlet(np.full(4, 0.2), size=count)
    return Embedding(RNG.normal(size=(count, 6)) + shift, probabilities)


SAMPLES, REFERENCE = embedding(60, 0.3), embedding(200)
NAMES = ["fid", "kid", "kid_standard_error", "precision", "recall", "density", "coverage"]


def test_scores_are_those_of_their_functions():
    samples, reference = embedding(80, 0.3), embedding(80)
    scores = score(samples, reference)
    assert {type(value) for value in scores.values()} == {float}
    assert list(scores) == [*NAMES, "inception_score", "modes", "mode_kl"]
    pair = reference.features, samples.features
    coverage = modes.mode_coverage(
        samples.probabilities, np.bincount(reference.probabilities.argmax(axis=1)) / 80
    )
    expected = [
        frechet.frechet_distance(*map(frechet.moments, pair)),
        *kernel.kernel_distance(*pair),
        *neighbours.neighbour_scores(*pair),
        inception.inception_score(samples.probabilities).value,
        *coverage[:2],
    ]
    np.testing.assert_allclose(list(scores.values()), expected, rtol=1e-10)


def test_fid_is_of_all_rows_and_the_others_of_equally_many():
    scores = score(SAMPLES, REFERENCE)
    expected = frechet.frechet_distance(
        *(frechet.moments(x.features) for x in (REFERENCE, SAMPLES))
    )
    np.testing.assert_allclose(scores["fid"], expected, rtol=1e-10)
    # Each of the samples is compared, and 60 of the reference: recall comes in sixtieths.
    for name in ("precision", "recall", "coverage"):
        assert scores[name] * 60 == pytest.approx(round(scores[name] * 60), abs=1e-9)
    few = score(SAMPLES, REFERENCE, num_compared=20)
    assert few["fid"] == scores["fid"]
    for name in ("precision", "recall", "coverage"):
        assert few[name] * 20 == pytest.approx(round(few[name] * 20), abs=1e-9)


def test_the_same_seed_gives_the_same_scores():
    first = score(SAMPLES, REFERENCE, seed=1)
    assert first == score(SAMPLES, REFERENCE, seed=1)
    other = score(SAMPLES, REFERENCE, seed=2)
    assert first["kid"] != other["kid"]
    assert first["fid"] == other["fid"]


def test_without_probabilities_there_are_no_scores_of_them():
    samples, reference = (Embedding(jnp.asarray(x.features)) for x in (SAMPLES, REFERENCE))
    assert list(score(samples, reference)) == NAMES


def test_samples_of_the_datas_distribution_and_one_constant_image():
    good = score(embedding(200), REFERENCE)
    constant = Embedding(np.ones((200, 6)), np.tile(np.eye(4)[1], (200, 1)))
    bad = score(constant, REFERENCE)
    assert all(np.isfinite(value) for value in bad.values())
    for name in ("fid", "kid", "mode_kl"):
        assert good[name] < bad[name]
    for name in ("recall", "coverage", "inception_score", "modes"):
        assert good[name] > bad[name]
    assert bad["modes"] == bad["inception_score"] == 1


@pytest.mark.parametrize(
    ("samples", "arguments", "message"),
    [
        (Embedding(SAMPLES.features), {}, "must have probabilities, or neither"),
        (embedding(5), {}, "samples must have the shape .* n at least 6"),
        (Embedding(SAMPLES.features[:, :2], SAMPLES.probabilities), {}, "samples 2, reference 6"),
        (Embedding(SAMPLES.features * np.nan, SAMPLES.probabilities), {}, "samples must be finite"),
        (
            Embedding(SAMPLES.features, SAMPLES.probabilities[:, :3]),
            {},
            r"probabilities of the shape \(n, 4\)",
        ),
        (
            Embedding(SAMPLES.features, SAMPLES.probabilities[1:]),
            {},
            "60 rows of features and 59 of",
        ),
        (SAMPLES, {"num_compared": 5}, "num_compared must be 6 or more, not 5"),
    ],
)
def test_score_refuses_what_it_cannot_compare(samples, arguments, message):
    with pytest.raises(ValueError, match=message):
        score(samples, REFERENCE, **arguments)
