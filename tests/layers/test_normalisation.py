"""Batch normalisation with either running variance, against NumPy and Flax."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxgan.layers.normalisation import BatchNorm

X = np.random.default_rng(0).normal(2, 3, (4, 2, 3, 5)).astype(np.float32)
MOMENTUM = 0.9


def normalise(layer, x=X, **options):
    module = layer(use_running_average=False, momentum=MOMENTUM, **options)
    variables = module.init(jax.random.key(0), X)
    return module.apply(variables, x, mutable=["batch_stats"])


@pytest.mark.parametrize(("is_unbiased", "ddof"), [(False, 0), (True, 1)])
def test_the_running_variance(is_unbiased, ddof):
    y, moved = normalise(BatchNorm, is_unbiased=is_unbiased)
    its = np.float64(X)
    expected = MOMENTUM + (1 - MOMENTUM) * its.var(axis=(0, 1, 2), ddof=ddof)
    np.testing.assert_allclose(moved["batch_stats"]["var"], expected, rtol=1e-5)
    mean = (1 - MOMENTUM) * its.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(moved["batch_stats"]["mean"], mean, rtol=1e-5)
    deviation = np.sqrt(its.var(axis=(0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y, (its - its.mean(axis=(0, 1, 2))) / deviation, atol=1e-5)


def test_by_default_it_is_flaxs():
    given, expected = normalise(BatchNorm), normalise(nn.BatchNorm)
    jax.tree.map(np.testing.assert_array_equal, given, expected)


def test_the_count_is_that_of_all_devices():
    whole = normalise(BatchNorm, is_unbiased=True)[1]["batch_stats"]["var"]

    def on_one(x):
        return normalise(BatchNorm, x, is_unbiased=True, axis_name="devices")[1]

    parts = jax.vmap(on_one, axis_name="devices")(X.reshape(2, 2, *X.shape[1:]))
    for part in parts["batch_stats"]["var"]:
        np.testing.assert_allclose(part, whole, rtol=1e-5)


def test_running_statistics_are_left_alone_where_they_are_used():
    module = BatchNorm(use_running_average=True, momentum=MOMENTUM, is_unbiased=True)
    variables = module.init(jax.random.key(0), X)
    y, moved = module.apply(variables, X, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, moved["batch_stats"], variables["batch_stats"])
    np.testing.assert_allclose(y, X / np.sqrt(1 + 1e-5), rtol=1e-5)
