import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.metrics import modes

DATA = [0.5, 0.25, 0.125, 0.125]


def test_a_case_by_hand():
    coverage = modes.mode_coverage([0, 0, 1, 3], DATA)
    assert coverage.num_classes_hit == 3
    np.testing.assert_array_equal(coverage.shares, [0.5, 0.25, 0, 0.25])
    # Only the last class differs: 1/4 log(1/4 / 1/8), and what is missed adds nothing.
    assert coverage.kl_divergence == pytest.approx(math.log(2) / 4, rel=1e-14)
    assert type(coverage.num_classes_hit) is int
    assert type(coverage.kl_divergence) is float


def test_probabilities_count_by_their_likeliest_class():
    rows = jnp.array([[0.4, 0.3, 0.2, 0.1], [0.6, 0.4, 0, 0], [0, 1, 0, 0], [0.3, 0, 0.3, 0.4]])
    given, expected = modes.mode_coverage(rows, DATA), modes.mode_coverage([0, 0, 1, 3], DATA)
    assert given[:2] == expected[:2]
    np.testing.assert_array_equal(given.shares, expected.shares)


def test_the_datas_own_shares():
    coverage = modes.mode_coverage(np.array([0, 0, 0, 0, 1, 1, 2, 3], np.uint8), DATA)
    assert coverage[:2] == (4, 0)


@pytest.mark.parametrize("label", range(4))
def test_one_mode(label):
    coverage = modes.mode_coverage(np.full(50, label), DATA)
    assert coverage.num_classes_hit == 1
    assert coverage.kl_divergence == pytest.approx(math.log(1 / DATA[label]), rel=1e-14)


def test_a_class_that_the_data_have_not_is_infinitely_far_and_not_hit():
    assert modes.mode_coverage([0, 1, 2], [0.5, 0.5, 0.0])[:2] == (2, math.inf)
    assert modes.mode_coverage([0, 1], [0.5, 0.5, 0.0])[:2] == (2, 0)


def test_class_shares():
    np.testing.assert_array_equal(modes.class_shares([2, 2, 0, 2], 4), [0.25, 0, 0.75, 0])
    np.testing.assert_array_equal(modes.class_shares(np.eye(3)[[1, 1, 2, 1]], 3), [0, 0.75, 0.25])


@pytest.mark.parametrize(
    ("predictions", "data", "message"),
    [
        ([0, 4], DATA, "labels must be between 0 and 3, not 0 to 4"),
        ([-1, 2], DATA, "labels must be between 0 and 3, not -1 to 2"),
        ([0.0, 1.0], DATA, "predictions must be integers of the shape"),
        (np.zeros(0, int), DATA, "n at least 1"),
        (np.eye(3), DATA, r"probabilities of the shape \(n, 4\), n at least 1, not float64 of"),
        ([[2.0, -1.0, 0.0, 0.0]], DATA, "row 0 has the least -1"),
        (np.full((2, 4), np.nan), DATA, "must be finite"),
        ([0, 1], [0.5, 0.6], "the sum 1.1"),
        ([0, 1], [[0.5, 0.5]], r"data_shares must have the shape \(classes,\), not \(1, 2\)"),
        ([0, 1], 0.5, r"data_shares must have the shape \(classes,\), not \(\)"),
    ],
)
def test_what_is_no_prediction_or_no_share_is_refused(predictions, data, message):
    with pytest.raises(ValueError, match=message):
        modes.mode_coverage(predictions, data)
