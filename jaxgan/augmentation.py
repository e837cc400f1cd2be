"""What is done to real and generated images alike before the discriminator sees them."""

import chex
import jax
import jax.numpy as jnp


def draw_shift(key: jax.Array, most: int, probability: float) -> jax.Array:
    """int32 [2], pixels down and right, each uniform in [-most, most]; or, else, (0, 0)."""
    shift_key, use_key = jax.random.split(key)
    shift = jax.random.randint(shift_key, (2,), -most, most + 1)
    return jnp.where(jax.random.bernoulli(use_key, probability), shift, 0)


def translate(images: jax.Array, shifts: jax.Array, most: int) -> jax.Array:
    """Moves each image; what comes in from outside repeats its nearest edge pixel.

    One of the augmentations of Zhao et al. 2020 (arXiv 2006.10738), section 3.2. Since not all
    images are moved, the generator learns where they belong: Karras et al. 2020 (arXiv 2006.06676),
    section 2.2.

    Args:
        images: float [batch, height, width, channels].
        shifts: int [batch, 2], pixels down and right, in [-most, most].
        most: the largest shift there is.

    Returns:
        As images, differentiable in them.
    """
    chex.assert_rank(images, 4)
    chex.assert_shape(shifts, (len(images), 2))
    margins = ((0, 0), (most, most), (most, most), (0, 0))
    padded = jnp.pad(images, margins, mode="edge")

    def cut(image: jax.Array, shift: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, (most - shift[0], most - shift[1], 0), images.shape[1:])

    return jax.vmap(cut)(padded, shifts)
