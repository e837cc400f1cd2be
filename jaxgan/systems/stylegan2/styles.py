"""Styles: from latents to styles, mixtures of them, and images of them. The functions are pure.

Styles are float32 [n, layers, style_size]: a style for each layer of the generator, of which there
are `Generator.num_styles`. The smallest layers come first.
"""

import functools
import re
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan import checks, memory
from jaxgan.checks import as_typed_key
from jaxgan.latents import normal
from jaxgan.options import with_own_options
from jaxgan.systems.latent import drawing
from jaxgan.systems.stylegan2.networks import BUFFERS, Generator, label_vectors

PyTree = Any
# The share of the layers whose styles change places by default: 7 of 18, as in the official tool.
COARSE = 7 / 18
_SPAN = re.compile(r"(\d+)(?:-(\d+))?")


def latents_of_seeds(seeds: Sequence[int], latent_size: int) -> np.ndarray:
    """The latents of which NVIDIA's generate.py makes the images of these seeds.

    With imported weights they give the images of that tool, up to rounding, with the noise that the
    weights hold (its noise mode "const") and the same truncation. The tool writes a pixel x in
    [-1, 1] as the byte floor(127.5 x + 128), at most 255.

    Args:
        seeds: each from 0 to below 2**32.
        latent_size: the size of a latent.

    Returns:
        float32 [len(seeds), latent_size], of N(0, 1).

    Raises:
        ValueError: a seed is out of its range.
    """
    for seed in seeds:
        if not 0 <= seed < 2**32:
            raise ValueError(f"a seed must be from 0 to below 2**32, not {seed}")
    rows = [np.random.RandomState(seed).randn(latent_size) for seed in seeds]
    return np.array(rows, np.float32).reshape(len(rows), latent_size)


@with_own_options
def styles_of(
    params: PyTree, latents: ArrayLike, *, labels: ArrayLike | None = None, generator: Generator
) -> jax.Array:
    """Maps latents to styles, truncated as the generator says.

    Args:
        params: the generator's variables, {"params": ..., "buffers": ...}.
        latents: float [n, generator.latent_size].
        labels: int [n, k] as `jaxgan.sample` takes them; None if the generator is not conditional.
        generator: the module that params belong to; `generator.truncation` and `cutoff` are psi and
            the layers that are truncated (arXiv 1912.04958, and Karras et al. 2019, arXiv
            1812.04948, appendix B).

    Returns:
        float32 [n, layers, style_size].

    Raises:
        ValueError: params belong to another network, latents have another shape, or the generator
            does not accept the labels.
    """
    check_params(params, generator)
    latents = jnp.asarray(latents)
    if latents.ndim != 2 or latents.shape[1] != generator.latent_size:
        raise ValueError(
            f"latents must have the shape (n, {generator.latent_size}), not {latents.shape}"
        )
    labels = drawing.checked_labels(labels, len(latents), generator)
    return _styles_of(params, latents.astype(jnp.float32), labels, generator)


@with_own_options
def render(
    params: PyTree, styles: ArrayLike, *, noise: PyTree = None, generator: Generator
) -> jax.Array:
    """Makes the images of styles.

    Args:
        params: the generator's variables.
        styles: float [n, layers, style_size], n at least 1.
        noise: the noise of each image, as `Projection` has it: the tree of
            params["buffers"]["synthesis"] with leaves [n, height, width]. None for the constant
            noise of the params, the same for all images.
        generator: the module that params belong to. Its truncation does not count: styles are taken
            as they are.

    Returns:
        float32 [n, height, width, channels] in [0, 1].

    Raises:
        ValueError: params belong to another network, styles or noise have another shape, or there
            is not enough memory.
    """
    check_params(params, generator)
    styles = checked_styles(styles, generator)
    memory.check(
        drawing.sample_bytes(generator, len(styles)),
        f"making {len(styles):,} images",
        "make fewer at a time",
        jax.devices()[0],
    )
    if noise is not None:
        _check_noise(noise, params, len(styles))
    return _render(params, styles, noise, generator)


@with_own_options
def walk(
    params: PyTree,
    key: jax.Array,
    num_samples: int,
    num_steps: int,
    *,
    labels: ArrayLike | None = None,
    generator: Generator,
) -> jax.Array:
    """Makes the images on a closed walk through the styles of `jaxgan.sample`'s images.

    The walk goes straight from each style to the next, and from the last one back to the first.

    Args:
        params, labels, generator: as in `styles_of`.
        key: a PRNG key.
        num_samples: how many images of `jaxgan.sample` the walk goes through, 2 or more.
        num_steps: the images from one of them up to the next, 1 or more.

    Returns:
        float32 [num_samples * num_steps, height, width, channels] in [0, 1].

    Raises:
        ValueError: a number is too small, or as `styles_of`.
    """
    drawing.check_walk(num_samples, num_steps, generator)
    latents = normal(as_typed_key(key), (num_samples, generator.latent_size))
    stops = styles_of(params, latents, labels=labels, generator=generator)
    fractions = (jnp.arange(num_steps) / num_steps)[:, None, None]
    legs = stops[:, None] + fractions * (jnp.roll(stops, -1, axis=0) - stops)[:, None]
    return render(params, legs.reshape(-1, *stops.shape[1:]), generator=generator)


