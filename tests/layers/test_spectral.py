"""Spectral normalisation beside NumPy in float64, and convolutions that resample."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.spectral import (
    INITS,
    SPECTRAL,
    Embedding,
    SpectralConvolution,
    SpectralDense,
    SpectralEmbedding,
    averaged,
    doubled,
    initializer,
    largest,
    largest_norm,
)

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3, 5)).astype(np.float32)
MAPS = RANDOM.normal(size=(2, 4, 6, 3)).astype(np.float32)


def variables_of(weights, name="kernel", u=None, **params):
    """A layer's variables: its weights, and a u."""
    outputs = weights.shape[0 if name == "embedding" else -1]
    u = RANDOM.normal(size=outputs).astype(np.float32) if u is None else u
    return {
        "params": {name: weights, **params},
        SPECTRAL: {"u": u, "sigma": np.float32(1)},
    }


def iterated(w, u, epsilon=1e-6):
    """W [outputs, inputs], u -> (u', sigma), by the algorithm's own words."""

    def unit(vector):
        return vector / max(np.sqrt((vector**2).sum()), epsilon)

    w, u = np.float64(w), np.float64(u)
    v = unit(u @ w)
    new = unit(v @ w.T)
    return new, v @ w.T @ new


def test_weights_are_divided_after_one_step_and_the_step_is_kept_in_training_only():
    kernel = RANDOM.normal(size=(5, 4)).astype(np.float32)
    layer = SpectralDense(4, has_bias=False)
    variables = variables_of(kernel)
    new, sigma = iterated(kernel.T, variables[SPECTRAL]["u"])
    y, moved = layer.apply(variables, X, True, mutable=[SPECTRAL])
    np.testing.assert_allclose(y, X @ np.float64(kernel) / sigma, rtol=1e-5)
    np.testing.assert_allclose(moved[SPECTRAL]["u"], new, rtol=1e-5)
    np.testing.assert_allclose(moved[SPECTRAL]["sigma"], sigma, rtol=1e-5)
    again, kept = layer.apply(variables, X, False, mutable=[SPECTRAL])
    np.testing.assert_array_equal(again, y)
    jax.tree.map(np.testing.assert_array_equal, kept[SPECTRAL], variables[SPECTRAL])


def test_sigma_becomes_the_largest_singular_value():
    kernel = RANDOM.normal(size=(5, 4)).astype(np.float32)
    variables = variables_of(kernel)
    layer = SpectralDense(4, has_bias=False)
    for _ in range(200):
        _, moved = layer.apply(variables, X, True, mutable=[SPECTRAL])
        variables = {**variables, **moved}
    expected = np.linalg.svd(np.float64(kernel), compute_uv=False)[0]
    np.testing.assert_allclose(variables[SPECTRAL]["sigma"], expected, rtol=1e-5)


def test_gradients_go_through_the_weights_of_sigma_but_not_through_its_vectors():
    kernel = RANDOM.normal(size=(5, 4)).astype(np.float32)
    variables, slope = variables_of(kernel), RANDOM.normal(size=(3, 4))
    layer = SpectralDense(4, has_bias=False)

    def value(kernel):
        held = {**variables, "params": {"kernel": kernel}}
        return jnp.sum(layer.apply(held, X) * slope.astype(np.float32))

    w = np.float64(kernel)
    u, sigma = iterated(w.T, variables[SPECTRAL]["u"])
    v = w @ u / np.linalg.norm(w @ u)
    v = np.float64(w @ np.float64(variables[SPECTRAL]["u"]))
    v /= np.linalg.norm(v)
    of_w = np.float64(X).T @ slope
    expected = of_w / sigma - (of_w * w).sum() / sigma**2 * np.outer(v, u)
    np.testing.assert_allclose(jax.grad(value)(kernel), expected, rtol=1e-4, atol=1e-5)


def test_the_u_of_an_embedding_is_on_the_side_of_its_rows():
    table = RANDOM.normal(size=(4, 7)).astype(np.float32)
    variables = variables_of(table, "embedding")
    weights = np.array([[0, 1, 0, 0], [1, 0, 0, 1]], np.float32)
    layer = SpectralEmbedding(7)
    y, moved = layer.apply(variables, weights, True, mutable=[SPECTRAL])
    new, sigma = iterated(table, variables[SPECTRAL]["u"])
    np.testing.assert_allclose(y, np.stack([table[1], table[0] + table[3]]) / sigma, rtol=1e-5)
    np.testing.assert_allclose(moved[SPECTRAL]["u"], new, rtol=1e-5)
    plain = Embedding(7).apply({"params": {"embedding": table}}, weights)
    np.testing.assert_allclose(plain, np.stack([table[1], table[0] + table[3]]), rtol=1e-6)


