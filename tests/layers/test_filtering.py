import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.filtering import (
    BINOMIAL,
    downsampled,
    resample,
    resampling_matrix,
    upsampled,
)

X = np.random.default_rng(0).normal(size=(2, 5, 7, 3)).astype(np.float32)
TAPS = (0.1, 0.2, 0.3, 0.5)
WAYS = [
    {},
    {"padding": (2, 1)},
    {"up": 2, "padding": (2, 1), "gain": 4.0},
    {"up": 3, "down": 2, "padding": (1, 4), "gain": 1.7},
    {"down": 2, "padding": (-1, 2)},
    {"up": 2, "padding": (-3, -2), "is_flipped": True},
]


def by_definition(axis, *, up=1, down=1, padding=(0, 0), gain=1.0, is_flipped=False):
    """Zeros behind each number, padding, a true convolution, every `down`-th of it; in float64."""
    spread = np.zeros(len(axis) * up)
    spread[::up] = axis
    before, after = padding
    spread = np.pad(spread, (max(before, 0), max(after, 0)))
    spread = spread[max(-before, 0) : len(spread) - max(-after, 0)]
    taps = np.array(TAPS)[:: -1 if is_flipped else 1] * gain**0.5
    return np.convolve(spread, taps, mode="valid")[::down]


@pytest.mark.parametrize("way", WAYS)
def test_resampling_is_what_it_is_defined_as(way):
    twice = {
        name: (value, value) if name in ("up", "down", "padding") else value
        for name, value in way.items()
    }
    expected = np.apply_along_axis(by_definition, 1, np.float64(X), **way)
    expected = np.apply_along_axis(by_definition, 2, expected, **way)
    np.testing.assert_allclose(resample(jnp.asarray(X), TAPS, **twice), expected, atol=2e-6)


@pytest.mark.parametrize("way", WAYS)
def test_the_matrix_of_an_axis_is_the_same(way):
    axis = np.float64(X[0, 0, :, 0])
    matrix = resampling_matrix(len(axis), TAPS, **way)
    np.testing.assert_allclose(matrix @ axis, by_definition(axis, **way), atol=1e-12)


def test_a_constant_stays_one_but_at_the_edge():
    ones = jnp.ones((1, 4, 6, 1))
    for changed in (upsampled(ones), downsampled(ones)):
        np.testing.assert_allclose(changed[:, 1:-1, 1:-1], 1, atol=1e-6)
    assert upsampled(ones).shape == (1, 8, 12, 1) and downsampled(ones).shape == (1, 2, 3, 1)
    assert sum(BINOMIAL) == 1


def test_a_filter_that_is_larger_than_the_map():
    with pytest.raises(ValueError, match="a filter of 4 taps is larger than the padded axis of 3"):
        resample(jnp.ones((1, 3, 9, 1)), TAPS)
