"""Images from a trained generator. Pure: usable inside a caller's own jit, vmap and grad."""

import functools
import math
import numbers
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.latents import NOISES, WALKS, check_noise
from jaxgan.systems.mlp_gan import networks as mlp

PyTree = Any
MNIST_GENERATOR = mlp.Generator()
# Pixels drawn at a time: so few that what is between two layers stays in a CPU's cache.
BLOCK = 784_000


def sample(
    params: PyTree,
    key: jax.Array,
    *,
    num_samples: int | None = None,
    labels: ArrayLike | None = None,
    noise: str = "normal",
    generator: nn.Module = MNIST_GENERATOR,
) -> jax.Array:
    """Draws images. The same key gives the same images.

    Args:
        params: what `generator.apply` takes, {"params": ...}; from `load_params`, for one.
        key: a PRNG key, typed (`jax.random.key`) or old-style (`jax.random.PRNGKey`).
        num_samples: how many, 1 or more; None: 64, or one for each of the labels.
        labels: what each image is to show, if the generator is conditional: int
            [num_samples, k], for each of its k labels the number of a class, from 0 to below
            generator.num_classes; of a single label [num_samples] will do.
        noise: "normal" or "uniform", what the generator was trained with (`Config.noise`).
        generator: the module that params belong to; by default the 2014 GAN's on MNIST.

    Returns:
        float32 [num_samples, height, width, channels] in [0, 1]; (64, 28, 28, 1) by default.

    Raises:
        ValueError: params of another network (the message names the first shape that is wrong), no
            key, unknown noise, num_samples below 1, or labels that the generator does not take
            (inside a caller's own jit, numbers out of range go unseen).
    """
    if num_samples is None:
        num_samples = 64 if labels is None else _length(labels)
    _check_count("num_samples", num_samples, least=1)
    check_noise(noise)
    check_params(params, generator, *_inputs(generator))
    labels = _checked_labels(labels, int(num_samples), generator)
    return _sample(params, as_typed_key(key), labels, int(num_samples), noise, generator)


def generate(
    params: PyTree,
    latents: jax.Array,
    *,
    labels: ArrayLike | None = None,
    generator: nn.Module = MNIST_GENERATOR,
) -> jax.Array:
    """The images of given latents, differentiable with respect to both.

    Args:
        params: as in `sample`.
        latents: float [batch, generator.latent_size].
        labels: as in `sample`, for each of the latents.
        generator: as in `sample`.

    Returns:
        float32 [batch, height, width, channels] in [0, 1].

    Raises:
        ValueError: params of another network, latents of another shape, or labels as in `sample`.
    """
    check_params(params, generator, *_inputs(generator))
    latents = jnp.asarray(latents)
    if latents.ndim != 2 or latents.shape[1] != generator.latent_size:
        raise ValueError(
            f"latents must have the shape (batch, {generator.latent_size}), not {latents.shape}"
        )
    labels = _checked_labels(labels, len(latents), generator)
    return _generate(params, latents, labels, generator)


def interpolate(
    params: PyTree,
    start: jax.Array,
    end: jax.Array,
    *,
    num_steps: int = 16,
    labels: ArrayLike | None = None,
    noise: str = "normal",
    generator: nn.Module = MNIST_GENERATOR,
) -> jax.Array:
    """Images on the way from one latent to another: an arc for normal noise, else a line.

    Args:
        params: as in `sample`.
        start: float [generator.latent_size], the latent of the first image.
        end: float [generator.latent_size], the latent of the last image.
        num_steps: how many images, both ends counted, 2 or more.
        labels: as in `sample`, what each image on the way is to show.
        noise: as in `sample`.
        generator: as in `sample`.

    Returns:
        float32 [num_steps, height, width, channels] in [0, 1].

    Raises:
        ValueError: as `sample` and `generate`, or num_steps below 2.
    """
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
    return (generator.apply(params, *inputs) + 1) / 2


def _num_classes(generator: nn.Module) -> tuple[int, ...]:
    return getattr(generator, "num_classes", ())


def _length(labels: ArrayLike) -> int:
    return np.shape(labels)[0] if np.ndim(labels) else 0


def _checked_labels(labels: ArrayLike | None, count: int, generator: nn.Module) -> jax.Array | None:
    """Labels as int32 [count, k]; None for a generator that takes none."""
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
    """What a generator of images from latents is called with, for one image."""
    latents = jax.ShapeDtypeStruct((1, generator.latent_size), jnp.float32)
    num_classes = _num_classes(generator)
    labels = [jax.ShapeDtypeStruct((1, len(num_classes)), jnp.int32)] if num_classes else []
    return [latents, *labels]


def as_typed_key(key: jax.Array) -> jax.Array:
    """A PRNG key as a typed one; a ValueError if it is none."""
    dtype = getattr(key, "dtype", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if typed and key.shape == ():
        return key
    if not typed and dtype == jnp.uint32 and key.ndim == 1:
        try:
            return jax.random.wrap_key_data(key)
        except TypeError:
            pass
    shown = f"{dtype} of shape {key.shape}" if dtype is not None else repr(key)
    raise ValueError(f"key must be one PRNG key, such as jax.random.key(0), not {shown}")


def _check_count(name: str, count: int, *, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, numbers.Integral) or count < least:
        raise ValueError(f"{name} must be a whole number of {least} or more, not {count!r}")


@functools.lru_cache(maxsize=8)
def _expected_shapes(
    generator: nn.Module, inputs: tuple[jax.ShapeDtypeStruct, ...]
) -> dict[str, tuple[int, ...]]:
    return _shapes(jax.eval_shape(generator.init, jax.random.key(0), *inputs))


def _shapes(variables: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): jnp.shape(leaf)
        for path, leaf in leaves
    }


def check_params(params: PyTree, generator: nn.Module, *inputs: jax.ShapeDtypeStruct) -> None:
    """Raises a ValueError, of the first shape that is wrong, if params are another network's.

    Args:
        params: what `generator.apply` should take.
        generator: the module.
        inputs: what it is called with.
    """
    expected, given = _expected_shapes(generator, inputs), _shapes(params)
    for name, shape in expected.items():
        if name not in given:
            raise ValueError(
                f"params have no {name}, of shape {shape}, which the generator wants: give what "
                "its init returns, or its module as generator="
            )
        if given[name] != shape:
            raise ValueError(
                f"{name} has the shape {given[name]}, but the generator wants {shape}: give the "
                "module that these params belong to as generator="
            )
    extra = sorted(given.keys() - expected.keys())
    if extra:
        raise ValueError(
            f"params have {extra[0]}, of shape {given[extra[0]]}, which the generator has not: "
            "give the module that they belong to as generator="
        )
