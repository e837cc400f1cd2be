"""The two networks of pix2pix (Isola et al. 2016, arXiv 1611.07004): a U-Net, a PatchGAN."""

from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions import conv4x4_stride1, downsample, upsample
from jaxgan.layers.normalisation import EPSILON, BatchNorm

# 'scaled_instance': each map by its own statistics, then a learnt scale and offset. 'instance': the
# statistics alone. 'batch': batch normalisation, with running statistics.
NORMS = ("scaled_instance", "instance", "batch")
# The layers of the decoder with dropout. 'paper': the first three, as in the paper and its Lua
# code. 'port': as in the PyTorch port, all between the first one and those of the last four sizes;
# the second to fourth of eight layers, and none of five.
DROPOUTS = ("paper", "port", "none")
LEAKY_RELU_SLOPE = 0.2
# By default, the height or width of the smallest map.
_SMALLEST = 2
_MOST_CHANNELS = 8  # times the width
_MOMENTUM = 0.9


class UNet(nn.Module):
    """Translates images to images of the same size, by smaller and smaller maps (section 6.1).

    [batch, H, W, input_channels] -> halved to the smallest map -> doubled to [batch, H, W, C],
    tanh. Each layer of the decoder takes the encoder's map of the same size as a further input.
    Between layers are a normalisation, but not after the first and the innermost layer, and
    LeakyReLU(0.2) in the encoder, ReLU in the decoder. The noise is dropout of one half after some
    layers of the decoder. A layer with a normalisation has no bias, since it would have no effect;
    with batch normalisation only the last layer has one, as in the authors' PyTorch port.

    Attributes:
        width: channels of the largest map; twice as many with each halving, up to 8 times.
        image_shape: (height, width, channels) of the outputs. Height and width are powers of two,
            16 or more; with `halvings` any multiples of 2**halvings.
        input_channels: channels of the inputs.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        halvings: how often the encoder halves, 2 or more; None: until the shorter side has 2
            pixels.
        norm: the normalisation, one of `NORMS`. In training, batch normalisation of a single image
            is 'scaled_instance'.
        dropout: which layers have dropout, one of `DROPOUTS`.
        norm_scale_std: the standard deviation of the scales of a norm at the start, around 1.
        normalises_innermost: whether the smallest map is normalised too, as in the Lua code. A map
            of 1x1 that is normalised by its own statistics is 0.
    """

    width: int = 32
    image_shape: tuple[int, int, int] = (64, 64, 3)
    input_channels: int = 1
    dtype: Any = jnp.float32
    halvings: int | None = None
    norm: str = "scaled_instance"
    dropout: str = "paper"
    norm_scale_std: float = 0.0
    normalises_innermost: bool = False

    @nn.compact
    def __call__(
        self,
        inputs: jax.Array,
        keys: jax.Array | None = None,
        train: bool = False,
        axis_name: str | None = None,
    ) -> jax.Array:
        """Translates images.

        Args:
            inputs: float32 [batch, height, width, input_channels] in [-1, 1].
            keys: typed PRNG keys [batch], one for the dropout of each image; None for no dropout.
            train: with batch normalisation, whether to normalise by the statistics of this batch,
                and to update the running ones.
            axis_name: the pmap axis to average the statistics of the batch over, if any.

        Returns:
            float32 [batch, height, width, channels] in [-1, 1].

        Raises:
            AssertionError: inputs or keys have another shape (from chex).
        """
        chex.assert_shape(inputs, (None, *self.image_shape[:2], self.input_channels))
        if keys is not None:
            chex.assert_shape(keys, (inputs.shape[0],))
        normalised = _Normalisation(self.norm, self.norm_scale_std, train, axis_name)
        halvings = num_halvings(self.image_shape, self.halvings)
        channels = [self.width * min(1 << i, _MOST_CHANNELS) for i in range(halvings)]
        dropped_out = _dropped_out_layers(self.dropout, halvings)
        x, maps = inputs, []
        for i in range(halvings):
            is_normalised = 0 < i < halvings - 1 or (
                i == halvings - 1 and self.normalises_innermost
            )
            has_bias = not is_normalised and self.norm != "batch"
            x = downsample(channels[i], self.dtype, use_bias=has_bias)(x)
            if is_normalised:
                x = normalised(x)
            maps.append(x)
            x = nn.leaky_relu(x, LEAKY_RELU_SLOPE)
        x = nn.relu(maps.pop())
        for i in range(halvings - 1):
            x = normalised(upsample(channels[-2 - i], self.dtype, use_bias=False)(x))
            if keys is not None and i in dropped_out:
                x = _dropped_out(x, jax.vmap(lambda key, i=i: jax.random.fold_in(key, i))(keys))
            x = nn.relu(jnp.concatenate([x, maps.pop()], axis=-1))
        return jnp.tanh(upsample(self.image_shape[-1], self.dtype)(x))


