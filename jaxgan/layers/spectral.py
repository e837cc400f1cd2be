"""Layers whose weights are divided by their largest singular value: spectral normalisation.

Miyato et al. 2018 (arXiv 1802.05957), algorithm 1. A layer keeps an estimate u of the left singular
vector of its weights W [outputs, inputs]. Each call makes one step of the power iteration,

    v = n(W^T u), u' = n(W v), sigma = u'^T W v, n(a) = a / max(|a|, epsilon),

and uses W / sigma. Gradients go through the W of sigma, not through u' and v. A call in training
keeps u' as the new u. A call in evaluation makes the same step, and does not keep it.
"""

from typing import Any

import chex
import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp

from jaxgan.layers import products
from jaxgan.layers.convolutions import downsample, keep_size, upsample
from jaxgan.layers.training_call import call

# The collection of each layer's "u", float32 [outputs], and "sigma", float32 scalar: that of the
# last call in training, 1 before it. Nothing is computed of sigma; it shows how weights grow.
SPECTRAL = "spectral"
INITS = ("orthogonal", "normal", "xavier")
# Products of float32 numbers are rounded less than TPUs do by default: sigma would be too rough.
_PRECISION = jax.lax.Precision.HIGHEST


def initializer(name: str) -> nn.initializers.Initializer:
    """How weights are drawn at the start.

    Args:
        name: of `INITS`. "orthogonal" (Saxe et al. 2013, arXiv 1312.6120); "normal" is N(0, 0.02),
            "xavier" is uniform (Glorot and Bengio 2010).
    """
    return {
        "orthogonal": nn.initializers.orthogonal(),
        "normal": nn.initializers.normal(0.02),
        "xavier": nn.initializers.glorot_uniform(),
    }[name]


class SpectralDense(nn.Module):
    """A fully connected layer: float32 [batch, n] -> float32 [batch, width].

    Attributes:
        width: the number of units.
        has_bias: whether there is a bias. It starts uniform in +-1 / sqrt(n), as PyTorch's.
        init_kernel: a name of `INITS`.
        epsilon: the least norm of a vector of the power iteration.
        dtype: the type of the operands of the product, as in `products.dense`.
    """

    width: int
    has_bias: bool = True
    init_kernel: str = "orthogonal"
    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Multiplies vectors with the kernel. `train`: whether to keep the new u."""
        chex.assert_rank(x, 2)
        shape = (x.shape[1], self.width)
        kernel = self.param("kernel", initializer(self.init_kernel), shape, jnp.float32)
        x = products.product(self.dtype)(x, _divided(self, kernel, train))
        return x + _bias(self, x.shape[-1], shape[0]) if self.has_bias else x


class SpectralConvolution(nn.Module):
    """A convolution of 1x1 or 3x3 pixels with zero padding and a bias, which may resample.

    Attributes:
        width: the number of output channels.
        size: height and width of the kernel, 1 or 3.
        resampling: "" keeps height and width. "up" doubles the map before it is convolved, each
            pixel becoming a block of 2x2 pixels. "down" averages blocks of 2x2 pixels after it.
        has_bias, init_kernel, epsilon, dtype: as in `SpectralDense`.
    """

    width: int
    size: int = 3
    resampling: str = ""
    has_bias: bool = True
    init_kernel: str = "orthogonal"
    epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Convolves maps.

        Args:
            x: float32 [batch, height, width, channels].
            train: whether to keep the new u.

        Returns:
            float32 [batch, height, width, self.width], or of twice or half the height and width.
        """
        chex.assert_rank(x, 4)
        assert self.size in (1, 3)
        shape = (self.size, self.size, x.shape[-1], self.width)
        kernel = self.param("kernel", initializer(self.init_kernel), shape, jnp.float32)
        matrix = _divided(self, kernel.reshape(-1, self.width), train)
        x = _convolved(x, matrix.reshape(shape), self.resampling, self.dtype)
        fan_in = self.size**2 * shape[2]
        return x + _bias(self, self.width, fan_in) if self.has_bias else x


class SpectralEmbedding(nn.Module):
    """A table of vectors, divided by its largest singular value: the sum of some rows.

    The side of the power iteration's u is that of the rows.

    Attributes:
        width: the length of a vector.
        init_table: a name of `INITS`.
        epsilon: as in `SpectralDense`.
    """

    width: int
    init_table: str = "orthogonal"
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, weights: jax.Array, train: bool = False) -> jax.Array:
        """Weights of the rows, float32 [batch, rows] -> float32 [batch, width]."""
        chex.assert_rank(weights, 2)
        shape = (weights.shape[1], self.width)
        table = self.param("embedding", initializer(self.init_table), shape, jnp.float32)
        return jnp.matmul(weights, _divided(self, table.T, train).T, precision=_PRECISION)


