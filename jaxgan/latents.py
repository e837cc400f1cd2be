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
