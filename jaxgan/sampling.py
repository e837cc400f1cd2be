"""Images from a trained generator. Pure: usable inside a caller's own jit, vmap and grad."""

import functools
import numbers
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.latents import NOISES, WALKS, check_noise
from jaxgan.networks import mlp

PyTree = Any
MNIST_GENERATOR = mlp.Generator()
# Images drawn at a time: so few that what is between two layers stays in a CPU's cache.
BLOCK = 1000


def sample(
    params: PyTree,
    key: jax.Array,
    *,
    num_samples: int = 64,
    noise: str = "normal",
    generator: nn.Module = MNIST_GENERATOR,
) -> jax.Array:
    """Draws images. The same key gives the same images.

    Args:
        params: what `generator.apply` takes, {"params": ...}; from `load_params`, for one.
        key: a PRNG key, typed (`jax.random.key`) or old-style (`jax.random.PRNGKey`).
        num_samples: how many, 1 or more.
        noise: "normal" or "uniform", what the generator was trained with (`Config.noise`).
        generator: the module that params belong to; by default the 2014 GAN's on MNIST.

    Returns:
        float32 [num_samples, height, width, channels] in [0, 1]; (64, 28, 28, 1) by default.

    Raises:
        ValueError: params of another network (the message names the first shape that is wrong), no
            key, unknown noise, or num_samples below 1.
    """
    _check_count("num_samples", num_samples, least=1)
    check_noise(noise)
    _check_params(params, generator)
    return _sample(params, _as_typed_key(key), int(num_samples), noise, generator)


def generate(
    params: PyTree, latents: jax.Array, *, generator: nn.Module = MNIST_GENERATOR
) -> jax.Array:
    """The images of given latents, differentiable with respect to both.

    Args:
        params: as in `sample`.
        latents: float [batch, generator.latent_size].
        generator: as in `sample`.

    Returns:
        float32 [batch, height, width, channels] in [0, 1].

    Raises:
        ValueError: params of another network, or latents of another shape.
    """
    _check_params(params, generator)
    latents = jnp.asarray(latents)
    if latents.ndim != 2 or latents.shape[1] != generator.latent_size:
        raise ValueError(
            f"latents must have the shape (batch, {generator.latent_size}), not {latents.shape}"
        )
    return _generate(params, latents, generator)


def interpolate(
    params: PyTree,
    start: jax.Array,
    end: jax.Array,
    *,
    num_steps: int = 16,
    noise: str = "normal",
    generator: nn.Module = MNIST_GENERATOR,
) -> jax.Array:
    """Images on the way from one latent to another: an arc for normal noise, else a line.

    Args:
        params: as in `sample`.
        start: float [generator.latent_size], the latent of the first image.
        end: float [generator.latent_size], the latent of the last image.
        num_steps: how many images, both ends counted, 2 or more.
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
    return generate(params, path, generator=generator)


@functools.partial(jax.jit, static_argnames=("num_samples", "noise", "generator"))
def _sample(
    params: PyTree, key: jax.Array, num_samples: int, noise: str, generator: nn.Module
) -> jax.Array:
    latents = NOISES[noise](key, (num_samples, generator.latent_size))
    if num_samples <= BLOCK:
        return _generate(params, latents, generator)
    whole = num_samples - num_samples % BLOCK
    blocks = latents[:whole].reshape(-1, BLOCK, generator.latent_size)
    images = jax.lax.map(lambda block: _generate(params, block, generator), blocks)
    images = images.reshape(whole, *images.shape[2:])
    return jnp.concatenate([images, _generate(params, latents[whole:], generator)])


@functools.partial(jax.jit, static_argnames="generator")
def _generate(params: PyTree, latents: jax.Array, generator: nn.Module) -> jax.Array:
    return (generator.apply(params, latents) + 1) / 2


def _as_typed_key(key: jax.Array) -> jax.Array:
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
def _expected_shapes(generator: nn.Module) -> dict[str, tuple[int, ...]]:
    variables = jax.eval_shape(
        generator.init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, generator.latent_size), jnp.float32),
    )
    return _shapes(variables)


def _shapes(variables: PyTree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): jnp.shape(leaf)
        for path, leaf in leaves
    }


def _check_params(params: PyTree, generator: nn.Module) -> None:
    expected, given = _expected_shapes(generator), _shapes(params)
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
