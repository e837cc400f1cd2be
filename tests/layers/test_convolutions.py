import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import convolutions
from jaxgan.layers.convolutions import conv4x4_stride1, downsample, keep_size, upsample

BATCH, HEIGHT, WIDTH, CHANNELS, FEATURES = 3, 6, 8, 5, 7
# Of the layer; of flax's own one; of NumPy's sum; and what comes out.
STRIDE_2 = {"strides": 2, "padding": 1}, (2, 1, 1), (HEIGHT // 2, WIDTH // 2)
STRIDE_1 = {"padding": 1}, (1, 1, 1), (HEIGHT - 1, WIDTH - 1)
TRANSPOSE = {"input_dilation": 2, "padding": 2}, (1, 2, 2), (2 * HEIGHT, 2 * WIDTH)
LAYERS = pytest.mark.parametrize(
    ("layer", "options", "how", "size"),
    [(downsample, *STRIDE_2), (conv4x4_stride1, *STRIDE_1), (upsample, *TRANSPOSE)],
    ids=["downsample", "conv4x4_stride1", "upsample"],
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


X = drawn(BATCH, HEIGHT, WIDTH, CHANNELS)
PARAMS = {"params": {"kernel": drawn(4, 4, CHANNELS, FEATURES, seed=1), "bias": drawn(FEATURES)}}


def correlated(x, kernel, stride, margin, dilation):
    """The sum that a convolution is, in float64: zeros between pixels, then round them."""
    batch, height, width, channels = x.shape
    spread = np.zeros((batch, dilation * (height - 1) + 1, dilation * (width - 1) + 1, channels))
    spread[:, ::dilation, ::dilation] = x
    spread = np.pad(spread, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(spread, kernel.shape[:2], axis=(1, 2))
    return np.einsum("bhwcij,ijcf->bhwf", windows[:, ::stride, ::stride], np.float64(kernel))


def in_numpy(x, how):
    return correlated(x, PARAMS["params"]["kernel"], *how) + np.float64(PARAMS["params"]["bias"])


def assert_close(given, expected, share=2e-6):
    bound = share * np.abs(expected).max()
    np.testing.assert_allclose(given, expected, rtol=0, atol=bound)


@LAYERS
@PLATFORMS
def test_forward_pass(layer, options, how, size, platform):
    given = layer(FEATURES).apply(PARAMS, X)
    assert given.dtype == jnp.float32 and given.shape == (BATCH, *size, FEATURES)
    assert_close(given, in_numpy(X, how))


@LAYERS
@PLATFORMS
def test_operands_of_bfloat16(layer, options, how, size, platform):
    given = layer(FEATURES, jnp.bfloat16).apply(PARAMS, X)
    assert given.dtype == jnp.float32
    expected = in_numpy(X, how)
    # 8 significant bits each, as a library's sum may have too; and not those of float32.
    assert_close(given, expected, share=2**-7)
    assert np.abs(given - expected).max() > 1e-4 * np.abs(expected).max()
    if platform == "cpu":
        rounded = [
            np.float64(jnp.asarray(a, jnp.bfloat16)) for a in (X, PARAMS["params"]["kernel"])
        ]
        of_rounded = correlated(*rounded, *how) + PARAMS["params"]["bias"]
        assert_close(given, of_rounded)


@LAYERS
def test_gradients_are_those_of_flaxs_own_layer(layer, options, how, size):
    own = nn.Conv(FEATURES, (4, 4), **options)
    slopes = drawn(BATCH, *size, FEATURES, seed=2)

    def gradients(module):
        def value(params, x):
            return jnp.sum(slopes * jnp.tanh(module.apply(params, x) / 8))

        return jax.jit(jax.grad(value, argnums=(0, 1)))(PARAMS, X)

    given, expected = gradients(layer(FEATURES)), gradients(own)
    jax.tree.map(lambda a, b: assert_close(a, b, 1e-5), given, expected)


@LAYERS
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_gradients_of_a_gradients_norm_are_those_of_flaxs_own_layer(
    layer, options, how, size, dtype
):
    # As R1 takes them: of the weights, of the squared norm of the gradient of the pixels.
    own = nn.Conv(FEATURES, (4, 4), **options)

    def gradient(module):
        def penalty(params):
            slopes = jax.grad(lambda x: jnp.sum(jnp.tanh(module.apply(params, x) / 8)))(X)
            return jnp.sum(jnp.square(slopes))

        return jax.jit(jax.grad(penalty))(PARAMS)["params"]

    given, expected = gradient(layer(FEATURES, dtype)), gradient(own)
    share = 1e-5 if dtype == jnp.float32 else 2**-4
    jax.tree.map(lambda a, b: assert_close(a, b, share), given, expected)


def test_forward_mode_of_float32():
    along = drawn(*X.shape, seed=3)
    for layer, how in ((downsample, (2, 1, 1)), (upsample, (1, 2, 2))):
        _, tangent = jax.jvp(
            lambda x, layer=layer: layer(FEATURES).apply(PARAMS, x), (X,), (along,)
        )
        assert_close(tangent, correlated(along, PARAMS["params"]["kernel"], *how))


@LAYERS
def test_a_batch_of_none(layer, options, how, size):
    given = layer(FEATURES).apply(PARAMS, X[:0])
    assert given.shape == (0, *size, FEATURES)


@LAYERS
def test_parameters(layer, options, how, size):
    params = layer(64, use_bias=False, name="it").init(jax.random.key(0), X)["params"]
    assert params.keys() == {"kernel"}
    kernel = np.asarray(params["kernel"])
    assert kernel.shape == (4, 4, CHANNELS, 64) and kernel.dtype == np.float32
    # N(0, 0.02), within 5 standard errors of 5120 numbers.
    np.testing.assert_allclose(kernel.std(), 0.02, rtol=5 / np.sqrt(2 * kernel.size))
    with_bias = layer(64).init(jax.random.key(0), X)["params"]
    np.testing.assert_array_equal(with_bias["bias"], np.zeros(64))


# Kernels of odd sizes: with few channels in, and with many, which CPUs compute in two ways.
ODD = pytest.mark.parametrize(
    ("size", "channels"), [(1, 5), (3, 1), (3, 5), (3, 9), (5, 2), (7, 5)]
)


def odd_params(size, channels, features=3):
    kernel = drawn(size, size, channels, features, seed=1)
    return {"params": {"kernel": kernel, "bias": drawn(features)}}


@ODD
@PLATFORMS
def test_odd_kernels_keep_the_size(size, channels, platform):
    x, params = drawn(2, 6, 8, channels), odd_params(size, channels)
    given = keep_size(3, size).apply(params, x)
    its = params["params"]
    expected = correlated(x, its["kernel"], 1, size // 2, 1) + np.float64(its["bias"])
    assert given.dtype == jnp.float32 and given.shape == (2, 6, 8, 3)
    assert_close(given, expected)


@ODD
def test_gradients_of_odd_kernels_are_those_of_flaxs_own_layer(size, channels):
    x, params = drawn(2, 6, 8, channels), odd_params(size, channels)
    slopes = drawn(2, 6, 8, 3, seed=2)

    def gradients(module):
        def value(params, x):
            return jnp.sum(slopes * jnp.tanh(module.apply(params, x) / 8))

        return jax.jit(jax.grad(value, argnums=(0, 1)))(params, x)

    given = gradients(keep_size(3, size))
    expected = gradients(nn.Conv(3, (size, size), padding=size // 2))
    jax.tree.map(lambda a, b: assert_close(a, b, 1e-5), given, expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, kernel: convolutions.convolution(x, kernel, 2, jnp.float32),
        lambda x, kernel: convolutions.transposed_convolution(x, kernel, jnp.float32),
        lambda x, kernel: convolutions.size_keeping_convolution(x, kernel[:3, :3], jnp.float32),
    ],
)
def test_a_kernel_of_other_channels_is_refused(function):
    with pytest.raises(AssertionError):
        function(X, drawn(4, 4, CHANNELS + 1, FEATURES))
