"""Augmentation: changes to real and generated images before the discriminator judges them."""

import chex
import jax
import jax.numpy as jnp


def draw_shift(key: jax.Array, most: int, probability: float) -> jax.Array:
    """Draws how far one image is shifted.

    Args:
        key: typed PRNG key.
        most: the largest shift, in pixels.
        probability: of a shift; otherwise the shift is (0, 0).

    Returns:
        int32 [2]: the pixels down and right, each uniform in [-most, most].
    """
    pixels_key, use_key = jax.random.split(key)
    pixels = jax.random.randint(pixels_key, (2,), -most, most + 1, jnp.int32)
    return jnp.where(jax.random.bernoulli(use_key, jnp.float32(probability)), pixels, 0)


def shift(images: jax.Array, shifts: jax.Array, most: int) -> jax.Array:
    """Shifts each image. A pixel that was outside of the image repeats the nearest edge pixel.

    This is the augmentation "translation" of Zhao et al. 2020 (arXiv 2006.10738), section 3.2. If a
    part of the images is not shifted, the generator learns the right position: Karras et al. 2020
    (arXiv 2006.06676), section 2.2.

    Args:
        images: float [batch, height, width, channels].
        shifts: int [batch, 2], the pixels down and right, in [-most, most].
        most: the largest shift, in pixels.

    Returns:
        The shifted images: float [batch, height, width, channels], differentiable in `images`.

    Raises:
        AssertionError: images or shifts have another shape (from chex).
    """
    chex.assert_rank(images, 4)
    chex.assert_shape(shifts, (len(images), 2))
    margins = ((0, 0), (most, most), (most, most), (0, 0))
    padded = jnp.pad(images, margins, mode="edge")

    def cut(image: jax.Array, pixels: jax.Array) -> jax.Array:
        corner = (most - pixels[0], most - pixels[1], 0)
        return jax.lax.dynamic_slice(image, corner, images.shape[1:])

    return jax.vmap(cut)(padded, shifts)
