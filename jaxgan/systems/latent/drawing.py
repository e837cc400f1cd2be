"""Images from a trained generator. The functions are pure: they can be used in jit, vmap and grad.

`jaxgan.sampling` has the public functions of the same names, and documents their arguments, results
and errors.
"""

import functools
import math
import numbers
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.checks import as_typed_key, check_params
from jaxgan.latents import NOISES, WALKS, check_noise
from jaxgan.options import with_own_options

PyTree = Any
# Pixels of the images that are generated at a time. The activations of so few images stay in a
# CPU's cache.
BLOCK = 784_000


@with_own_options
def sample(
    params: PyTree,
    key: jax.Array,
    *,
    num_samples: int | None = None,
    labels: ArrayLike | None = None,
    noise: str = "normal",
    generator: nn.Module,
) -> jax.Array:
    """As `jaxgan.sample`, without a default generator."""
    if num_samples is None:
        num_samples = 64 if labels is None else _length(labels)
    _check_count("num_samples", num_samples, least=1)
    check_noise(noise)
    check_params(params, generator, *_inputs(generator))
    labels = _checked_labels(labels, int(num_samples), generator)
    return _sample(params, as_typed_key(key), labels, int(num_samples), noise, generator)


@with_own_options
def generate(
    params: PyTree,
    latents: jax.Array,
    *,
    labels: ArrayLike | None = None,
    generator: nn.Module,
) -> jax.Array:
    """As `jaxgan.generate`, without a default generator."""
    check_params(params, generator, *_inputs(generator))
    latents = jnp.asarray(latents)
    if latents.ndim != 2 or latents.shape[1] != generator.latent_size:
        raise ValueError(
            f"latents must have the shape (batch, {generator.latent_size}), not {latents.shape}"
        )
    labels = _checked_labels(labels, latents.shape[0], generator)
    return _generate(params, latents, labels, generator)


@with_own_options
def interpolate(
    params: PyTree,
    start: jax.Array,
    end: jax.Array,
    *,
    num_steps: int = 16,
    labels: ArrayLike | None = None,
    noise: str = "normal",
    generator: nn.Module,
) -> jax.Array:
    """As `jaxgan.interpolate`, without a default generator."""
    _check_count("num_steps", num_steps, least=2)
    check_noise(noise)
    for name, latent in (("start", start), ("end", end)):
        if jnp.shape(latent) != (generator.latent_size,):
            raise ValueError(
                f"{name} must have the shape ({generator.latent_size},), not {jnp.shape(latent)}"
            )
    path = WALKS[noise](
        jnp.asarray(start), jnp.asarray(end), jnp.linspace(0.0, 1.0, int(num_steps))
    )
    return generate(params, path, labels=labels, generator=generator)


@functools.partial(jax.jit, static_argnames=("num_samples", "noise", "generator"))
def _sample(
    params: PyTree,
    key: jax.Array,
    labels: jax.Array | None,
    num_samples: int,
    noise: str,
    generator: nn.Module,
) -> jax.Array:
    latents = NOISES[noise](key, (num_samples, generator.latent_size))
    block = max(1, BLOCK // math.prod(generator.image_shape))
    if num_samples <= block:
        return _generate(params, latents, labels, generator)
    whole = num_samples - num_samples % block
    inputs = latents, labels
    blocks = jax.tree.map(lambda x: x[:whole].reshape(-1, block, x.shape[1]), inputs)
    images = jax.lax.map(lambda inputs: _generate(params, *inputs, generator), blocks)
    images = images.reshape(whole, *images.shape[2:])
    rest = jax.tree.map(lambda x: x[whole:], inputs)
    return jnp.concatenate([images, _generate(params, *rest, generator)])


@functools.partial(jax.jit, static_argnames="generator")
def _generate(
    params: PyTree, latents: jax.Array, labels: jax.Array | None, generator: nn.Module
) -> jax.Array:
    inputs = (latents,) if labels is None else (latents, labels)
    # `apply` returns a tuple only if it is called with mutable=.
    return (cast(jax.Array, generator.apply(params, *inputs)) + 1) / 2


def _num_classes(generator: nn.Module) -> tuple[int, ...]:
    return getattr(generator, "num_classes", ())


def _length(labels: ArrayLike) -> int:
    return np.shape(labels)[0] if np.ndim(labels) else 0


def _checked_labels(labels: ArrayLike | None, count: int, generator: nn.Module) -> jax.Array | None:
    """Labels as int32 [count, k]; None if the generator is not conditional.

    Raises:
        ValueError: the labels are not those that the generator takes, or are missing.
    """
    num_classes = _num_classes(generator)
    if not num_classes:
        if labels is not None:
            raise ValueError("this generator takes no labels: it is not conditional")
        return None
    if labels is None:
        raise ValueError(
            "this generator is conditional: give labels=, int32 "
            f"[{count}, {len(num_classes)}], each below {', '.join(map(str, num_classes))}"
        )
    given = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    if given.ndim == 1 and len(num_classes) == 1:
        given = given[:, None]
    if given.shape != (count, len(num_classes)) or not jnp.issubdtype(given.dtype, jnp.integer):
        raise ValueError(
            f"labels must be integers of the shape ({count}, {len(num_classes)}), "
            f"not {given.dtype} of {np.shape(labels)}"
        )
    if not isinstance(given, jax.core.Tracer):
        for i, classes in enumerate(num_classes):
            column = np.asarray(given[:, i])
            if column.min() < 0 or column.max() >= classes:
                raise ValueError(
                    f"labels must be from 0 to below {classes} in column {i}, "
                    f"not {column.min()} to {column.max()}"
                )
    return jnp.asarray(given, jnp.int32)


def _inputs(generator: nn.Module) -> list[jax.ShapeDtypeStruct]:
    """The shapes and dtypes of the arguments that a generator is called with, for one image."""
    latents = jax.ShapeDtypeStruct((1, generator.latent_size), jnp.float32)
    num_classes = _num_classes(generator)
    labels = [jax.ShapeDtypeStruct((1, len(num_classes)), jnp.int32)] if num_classes else []
    return [latents, *labels]


def _check_count(name: str, count: int, *, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, numbers.Integral) or count < least:
        raise ValueError(f"{name} must be a whole number of {least} or more, not {count!r}")