def crossed(rows: ArrayLike, columns: ArrayLike, layers: Sequence[int]) -> jax.Array:
    """Crosses the styles of rows with those of columns (Karras et al. 2019, arXiv 1812.04948).

    Figure 3 there has such a table.

    Args:
        rows: float [r, layers, style_size].
        columns: float [c, layers, style_size].
        layers: the layers that take the column's style; all others have the row's.

    Returns:
        float32 [r, c, layers, style_size].

    Raises:
        ValueError: rows and columns do not go together, or there is no such layer.
    """
    rows, columns = jnp.asarray(rows, jnp.float32), jnp.asarray(columns, jnp.float32)
    if rows.ndim != 3 or columns.ndim != 3 or rows.shape[1:] != columns.shape[1:]:
        raise ValueError(
            "rows and columns must have the shapes (r, layers, style_size) and (c, layers, "
            f"style_size), not {rows.shape} and {columns.shape}"
        )
    is_column = layer_mask(layers, rows.shape[1])
    return jnp.where(is_column[:, None], columns[None], rows[:, None])


def layer_mask(layers: Sequence[int] | None, num_styles: int) -> np.ndarray:
    """Which layers are meant: bool [num_styles]; None means all.

    Raises:
        ValueError: there is no such layer.
    """
    chosen = np.arange(num_styles) if layers is None else np.asarray(layers, int)
    if not ((chosen >= 0) & (chosen < num_styles)).all():
        raise ValueError(f"layers must be from 0 to {num_styles - 1}, not {list(layers or ())}")
    return np.isin(np.arange(num_styles), chosen)


def layers_named(words: Sequence[str], num_styles: int) -> tuple[int, ...]:
    """Reads numbers of layers, such as ["0-3", "7"].

    Args:
        words: each a number or FIRST-LAST.
        num_styles: how many layers there are.

    Returns:
        The layers in ascending order, each once.

    Raises:
        ValueError: a word is neither, or there is no such layer.
    """
    found: set[int] = set()
    for word in words:
        span = _SPAN.fullmatch(word)
        if span is None:
            raise ValueError(f"layers are numbers, or FIRST-LAST such as 0-3, not {word!r}")
        first, last = int(span[1]), int(span[2] or span[1])
        if not first <= last < num_styles:
            raise ValueError(
                f"there are no layers {word}: they are from 0 to {num_styles - 1}, the first one "
                "before the last one"
            )
        found |= set(range(first, last + 1))
    return tuple(sorted(found))


def coarse_layers(num_styles: int) -> tuple[int, ...]:
    """The layers that give images their coarse form, the share `COARSE` of all."""
    return tuple(range(max(1, round(COARSE * num_styles))))


def check_params(params: PyTree, generator: Generator) -> None:
    """Checks that params belong to a generator, as `checks.check_params`."""
    checks.check_params(params, generator, *drawing.inputs_of(generator))


def checked_styles(styles: ArrayLike, generator: Generator) -> jax.Array:
    """Styles as float32 [n, layers, style_size].

    Raises:
        ValueError: they have another shape, or there are none.
    """
    styles = jnp.asarray(styles)
    shape = generator.num_styles, generator.style_size
    if styles.ndim != 3 or styles.shape[1:] != shape or not len(styles):
        raise ValueError(
            f"styles must have the shape (n, {shape[0]}, {shape[1]}), not {styles.shape}"
        )
    return styles.astype(jnp.float32)


def with_noise(params: PyTree, noise: PyTree) -> PyTree:
    """The variables of a generator with other constant noise.

    Args:
        params: the generator's variables.
        noise: the noise of one image, as `Projection` has it of several: the tree of
            params["buffers"]["synthesis"], leaves [height, width].

    Raises:
        ValueError: the noise is of another generator.
    """
    _check_noise(noise, params)
    return _with_noise(params, noise)


def _with_noise(params: PyTree, noise: PyTree) -> PyTree:
    return {**params, BUFFERS: {**params[BUFFERS], "synthesis": noise}}


def _check_noise(noise: PyTree, params: PyTree, *counts: int) -> None:
    expected = jax.tree.map(lambda x: (*counts, *jnp.shape(x)), params[BUFFERS]["synthesis"])
    if jax.tree.map(jnp.shape, noise) != expected:
        raise ValueError("the noise is of another generator, or of another number of images")


def applied(params: PyTree, styles: jax.Array, noise: PyTree, generator: Generator) -> jax.Array:
    """The images of styles, float32 [n, ...], nominally in [0, 1]; noise of all, or None."""
    if noise is not None:
        params = _with_noise(params, noise)
    # `apply` returns a tuple only if it is called with mutable=.
    return (cast(jax.Array, generator.apply(params, styles, method="render")) + 1) / 2


def mapped(
    params: PyTree, latents: jax.Array, labels: jax.Array | None, generator: Generator
) -> jax.Array:
    """The styles of latents, [n, style_size]; labels int32 [n, k], or None."""
    coded = label_vectors(labels, generator.num_classes)
    return cast(jax.Array, generator.apply(params, latents, coded, method="style"))


@functools.partial(jax.jit, static_argnames="generator")
def _styles_of(
    params: PyTree, latents: jax.Array, labels: jax.Array | None, generator: Generator
) -> jax.Array:
    style = mapped(params, latents, labels, generator)
    psi = generator.truncation, generator.cutoff
    return cast(jax.Array, generator.apply(params, style, *psi, method="spread"))


@functools.partial(jax.jit, static_argnames="generator")
def _render(params: PyTree, styles: jax.Array, noise: PyTree, generator: Generator) -> jax.Array:
    def one(inputs: tuple[jax.Array, PyTree]) -> jax.Array:
        return jnp.clip(applied(params, inputs[0][None], inputs[1], generator)[0], 0, 1)

    return jax.lax.map(one, (styles, noise), batch_size=drawing.block_size(generator))
