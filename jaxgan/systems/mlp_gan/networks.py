"""The two fully connected networks of the 2014 GAN (Goodfellow et al., arXiv 1406.2661)."""

import math
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.products import dense

LEAKY_RELU_SLOPE = 0.2


class Generator(nn.Module):
    """The counterfeiter: makes images from latents.

    latents [batch, latent_size] -> Dense 256 -> 512 -> 1024 -> H*W*C -> tanh -> [batch, H, W, C],
    LeakyReLU(0.2) between the layers.

    Attributes:
        latent_size: length of a latent vector.
        widths: units of the hidden layers, first to last.
        image_shape: (height, width, channels) of an image.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
    """

    latent_size: int = 100
    widths: tuple[int, ...] = (256, 512, 1024)
    image_shape: tuple[int, int, int] = (28, 28, 1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latents: jax.Array) -> jax.Array:
        """Makes images from latents.

        Args:
            latents: float32 [batch, latent_size].

        Returns:
            float32 [batch, height, width, channels] in [-1, 1].

        Raises:
            AssertionError: latents have another shape (from chex).
        """
        chex.assert_shape(latents, (None, self.latent_size))
        x = _hidden_layers(latents, self.widths, self.dtype)
        x = dense(math.prod(self.image_shape), self.dtype)(x)
        return jnp.tanh(x).reshape(-1, *self.image_shape)


class Discriminator(nn.Module):
    """The police: the sigmoid of its logit is the probability that an image is real.

    images [batch, H, W, C] -> Dense 1024 -> 512 -> 256 -> 1, LeakyReLU(0.2) between the layers.

    Attributes:
        widths: units of the hidden layers, first to last.
        image_shape: (height, width, channels) of an image.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
    """

    widths: tuple[int, ...] = (1024, 512, 256)
    image_shape: tuple[int, int, int] = (28, 28, 1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Judges images.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].

        Returns:
            Logits, float32 [batch].

        Raises:
            AssertionError: images have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        x = _hidden_layers(images.reshape(images.shape[0], -1), self.widths, self.dtype)
        return dense(1, self.dtype)(x)[:, 0]


def _hidden_layers(x: jax.Array, widths: tuple[int, ...], dtype: Any) -> jax.Array:
    for width in widths:
        x = nn.leaky_relu(dense(width, dtype)(x), LEAKY_RELU_SLOPE)
    return x
