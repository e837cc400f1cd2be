"""Images from a trained generator. The functions are pure: they can be used in jit, vmap and grad.

`jaxgan.sampling` has the public functions of the same names, and documents their arguments, results
and errors.
"""

import functools
import math
import numbers
from collections.abc import Iterator
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan import memory
from jaxgan.checks import as_typed_key, check_params
from jaxgan.latents import NOISES, WALKS, check_noise
from jaxgan.options import with_own_options
from jaxgan.run.program import Classes, Input, Program, named_codes

PyTree = Any
# The distributions of `NOISES` as formulas.
_FORMULAS = {"normal": "N(0, 1)", "uniform": "U(-1, 1)"}
# Pixels of the images that are generated at a time. The activations of so few images stay in a
# CPU's cache.
BLOCK = 784_000
# Blocks in a part of `sample_in_parts`.
BLOCKS_IN_PART = 16
_FLOAT = 4  # bytes


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
    labels = _checked(params, num_samples, labels, noise, generator, whole=True)
    return _sample(params, as_typed_key(key), labels, int(num_samples), noise, generator)


@with_own_options
def sample_in_parts(
    params: PyTree,
    key: jax.Array,
    *,
    num_samples: int,
    labels: ArrayLike | None = None,
    noise: str = "normal",
    generator: nn.Module,
) -> Iterator[jax.Array]:
    """The images of `sample`, bit for bit, some at a time, so that not all are in memory at once.

    The arguments are checked before the first image is drawn.

    Args:
        params, key, num_samples, labels, noise, generator: as in `sample`.

    Returns:
        The images in order, float32 [n, height, width, channels] in [0, 1], `num_samples` in all.

    Raises:
        ValueError: as `sample`.
    """
    labels = _checked(params, num_samples, labels, noise, generator, whole=False)
    latents = _latents(as_typed_key(key), int(num_samples), noise, generator)
    length = BLOCKS_IN_PART * block_size(generator)
    draw = with_own_options(_images)  # The parts are drawn after this function has returned.
    return (
        draw(
            params,
            latents[first : first + length],
            None if labels is None else labels[first : first + length],
            generator,
        )
        for first in range(0, num_samples, length)
    )


def sample_bytes(generator: nn.Module, count: int, *, whole: bool = True) -> int:
    """The bytes of memory that drawing images takes at the most.

    Args:
        generator: the module.
        count: how many images are drawn.
        whole: whether all images are in memory at once, as `sample` gives them.
    """
    # Drawing latents needs three arrays of their size beside them. Joining blocks copies images.
    images = 2 * math.prod(generator.image_shape) if whole else 0
    return count * _FLOAT * (4 * generator.latent_size + images)


@with_own_options
def generate(
    params: PyTree,
    latents: jax.Array,
    *,
    labels: ArrayLike | None = None,
    generator: nn.Module,
) -> jax.Array:
    """As `jaxgan.generate`, without a default generator."""
    check_params(params, generator, *inputs_of(generator))
    latents = jnp.asarray(latents)
    if latents.ndim != 2 or latents.shape[1] != generator.latent_size:
        raise ValueError(
            f"latents must have the shape (batch, {generator.latent_size}), not {latents.shape}"
        )
    labels = checked_labels(labels, latents.shape[0], generator)
    return _generate(params, latents, labels, generator)


