import numpy as np
import pytest

from jaxgan.metrics.memorisation import memorisation

RNG = np.random.default_rng(0)
TRAINING = RNG.normal(size=(600, 20))
HELD_OUT = RNG.normal(size=(400, 20))
FRESH = RNG.normal(size=(400, 20))


def test_fields_equal_their_definitions():
    def all_distances(items):
        return np.sqrt(np.sum((items[:, None] - TRAINING) ** 2, axis=2))

    samples, held_out = np.concatenate([FRESH[:300], TRAINING[:9] + 0.1]), HELD_OUT[:101]
    result = memorisation(samples, held_out, TRAINING)
    ratios = []
    for found, items, median in (
        (result.samples, samples, result.median_distance),
        (result.held_out, held_out, result.held_out_median_distance),
    ):
        exact = all_distances(items)
        np.testing.assert_array_equal(found.indices, np.argsort(exact, axis=1)[:, :2])
        first, second = np.sort(exact, axis=1)[:, :2].T
        np.testing.assert_allclose(found.distances, np.stack([first, second], 1), rtol=1e-13)
        np.testing.assert_allclose(median, np.median(first), rtol=1e-13)
        ratios.append(first / second)
    # The first percentile of 101 is the second smallest.
    near = np.sort(ratios[1])[1]
    np.testing.assert_allclose(result.near_share, np.mean(ratios[0] <= near), rtol=1e-14)
    assert 9 / 309 <= result.near_share < 20 / 309
    assert type(result.near_share) is type(result.median_distance) is float


def test_fresh_samples_are_no_copies():
    result = memorisation(FRESH, HELD_OUT, TRAINING)
    assert result.near_share < 0.03
    assert result.copies is False
    np.testing.assert_allclose(result.median_distance, result.held_out_median_distance, rtol=0.03)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exact_copies(dtype):
    chosen = RNG.permutation(600)
    training = TRAINING.astype(dtype)
    result = memorisation(training[chosen], HELD_OUT, training)
    assert result.copies is True
    assert result.near_share == 1
    assert result.median_distance == 0
    np.testing.assert_array_equal(result.samples.indices[:, 0], chosen)
    np.testing.assert_array_equal(result.samples.distances[:, 0], 0)


def test_copies_with_noise_and_copies_among_other_samples():
    noisy = TRAINING[:300] + 0.3 * RNG.normal(size=(300, 20))
    result = memorisation(noisy, HELD_OUT, TRAINING)
    assert result.copies
    assert result.near_share > 0.8
    assert 0 < result.median_distance < result.held_out_median_distance
    some = np.concatenate([FRESH[:360], TRAINING[:40]])
    result = memorisation(some, HELD_OUT, TRAINING)
    assert result.copies
    assert 0.1 <= result.near_share < 0.13


def test_samples_of_the_densest_class_alone_are_no_copies():
    # A tenth of the data lies ten times as densely. Bare distances to it are a tenth of the others.
    def data(count):
        return RNG.normal(size=(count, 20)) * np.where(np.arange(count) % 10, 1, 0.1)[:, None]

    dense = 0.1 * RNG.normal(size=(400, 20))
    result = memorisation(dense, data(1000), data(3000))
    assert result.median_distance < 0.3 * result.held_out_median_distance
    assert not result.copies


def test_constant_images_are_no_copies_where_held_out_ones_are_the_same():
    constant = np.full((150, 20), 0.1)
    result = memorisation(constant, constant, constant)
    assert result.near_share == 1
    assert not result.copies
    np.testing.assert_array_equal(result.samples.distances, 0)
    result = memorisation(constant, HELD_OUT, TRAINING)
    assert result.near_share in (0, 1)
    assert np.isfinite(result.median_distance)


def test_copies_of_an_item_that_occurs_twice():
    twice = np.concatenate([TRAINING, TRAINING])
    assert memorisation(TRAINING, HELD_OUT, twice).copies
    assert not memorisation(FRESH, HELD_OUT, twice).copies
    # One in 400 is seen, and too few for the verdict.
    result = memorisation(np.concatenate([FRESH[1:], TRAINING[:1]]), HELD_OUT, twice)
    assert result.near_share == 1 / 400
    assert not result.copies


@pytest.mark.parametrize(
    ("samples", "held_out", "training", "message"),
    [
        (FRESH, HELD_OUT[:99], TRAINING, "at least 100 held-out and 2 .*, not 99 and 600"),
        (FRESH, HELD_OUT, TRAINING[:1], "at least 100 held-out and 2 .*, not 400 and 1"),
        (FRESH[:0], HELD_OUT, TRAINING, r"samples must have the shape .*, not \(0, 20\)"),
        (FRESH, HELD_OUT[:, :3], TRAINING, "samples 20, held_out 3, training 20"),
        (FRESH, HELD_OUT.reshape(-1, 2, 10), TRAINING, r"held_out must .*, not \(400, 2, 10\)"),
        (FRESH, HELD_OUT, np.full_like(TRAINING, np.nan), "training must be finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(samples, held_out, training, message):
    with pytest.raises(ValueError, match=message):
        memorisation(samples, held_out, training)
