"""Convolutions that halve, keep or double height and width, and how they are computed."""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.products import product

# Radford et al. 2015 (arXiv 1511.06434), section 4.
INITIALIZER = nn.initializers.normal(0.02)
_KERNEL = 4


def halve(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A 4x4 convolution of stride 2: [batch, 2h, 2w, c] -> [batch, h, w, width].

    Args:
        width: channels that come out.
        dtype: of the operands of its products, as in `products.dense`.
        **options: of `nn.Conv`: use_bias, name.
    """
    return _layer(width, dtype, strides=2, padding=1, **options)


def keep(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """A 4x4 convolution of stride 1: [batch, h, w, c] -> [batch, h - 1, w - 1, width].

    Args as in `halve`.
    """
    return _layer(width, dtype, padding=1, **options)


def double(width: int, dtype: Any = jnp.float32, **options: Any) -> nn.Conv:
    """The transpose of `halve`: [batch, h, w, c] -> [batch, 2h, 2w, width].

    Args as in `halve`.
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
                return doubled(x, kernel, dtype)
            return convolved(x, kernel, strides[0], dtype)

        # XLA's own convolutions on CPUs are forty to eighty times slower inside a loop, where the
        # steps of training are, and those that double are ten times slower outside of one too. As
        # matrix products they run at nine tenths of the speed of those, forwards and backwards.
        return jax.lax.platform_dependent(x, kernel, cpu=as_products, default=as_library)

    return nn.Conv(
        width,
        (_KERNEL, _KERNEL),
        kernel_init=INITIALIZER,
        conv_general_dilated=convolve,
        **options,
    )


def convolved(x: jax.Array, kernel: jax.Array, stride: int, dtype: Any) -> jax.Array:
    """A convolution of stride 1 or 2, with a margin of one zero, as one matrix product.

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [4, 4, c, channels].
        stride: 1 or 2.
        dtype: of the product's operands.

    Returns:
        float32 [batch, height / 2, width / 2, channels], or one less than x for stride 1.
    """
    chex.assert_shape(kernel, (_KERNEL, _KERNEL, x.shape[-1], None))
    if stride == 1 and kernel.shape[-1] < x.shape[-1]:
        return _summed(x, kernel, dtype)
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    if stride == 2:
        # Of each 2x2 pixels one of four times the channels; the kernel is 2x2 then, of stride 1:
        # slices of stride 1 are copied faster.
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
    return y.reshape(len(x), height, width, kernel.shape[-1])


def _summed(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    """`convolved` of stride 1, the product first and then what of it belongs together.

    With fewer channels out than in, sixteen of those are less to copy than sixteen of these.
    """
    batch, height, width, channels = x.shape
    features = kernel.shape[-1]
    kernel = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    y = product(dtype)(x.reshape(-1, channels), kernel)
    y = y.reshape(batch, height, width, _KERNEL, _KERNEL, features)
    y = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
    return sum(
        y[:, i : i + height - 1, j : j + width - 1, i, j]
        for i in range(_KERNEL)
        for j in range(_KERNEL)
    )


def doubled(x: jax.Array, kernel: jax.Array, dtype: Any) -> jax.Array:
    """The transpose of a convolution of stride 2, as one matrix product and four additions.

    Args:
        x: float32 [batch, height, width, c].
        kernel: float32 [4, 4, c, channels].
        dtype: of the product's operands.

    Returns:
        float32 [batch, 2 * height, 2 * width, channels].
    """
    batch, height, width, channels = x.shape
    chex.assert_shape(kernel, (_KERNEL, _KERNEL, channels, None))
    features = kernel.shape[-1]
    # What each pixel puts into the 4x4 pixels that it reaches, which overlap by two.
    kernel = kernel[::-1, ::-1].transpose(2, 0, 1, 3)
    y = product(dtype)(x.reshape(-1, channels), kernel.reshape(channels, -1))
    y = y.reshape(batch, height, width, 2, 2, 2, 2, features)
    y = sum(
        jnp.pad(
            y[:, :, :, down, :, right],
            ((0, 0), (down, 1 - down), (right, 1 - right), (0, 0), (0, 0), (0, 0)),
        )
        for down in range(2)
        for right in range(2)
    )
    y = y.swapaxes(2, 3).reshape(batch, 2 * height + 2, 2 * width + 2, features)
    return y[:, 1:-1, 1:-1]


def _blocks(x: jax.Array) -> jax.Array:
    """[batch, 2h, 2w, channels] -> [batch, h, w, 4 * channels], those of each 2x2."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).swapaxes(2, 3)
    return x.reshape(batch, height // 2, width // 2, 4 * channels)
