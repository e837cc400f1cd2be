import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.metrics import inception

PROBABILITIES = np.random.default_rng(0).dirichlet(np.full(5, 0.3), size=23)


def by_definition(rows):
    marginal = [sum(row[c] for row in rows) / len(rows) for c in range(len(rows[0]))]
    divergences = [
        sum(p * math.log(p / q) for p, q in zip(row, marginal, strict=True) if p > 0)
        for row in rows
    ]
    return math.exp(sum(divergences) / len(rows))


def test_score_equals_its_definition():
    value, standard_deviation = inception.inception_score(PROBABILITIES, 1)
    assert type(value) is type(standard_deviation) is float
    np.testing.assert_allclose(value, by_definition(PROBABILITIES), rtol=1e-12)
    assert standard_deviation == 0


def test_splits_follow_each_other():
    scores = [
        by_definition(PROBABILITIES[part]) for part in (slice(8), slice(8, 16), slice(16, 23))
    ]
    value, standard_deviation = inception.inception_score(PROBABILITIES, 3)
    np.testing.assert_allclose(value, np.mean(scores), rtol=1e-12)
    np.testing.assert_allclose(standard_deviation, np.std(scores), rtol=1e-10)


def test_there_are_ten_splits_by_default():
    rows = np.repeat(np.eye(2), 10, axis=0)
    # Samples of one class and then of the other: no split has both.
    assert inception.inception_score(rows) == (1, 0)
    assert inception.inception_score(rows, 1).value == pytest.approx(2, rel=1e-14)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (np.tile(np.eye(7), (10, 1)), 7),
        (np.tile(np.eye(7)[2], (70, 1)), 1),
        (np.full((70, 7), 1 / 7), 1),
        (np.tile(np.eye(7)[:3], (10, 1)), 3),
    ],
    ids=["all classes", "one mode", "undecided", "three modes"],
)
def test_scores_that_are_known(rows, expected):
    assert inception.inception_score(rows, 2).value == pytest.approx(expected, rel=0.02)
    assert inception.inception_score(rows, 1).value == pytest.approx(expected, rel=1e-14)


def test_float32_rows_are_made_to_sum_to_1():
    rows = inception.as_probabilities(jnp.asarray(PROBABILITIES * 1.0005, jnp.float32))
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-15)
    np.testing.assert_allclose(rows, PROBABILITIES, rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0.5, 0.5], [2.0, -1.0]], "row 1 has the least -1 and the sum 1"),
        ([[0.5, 0.5], [0.5, 0.502]], "row 1 has the least 0.5 and the sum 1.002"),
        ([[0.0, 0.0]], "row 0 has the least 0 and the sum 0"),
        ([[0.5, np.nan]], "must be finite"),
        ([0.5, 0.5], r"not \(2,\)"),
        (np.zeros((0, 2)), r"not \(0, 2\)"),
    ],
)
def test_rows_that_are_no_probabilities_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        inception.inception_score(rows, 1)


@pytest.mark.parametrize("num_splits", [0, 24])
def test_splits_out_of_range_are_refused(num_splits):
    message = f"num_splits must be between 1 and the 23 samples, not {num_splits}"
    with pytest.raises(ValueError, match=message):
        inception.inception_score(PROBABILITIES, num_splits)
