"""Checks of a caller's arguments: a PRNG key, images, the params of a network."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

PyTree = Any


def as_typed_key(key: jax.Array) -> jax.Array:
    """Turns a PRNG key into a typed one.

    Args:
        key: a single key, typed (`jax.random.key`) or old-style (uint32 [n]).

    Raises:
        ValueError: the argument is not a single PRNG key.
    """
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


def checked_images(images: ArrayLike, image_shape: tuple[int, int, int]) -> jax.Array:
    """Images as float32 in [0, 1].

    Args:
        images: [n, *image_shape], n at least 1: float in [0, 1], or uint8.
        image_shape: height, width and channels.

    Returns:
        float32 [n, *image_shape].

    Raises:
        ValueError: they have another shape or dtype, or there are none.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[1:] != tuple(image_shape) or not len(images):
        raise ValueError(
            f"images must have the shape (n, {', '.join(map(str, image_shape))}), not "
            f"{images.shape}"
        )
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images must be float in [0, 1] or uint8, not {images.dtype}")
    return images.astype(jnp.float32)


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
    """Checks that params belong to a network: the same names with the same shapes.

    Args:
        params: the variables that `generator.apply` is to take, {"params": ...}.
        generator: the module.
        inputs: the shapes and dtypes of the arguments that the module is called with.

    Raises:
        ValueError: params belong to another network. The message names the first wrong shape.
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
