"""The two convolutional networks of DCGAN (Radford et al. 2015, arXiv 1511.06434)."""

import math
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.classes import one_hot
from jaxgan.layers.convolutions import INITIALIZER, downsample, upsample
from jaxgan.layers.normalisation import EPSILON, BatchNorm
from jaxgan.layers.products import dense

LEAKY_RELU_SLOPE = 0.2
# Where a conditional generator is told its labels.
CONDITIONINGS = ("latents", "last_norm")
BATCH_NORM_EPSILON = EPSILON
_MOMENTUM = 0.9


class Generator(nn.Module):
    """Makes images from latents, and from labels if it is conditional.

    [batch, latent_size] -> Dense -> the smallest map -> doubled until it has the size of an image.
    Between layers are batch normalisation and a ReLU; a tanh follows the last. The smallest map is
    the image's height and width halved until the shorter one is 4 to 7: 7x7 for 28x28, 4x4 for
    32x32 and 64x64. Labels are one-hot vectors. They join the latents (Mirza and Osindero 2014,
    arXiv 1411.1784), or they add to scale and offset of the last normalisation (Dumoulin et al.
    2017, arXiv 1610.07629), where they can change colours, and no shapes.

    Attributes:
        latent_size: length of a latent vector.
        width: channels of the largest map before the image; twice as many with each halving.
        image_shape: (height, width, channels) of an image.
        num_classes: how many classes each label has; () for no labels.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        has_bias: whether the last layer, which no normalisation follows, has a bias.
        is_unbiased: whether the running variances are unbiased, as in `BatchNorm`.
        conditioning: where the labels come in: "latents", or "last_norm".
    """

    latent_size: int = 100
    width: int = 64
    image_shape: tuple[int, int, int] = (64, 64, 3)
    num_classes: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    has_bias: bool = True
    is_unbiased: bool = False
    conditioning: str = "latents"

    @nn.compact
    def __call__(
        self,
        latents: jax.Array,
        labels: jax.Array | None = None,
        train: bool = False,
        axis_name: str | None = None,
    ) -> jax.Array:
        """Makes images.

        Args:
            latents: float32 [batch, latent_size].
            labels: int32 [batch, len(num_classes)], each from 0 to below its number of classes;
                None if there are none.
            train: whether to normalise by the statistics of this batch, and to update the running
                ones.
            axis_name: the pmap axis to average the statistics of the batch over, if any.

        Returns:
            float32 [batch, height, width, channels] in [-1, 1].

        Raises:
            AssertionError: latents or labels have another shape (from chex).
        """
        chex.assert_shape(latents, (None, self.latent_size))
        x = latents
        classes = one_hot(labels, self.num_classes, x.shape[0]) if self.num_classes else None
        if classes is not None and self.conditioning == "latents":
            x, classes = jnp.concatenate([x, classes], axis=1), None
        halvings = num_halvings(self.image_shape)
        height, width = (length >> halvings for length in self.image_shape[:2])
        channels = self.width << (halvings - 1)
        x = dense(height * width * channels, self.dtype, use_bias=False, kernel_init=INITIALIZER)(x)
        x = x.reshape(-1, height, width, channels)
        x = _normalised(x, train, axis_name, self.is_unbiased)
        for _ in range(halvings - 1):
            channels //= 2
            x = upsample(channels, self.dtype, use_bias=False)(nn.relu(x))
            x = _normalised(x, train, axis_name, self.is_unbiased)
        if classes is not None:
            options: dict[str, Any] = {"use_bias": False, "kernel_init": INITIALIZER}
            learnt = dense(2 * channels, self.dtype, **options)(classes)
            scale, offset = jnp.split(learnt[:, None, None], 2, axis=-1)
            x = (1 + scale) * x + offset
        x = nn.relu(x)
        last = upsample(self.image_shape[-1], self.dtype, use_bias=self.has_bias)
        return jnp.tanh(last(x))


class Discriminator(nn.Module):
    """Judges images, given their labels if it is conditional.

    [batch, H, W, C] -> halved to the size of the generator's smallest map -> Dense 1. Between
    layers are batch normalisation, but not after the first, and a LeakyReLU(0.2). The logit of an
    image with labels is that of the image alone plus the inner product of the last map with a
    vector learnt for each label (Miyato and Koyama 2018, arXiv 1802.05637, equation 3).

    Attributes:
        width: channels of the first map; twice as many with each halving.
        image_shape: (height, width, channels) of an image.
        num_classes: how many classes each label has; () for no labels.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        has_bias: whether the first and the last layer, which no normalisation follows, have a bias.
        is_unbiased: as in `Generator`.
    """

    width: int = 64
    image_shape: tuple[int, int, int] = (64, 64, 3)
    num_classes: tuple[int, ...] = ()
    dtype: Any = jnp.float32
    has_bias: bool = True
    is_unbiased: bool = False

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        labels: jax.Array | None = None,
        train: bool = False,
        axis_name: str | None = None,
    ) -> jax.Array:
        """Judges images.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].
            labels: as in `Generator`.
            train: as in `Generator`.
            axis_name: as in `Generator`.

        Returns:
            Logits, float32 [batch].

        Raises:
            AssertionError: images or labels have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        x = trunk(self, images, train, axis_name)
        last = dense(1, self.dtype, use_bias=self.has_bias, kernel_init=INITIALIZER)
        logits = last(x)[:, 0]
        if self.num_classes:
            learnt = dense(x.shape[1], self.dtype, use_bias=False, kernel_init=INITIALIZER)
            logits += jnp.sum(x * learnt(one_hot(labels, self.num_classes, x.shape[0])), axis=1)
        return logits


def trunk(
    network: Any, images: jax.Array, train: bool = False, axis_name: str | None = None
) -> jax.Array:
    """The layers of `Discriminator` before the last, inside a network's `nn.compact` method.

    Args:
        network: the module that the layers belong to, with the attributes width, image_shape,
            dtype, has_bias and is_unbiased of `Discriminator`.
        images: float32 [batch, *image_shape] in [-1, 1].
        train: as in `Generator`.
        axis_name: as in `Generator`.

    Returns:
        The smallest map, float32 [batch, height * width * channels].
    """
    x = images
    for i in range(num_halvings(network.image_shape)):
        has_bias = i == 0 and network.has_bias
        x = downsample(network.width << i, network.dtype, use_bias=has_bias)(x)
        if i > 0:
            x = _normalised(x, train, axis_name, network.is_unbiased)
        x = nn.leaky_relu(x, LEAKY_RELU_SLOPE)
    return x.reshape(x.shape[0], -1)


def num_halvings(image_shape: tuple[int, int, int]) -> int:
    """How many halvings make the shorter side of an image 4 to 7 pixels.

    Raises:
        ValueError: height and width cannot be halved to 4 to 7 pixels.
    """
    height, width, _ = image_shape
    count = int(math.log2(min(height, width) / 4)) if min(height, width) >= 8 else 0
    if not count or height % (1 << count) or width % (1 << count):
        raise ValueError(
            "convolutional networks want a height and a width of 4 to 7 times a power of two, "
            f"such as 28, 32 or 64, not {height}x{width}"
        )
    return count


def _normalised(x: jax.Array, train: bool, axis_name: str | None, is_unbiased: bool) -> jax.Array:
    return BatchNorm(
        use_running_average=not train,
        momentum=_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        axis_name=axis_name,
        # As PyTorch: the mean of the squares minus the square of the mean has fewer digits.
        use_fast_variance=not is_unbiased,
        is_unbiased=is_unbiased,
    )(x)
