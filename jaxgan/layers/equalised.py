"""Layers whose weights are scaled when they are used: equalised learning rates.

Karras et al. 2017 (arXiv 1710.10196), section 4.1: weights begin as N(0, 1), and each use divides
them by the root of the number of inputs. So Adam changes all weights at the same relative speed.
"""

import math
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions import keep_size
from jaxgan.layers.filtering import BINOMIAL, resample, upsampled
from jaxgan.layers.products import product
from jaxgan.layers.training_call import call

LEAKY_RELU_SLOPE = 0.2
EPSILON = 1e-8
SIZES = (1, 3)


def activated(
    x: jax.Array, *, is_linear: bool = False, gain: float = 1.0, clamp: float | None = None
) -> jax.Array:
    """LeakyReLU(0.2) times the root of 2, or nothing; then a gain; then a clamp.

    Args:
        x: float32 [...], with its bias.
        is_linear: whether to leave out the LeakyReLU and its root of 2.
        gain: a factor of the result, and of the clamp.
        clamp: the result is cut to [-clamp * gain, clamp * gain]; None for no cut.

    Returns:
        The same shape.
    """
    if not is_linear:
        x = nn.leaky_relu(x, LEAKY_RELU_SLOPE)
    factor = gain if is_linear else math.sqrt(2) * gain
    if factor != 1:
        x = factor * x
    return x if clamp is None else jnp.clip(x, -clamp * gain, clamp * gain)


def with_unit_second_moment(x: jax.Array) -> jax.Array:
    """Divides each vector by its root mean square: float32 [batch, n] -> the same shape.

    Karras et al. 2017, section 4.2.
    """
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + EPSILON)


class EqualisedDense(nn.Module):
    """A fully connected layer with an equalised learning rate, without its activation.

    The kernel begins as N(0, 1) / multiplier, and is used times multiplier / sqrt(inputs).

    Attributes:
        width: the number of units.
        multiplier: of the learning rate of kernel and bias.
        bias: the bias at the start; it is used times the multiplier.
        dtype: the type of the operands of the product, as in `products.dense`.
    """

    width: int
    multiplier: float = 1.0
    bias: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """float32 [batch, n] -> float32 [batch, width]."""
        chex.assert_rank(x, 2)
        inputs, multiplier = x.shape[-1], self.multiplier
        initializer = nn.initializers.normal(1 / multiplier)
        kernel = self.param("kernel", initializer, (inputs, self.width), jnp.float32)
        offset = self.param("bias", nn.initializers.constant(self.bias), (self.width,), jnp.float32)
        return product(self.dtype)(x, kernel * (multiplier / math.sqrt(inputs))) + (
            offset * multiplier if multiplier != 1 else offset
        )


class EqualisedConvolution(nn.Module):
    """A convolution with an equalised learning rate, a bias and an activation.

    Attributes:
        width: the number of output channels.
        size: height and width of the kernel, 1 or 3.
        resampling: "" keeps height and width; "up" doubles and "down" halves them.
        has_bias: whether there is a bias.
        is_linear: whether there is no LeakyReLU.
        clamp: as in `activated`.
        dtype: the type of the operands of the products, as in `products.dense`.
    """

    width: int
    size: int
    resampling: str = ""
    has_bias: bool = True
    is_linear: bool = False
    clamp: float | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, gain: float = 1.0) -> jax.Array:
        """Convolves maps.

        Args:
            x: float32 [batch, height, width, c].
            gain: as in `activated`.

        Returns:
            float32 [batch, height, width, self.width], or of twice or half the height and width.
        """
        shape = (self.size, self.size, x.shape[-1], self.width)
        kernel = self.param("kernel", nn.initializers.normal(1), shape, jnp.float32)
        scale = 1 / math.sqrt(math.prod(shape[:3]))
        x = resampling_convolution(x, kernel * scale, self.resampling, self.dtype)
        if self.has_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        return activated(x, is_linear=self.is_linear, gain=gain, clamp=self.clamp)


def modulated_convolution(
    x: jax.Array,
    kernel: jax.Array,
    styles: jax.Array,
    *,
    resampling: str = "",
    is_demodulated: bool = True,
    dtype: Any = jnp.float32,
) -> jax.Array:
    """A convolution in which each example scales the kernel's input channels in its own way.

    Karras et al. 2020 (arXiv 1912.04958), section 2.2. Scaling the kernel's inputs is scaling the
    map's channels, and demodulation is a scale of the result's channels. So all examples share one
    kernel, and one large product.

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [size, size, c, channels], size 1 or 3.
        styles: float32 [batch, c], the scales.
        resampling: "", "up" or "down", as in `resampling_convolution`.
        is_demodulated: whether each example's scaled kernel is divided, for each output channel, by
            its L2 norm.
        dtype: the type of the operands of the products, as in `products.dense`.

    Returns:
        float32 [batch, height, width, channels], or of twice or half the height and width.
    """
    chex.assert_shape(styles, (x.shape[0], x.shape[-1]))
    y = resampling_convolution(x * styles[:, None, None], kernel, resampling, dtype)
    if not is_demodulated:
        return y
    squares = product(jnp.float32)(jnp.square(styles), jnp.sum(jnp.square(kernel), axis=(0, 1)))
    return y * jax.lax.rsqrt(squares + EPSILON)[:, None, None]


