"""Translates images with a trained generator. Pure: usable inside a caller's own jit and grad."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxgan import checks, memory
from jaxgan.checks import as_typed_key
from jaxgan.layers.training_call import call
from jaxgan.options import with_own_options
from jaxgan.systems.pix2pix import networks as pix2pix

PyTree = Any
FACES = pix2pix.UNet()
# How many pixels are translated at a time.
BLOCK = 784_000


@with_own_options
def translate(
    params: PyTree, images: ArrayLike, key: jax.Array | None, *, generator: nn.Module = FACES
) -> jax.Array:
    """Translates images, each by itself. The same key gives the same images.

    Args:
        params: the variables that `generator.apply` takes.
        images: [n, height, width, channels], n at least 1, of the generator's size and input
            channels: float in [0, 1], or uint8.
        key: a PRNG key, typed or old-style. It draws the noise, which is dropout as in training; a
            batch normalisation is by the statistics of the image. None for evaluation mode: no
            dropout, and the running statistics of a batch normalisation.
        generator: the module that the params belong to. The default makes faces of 64x64 from edges
            or grey images; that of a run is `Pix2PixConfig.generator()`.

    Returns:
        float32 [n, height, width, channels] in [0, 1], of the generator's output channels.

    Raises:
        ValueError: the params belong to another network, the key is none, or the images have
            another shape or dtype.
    """
    images = jnp.asarray(images)
    shape = (*generator.image_shape[:2], generator.input_channels)
    if images.ndim != 4 or images.shape[1:] != shape or not len(images):
        raise ValueError(
            f"images must have the shape (n, {', '.join(map(str, shape))}), not {images.shape}"
        )
    if images.dtype != jnp.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be float in [0, 1] or uint8, not {images.dtype}")
    check_params(params, generator)
    check_memory(generator, len(images))
    if images.dtype == jnp.uint8:
        images = images / 255
    return _translate(params, images, None if key is None else as_typed_key(key), generator)


def check_params(params: PyTree, generator: nn.Module) -> None:
    """Checks that params belong to a generator, as `checks.check_params`."""
    shape = (1, *generator.image_shape[:2], generator.input_channels)
    checks.check_params(params, generator, jax.ShapeDtypeStruct(shape, jnp.float32))


def check_memory(generator: nn.Module, count: int) -> None:
    """Refuses to translate more images, or larger ones, than there is memory for.

    Args:
        generator: the module.
        count: how many images are translated.

    Raises:
        ValueError: there is not enough memory.
    """
    height, width, channels = generator.image_shape
    pixels = height * width
    # The inputs and the outputs, and of one block the largest feature maps: those of half the
    # height and width, from both sides of the U-Net.
    block = min(count, max(1, BLOCK // math.prod(generator.image_shape)))
    floats = count * pixels * (channels + generator.input_channels)
    floats += block * 3 * generator.width * pixels // 4
    memory.check(
        4 * floats,
        f"translating {count:,} images of {height}x{width}x{channels}",
        "translate fewer at a time, or smaller ones",
        jax.devices()[0],
    )


@functools.partial(jax.jit, static_argnames="generator")
def _translate(
    params: PyTree, images: jax.Array, key: jax.Array | None, generator: nn.Module
) -> jax.Array:
    keys = None
    if key is not None:
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images)))

    def one(inputs: tuple[jax.Array, jax.Array | None]) -> jax.Array:
        image, key = inputs
        image = 2 * image[None] - 1
        if key is None:
            made = generator.apply(params, image)
        else:
            made, _ = call(generator, params, image, key[None], axis_name=None)
        return (made[0] + 1) / 2

    block = max(1, BLOCK // math.prod(generator.image_shape))
    return jax.lax.map(one, (images, keys), batch_size=block)
