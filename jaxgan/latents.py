"""The noise that a generator starts from: how it is drawn, and how to walk through it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import chex
import jax
import jax.numpy as jnp


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """float32 of the given shape from N(0, 1)."""
    return jax.random.normal(key, shape)


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """float32 of the given shape from U(-1, 1)."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def lerp(start: jax.Array, end: jax.Array, fractions: jax.Array) -> jax.Array:
    """The straight line from start to end.

    Args:
        start: float [size].
        end: float [size].
        fractions: float [steps], 0 at start and 1 at end.

    Returns:
        float [steps, size].
    """
    _check_walk(start, end, fractions)
    t = fractions[:, None]
    return (1 - t) * start + t * end


def slerp(start: jax.Array, end: jax.Array, fractions: jax.Array) -> jax.Array:
    """The arc from start to end (Shoemake 1985; White 2016, arXiv 1609.04468, section 2.1).

    Normal noise in many dimensions lies near a sphere; a straight line leaves it, an arc does not.
    Where the two vectors are (anti)parallel no arc is defined: the straight line is given.

    Args:
        start: float [size].
        end: float [size].
        fractions: float [steps], 0 at start and 1 at end.

    Returns:
        float [steps, size].
    """
    _check_walk(start, end, fractions)
    # The values put in where there is no arc keep its gradient free of NaN there.
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
    """Raises a ValueError that lists the noises there are, if `noise` is none of them."""
    if noise not in NOISES:
        raise ValueError(f"unknown noise {noise!r}: one of {', '.join(NOISES)}")


def _check_walk(start: jax.Array, end: jax.Array, fractions: jax.Array) -> None:
    chex.assert_rank([start, end, fractions], 1)
    chex.assert_equal_shape([start, end])
