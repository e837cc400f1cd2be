"""Latent vectors: the distributions they are drawn from, and paths between two of them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import chex
import jax
import jax.numpy as jnp


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws float32 numbers of the given shape from N(0, 1)."""
    return jax.random.normal(key, shape, jnp.float32)


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws float32 numbers of the given shape from U(-1, 1)."""
    return jax.random.uniform(key, shape, jnp.float32, minval=-1.0, maxval=1.0)


def truncated(latents: jax.Array, bound: float) -> jax.Array:
    """Turns numbers of N(0, 1) into numbers of the normal distribution truncated to [-b, b].

    The truncation trick of Brock et al. 2018 (arXiv 1809.11096, section 3.1) draws a number again
    while its magnitude is above the bound. The distribution of what remains is the same here, where
    each number goes to the number of the same quantile: no random numbers are drawn again, and a
    latent stays similar while the bound changes.

    Args:
        latents: float32 [...] of N(0, 1).
        bound: above 0.

    Returns:
        float32 [...] in [-bound, bound].
    """
    root = 2**0.5
    inside = jax.scipy.special.erf(jnp.float32(bound / root))
    share = jax.scipy.special.erf(jnp.abs(latents) / root) * inside
    size = root * jax.scipy.special.erfinv(share)
    # A share that is rounded to 1 would give infinity. No number grows, and none passes the bound.
    size = jnp.minimum(size, jnp.minimum(jnp.abs(latents), jnp.float32(bound)))
    return jnp.sign(latents) * size


def lerp(start: jax.Array, end: jax.Array, fractions: jax.Array) -> jax.Array:
    """The straight line from start to end.

    Args:
        start: float [size].
        end: float [size].
        fractions: float [steps], 0 at start and 1 at end.

    Returns:
        float [steps, size].

    Raises:
        AssertionError: an argument has another shape (from chex).
    """
    _check_walk(start, end, fractions)
    t = fractions[:, None]
    return (1 - t) * start + t * end


def slerp(start: jax.Array, end: jax.Array, fractions: jax.Array) -> jax.Array:
    """The arc from start to end (Shoemake 1985; White 2016, arXiv 1609.04468, section 2.1).

    Vectors of N(0, 1) in many dimensions lie near a sphere. A straight line between two of them
    leaves the sphere, an arc stays near it. If the vectors are parallel or antiparallel, or one is
    zero, no arc is defined and the straight line is returned.

    Args:
        start: float [size].
        end: float [size].
        fractions: float [steps], 0 at start and 1 at end.

    Returns:
        float [steps, size].

    Raises:
        AssertionError: an argument has another shape (from chex).
    """
    _check_walk(start, end, fractions)
    # `where` discards the arc where none is defined, but its gradient there must be finite too: NaN
    # times zero is NaN. So its inputs are replaced there by numbers that are safe.
    squares = jnp.vdot(start, start) * jnp.vdot(end, end)
    cosine = jnp.vdot(start, end) / jnp.sqrt(jnp.where(squares == 0, 1, squares))
    no_arc = (squares == 0) | (jnp.abs(cosine) > 1 - 1e-6)
    angle = jnp.arccos(jnp.where(no_arc, 0.0, cosine))
    t = fractions[:, None]
    arc = (jnp.sin((1 - t) * angle) * start + jnp.sin(t * angle) * end) / jnp.sin(angle)
    return jnp.where(no_arc, lerp(start, end, fractions), arc)


NOISES: Mapping[str, Callable] = MappingProxyType({"normal": normal, "uniform": uniform})
WALKS: Mapping[str, Callable] = MappingProxyType({"normal": slerp, "uniform": lerp})


def check_noise(noise: str) -> None:
    """Checks the name of a distribution of latents.

    Raises:
        ValueError: `noise` is not a name in `NOISES`; the message lists them.
    """
    if noise not in NOISES:
        raise ValueError(f"unknown noise {noise!r}: one of {', '.join(NOISES)}")


def _check_walk(start: jax.Array, end: jax.Array, fractions: jax.Array) -> None:
    chex.assert_rank([start, end, fractions], 1)
    chex.assert_equal_shape([start, end])
