"""Maps of other sizes with the same numbers."""

import jax


def space_to_depth(x: jax.Array, size: int) -> jax.Array:
    """Makes a pixel of each block of size x size pixels: its channels are those of the block.

    Args:
        x: [batch, size * h, size * w, c].
        size: height and width of a block.

    Returns:
        [batch, h, w, size * size * c]. The channels are row by row those of the block's pixels.
    """
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // size, size, width // size, size, channels).swapaxes(2, 3)
    return x.reshape(batch, height // size, width // size, size * size * channels)


def depth_to_space(x: jax.Array, size: int) -> jax.Array:
    """The inverse of `space_to_depth`: [batch, h, w, size * size * c] -> [batch, ..., c]."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, size, size, channels // (size * size)).swapaxes(2, 3)
    return x.reshape(batch, size * height, size * width, -1)