def program(
    params: PyTree,
    noise: str,
    classes: Classes = (),
    *,
    generator: nn.Module,
) -> Program:
    """The generator as a function of latents, and of labels if it is conditional.

    Args:
        params, noise, generator: as in `sample`.
        classes: (attribute, names of its classes) for each label.

    Raises:
        ValueError: params belong to another network.
    """
    check_params(params, generator, *inputs_of(generator))
    inputs = [Input("latents", (generator.latent_size,), "float32", _FORMULAS[noise])]
    if classes:
        inputs.append(Input("labels", (len(classes),), "int32", named_codes(classes)))

    def apply(params: PyTree, latents: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        return _generate(params, latents, labels, generator)

    return Program(tuple(inputs), params, apply)


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
    _check_count("num_steps", num_steps, least=2, generator=generator)
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


@with_own_options
def walk(
    params: PyTree,
    key: jax.Array,
    *,
    num_samples: int,
    num_steps: int,
    labels: ArrayLike | None = None,
    noise: str = "normal",
    generator: nn.Module,
) -> jax.Array:
    """Makes the images on a closed walk through the latents of `sample`.

    The walk goes from each latent to the next on the path of `interpolate`, and from the last one
    back to the first.

    Args:
        params, key, noise, generator: as in `sample`.
        num_samples: how many latents the walk goes through, 2 or more.
        num_steps: the images from a latent up to the next one, 1 or more.
        labels: as in `sample`, int [num_samples, k]. Up to the next latent, images have the labels
            of the latent that they come from.

    Returns:
        float32 [num_samples * num_steps, height, width, channels] in [0, 1]. Every `num_steps`-th
        is an image of `sample`.

    Raises:
        ValueError: a number is too small, or as `sample`.
    """
    check_walk(num_samples, num_steps, generator)
    labels = _checked(params, num_samples, labels, noise, generator, whole=True)
    latents = _latents(as_typed_key(key), num_samples, noise, generator)
    fractions = jnp.arange(num_steps) / num_steps
    legs = jax.vmap(WALKS[noise], (0, 0, None))(latents, jnp.roll(latents, -1, axis=0), fractions)
    path = legs.reshape(-1, latents.shape[1])
    repeated = None if labels is None else jnp.repeat(labels, num_steps, axis=0)
    return _images(params, path, repeated, generator)


def check_walk(num_samples: int, num_steps: int, generator: nn.Module) -> None:
    """Checks the numbers of `walk`, and that there is memory for its images.

    Raises:
        ValueError: a number is too small, or there is not enough memory.
    """
    _check_count("num_samples", num_samples, least=2, generator=generator)
    _check_count("num_steps", num_steps, least=1, generator=generator)
    _check_count("num_samples * num_steps", num_samples * num_steps, least=2, generator=generator)


@functools.partial(jax.jit, static_argnames=("num_samples", "noise", "generator"))
def _sample(
    params: PyTree,
    key: jax.Array,
    labels: jax.Array | None,
    num_samples: int,
    noise: str,
    generator: nn.Module,
) -> jax.Array:
    return _images(params, _latents(key, num_samples, noise, generator), labels, generator)


@functools.partial(jax.jit, static_argnames=("num_samples", "noise", "generator"))
def _latents(key: jax.Array, num_samples: int, noise: str, generator: nn.Module) -> jax.Array:
    return NOISES[noise](key, (num_samples, generator.latent_size))


@functools.partial(jax.jit, static_argnames="generator")
def _images(
    params: PyTree, latents: jax.Array, labels: jax.Array | None, generator: nn.Module
) -> jax.Array:
    num_samples, block = len(latents), block_size(generator)
    if num_samples <= block:
        return _generate(params, latents, labels, generator)
    whole = num_samples - num_samples % block
    inputs = latents, labels
    blocks = jax.tree.map(lambda x: x[:whole].reshape(-1, block, x.shape[1]), inputs)
    images = jax.lax.map(lambda inputs: _generate(params, *inputs, generator), blocks)
    images = images.reshape(whole, *images.shape[2:])
    rest = jax.tree.map(lambda x: x[whole:], inputs)
    return jnp.concatenate([images, _generate(params, *rest, generator)])


def block_size(generator: nn.Module) -> int:
    """How many images are generated at a time, 1 or more."""
    return max(1, BLOCK // math.prod(generator.image_shape))


@functools.partial(jax.jit, static_argnames="generator")
def _generate(
    params: PyTree, latents: jax.Array, labels: jax.Array | None, generator: nn.Module
) -> jax.Array:
    inputs = (latents,) if labels is None else (latents, labels)
    # `apply` returns a tuple only if it is called with mutable=.
    return (cast(jax.Array, generator.apply(params, *inputs)) + 1) / 2


def _checked(
    params: PyTree,
    num_samples: int,
    labels: ArrayLike | None,
    noise: str,
    generator: nn.Module,
    *,
    whole: bool,
) -> jax.Array | None:
    """Checks the arguments of `sample`, and gives the labels as `checked_labels`."""
    _check_count("num_samples", num_samples, least=1, generator=generator, whole=whole)
    check_noise(noise)
    check_params(params, generator, *inputs_of(generator))
    return checked_labels(labels, int(num_samples), generator)


def _num_classes(generator: nn.Module) -> tuple[int, ...]:
    return getattr(generator, "num_classes", ())


def _length(labels: ArrayLike) -> int:
    return np.shape(labels)[0] if np.ndim(labels) else 0


def checked_labels(labels: ArrayLike | None, count: int, generator: nn.Module) -> jax.Array | None:
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


def inputs_of(generator: nn.Module) -> list[jax.ShapeDtypeStruct]:
    """The shapes and dtypes of the arguments that a generator is called with, for one image."""
    latents = jax.ShapeDtypeStruct((1, generator.latent_size), jnp.float32)
    num_classes = _num_classes(generator)
    labels = [jax.ShapeDtypeStruct((1, len(num_classes)), jnp.int32)] if num_classes else []
    return [latents, *labels]


def _check_count(
    name: str, count: int, *, least: int, generator: nn.Module, whole: bool = True
) -> None:
    if isinstance(count, bool) or not isinstance(count, numbers.Integral) or count < least:
        raise ValueError(f"{name} must be a whole number of {least} or more, not {count!r}")
    memory.check(
        sample_bytes(generator, int(count), whole=whole),
        f"{name}={int(count):,}",
        "take fewer at a time, each time with another key",
        jax.devices()[0],
    )
