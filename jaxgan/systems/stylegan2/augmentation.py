"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676, appendix B).

Each operation is applied to an image with a probability p, or left out. Those of the geometry are
collected in one affine map, those of the colours in one matrix.
"""

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfinv

from jaxgan.layers.filtering import resampling_matrix

GEOMETRY = (
    *("xflip", "rotate90", "xint"),
    *("scale", "rotate", "aniso", "xfrac"),
)
COLOURS = ("brightness", "contrast", "lumaflip", "hue", "saturation")
# Named sets of operations, as the official code names them.
PIPELINES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "none": (),
        "blit": GEOMETRY[:3],
        "geom": GEOMETRY[3:],
        "color": COLOURS,
        "filter": ("imgfilter",),
        "noise": ("noise",),
        "cutout": ("cutout",),
        "bg": GEOMETRY,
        "bgc": GEOMETRY + COLOURS,
        "bgcf": (*GEOMETRY, *COLOURS, "imgfilter"),
        "bgcfn": (*GEOMETRY, *COLOURS, "imgfilter", "noise"),
        "bgcfnc": (*GEOMETRY, *COLOURS, "imgfilter", "noise", "cutout"),
    }
)
# Each use of randomness has its own key, folded with the place of its name here.
_USES = (
    *GEOMETRY,
    "rotate_after",
    *COLOURS,
    *("imgfilter_0", "imgfilter_1", "imgfilter_2", "imgfilter_3"),
    *("noise", "cutout", "noise_pixels"),
)
# Strengths: appendix B, table 3.
_SHIFT, _SCALE, _BRIGHTNESS, _CONTRAST, _SATURATION = 0.125, 0.2, 0.2, 0.5, 1.0
_BAND, _NOISE, _CUTOUT = 1.0, 0.1, 0.5
# The power of natural images in the four bands of the filter.
_POWER = np.array([10.0, 1.0, 1.0, 1.0]) / 13
# Daubechies' least asymmetric wavelets of 2 and 6 vanishing moments; the sum of taps is sqrt(2).
_SYM2 = (-0.12940952255092145, 0.22414386804185735, 0.836516303737469, 0.48296291314469025)
_SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
SMOOTH = np.array(_SYM6) / np.sum(_SYM6)
# Pixels that the wavelet's filter needs around a map, at the size before it is doubled.
_AROUND = len(SMOOTH) // 4


class Source(Protocol):
    """Where the random numbers of one image come from."""

    def uniform(self, use: str, shape: tuple[int, ...] = ()) -> jax.Array:
        """Float32 numbers in [0, 1)."""

    def normal(self, use: str, shape: tuple[int, ...] = ()) -> jax.Array:
        """Float32 numbers of N(0, 1)."""

    def chosen(self, use: str, probability: jax.Array, value: jax.Array, other: Any) -> jax.Array:
        """The value with a probability, else the other one."""


class Drawn(Source):
    """Random numbers of a key. A use of another name has other numbers."""

    def __init__(self, key: jax.Array):
        self._key = key

    def uniform(self, use: str, shape: tuple[int, ...] = ()) -> jax.Array:
        return jax.random.uniform(self._key_of(use, 0), shape, jnp.float32)

    def normal(self, use: str, shape: tuple[int, ...] = ()) -> jax.Array:
        return jax.random.normal(self._key_of(use, 0), shape, jnp.float32)

    def chosen(self, use: str, probability: jax.Array, value: jax.Array, other: Any) -> jax.Array:
        is_on = jax.random.uniform(self._key_of(use, 1), (), jnp.float32) < probability
        return jnp.where(is_on, value, other)

    def _key_of(self, use: str, which: int) -> jax.Array:
        return jax.random.fold_in(self._key, 2 * _USES.index(use) + which)


class AtQuantile(Source):
    """Each number at the same place of its distribution, and each operation done.

    This is the aid of the official code to see what the operations do: a normal number is
    erfinv(2 q - 1), which is its quantile without the factor sqrt(2), and the second rotation is 0.
    """

    def __init__(self, quantile: float | jax.Array):
        self._quantile = quantile

    def uniform(self, use: str, shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.full(shape, 0.5 if use == "rotate_after" else self._quantile, jnp.float32)

    def normal(self, use: str, shape: tuple[int, ...] = ()) -> jax.Array:
        return jnp.broadcast_to(erfinv(jnp.asarray(2 * self._quantile - 1, jnp.float32)), shape)

    def chosen(self, use: str, probability: jax.Array, value: jax.Array, other: Any) -> jax.Array:
        return value


def augment(
    images: jax.Array, keys: jax.Array, probability: jax.Array, operations: tuple[str, ...]
) -> jax.Array:
    """Augments each image in its own way.

    Args:
        images: float32 [batch, height, width, channels] in [-1, 1].
        keys: typed PRNG keys [batch].
        probability: float32 scalar of 0 or more, of each operation.
        operations: names of `PIPELINES["bgcfnc"]`.

    Returns:
        float32 [batch, height, width, channels], differentiable in `images`. Numbers may leave
        [-1, 1].

    Raises:
        ValueError: an operation is unknown, or images of fewer than 22 pixels are to be filtered.
    """
    check_operations(operations)

    def of_one(image: jax.Array, key: jax.Array) -> jax.Array:
        return augmented(image, Drawn(key), probability, operations)

    return jax.vmap(of_one)(images, keys)


def check_operations(operations: tuple[str, ...]) -> None:
    """Checks the names of operations.

    Raises:
        ValueError: a name is unknown; the message lists the known ones.
    """
    known = PIPELINES["bgcfnc"]
    for name in operations:
        if name not in known:
            raise ValueError(f"unknown augmentation {name!r}: one of {', '.join(known)}")


def augmented(
    image: jax.Array, source: Source, probability: jax.Array, operations: tuple[str, ...]
) -> jax.Array:
    """Augments one image: float32 [height, width, channels] -> the same shape.

    The other arguments are as in `augment`, with the source of the random numbers in the place of
    the key.
    """
    if set(operations) & set(GEOMETRY):
        inverse = inverse_map(source, probability, operations, image.shape[0], image.shape[1])
        image = moved(image, inverse)
    if set(operations) & set(COLOURS):
        matrix = colour_matrix(source, probability, operations, image.shape[-1])
        image = recoloured(image, matrix)
    if "imgfilter" in operations:
        image = _filtered(image, source, probability)
    if "noise" in operations:
        strength = jnp.abs(source.normal("noise")) * _NOISE
        strength = source.chosen("noise", probability, strength, 0.0)
        image = image + strength * source.normal("noise_pixels", image.shape)
    if "cutout" in operations:
        image = image * _kept(source, probability, image.shape[0], image.shape[1])
    return image


def inverse_map(
    source: Source, probability: jax.Array, operations: tuple[str, ...], height: int, width: int
) -> jax.Array:
    """Where each pixel of the result comes from.

    Returns:
        float32 [3, 3]: the affine map of (x, y, 1), in pixels from the middle of the image.
    """
    matrix = jnp.eye(3, dtype=jnp.float32)
    size = jnp.array([width, height], jnp.float32)
    if "xflip" in operations:
        turn = jnp.floor(source.uniform("xflip") * 2)
        turn = source.chosen("xflip", probability, turn, 0.0)
        matrix = _times(matrix, _scaling(1 - 2 * turn, jnp.float32(1)))
    if "rotate90" in operations:
        turns = jnp.floor(source.uniform("rotate90") * 4)
        turns = source.chosen("rotate90", probability, turns, 0.0)
        matrix = _times(matrix, _rotation(math.pi / 2 * turns))
    if "xint" in operations:
        shift = (source.uniform("xint", (2,)) * 2 - 1) * _SHIFT
        shift = source.chosen("xint", probability, shift, 0.0)
        matrix = _times(matrix, _shifting(-jnp.round(shift * size)))
    if "scale" in operations:
        factor = jnp.exp2(source.normal("scale") * _SCALE)
        factor = source.chosen("scale", probability, factor, 1.0)
        matrix = _times(matrix, _scaling(1 / factor, 1 / factor))
    # Of each of the two rotations, so that at least one is done with `probability`.
    either = 1 - jnp.sqrt(jnp.clip(1 - probability, 0, 1))
    if "rotate" in operations:
        matrix = _times(matrix, _rotation(_angle(source, "rotate", either)))
    if "aniso" in operations:
        factor = jnp.exp2(source.normal("aniso") * _SCALE)
        factor = source.chosen("aniso", probability, factor, 1.0)
        matrix = _times(matrix, _scaling(1 / factor, factor))
    if "rotate" in operations:
        matrix = _times(matrix, _rotation(_angle(source, "rotate_after", either)))
    if "xfrac" in operations:
        shift = source.normal("xfrac", (2,)) * _SHIFT
        shift = source.chosen("xfrac", probability, shift, 0.0)
        matrix = _times(matrix, _shifting(-shift * size))
    return matrix


def moved(image: jax.Array, inverse: jax.Array) -> jax.Array:
    """Moves an image by an affine map, at twice its size and smoothed by a wavelet's filter.

    Outside, the image is reflected, up to once its size. The official code reflects as far as the
    farthest corner of the batch needs. As shapes are static here, it is always as far as it may be.

    Args:
        image: float32 [height, width, channels].
        inverse: from `inverse_map`.

    Returns:
        float32 [height, width, channels].
    """
    height, width, _ = image.shape
    rows, columns = _enlarging(height), _enlarging(width)
    large = _along_both(rows, columns, image)
    # The grid of the result is twice the image's size, with pixels for the filter around it.
    grid_height, grid_width = 2 * (height + 2 * _AROUND), 2 * (width + 2 * _AROUND)
    x = jnp.arange(grid_width, dtype=jnp.float32) + 0.5 - grid_width / 2
    y = jnp.arange(grid_height, dtype=jnp.float32) + 0.5 - grid_height / 2
    # Doubling moves the middle by a half of a pixel: the filter has an even number of taps.
    half = jnp.float32(0.5)
    twice = _times(_shifting(-jnp.stack([half, half])), _times(_scaling(2.0, 2.0), inverse))
    map_ = _times(_times(twice, _scaling(0.5, 0.5)), _shifting(jnp.stack([half, half])))
    x_from = map_[0, 0] * x + map_[0, 1] * y[:, None] + map_[0, 2]
    y_from = map_[1, 0] * x + map_[1, 1] * y[:, None] + map_[1, 2]
    sampled = _sampled(large, x_from + large.shape[1] / 2 - 0.5, y_from + large.shape[0] / 2 - 0.5)
    return _along_both(_shrinking(height), _shrinking(width), sampled)


def colour_matrix(
    source: Source, probability: jax.Array, operations: tuple[str, ...], channels: int
) -> jax.Array:
    """How the colours of an image change.

    Returns:
        float32 [4, 4]: the affine map of (red, green, blue, 1).
    """
    matrix = jnp.eye(4, dtype=jnp.float32)
    grey = jnp.array([1, 1, 1, 0], jnp.float32) / math.sqrt(3)
    along_grey = jnp.outer(grey, grey)
    if "brightness" in operations:
        shift = source.normal("brightness") * _BRIGHTNESS
        shift = source.chosen("brightness", probability, shift, 0.0)
        matrix = _times(jnp.eye(4).at[:3, 3].set(shift), matrix)
    if "contrast" in operations:
        factor = jnp.exp2(source.normal("contrast") * _CONTRAST)
        factor = source.chosen("contrast", probability, factor, 1.0)
        matrix = _times(jnp.diag(jnp.stack([factor, factor, factor, jnp.ones(())])), matrix)
    if "lumaflip" in operations:
        turn = jnp.floor(source.uniform("lumaflip") * 2)
        turn = source.chosen("lumaflip", probability, turn, 0.0)
        matrix = _times(jnp.eye(4) - 2 * turn * along_grey, matrix)
    if "hue" in operations and channels > 1:
        angle = (source.uniform("hue") * 2 - 1) * math.pi
        angle = source.chosen("hue", probability, angle, 0.0)
        matrix = _times(_turned_about_grey(angle), matrix)
    if "saturation" in operations and channels > 1:
        factor = jnp.exp2(source.normal("saturation") * _SATURATION)
        factor = source.chosen("saturation", probability, factor, 1.0)
        matrix = _times(along_grey + (jnp.eye(4) - along_grey) * factor, matrix)
    return matrix


def recoloured(image: jax.Array, matrix: jax.Array) -> jax.Array:
    """Changes the colours of an image: [h, w, c] and [4, 4] -> [h, w, c].

    A grey image has one factor and one shift, the means of those that an image of three equal
    channels would have.
    """
    if image.shape[-1] == 1:
        row = jnp.mean(matrix[:3], axis=0)
        return image * jnp.sum(row[:3]) + row[3]
    changed = jnp.einsum("hwc,dc->hwd", image, matrix[:3, :3], precision=jax.lax.Precision.HIGHEST)
    return changed + matrix[:3, 3]


@functools.cache
def filter_bank() -> np.ndarray:
    """The filters of four octaves, whose sum is 1 at the middle tap alone: float64 [4, 43].

    Appendix B.2: band 0 is what is left below the lowest octave. Each split of the lowest band into
    two halves spreads the filters so far, convolves them with the low-pass half-band filter of the
    wavelet sym2, and gives the high-pass one to the new band.
    """
    low = np.array(_SYM2)
    high = low * (-1.0) ** np.arange(len(low))
    low, high = (np.convolve(each, each[::-1]) / 2 for each in (low, high))
    bank = np.zeros((len(_POWER), 1))
    bank[0] = 1
    for band in range(1, len(bank)):
        spread = np.zeros((len(bank), 2 * bank.shape[1] - 1))
        spread[:, ::2] = bank
        bank = np.stack([np.convolve(each, low) for each in spread])
        first = (bank.shape[1] - len(high)) // 2
        bank[band, first : first + len(high)] += high
    return bank


def _filtered(image: jax.Array, source: Source, probability: jax.Array) -> jax.Array:
    """Strengthens or weakens octaves of frequencies, so that the expected power stays."""
    gains = jnp.ones(len(_POWER), jnp.float32)
    for band in range(len(_POWER)):
        use = f"imgfilter_{band}"
        factor = jnp.exp2(source.normal(use) * _BAND)
        factor = source.chosen(use, probability, factor, 1.0)
        own = jnp.ones(len(_POWER)).at[band].set(factor)
        gains = gains * own / jnp.sqrt(jnp.sum(_POWER * jnp.square(own)))
    taps = jnp.matmul(
        gains, jnp.asarray(filter_bank(), jnp.float32), precision=jax.lax.Precision.HIGHEST
    )

    def matrix(size: int) -> jax.Array:
        margin = len(taps) // 2
        rows, columns = np.arange(size)[:, None], np.arange(size + 2 * margin)
        place = columns - rows
        is_inside = (place >= 0) & (place < len(taps))
        band = jnp.where(is_inside, taps[np.clip(place, 0, len(taps) - 1)], 0)
        return jnp.matmul(
            band,
            jnp.asarray(_reflecting(size, margin), jnp.float32),
            precision=jax.lax.Precision.HIGHEST,
        )

    return _along_both(matrix(image.shape[0]), matrix(image.shape[1]), image)


def _kept(source: Source, probability: jax.Array, height: int, width: int) -> jax.Array:
    """1 where an image stays, 0 in a rectangle of half its height and width: [h, w, 1]."""
    size = source.chosen("cutout", probability, jnp.float32(_CUTOUT), 0.0)
    centre = source.uniform("cutout", (2,))
    x = jnp.abs((jnp.arange(width) + 0.5) / width - centre[0])
    y = jnp.abs((jnp.arange(height) + 0.5) / height - centre[1])
    is_kept = (x >= size / 2) | (y >= size / 2)[:, None]
    return is_kept.astype(jnp.float32)[..., None]


def _angle(source: Source, use: str, probability: jax.Array) -> jax.Array:
    return source.chosen(use, probability, (source.uniform(use) * 2 - 1) * math.pi, 0.0)


def _scaling(x: Any, y: Any) -> jax.Array:
    return jnp.diag(jnp.stack([jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), 1.0]))


def _rotation(angle: jax.Array) -> jax.Array:
    """By an angle from the x axis to the y axis."""
    sine, cosine, zero = jnp.sin(angle), jnp.cos(angle), jnp.zeros(())
    return jnp.array([[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, 1]])


def _shifting(shift: jax.Array) -> jax.Array:
    return jnp.eye(3).at[:2, 2].set(shift)


def _turned_about_grey(angle: jax.Array) -> jax.Array:
    """The rotation of colours about the axis (1, 1, 1): [4, 4] (Rodrigues' formula)."""
    unit = 1 / math.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) * unit
    turn = jnp.cos(angle) * jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) / 3
    return jnp.eye(4).at[:3, :3].set(turn)


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _along_both(rows: Any, columns: Any, image: jax.Array) -> jax.Array:
    """Multiplies the rows and the columns of an image [h, w, c] by matrices."""
    exact = jax.lax.Precision.HIGHEST
    rows, columns = jnp.asarray(rows, jnp.float32), jnp.asarray(columns, jnp.float32)
    image = jnp.einsum("yh,hwc->ywc", rows, image, precision=exact)
    return jnp.einsum("xw,ywc->yxc", columns, image, precision=exact)