def resampling_convolution(
    x: jax.Array, kernel: jax.Array, resampling: str, dtype: Any
) -> jax.Array:
    """A convolution that keeps, doubles or halves height and width, with the binomial filter.

    Padding is with zeros, and once: nothing is cut between the convolution and the filter. "up" of
    3x3 is a transposed convolution, y[2 i + k] += x[i] kernel[k], which is then filtered; of 1x1 it
    is the convolution, then `upsampled`. "down" filters first, then convolves with stride 2. Karras
    et al. 2020 (arXiv 1912.04958), appendix B.

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [size, size, c, channels], size 1 or 3.
        resampling: "", "up" or "down".
        dtype: the type of the operands of the products, as in `products.dense`.

    Returns:
        float32 [batch, height, width, channels]; [batch, 2 * height, 2 * width, channels] for "up";
        [batch, height / 2, width / 2, channels] for "down".

    Raises:
        AssertionError: the kernel has another shape (from chex).
    """
    size = len(kernel)
    chex.assert_shape(kernel, (size, size, x.shape[-1], None))
    assert size in SIZES
    if resampling == "up":
        if size == 1:
            return upsampled(_convolved(x, kernel, dtype))
        # The last row and column are zeros, so one less is wanted behind them.
        return resample(
            spread_convolution(x, kernel, dtype), BINOMIAL, padding=((1, 0), (1, 0)), gain=4
        )
    if resampling == "down":
        if size == 1:
            x = resample(x, BINOMIAL, down=(2, 2), padding=((1, 1), (1, 1)))
            return _convolved(x, kernel, dtype)
        x = resample(x, BINOMIAL, padding=((2, 2), (2, 2)))
        return strided_convolution(x, kernel, dtype)
    return _convolved(x, kernel, dtype)


def spread_convolution(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    """A transposed 3x3 convolution of stride 2 without padding: y[2 i + k] += x[i] kernel[k].

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [3, 3, c, channels].
        dtype: as in `resampling_convolution`.

    Returns:
        float32 [batch, 2 * height + 2, 2 * width + 2, channels]. The last row and column are zeros.
    """

    def as_library(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = jax.lax.conv_general_dilated(
            x.astype(dtype),
            kernel[::-1, ::-1].astype(dtype),
            (1, 1),
            ((2, 3), (2, 3)),
            lhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y.astype(jnp.float32)

    # On CPUs XLA's own convolutions are slow in compiled loops, as `convolutions` says.
    return jax.lax.platform_dependent(
        x, kernel, cpu=lambda x, kernel: _spread_by_product(x, kernel, dtype), default=as_library
    )


def strided_convolution(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    """A 3x3 convolution of stride 2 without padding.

    Args:
        x: float32 [batch, 2 * height + 1, 2 * width + 1, c].
        kernel: float32 [3, 3, c, channels].
        dtype: as in `resampling_convolution`.

    Returns:
        float32 [batch, height, width, channels].
    """

    def as_library(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = jax.lax.conv_general_dilated(
            x.astype(dtype),
            kernel.astype(dtype),
            (2, 2),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return y.astype(jnp.float32)

    return jax.lax.platform_dependent(
        x, kernel, cpu=lambda x, kernel: _strided_by_products(x, kernel, dtype), default=as_library
    )


def _strided_by_products(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    batch, height, width, channels = x.shape
    height, width, features = height // 2, width // 2, kernel.shape[-1]
    # Pairs of rows and of columns. Slices of every second pixel would take long to compile.
    pairs = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    pairs = pairs.reshape(batch, height + 1, 2, width + 1, 2, channels)
    columns = [pairs[..., :width, 0, :], pairs[..., :width, 1, :], pairs[..., 1:, 0, :]]
    rows = jnp.concatenate(columns, axis=-1)

    def times(rows: jax.Array, kernel: jax.Array) -> jax.Array:
        y = product(dtype)(rows.reshape(-1, 3 * channels), kernel.reshape(3 * channels, -1))
        return y.reshape(*rows.shape[:3], -1)

    outer = times(rows[:, :, 0], jnp.concatenate([kernel[0], kernel[2]], axis=-1))
    middle = times(rows[:, :height, 1], kernel[1])
    return outer[:, :height, :, :features] + middle + outer[:, 1:, :, features:]


def _spread_by_product(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    batch, height, width, channels = x.shape
    kernel = kernel.transpose(2, 0, 1, 3)
    y = product(dtype)(x.reshape(-1, channels), kernel.reshape(channels, -1))
    y = y.reshape(batch, height, width, 3, 3, -1)
    # Each pixel adds to 3x3 pixels. The third row and column fall on the next pixel's first.
    first, second, third = (y[:, :, :, i] for i in range(3))
    even = _with_zeros(first, 1, 0, 1) + _with_zeros(third, 1, 1, 0)
    y = jnp.stack([even, _with_zeros(second, 1, 0, 1)], axis=2)
    y = y.reshape(batch, 2 * height + 2, width, 3, -1)
    first, second, third = (y[:, :, :, j] for j in range(3))
    even = _with_zeros(first, 2, 0, 1) + _with_zeros(third, 2, 1, 0)
    y = jnp.stack([even, _with_zeros(second, 2, 0, 1)], axis=3)
    return y.reshape(batch, 2 * height + 2, 2 * width + 2, -1)


def _with_zeros(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    return jnp.pad(x, [(before, after) if i == axis else (0, 0) for i in range(x.ndim)])


def _convolved(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    layer = keep_size(kernel.shape[-1], len(kernel), dtype, use_bias=False, parent=None)
    return call(layer, {"params": {"kernel": kernel}}, x, axis_name=None)[0]
