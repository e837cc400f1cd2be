"""Filtering of images with zeros between pixels, and with only some pixels kept: FIR resampling."""

from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

Pair = tuple[int, int]
# The binomial filter of Karras et al. 2018 (arXiv 1812.04948), section B; its sum is 1.
BINOMIAL = (0.125, 0.375, 0.375, 0.125)


def resample(
    x: jax.Array,
    taps: Sequence[float] | np.ndarray,
    *,
    up: Pair = (1, 1),
    down: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    gain: float = 1.0,
    is_flipped: bool = False,
) -> jax.Array:
    """Spreads, pads, filters and thins out maps: the operation of all of StyleGAN's resampling.

    Each channel is treated alone. First `up - 1` zeros follow each pixel, the last one too. Then
    the map is padded with zeros, or cut where `padding` is negative. Then it is convolved with the
    filter, where the filter is wholly inside. Of the result every `down`-th pixel is kept, from the
    first on (Karras et al. 2020, arXiv 1912.04958, appendix B).

    Args:
        x: float32 [batch, height, width, channels].
        taps: [n], one axis of the filter; the filter is the outer product of taps and taps.
        up: the factors of height and width by which the map grows.
        down: the factors of height and width by which it shrinks.
        padding: of the rows (before, after) and of the columns (before, after).
        gain: a factor of the result.
        is_flipped: whether to correlate with the filter, and not to convolve.

    Returns:
        float32 [batch, (up * height + padding - n) // down + 1, ..., channels].

    Raises:
        ValueError: the padded map is smaller than the filter.
    """
    for axis in (0, 1):
        x = _along(
            x, _factors(taps, gain, is_flipped), 1 + axis, up[axis], down[axis], padding[axis]
        )
    return x


def upsampled(x: jax.Array) -> jax.Array:
    """Doubles height and width with the binomial filter: [b, h, w, c] -> [b, 2h, 2w, c]."""
    return resample(x, BINOMIAL, up=(2, 2), padding=((2, 1), (2, 1)), gain=4)


def downsampled(x: jax.Array) -> jax.Array:
    """Halves height and width with the binomial filter: [b, 2h, 2w, c] -> [b, h, w, c]."""
    return resample(x, BINOMIAL, down=(2, 2), padding=((1, 1), (1, 1)))


def resampling_matrix(
    size: int,
    taps: Sequence[float] | np.ndarray,
    *,
    up: int = 1,
    down: int = 1,
    padding: Pair = (0, 0),
    gain: float = 1.0,
    is_flipped: bool = False,
) -> np.ndarray:
    """`resample` of one axis as a matrix. Such matrices can be multiplied before they are used.

    Args:
        size: the pixels of the axis.
        taps, up, down, padding, is_flipped: as in `resample`, of this axis.
        gain: as in `resample`; this axis has the square root of it.

    Returns:
        float64 [pixels of the result, size].
    """
    factors = _factors(taps, gain, is_flipped)
    length = (size * up + sum(padding) - len(factors)) // down + 1
    matrix = np.zeros((length, size))
    for row in range(length):
        for tap, value in enumerate(factors):
            place = row * down + tap - padding[0]
            if place % up == 0 and 0 <= place // up < size:
                matrix[row, place // up] += value
    return matrix


def _factors(taps: Any, gain: float, is_flipped: bool) -> np.ndarray:
    """What an axis is correlated with."""
    factors = np.asarray(taps, np.float64) * gain**0.5
    return factors if is_flipped else factors[::-1]


def _along(
    x: jax.Array, factors: np.ndarray, axis: int, up: int, down: int, padding: Pair
) -> jax.Array:
    size, (before, after) = x.shape[axis], padding
    length = size * up + before + after - len(factors) + 1
    if length < 1:
        raise ValueError(
            f"a filter of {len(factors)} taps is larger than the padded axis of "
            f"{size * up + before + after} pixels"
        )
    if up == 1:
        x = _padded(x, axis, before, after)
        return _weighted(x, axis, enumerate(factors), length, down)
    # The pixels of the result in turn see other taps: the rest of the filter is on zeros.
    count = -(-length // up)
    phases = [
        [
            ((phase + tap - before) // up, factor)
            for tap, factor in enumerate(factors)
            if (phase + tap - before) % up == 0
        ]
        for phase in range(up)
    ]
    offsets = [offset for taps in phases for offset, _ in taps]
    first = min(offsets)
    x = _padded(x, axis, -first, count + max(offsets) - size)
    parts = [
        _weighted(x, axis, [(offset - first, factor) for offset, factor in taps], count, 1)
        if taps
        else jnp.zeros_like(jax.lax.slice_in_dim(x, 0, count, axis=axis))
        for taps in phases
    ]
    y = jnp.stack(parts, axis + 1).reshape(*x.shape[:axis], count * up, *x.shape[axis + 1 :])
    return jax.lax.slice_in_dim(y, 0, length, down, axis)


def _weighted(x: jax.Array, axis: int, taps: Any, length: int, stride: int) -> jax.Array:
    """The sum of slices of an axis, each with a factor."""
    terms = (
        float(factor) * jax.lax.slice_in_dim(x, start, start + length, stride, axis)
        for start, factor in taps
    )
    return cast(jax.Array, sum(terms))


def _padded(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    """Pads an axis with zeros, or cuts it by negative numbers."""
    margins = [(before, after, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), margins)
