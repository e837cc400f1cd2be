import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.equalised import (
    EqualisedConvolution,
    EqualisedDense,
    activated,
    modulated_convolution,
    resampling_convolution,
    with_unit_second_moment,
)

# What TPUs and GPUs run, and what CPUs do.
PLATFORMS = pytest.mark.parametrize("platform", ["cpu", "default"])


@pytest.fixture(autouse=True)
def on_platform(request, monkeypatch):
    """Takes the branch of another platform, if a test has one, on this CPU."""
    if "platform" in request.fixturenames:
        platform = request.getfixturevalue("platform")
        monkeypatch.setattr(
            jax.lax, "platform_dependent", lambda *inputs, **of: of[platform](*inputs)
        )


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


X, KERNEL = drawn(2, 4, 6, 3), drawn(3, 3, 3, 5, seed=1)
BINOMIAL = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def correlated(x, kernel, stride=1):
    """Of what is wholly inside, in float64."""
    windows = np.lib.stride_tricks.sliding_window_view(np.float64(x), kernel.shape[:2], (1, 2))
    return np.einsum("bhwcij,ijcf->bhwf", windows[:, ::stride, ::stride], np.float64(kernel))


def padded(x, *margins):
    return np.pad(x, ((0, 0), margins, margins, (0, 0)))


def filtered(x):
    channels = x.shape[-1]
    return correlated(x, BINOMIAL[..., None, None] * np.eye(channels))


def doubled(x, kernel):
    """Each pixel adds its kernel's multiple to the 3x3 pixels from twice its place on."""
    batch, height, width, _ = x.shape
    y = np.zeros((batch, 2 * height + 1, 2 * width + 1, kernel.shape[-1]))
    for i in range(height):
        for j in range(width):
            added = np.einsum("bc,ijcf->bijf", np.float64(x[:, i, j]), kernel)
            y[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += added
    return 4 * filtered(padded(y, 1, 1))


@PLATFORMS
def test_convolutions_that_keep_double_and_halve(platform):
    expected = {
        "": correlated(padded(X, 1, 1), KERNEL),
        "up": doubled(X, KERNEL),
        "down": correlated(filtered(padded(X, 2, 2)), KERNEL, stride=2),
    }
    for resampling, values in expected.items():
        convolve = jax.jit(resampling_convolution, static_argnums=(2, 3))
        y = convolve(X, KERNEL, resampling, jnp.float32)
        np.testing.assert_allclose(y, values, atol=1e-5 * np.abs(values).max())


@PLATFORMS
def test_gradients_of_halving_and_doubling(platform):
    for resampling in ("up", "down"):

        def convolve(x, kernel, resampling=resampling):
            return resampling_convolution(x, kernel, resampling, jnp.float32)

        # Of a bilinear function, the gradient is the adjoint: <y, A x> = <A* y, x>.
        y = jax.jit(convolve)(X, KERNEL)
        weights = drawn(*y.shape, seed=2)
        pull = jax.jit(lambda weights, f=convolve: jax.vjp(f, X, KERNEL)[1](weights))
        for own, gradient in zip((X, KERNEL), pull(weights), strict=True):
            np.testing.assert_allclose(np.vdot(own, gradient), np.vdot(y, weights), rtol=1e-4)


def test_a_modulated_convolution_has_a_kernel_for_each_example():
    styles = drawn(2, 3, seed=3)
    for is_demodulated in (True, False):
        y = modulated_convolution(
            jnp.asarray(X), jnp.asarray(KERNEL), styles, is_demodulated=is_demodulated
        )
        for i in range(len(X)):
            kernel = np.float64(KERNEL) * styles[i][:, None]
            if is_demodulated:
                kernel = kernel / np.sqrt((kernel**2).sum(axis=(0, 1, 2)) + 1e-8)
            expected = correlated(padded(X, 1, 1)[i : i + 1], kernel)
            np.testing.assert_allclose(y[i : i + 1], expected, atol=1e-5)


def test_activation_then_gain_then_clamp():
    x = jnp.array([-10.0, -1.0, 0.5, 10.0])
    np.testing.assert_allclose(activated(x), np.sqrt(2) * np.array([-2, -0.2, 0.5, 10]), rtol=1e-6)
    np.testing.assert_allclose(activated(x, gain=0.5, clamp=1), [-0.5, -0.1414, 0.3536, 0.5], 1e-3)
    np.testing.assert_allclose(activated(x, is_linear=True, clamp=2), [-2, -1, 0.5, 2])


def test_weights_are_scaled_when_they_are_used():
    x = drawn(4, 9)
    layer = EqualisedDense(5, multiplier=0.01, bias=2)
    params = layer.init(jax.random.key(0), x)["params"]
    assert 70 < np.std(params["kernel"]) < 130 and np.all(params["bias"] == 2)
    expected = x @ np.float64(params["kernel"]) * 0.01 / 3 + 0.02
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, atol=1e-5)
    layer = EqualisedConvolution(5, 3, is_linear=True)
    params = layer.init(jax.random.key(0), X)["params"]
    expected = correlated(padded(X, 1, 1), np.float64(params["kernel"])) / np.sqrt(27)
    np.testing.assert_allclose(layer.apply({"params": params}, X), expected, atol=1e-5)


def test_unit_second_moment():
    x = with_unit_second_moment(jnp.asarray(drawn(3, 8)))
    np.testing.assert_allclose(np.mean(np.square(x), axis=1), 1, rtol=1e-5)