class Embedding(nn.Module):
    """A table of vectors that is not normalised: the sum of some rows.

    Attributes:
        width: the length of a vector.
        init_table: a name of `INITS`.
    """

    width: int
    init_table: str = "orthogonal"

    @nn.compact
    def __call__(self, weights: jax.Array) -> jax.Array:
        """Weights of the rows, float32 [batch, rows] -> float32 [batch, width]."""
        chex.assert_rank(weights, 2)
        shape = (weights.shape[1], self.width)
        table = self.param("embedding", initializer(self.init_table), shape, jnp.float32)
        return jnp.matmul(weights, table, precision=_PRECISION)


def largest_norm(collections: Any) -> jax.Array | None:
    """The largest sigma of a network's layers, in its last call in training.

    Brock et al. 2018 (arXiv 1809.11096, section 4.1) watch these numbers: they grow slowly in a
    training that goes well, and leap when it collapses.

    Args:
        collections: the network's variables but for its params, or all of them.

    Returns:
        float32 scalar; None if no layer is spectrally normalised.
    """
    leaves = flax.traverse_util.flatten_dict(collections.get(SPECTRAL, {}))
    norms = [leaf for path, leaf in leaves.items() if path[-1] == "sigma"]
    return jnp.max(jnp.stack(norms)) if norms else None


def doubled(x: jax.Array) -> jax.Array:
    """Makes each pixel a block of 2x2 pixels: [batch, h, w, c] -> [batch, 2h, 2w, c]."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def averaged(x: jax.Array) -> jax.Array:
    """The mean of each block of 2x2 pixels: [batch, 2h, 2w, c] -> [batch, h, w, c]."""
    return jnp.mean(_blocks(x), axis=(2, 4))


def largest(x: jax.Array) -> jax.Array:
    """The largest number of each block of 2x2 pixels: [batch, h, w, c] -> [batch, h//2, w//2, c].

    The last row or column of an odd height or width is left out.
    """
    return jnp.max(_blocks(x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]), axis=(2, 4))


def _blocks(x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels)


def _divided(module: nn.Module, matrix: jax.Array, train: bool, /) -> jax.Array:
    """The weights [inputs, outputs] of a module, divided by sigma."""
    u = module.variable(
        SPECTRAL,
        "u",
        lambda: jax.random.normal(module.make_rng("params"), matrix.shape[1:], jnp.float32),
    )
    logged = module.variable(SPECTRAL, "sigma", lambda: jnp.ones((), jnp.float32))
    epsilon: float = module.epsilon  # type: ignore[attr-defined]

    def product(x: jax.Array, y: jax.Array) -> jax.Array:
        return jax.lax.dot(x, y, precision=_PRECISION)

    def unit(vector: jax.Array) -> jax.Array:
        return vector / jnp.maximum(jnp.sqrt(product(vector, vector)), epsilon)

    fixed = jax.lax.stop_gradient(matrix)
    v = unit(product(fixed, u.value))
    new = unit(product(v, fixed))
    sigma = product(product(v, matrix), new)
    if train and not module.is_initializing():
        u.value, logged.value = new, jax.lax.stop_gradient(sigma)
    return matrix / sigma


def _bias(module: nn.Module, width: int, fan_in: int) -> jax.Array:
    bound = fan_in**-0.5

    def init(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (width,), jnp.float32, -bound, bound)

    return module.param("bias", init)


def _convolved(x: jax.Array, kernel: jax.Array, resampling: str, dtype: Any) -> jax.Array:
    size, width = len(kernel), kernel.shape[-1]
    options: dict[str, Any] = {"use_bias": False, "parent": None}
    if resampling and size == 1:
        # A convolution of single pixels may as well come where there are fewer of them.
        if resampling == "down":
            return _convolved(averaged(x), kernel, "", dtype)
        return doubled(_convolved(x, kernel, "", dtype))
    if not resampling:
        layer = keep_size(width, size, dtype, **options)
    else:
        # Doubling and a convolution of 3x3 are one transposed convolution of 4x4, with less than
        # half of the products; and so are a convolution of 3x3 and averaging, of stride 2.
        kernel = jnp.pad(kernel, ((1, 1), (1, 1), (0, 0), (0, 0)))
        kernel = kernel[1:] + kernel[:-1]
        kernel = kernel[:, 1:] + kernel[:, :-1]
        if resampling == "up":
            layer = upsample(width, dtype, **options)
        else:
            layer, kernel = downsample(width, dtype, **options), kernel / 4
    return call(layer, {"params": {"kernel": kernel}}, x, axis_name=None)[0]
