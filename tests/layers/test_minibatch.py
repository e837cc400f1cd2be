import functools

import jax
import numpy as np
import pytest

from jaxgan.layers.minibatch import with_deviation

X = np.random.default_rng(0).normal(size=(8, 2, 3, 6)).astype(np.float32)


def by_definition(x, size, channels):
    """For each group and share of the channels the mean deviation; group j: j, j + N / G, ..."""
    groups, each = len(x) // size, x.shape[-1] // channels
    planes = np.empty((*x.shape[:3], channels))
    for j in range(groups):
        for c in range(channels):
            own = np.float64(x[j::groups, ..., c * each : (c + 1) * each])
            planes[j::groups, ..., c] = np.sqrt(own.var(axis=0) + 1e-8).mean()
    return np.concatenate([x, planes], axis=-1)


@pytest.mark.parametrize(("size", "channels"), [(4, 1), (2, 3), (8, 1), (1, 2)])
def test_groups_are_no_neighbours(size, channels):
    expected = by_definition(X, size, channels)
    np.testing.assert_allclose(with_deviation(X, size, channels), expected, atol=1e-6)


def test_a_group_is_at_most_the_batch():
    for size in (None, 32):
        np.testing.assert_allclose(with_deviation(X, size), by_definition(X, 8, 1), atol=1e-6)


def test_batches_that_follow_each_other_share_no_group():
    expected = np.concatenate([by_definition(half, 2, 1) for half in np.split(X, 2)])
    np.testing.assert_allclose(with_deviation(X, 2, parts=2), expected, atol=1e-6)


@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize("parts", [1, 2])
def test_groups_and_gradients_are_those_of_one_device(devices, parts):
    x = np.concatenate([X, 2 * X])[: 8 * parts]
    weights = np.random.default_rng(1).normal(size=(*x.shape[:3], 7)).astype(np.float32)

    def loss(x, weights, axis_name=None):
        y = with_deviation(x, 4, 1, axis_name, parts)
        return (weights * y**2).sum(), y

    def spread(array):
        """[parts * batch, ...] -> [devices, parts * batch / devices, ...]."""
        split = array.reshape(parts, devices, -1, *array.shape[1:]).swapaxes(0, 1)
        return split.reshape(devices, -1, *array.shape[1:])

    expected = jax.grad(loss, has_aux=True)(x, weights)
    gradient = jax.grad(functools.partial(loss, axis_name="devices"), has_aux=True)
    ours = jax.pmap(gradient, axis_name="devices")(spread(x), spread(weights))
    for own, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(own, spread(np.asarray(other)), atol=1e-5)


def test_a_batch_without_whole_groups():
    with pytest.raises(ValueError, match="a batch of 8 with 6 channels has no groups of 3"):
        with_deviation(X, 3)
    with pytest.raises(ValueError, match="with 4 deviations: both must divide"):
        with_deviation(X, 4, 4)
