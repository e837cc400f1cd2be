"""Convolutions of several sizes, and transposed ones; and how CPUs compute them."""

from typing import Any, cast

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.layers.products import product
from jaxgan.layers.resampling import space_to_depth

# Radford et al. 2015 (arXiv 1511.06434), section 4.
INITIALIZER = nn.initializers.normal(0.02)
_KERNEL = 4
# From this height on, the rows of padding hardly count.
_LARGE = 32


def conv4x4_stride1(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A 4x4 convolution of stride 1 and padding 1, which makes each side one pixel shorter.

    [batch, h, w, c] -> [batch, h - 1, w - 1, width], float32.

    Args:
        width: the number of output channels.
        dtype: the type that the operands of the products are rounded to, as in `products.dense`.
        **options: arguments of `nn.Conv`: use_bias, kernel_init, bias_init, name.

    Returns:
        The layer, a Flax module.
    """
    return _layer(width, _KERNEL, dtype, padding=1, **options)


def downsample(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A 4x4 convolution of stride 2 and padding 1, which halves each side.

    [batch, 2h, 2w, c] -> [batch, h, w, width], float32. Arguments as in `conv4x4_stride1`.
    """
    return _layer(width, _KERNEL, dtype, strides=2, padding=1, **options)


def upsample(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A transposed 4x4 convolution of stride 2 and padding 1, which doubles each side.

    [batch, h, w, c] -> [batch, 2h, 2w, width], float32. Arguments as in `conv4x4_stride1`.
    """
    return _layer(width, _KERNEL, dtype, input_dilation=2, padding=2, **options)


def keep_size(width: int, size: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A convolution of an odd size and stride 1, padded with zeros so that each side stays.

    [batch, h, w, c] -> [batch, h, w, width], float32.

    Args:
        width: the number of output channels.
        size: height and width of the kernel, an odd number.
        dtype: as in `conv4x4_stride1`.
        **options: as in `conv4x4_stride1`.

    Returns:
        The layer, a Flax module.
    """
    return _layer(width, size, dtype, padding=size // 2, **options)


def _layer(width: int, size: int, dtype: Any, **options: Any) -> nn.Conv:
    def convolve(x: jax.Array, kernel: jax.Array, strides, padding, **how: Any) -> jax.Array:
        def as_library(x: jax.Array, kernel: jax.Array) -> jax.Array:
            y = jax.lax.conv_general_dilated(
                x.astype(dtype), kernel.astype(dtype), strides, padding, **how
            )
            return y.astype(jnp.float32)

        def as_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
            if how["lhs_dilation"] == (2, 2):
                return transposed_convolution(x, kernel, dtype)
            if size % 2:
                return size_keeping_convolution(x, kernel, dtype)
            return convolution(x, kernel, strides[0], dtype)

        # Training steps run in a compiled loop. On CPUs XLA's own convolutions are forty to eighty
        # times slower in a loop than outside of one, and its transposed convolutions are ten times
        # too slow even outside. Matrix products, and their gradients, lose no speed in a loop.
        return jax.lax.platform_dependent(x, kernel, cpu=as_products, default=as_library)

    return nn.Conv(
        width,
        (size, size),
        conv_general_dilated=convolve,
        **{"kernel_init": INITIALIZER, **options},
    )


def size_keeping_convolution(x: jax.Array, kernel: jax.Array | np.ndarray, dtype: Any) -> jax.Array:
    """A convolution of an odd size, stride 1 and zero padding, as one matrix product.

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [size, size, c, channels], size odd.
        dtype: the type that the product's operands are rounded to.

    Returns:
        float32 [batch, height, width, channels].

    Raises:
        AssertionError: the kernel has another shape (from chex).
    """
    size, (batch, height, width, channels) = len(kernel), x.shape
    chex.assert_shape(kernel, (size, size, channels, None))
    features, margin = kernel.shape[-1], size // 2
    x = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    columns = [x[:, :, j : j + width] for j in range(size)]
    # Small maps gather more, since rows would cost them the products of the rows of padding too.
    most = (channels + features) * (2 if height < _LARGE else 1)
    if size * channels <= most:
        # Each output pixel gathers all the pixels that it depends on.
        patches = [column[:, i : i + height] for i in range(size) for column in columns]
        gathered = jnp.concatenate(patches, axis=-1).reshape(-1, size * size * channels)
        y = product(dtype)(gathered, kernel.reshape(-1, features))
        return y.reshape(batch, height, width, features)
    # Each pixel gathers a row of pixels, and the products of the rows are added up afterwards: this
    # copies size * (channels + features) numbers for each pixel, not size * size * channels.
    rows = jnp.concatenate(columns, axis=-1).reshape(-1, size * channels)
    kernel = kernel.transpose(1, 2, 0, 3).reshape(size * channels, size * features)
    y = product(dtype)(rows, kernel).reshape(batch, -1, width, size, features)
    return cast(jax.Array, sum(y[:, i : i + height, :, i] for i in range(size)))


def convolution(x: jax.Array, kernel: jax.Array | np.ndarray, stride: int, dtype: Any) -> jax.Array:
    """A 4x4 convolution of stride 1 or 2 and padding 1, as one matrix product.

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [4, 4, c, channels].
        stride: 1 or 2.
        dtype: the type that the product's operands are rounded to.

    Returns:
        float32 [batch, height - 1, width - 1, channels] for stride 1, and
        [batch, height / 2, width / 2, channels] for stride 2.

    Raises:
        AssertionError: the kernel has another shape (from chex).
    """
    chex.assert_shape(kernel, (_KERNEL, _KERNEL, x.shape[-1], None))
    if stride == 1 and kernel.shape[-1] < x.shape[-1]:
        return _convolution_by_sum(x, kernel, dtype)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    if stride == 2:
        # Each block of 2x2 pixels becomes one pixel with four times the channels, and the kernel
        # a 2x2 kernel of stride 1, because slices of stride 1 are copied faster.
        x = space_to_depth(x, 2)
        kernel = kernel.reshape(2, 2, 2, 2, -1, kernel.shape[-1]).swapaxes(1, 2)
        kernel = kernel.reshape(2, 2, x.shape[-1], -1)
    size = len(kernel)
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    patches = jnp.concatenate(
        [x[:, i : i + height, j : j + width] for i in range(size) for j in range(size)], axis=-1
    )
    depth = patches.shape[-1]
    y = product(dtype)(patches.reshape(-1, depth), kernel.reshape(depth, -1))
    return y.reshape(x.shape[0], height, width, kernel.shape[-1])


def _convolution_by_sum(x: jax.Array, kernel: jax.Array | np.ndarray, dtype: Any) -> jax.Array:
    """`convolution` of stride 1, as a matrix product and a sum over the kernel's 4x4 positions.

    `convolution` copies every input pixel sixteen times. This copies every output pixel sixteen
    times, which is less if there are fewer output channels than input channels.
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    kernel = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    y = product(dtype)(x.reshape(-1, channels), kernel)
    y = y.reshape(batch, height, width, _KERNEL, _KERNEL, features)
    y = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
    shifted = (
        y[:, i : i + height - 1, j : j + width - 1, i, j]
        for i in range(_KERNEL)
        for j in range(_KERNEL)
    )
    # Only the sum of no arrays would be the integer 0.
    return cast(jax.Array, sum(shifted))


def transposed_convolution(x: jax.Array, kernel: jax.Array | np.ndarray, dtype: Any) -> jax.Array:
    """A transposed 4x4 convolution of stride 2 and padding 1: one matrix product, four additions.

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [4, 4, c, channels].
        dtype: the type that the product's operands are rounded to.

    Returns:
        float32 [batch, 2 * height, 2 * width, channels].

    Raises:
        AssertionError: the kernel has another shape (from chex).
    """
    batch, height, width, channels = x.shape
    chex.assert_shape(kernel, (_KERNEL, _KERNEL, channels, None))
    features = kernel.shape[-1]
    # Each input pixel adds to 4x4 output pixels. Those of neighbouring input pixels overlap by two.
    kernel = kernel[::-1, ::-1].transpose(2, 0, 1, 3)
    y = product(dtype)(x.reshape(-1, channels), kernel.reshape(channels, -1))
    y = y.reshape(batch, height, width, 2, 2, 2, 2, features)
    shifted = (
        jnp.pad(
            y[:, :, :, down, :, right],
            ((0, 0), (down, 1 - down), (right, 1 - right), (0, 0), (0, 0), (0, 0)),
        )
        for down in range(2)
        for right in range(2)
    )
    y = cast(jax.Array, sum(shifted))
    y = y.swapaxes(2, 3).reshape(batch, 2 * height + 2, 2 * width + 2, features)
    return y[:, 1:-1, 1:-1]
