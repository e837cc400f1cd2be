"""The two networks of pix2pix (Isola et al. 2016, arXiv 1611.07004): a U-Net, a PatchGAN."""

from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions import conv4x4_stride1, downsample, upsample

LEAKY_RELU_SLOPE = 0.2
# Height or width of the smallest map. Instance normalisation would make a single pixel 0.
_SMALLEST = 2
_MOST_CHANNELS = 8  # times the width
_DROPPED_OUT = 3  # layers of the decoder, the first ones


class UNet(nn.Module):
    """Translates images to images of the same size, by smaller and smaller maps (section 6.1).

    [batch, H, W, input_channels] -> halved to 2x2 -> doubled to [batch, H, W, C], tanh. Each layer
    of the decoder takes the encoder's map of the same size as a further input. Between layers are
    instance normalisation, but not after the first and the innermost layer, and LeakyReLU(0.2) in
    the encoder, ReLU in the decoder. The paper has batch normalisation of batches of one image,
    which is the same as instance normalisation. The noise is dropout of one half after the first
    three layers of the decoder.

    Attributes:
        width: channels of the largest map; twice as many with each halving, up to 8 times.
        image_shape: (height, width, channels) of the outputs; height and width a power of two,
            16 or more.
        input_channels: channels of the inputs.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
    """

    width: int = 32
    image_shape: tuple[int, int, int] = (64, 64, 3)
    input_channels: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Translates images.

        Args:
            inputs: float32 [batch, height, width, input_channels] in [-1, 1].
            keys: typed PRNG keys [batch], one for the dropout of each image; None for no dropout.

        Returns:
            float32 [batch, height, width, channels] in [-1, 1].

        Raises:
            AssertionError: inputs or keys have another shape (from chex).
        """
        chex.assert_shape(inputs, (None, *self.image_shape[:2], self.input_channels))
        if keys is not None:
            chex.assert_shape(keys, (len(inputs),))
        halvings = num_halvings(self.image_shape)
        channels = [self.width * min(1 << i, _MOST_CHANNELS) for i in range(halvings)]
        x, maps = inputs, []
        for i in range(halvings):
            is_normalised = 0 < i < halvings - 1
            x = downsample(channels[i], self.dtype, use_bias=not is_normalised)(x)
            if is_normalised:
                x = _normalised(x)
            maps.append(x)
            x = nn.leaky_relu(x, LEAKY_RELU_SLOPE)
        x = nn.relu(maps.pop())
        for i in range(halvings - 1):
            x = _normalised(upsample(channels[-2 - i], self.dtype, use_bias=False)(x))
            if keys is not None and i < _DROPPED_OUT:
                x = _dropped_out(x, jax.vmap(lambda key, i=i: jax.random.fold_in(key, i))(keys))
            x = nn.relu(jnp.concatenate([x, maps.pop()], axis=-1))
        return jnp.tanh(upsample(self.image_shape[-1], self.dtype)(x))


class PatchDiscriminator(nn.Module):
    """Judges whether patches of an image are real, given the input that the image belongs to.

    Input and image are halved twice together and then convolved twice with stride 1, so that each
    logit depends on 34x34 pixels: about half of the height and width of images of 64x64. The
    paper's 70x70 pixels (section 6.1.2) are a somewhat smaller part of its images of 256x256.
    Between layers are instance normalisation, but not after the first layer, and LeakyReLU(0.2).

    Attributes:
        width: channels of the first map; twice as many with each layer.
        image_shape: (height, width, channels) of an image.
        input_channels: channels of an input.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
    """

    width: int = 32
    image_shape: tuple[int, int, int] = (64, 64, 3)
    input_channels: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, inputs: jax.Array) -> jax.Array:
        """Judges images.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].
            inputs: float32 [batch, height, width, input_channels] in [-1, 1].

        Returns:
            Logits, float32 [batch, height / 4 - 2, width / 4 - 2].

        Raises:
            AssertionError: images or inputs have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        chex.assert_shape(inputs, (len(images), *self.image_shape[:2], self.input_channels))
        x = downsample(self.width, self.dtype)(jnp.concatenate([inputs, images], axis=-1))
        for layer, width in ((downsample, 2 * self.width), (conv4x4_stride1, 4 * self.width)):
            x = nn.leaky_relu(x, LEAKY_RELU_SLOPE)
            x = _normalised(layer(width, self.dtype, use_bias=False)(x))
        return conv4x4_stride1(1, self.dtype)(nn.leaky_relu(x, LEAKY_RELU_SLOPE))[..., 0]


def num_halvings(image_shape: tuple[int, int, int]) -> int:
    """How many halvings make the shorter side of an image 2 pixels.

    Raises:
        ValueError: height or width is no power of two, or less than 16.
    """
    height, width, _ = image_shape
    if min(height, width) < 16 or height & (height - 1) or width & (width - 1):
        raise ValueError(
            f"a U-Net wants a height and a width that are powers of two, 16 or more, "
            f"not {height}x{width}"
        )
    return (min(height, width) // _SMALLEST).bit_length() - 1


def _normalised(x: jax.Array) -> jax.Array:
    return nn.InstanceNorm(epsilon=1e-5)(x)


def _dropped_out(x: jax.Array, keys: jax.Array) -> jax.Array:
    """Sets each number to 0 with probability 1/2, else doubles it; each example has its own key."""
    # One random bit for each number is enough for a probability of 1/2.
    bits = jax.vmap(lambda key: jax.random.bits(key, (x[0].size // 8,), jnp.uint8))(keys)
    kept = jnp.unpackbits(bits, axis=1).reshape(x.shape)
    return 2 * x * kept
