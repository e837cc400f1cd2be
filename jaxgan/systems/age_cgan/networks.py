"""The encoder of Age-cGAN (Antipov et al. 2017, arXiv 1702.01983); the other two are DCGAN's."""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions import INITIALIZER
from jaxgan.layers.products import dense
from jaxgan.systems.dcgan.networks import CONDITIONINGS as CONDITIONINGS
from jaxgan.systems.dcgan.networks import Generator as Generator
from jaxgan.systems.dcgan.networks import trunk


class Encoder(nn.Module):
    """Guesses the latents of images: the discriminator's layers, then a Dense to the latent.

    It is not told the age.

    Attributes:
        latent_size: length of a latent vector.
        width: channels of the first map; twice as many with each halving.
        image_shape: (height, width, channels) of an image.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        has_bias: whether the first layer, which no normalisation follows, has a bias.
        is_unbiased: whether the running variances are unbiased, as in `BatchNorm`.
    """

    latent_size: int = 100
    width: int = 64
    image_shape: tuple[int, int, int] = (64, 64, 3)
    dtype: Any = jnp.float32
    has_bias: bool = True
    is_unbiased: bool = False

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False, axis_name: str | None = None
    ) -> jax.Array:
        """Guesses latents.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].
            train: whether to normalise by the statistics of this batch, and to update the running
                ones.
            axis_name: the pmap axis to average the statistics of the batch over, if any.

        Returns:
            float32 [batch, latent_size].

        Raises:
            AssertionError: images have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        x = trunk(self, images, train, axis_name)
        return dense(self.latent_size, self.dtype, kernel_init=INITIALIZER)(x)
