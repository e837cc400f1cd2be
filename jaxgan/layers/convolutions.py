"""4x4 convolutions: with stride 1, with stride 2, and transposed; and how CPUs compute them."""

from typing import Any, cast

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.layers.products import product

# Radford et al. 2015 (arXiv 1511.06434), section 4.
INITIALIZER = nn.initializers.normal(0.02)
_KERNEL = 4


def conv4x4_stride1(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A 4x4 convolution of stride 1 and padding 1, which makes each side one pixel shorter.

    [batch, h, w, c] -> [batch, h - 1, w - 1, width], float32.

    Args:
        width: the number of output channels.
        dtype: the type that the operands of the products are rounded to, as in `products.dense`.
        **options: arguments of `nn.Conv`: use_bias, name.

    Returns:
        The layer, a Flax module.
    """
    return _layer(width, dtype, padding=1, **options)


def downsample(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A 4x4 convolution of stride 2 and padding 1, which halves each side.

    [batch, 2h, 2w, c] -> [batch, h, w, width], float32. Arguments as in `conv4x4_stride1`.
    """
    return _layer(width, dtype, strides=2, padding=1, **options)


def upsample(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A transposed 4x4 convolution of stride 2 and padding 1, which doubles each side.

    [batch, h, w, c] -> [batch, 2h, 2w, width], float32. Arguments as in `conv4x4_stride1`.
    """
    return _layer(width, dtype, input_dilation=2, padding=2, **options)


def _layer(width: int, dtype: Any, **options: Any) -> nn.Conv:
    def convolve(x: jax.Array, kernel: jax.Array, strides, padding, **how: Any) -> jax.Array:
        def as_library(x: jax.Array, kernel: jax.Array) -> jax.Array:
            y = jax.lax.conv_general_dilated(
                x.astype(dtype), kernel.astype(dtype), strides, padding, **how
            )
            return y.astype(jnp.float32)

        def as_products(x: jax.Array, kernel: jax.Array) -> jax.Array:
            if how["lhs_dilation"] == (2, 2):
                return transposed_convolution(x, kernel, dtype)
            return convolution(x, kernel, strides[0], dtype)

        # Training steps run in a compiled loop. On CPUs XLA's own convolutions are forty to eighty
        # times slower in a loop than outside of one, and its transposed convolutions are ten times
        # too slow even outside. Matrix products, and their gradients, lose no speed in a loop.
        return jax.lax.platform_dependent(x, kernel, cpu=as_products, default=as_library)

    return nn.Conv(
        width,
        (_KERNEL, _KERNEL),
        kernel_init=INITIALIZER,
        conv_general_dilated=convolve,
        **options,
    )


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
        x = _blocks(x)
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


def _blocks(x: jax.Array) -> jax.Array:
    """[batch, 2h, 2w, c] -> [batch, h, w, 4 * c], the channels of each block of 2x2 pixels."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).swapaxes(2, 3)
    return x.reshape(batch, height // 2, width // 2, 4 * channels)