def test_epsilon_guards_against_vectors_of_zeros():
    variables = variables_of(np.zeros((5, 4), np.float32))
    layer = SpectralDense(4, has_bias=False, epsilon=0.5)
    _, moved = layer.apply(variables, X, True, mutable=[SPECTRAL])
    np.testing.assert_array_equal(moved[SPECTRAL]["u"], 0)
    small = np.full((2, 1), 0.1, np.float32)
    variables = variables_of(small, u=np.ones(1, np.float32))
    layer = SpectralDense(1, has_bias=False, epsilon=0.5)
    _, moved = layer.apply(variables, X[:, :2], True, mutable=[SPECTRAL])
    new, sigma = iterated(small.T, np.ones(1), 0.5)
    np.testing.assert_allclose(moved[SPECTRAL]["u"], new, rtol=1e-6)
    np.testing.assert_allclose(moved[SPECTRAL]["sigma"], sigma, rtol=1e-6)


def convolved(x, kernel):
    """A convolution with zero padding, written out in float64."""
    size = len(kernel)
    margin = size // 2
    padded = np.pad(np.float64(x), ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    height, width = x.shape[1:3]
    return sum(
        padded[:, i : i + height, j : j + width] @ np.float64(kernel[i, j])
        for i in range(size)
        for j in range(size)
    )


def blocks_of(x):
    batch, height, width, channels = x.shape
    return np.asarray(x).reshape(batch, height // 2, 2, width // 2, 2, channels)


@pytest.mark.parametrize("resampling", ["", "up", "down"])
@pytest.mark.parametrize("size", [1, 3])
def test_convolutions_double_before_and_average_after(size, resampling):
    kernel = RANDOM.normal(size=(size, size, 3, 2)).astype(np.float32)
    bias = np.array([0.3, -2.0], np.float32)
    variables = variables_of(kernel, bias=bias)
    layer = SpectralConvolution(2, size, resampling)
    y, moved = layer.apply(variables, MAPS, True, mutable=[SPECTRAL])
    new, sigma = iterated(kernel.reshape(-1, 2).T, variables[SPECTRAL]["u"])
    x = MAPS.repeat(2, axis=1).repeat(2, axis=2) if resampling == "up" else MAPS
    expected = convolved(x, kernel / sigma) + bias
    if resampling == "down":
        expected = blocks_of(expected).mean(axis=(2, 4))
    np.testing.assert_allclose(y, expected, atol=2e-5)
    np.testing.assert_allclose(moved[SPECTRAL]["u"], new, atol=1e-5)


def test_maps_of_other_sizes():
    np.testing.assert_array_equal(doubled(MAPS), MAPS.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_allclose(averaged(MAPS), blocks_of(MAPS).mean(axis=(2, 4)), atol=1e-6)
    np.testing.assert_array_equal(largest(MAPS), blocks_of(MAPS).max(axis=(2, 4)))
    odd = np.concatenate([MAPS, MAPS[:, :1]], axis=1)
    np.testing.assert_array_equal(largest(odd), largest(MAPS))


@pytest.mark.parametrize("name", INITS)
def test_weights_at_the_start(name):
    kernel = np.float64(initializer(name)(jax.random.key(0), (3, 3, 16, 24), jnp.float32))
    matrix = kernel.reshape(-1, 24)
    if name == "orthogonal":
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(24), atol=1e-5)
    elif name == "normal":
        assert abs(kernel.std() - 0.02) < 0.001 and np.abs(kernel).max() > 0.05
    else:
        bound = np.sqrt(6 / (9 * 16 + 9 * 24))
        assert 0.99 * bound < np.abs(kernel).max() <= bound
        assert abs(kernel.std() - bound / np.sqrt(3)) < 0.01 * bound


def test_biases_and_vectors_at_the_start():
    variables = SpectralConvolution(400, 3).init(jax.random.key(0), MAPS)
    bound = 27**-0.5
    bias = variables["params"]["bias"]
    assert 0.98 * bound < bias.max() <= bound and -bound <= bias.min() < -0.98 * bound
    u = variables[SPECTRAL]["u"]
    assert abs(u.mean()) < 0.2 and 0.85 < u.std() < 1.15 and variables[SPECTRAL]["sigma"] == 1


def test_the_largest_norm_of_a_network():
    its = {"a": {"u": np.float32([9, 9]), "sigma": np.float32(2)}, "b": {"sigma": np.float32(3)}}
    assert largest_norm({SPECTRAL: its, "batch_stats": {"sigma": np.float32(5)}}) == 3
    assert largest_norm({"batch_stats": {}}) is None