@functools.cache
def _reflecting(size: int, margin: int) -> np.ndarray:
    """The matrix that reflects an axis at both ends, without repeating the end: [.., size].

    Raises:
        ValueError: the margin is not smaller than the axis.
    """
    if margin >= size:
        raise ValueError(f"an axis of {size} pixels cannot be reflected by {margin}: take larger")
    return np.pad(np.eye(size), ((margin, margin), (0, 0)), mode="reflect")


@functools.cache
def _enlarging(size: int) -> np.ndarray:
    """Reflection by a whole size, then doubling with the wavelet's filter, as one matrix."""
    reflecting = _reflecting(size, size - 1)
    count = len(SMOOTH)
    return (
        resampling_matrix(
            len(reflecting), SMOOTH, up=2, padding=((count + 1) // 2, (count - 2) // 2), gain=4
        )
        @ reflecting
    )


@functools.cache
def _shrinking(size: int) -> np.ndarray:
    """Halving with the wavelet's flipped filter; what lies around the image is cut off."""
    margin = (len(SMOOTH) - 2) // 2 - 2 * _AROUND
    return resampling_matrix(
        2 * (size + 2 * _AROUND), SMOOTH, down=2, padding=(margin, margin), is_flipped=True
    )


def _sampled(image: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Bilinear interpolation between pixels; outside are zeros.

    Args:
        image: float32 [h, w, c].
        x: float32 [rows, columns], the columns of `image` to read; 0 is the first one's centre.
        y: as x, the rows.

    Returns:
        float32 [rows, columns, c].
    """
    height, width, channels = image.shape
    left, top = jnp.floor(x), jnp.floor(y)
    right_share, bottom_share = x - left, y - top
    flat = image.reshape(-1, channels)
    result = jnp.zeros((*x.shape, channels), jnp.float32)
    for down in range(2):
        for right in range(2):
            row, column = top + down, left + right
            is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            share = (bottom_share if down else 1 - bottom_share) * (
                right_share if right else 1 - right_share
            )
            # Whole numbers above 2**24 have no float32 of their own.
            row, column = (each.astype(jnp.int32) for each in (row, column))
            place = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
            pixels = flat[place]
            result = result + jnp.where(is_inside, share, 0)[..., None] * pixels
    return result
