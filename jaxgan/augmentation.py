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


def draw_cut(key: jax.Array, margins: tuple[int, int]) -> jax.Array:
    """Draws the corner at which one enlarged image is cut to its size again.

    Args:
        key: typed PRNG key.
        margins: how many pixels higher and wider the enlarged image is.

    Returns:
        int32 [2]: the pixels from the top and from the left, each uniform in [0, margin].
    """
    return jax.random.randint(key, (2,), 0, 1 + jnp.asarray(margins), jnp.int32)


def enlarged_and_cut(images: jax.Array, corners: jax.Array, margins: tuple[int, int]) -> jax.Array:
    """Enlarges images by bicubic interpolation, and cuts each to its size again: jitter.

    Isola et al. 2016 (arXiv 1611.07004), section 6.2: images of 256x256 are resized to 286x286 and
    cut at a random place.

    Args:
        images: float [batch, height, width, channels] in [-1, 1].
        corners: int [batch, 2], as `draw_cut` draws them.
        margins: how many pixels higher and wider the enlarged image is.

    Returns:
        float [batch, height, width, channels] in [-1, 1].

    Raises:
        AssertionError: images or corners have another shape (from chex).
    """
    chex.assert_rank(images, 4)
    chex.assert_shape(corners, (len(images), 2))
    batch, height, width, channels = images.shape
    shape = (batch, height + margins[0], width + margins[1], channels)
    # Bicubic interpolation overshoots.
    large = jnp.clip(jax.image.resize(images, shape, "cubic"), -1, 1)

    def cut(image: jax.Array, corner: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:])

    return jax.vmap(cut)(large, corners)


def mirrored(images: jax.Array, which: jax.Array) -> jax.Array:
    """Mirrors some images left to right.

    Args:
        images: float [batch, height, width, channels].
        which: bool [batch], whether to mirror each image.
    """
    return jnp.where(which[:, None, None, None], images[:, :, ::-1], images)
