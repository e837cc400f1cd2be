"""Images of a trained generator of BigGAN: statistics gathered for them, and walks between classes.

The functions are pure.
"""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxgan.checks import as_typed_key, check_params
from jaxgan.latents import lerp, normal, slerp
from jaxgan.layers.training_call import call
from jaxgan.options import with_own_options
from jaxgan.systems.biggan.networks import Generator, vectors_of_classes
from jaxgan.systems.latent import drawing

PyTree = Any
# Images of one of the calls that statistics are gathered in.
BATCH = 64
# What the keys of latents and labels of such calls are folded with.
_STANDING = 1


def standing_statistics(
    variables: PyTree, latents: jax.Array, labels: jax.Array | None, *, generator: Generator
) -> PyTree:
    """Gathers the statistics of batch normalisation from several calls of a generator in training.

    Brock et al. 2018 (arXiv 1809.11096, section 3): the running statistics of training are of many
    generators that are no more, and of latents that are not truncated. Standing ones are the means
    of the batches' means and of their biased variances. As in the authors' code, the vectors of the
    spectral norms move in each call.

    Args:
        variables: the generator's variables, {"params": ..., other collections}.
        latents: float32 [calls, batch, latent_size], of N(0, 1): the generator truncates them.
        labels: int32 [calls, batch, k]; None if there are none.
        generator: the module.

    Returns:
        The variables with new collections.
    """
    # A momentum of 0 keeps nothing of the statistics before.
    module = generator.clone(momentum=0.0, is_unbiased=False)
    start = {kind: its for kind, its in variables.items() if kind != "params"}
    params = {"params": variables["params"]}

    def one(
        carry: tuple[PyTree, PyTree], inputs: tuple[jax.Array, jax.Array | None]
    ) -> tuple[tuple[PyTree, PyTree], None]:
        collections, total = carry
        _, collections = call(module, {**params, **collections}, *inputs, axis_name=None)
        total = jax.tree.map(jnp.add, total, collections["batch_stats"])
        return (collections, total), None

    zeros = jax.tree.map(jnp.zeros_like, start["batch_stats"])
    (collections, total), _ = jax.lax.scan(one, (start, zeros), (latents, labels))
    means = jax.tree.map(lambda x: x / len(latents), total)
    return {**params, **collections, "batch_stats": means}


@with_own_options
def with_standing_statistics(
    params: PyTree, key: jax.Array, *, calls: int, generator: Generator
) -> PyTree:
    """`standing_statistics` of new latents, and of labels each of which is as likely as the others.

    Args:
        params: the generator's variables, {"params": ..., other collections}.
        key: a PRNG key.
        calls: how many batches of 64 images the statistics are of, 1 or more.
        generator: the module, with the truncation that the images are to have.

    Returns:
        The variables with new collections.

    Raises:
        ValueError: params belong to another network, or key is no PRNG key.
    """
    check_params(params, generator, *drawing.inputs_of(generator))
    key = jax.random.fold_in(as_typed_key(key), _STANDING)
    return _gathered(params, key, calls, generator)


@functools.partial(jax.jit, static_argnames=("calls", "generator"))
def _gathered(params: PyTree, key: jax.Array, calls: int, generator: Generator) -> PyTree:
    latent_key, label_key = jax.random.split(key)
    latents = normal(latent_key, (calls, BATCH, generator.latent_size))
    labels = None
    if generator.num_classes:
        counts = jnp.asarray(generator.num_classes, jnp.int32)
        labels = jax.random.randint(label_key, (calls, BATCH, len(counts)), 0, counts)
    return standing_statistics(params, latents, labels, generator=generator)


@with_own_options
def walk(
    params: PyTree,
    key: jax.Array,
    *,
    num_samples: int,
    num_steps: int,
    labels: ArrayLike | None = None,
    generator: Generator,
) -> jax.Array:
    """Makes the images on a closed walk through those of `sample`, from latent to latent and from
    class to class.

    Latents go on an arc (`latents.slerp`), the vectors of classes on a straight line.

    Args:
        params, key, labels, generator: as in `jaxgan.sample`.
        num_samples: how many images of `sample` the walk goes through, 2 or more.
        num_steps: the images from one of them up to the next, 1 or more.

    Returns:
        float32 [num_samples * num_steps, height, width, channels] in [0, 1].

    Raises:
        ValueError: a number is too small, or as `jaxgan.sample`.
    """
    drawing.check_walk(num_samples, num_steps, generator)
    check_params(params, generator, *drawing.inputs_of(generator))
    codes = drawing.checked_labels(labels, num_samples, generator)
    if codes is None:
        codes = jnp.zeros((num_samples, 0), jnp.int32)
    return _walk(params, as_typed_key(key), codes, num_steps, generator)


@functools.partial(jax.jit, static_argnames=("num_steps", "generator"))
def _walk(
    params: PyTree, key: jax.Array, labels: jax.Array, num_steps: int, generator: Generator
) -> jax.Array:
    latents = normal(key, (len(labels), generator.latent_size))
    classes = vectors_of_classes(params, labels, generator)
    fractions = jnp.arange(num_steps) / num_steps

    def legs(path: Any, points: jax.Array) -> jax.Array:
        its = jax.vmap(path, (0, 0, None))(points, jnp.roll(points, -1, axis=0), fractions)
        return its.reshape(-1, points.shape[1])

    def image(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        latent, vector = inputs
        made = generator.apply(params, latent[None], classes=vector[None])
        return (cast(jax.Array, made)[0] + 1) / 2

    inputs = legs(slerp, latents), legs(lerp, classes)
    return jax.lax.map(image, inputs, batch_size=drawing.block_size(generator))