class PatchDiscriminator(nn.Module):
    """Judges whether patches of an image are real, given the input that the image belongs to.

    Input and image are halved together and then convolved twice with stride 1. After two halvings
    each logit depends on 34x34 pixels: about half of the height and width of images of 64x64. The
    paper's 70x70 pixels (section 6.1.2), after three halvings, are a somewhat smaller part of its
    images of 256x256. Between layers are a normalisation, but not after the first layer, and
    LeakyReLU(0.2). A layer with a normalisation has no bias.

    Attributes:
        width: channels of the first map; twice as many with each layer, up to 8 times.
        image_shape: (height, width, channels) of an image.
        input_channels: channels of an input.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        halvings: how often input and image are halved, 1 or more. A logit depends on 16, 34, 70,
            142 or 286 pixels a side after 1 to 5 halvings.
        norm: the normalisation, one of `NORMS`.
        norm_scale_std: the standard deviation of the scales of a norm at the start, around 1.
    """

    width: int = 32
    image_shape: tuple[int, int, int] = (64, 64, 3)
    input_channels: int = 1
    dtype: Any = jnp.float32
    halvings: int = 2
    norm: str = "scaled_instance"
    norm_scale_std: float = 0.0

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        inputs: jax.Array,
        train: bool = False,
        axis_name: str | None = None,
    ) -> jax.Array:
        """Judges images.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].
            inputs: float32 [batch, height, width, input_channels] in [-1, 1].
            train: as in `UNet`.
            axis_name: as in `UNet`.

        Returns:
            Logits, float32 [batch, height / 2**halvings - 2, width / 2**halvings - 2].

        Raises:
            AssertionError: images or inputs have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        chex.assert_shape(inputs, (images.shape[0], *self.image_shape[:2], self.input_channels))
        normalised = _Normalisation(self.norm, self.norm_scale_std, train, axis_name)
        x = downsample(self.width, self.dtype)(jnp.concatenate([inputs, images], axis=-1))
        for i in range(1, self.halvings + 1):
            layer = downsample if i < self.halvings else conv4x4_stride1
            width = self.width * min(1 << i, _MOST_CHANNELS)
            x = nn.leaky_relu(x, LEAKY_RELU_SLOPE)
            x = normalised(layer(width, self.dtype, use_bias=False)(x))
        return conv4x4_stride1(1, self.dtype)(nn.leaky_relu(x, LEAKY_RELU_SLOPE))[..., 0]


def num_halvings(image_shape: tuple[int, int, int], halvings: int | None = None) -> int:
    """How many halvings a U-Net makes: those given, else until the shorter side has 2 pixels.

    Raises:
        ValueError: without `halvings`, height or width is no power of two, or less than 16; with
            it, it is below 2, or height or width is no multiple of 2**halvings.
    """
    height, width, _ = image_shape
    if halvings is not None:
        if halvings < 2 or halvings > 32 or height % (1 << halvings) or width % (1 << halvings):
            raise ValueError(
                f"a U-Net of {halvings} halvings wants 2 or more of them, and a height and a width "
                f"that are multiples of 2**{halvings}, not {height}x{width}"
            )
        return halvings
    if min(height, width) < 16 or height & (height - 1) or width & (width - 1):
        raise ValueError(
            f"a U-Net wants a height and a width that are powers of two, 16 or more, "
            f"not {height}x{width}"
        )
    return (min(height, width) // _SMALLEST).bit_length() - 1


def check_patches(image_shape: tuple[int, int, int], halvings: int) -> None:
    """Checks that a discriminator of so many halvings has a logit at all.

    Raises:
        ValueError: height or width is no multiple of 2**halvings, or below 3 times that.
    """
    height, width, _ = image_shape
    unit = 1 << halvings
    if height % unit or width % unit or min(height, width) < 3 * unit:
        raise ValueError(
            f"a discriminator of {halvings} halvings wants a height and a width that are multiples "
            f"of {unit}, {3 * unit} or more, not {height}x{width}"
        )


def _dropped_out_layers(dropout: str, halvings: int) -> range:
    """The layers of the decoder with dropout, of those before the last, from the inside, from 0."""
    return {
        "paper": range(3),
        "port": range(1, halvings - 4),
        "none": range(0),
    }[dropout]


class _Normalisation(NamedTuple):
    norm: str
    scale_std: float
    train: bool
    axis_name: str | None

    def __call__(self, x: jax.Array) -> jax.Array:
        def scale(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
            return 1 + self.scale_std * jax.random.normal(key, shape, dtype)

        if self.norm == "batch":
            return BatchNorm(
                use_running_average=not self.train,
                momentum=_MOMENTUM,
                epsilon=EPSILON,
                axis_name=self.axis_name,
                # The mean of the squares minus the square of the mean has fewer digits.
                use_fast_variance=False,
                scale_init=scale,
                is_unbiased=True,
            )(x)
        if self.norm == "instance":
            return nn.InstanceNorm(
                epsilon=EPSILON, use_scale=False, use_bias=False, use_fast_variance=False
            )(x)
        return nn.InstanceNorm(epsilon=EPSILON, scale_init=scale)(x)


def _dropped_out(x: jax.Array, keys: jax.Array) -> jax.Array:
    """Sets each number to 0 with probability 1/2, else doubles it; each example has its own key."""
    # One random bit for each number is enough for a probability of 1/2.
    bits = jax.vmap(lambda key: jax.random.bits(key, (x[0].size // 8,), jnp.uint8))(keys)
    kept = jnp.unpackbits(bits, axis=1).reshape(x.shape)
    return 2 * x * kept
