"""Edits images with a trained StarGAN. Pure: usable inside a caller's own jit and grad."""

import functools
import math
from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan import checks, memory
from jaxgan.data.embedded import classes_of
from jaxgan.options import with_own_options
from jaxgan.systems.stargan.labels import Coding
from jaxgan.systems.stargan.networks import Generator

PyTree = Any
# The attributes that the pretrained editor of toon faces changes, and its labels and network.
ATTRIBUTES = ("hair_colour", "beard", "mouth", "skin", "eyebrows")
FACES_CODING = Coding(tuple((name, classes_of("toon_faces")[name]) for name in ATTRIBUTES))
FACES = Generator(
    width=32,
    image_shape=(64, 64, 3),
    label_size=FACES_CODING.size,
    num_blocks=2,
    num_halvings=2,
    end_size=3,
    conditioning="norms",
    output="masked",
    block_size=2,
    has_skips=True,
)
# The largest strength. Beyond 1 the generator is asked for more than it has been trained on.
MOST_STRENGTH = 2.0
# How many pixels are edited at a time.
BLOCK = 784_000


@with_own_options
def edit(
    params: PyTree,
    images: ArrayLike,
    labels: ArrayLike,
    *,
    own: ArrayLike | None = None,
    strength: ArrayLike = 1.0,
    generator: nn.Module = FACES,
    coding: Coding = FACES_CODING,
) -> jax.Array:
    """Changes the attributes of images, each image by itself (arXiv 1711.09020).

    A generator that has been trained on labels of 0 and 1 also takes labels between two of them:
    the label of an edit is (1 - strength) * own + strength * labels.

    Args:
        params: the variables that `generator.apply` takes.
        images: [n, height, width, channels], n at least 1, of the generator's shape: float in
            [0, 1], or uint8.
        labels: what the images are to show. Int [n, k]: column i has numbers of the classes of
            attribute i in `coding.classes`. Or float [n, generator.label_size]: the labels that the
            generator takes, as `coding.encode` gives them. An attribute that is not to change has
            the class that the image has.
        own: what the images show as they are, in the form of `labels`; wanted for a strength other
            than 1.
        strength: how strong the edits are, from 0 to 2, a number or float [n]. At 0 the generator
            is asked for the image as it is, and at 1 for the labels. Above 1 it exaggerates: such
            labels do not occur in training, and images may break.
        generator: the module that the params belong to; by default that of the pretrained editor of
            toon faces. That of a run is `StarGANConfig.generator()`.
        coding: the classes that the generator has been trained with; by default those of the
            pretrained editor, `ATTRIBUTES`. That of a run is `StarGANConfig.coding`.

    Returns:
        float32 [n, height, width, channels] in [0, 1].

    Raises:
        ValueError: the params belong to another network; the images or labels have another shape or
            dtype; a class or a strength is out of its range; or `own` is missing. Inside jit the
            numbers of classes and strengths are not checked.
    """
    images = checks.checked_images(images, generator.image_shape)
    if coding.size != generator.label_size:
        raise ValueError(
            f"the coding has labels of {coding.size} numbers, but the generator wants "
            f"{generator.label_size}: give the run's coding="
        )
    labels = _as_labels("labels", labels, len(images), coding)
    if own is not None:
        strengths = _as_strengths(strength, len(images))
        labels = (1 - strengths) * _as_labels("own", own, len(images), coding) + strengths * labels
    elif isinstance(strength, jax.core.Tracer) or np.any(np.asarray(strength) != 1):
        raise ValueError("a strength other than 1 wants own=, the labels of the images as they are")
    check_params(params, generator)
    check_memory(generator, len(images))
    return _edit(params, images, labels, generator)


@with_own_options
def recognise(
    params: PyTree, images: ArrayLike, *, discriminator: nn.Module, coding: Coding
) -> jax.Array:
    """The classes that a discriminator of StarGAN sees in images.

    Args:
        params: the variables that `discriminator.apply` takes.
        images: as in `edit`.
        discriminator: the module that the params belong to, `StarGANConfig.discriminator()`.
        coding: as in `edit`.

    Returns:
        int32 [n, k]: column i has the number of the class of attribute i in `coding.classes`.

    Raises:
        ValueError: the images have another shape or dtype.
    """
    images = checks.checked_images(images, discriminator.image_shape)
    return coding.decode(_recognise(params, images, discriminator))


def check_params(params: PyTree, generator: nn.Module) -> None:
    """Checks that params belong to a generator, as `checks.check_params`."""
    shapes = (1, *generator.image_shape), (1, generator.label_size)
    checks.check_params(
        params, generator, *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    )


def check_memory(generator: nn.Module, count: int) -> None:
    """Refuses to edit more images, or larger ones, than there is memory for.

    Args:
        generator: the module.
        count: how many images are edited.

    Raises:
        ValueError: there is not enough memory.
    """
    height, width, channels = generator.image_shape
    # The images before and after, and of one block the largest feature map and its normalised one.
    floats = (
        height
        * width
        * (2 * count * channels + 2 * generator.width * min(count, _block(generator)))
    )
    memory.check(
        4 * floats,
        f"editing {count:,} images of {height}x{width}x{channels}",
        "edit fewer at a time, or smaller ones",
        jax.devices()[0],
    )


def edited(params: PyTree, images: jax.Array, labels: jax.Array, generator: nn.Module) -> jax.Array:
    """The edits of images, unchecked and all at once.

    Args:
        params, generator: as in `edit`.
        images: float32 [n, height, width, channels] in [0, 1].
        labels: float32 [n, generator.label_size].

    Returns:
        float32 [n, height, width, channels] in [0, 1].
    """
    # `apply` returns a tuple only if it is called with mutable=.
    made = cast(jax.Array, generator.apply(params, 2 * images - 1, labels))
    # A masked generator adds parts of two images: rounding may take their sum past white.
    return jnp.clip((made + 1) / 2, 0, 1)


def _as_labels(name: str, labels: ArrayLike, count: int, coding: Coding) -> jax.Array:
    """Labels as float32 [count, coding.size].

    Raises:
        ValueError: they have another shape or dtype, or a class is out of its range.
    """
    given = labels if isinstance(labels, jax.Array) else np.asarray(labels)
    is_codes = jnp.issubdtype(given.dtype, jnp.integer)
    columns = len(coding.classes) if is_codes else coding.size
    if given.shape != (count, columns) or not (
        is_codes or jnp.issubdtype(given.dtype, jnp.floating)
    ):
        raise ValueError(
            f"{name} must be classes, int ({count}, {len(coding.classes)}), or the generator's "
            f"labels, float ({count}, {coding.size}), not {given.dtype} {given.shape}"
        )
    if not is_codes:
        return jnp.asarray(given, jnp.float32)
    if not isinstance(given, jax.core.Tracer):
        for column, (attribute, classes) in zip(np.asarray(given).T, coding.classes, strict=True):
            if column.min() < 0 or column.max() >= len(classes):
                raise ValueError(
                    f"{name} of {attribute} must be from 0 to below {len(classes)}, "
                    f"not {column.min()} to {column.max()}"
                )
    return coding.encode(jnp.asarray(given, jnp.int32))


def _as_strengths(strength: ArrayLike, count: int) -> jax.Array:
    """Strengths as float32 [count, 1].

    Raises:
        ValueError: they have another shape, or are out of their range.
    """
    if np.shape(strength) not in ((), (count,)):
        raise ValueError(f"strength must be a number or ({count},), not {np.shape(strength)}")
    if not isinstance(strength, jax.core.Tracer):
        values = np.asarray(strength)
        # NaN fails the comparison too.
        if not ((values >= 0) & (values <= MOST_STRENGTH)).all():
            raise ValueError(f"strength must be from 0 to {MOST_STRENGTH:g}, not {strength}")
    return jnp.broadcast_to(jnp.asarray(strength, jnp.float32), (count,))[:, None]


def _block(network: nn.Module) -> int:
    """How many images are in one block."""
    return max(1, BLOCK // math.prod(network.image_shape))


def _in_blocks(one: Callable[..., Any], inputs: Any, network: nn.Module) -> Any:
    return jax.lax.map(one, inputs, batch_size=_block(network))


@functools.partial(jax.jit, static_argnames="generator")
def _edit(params: PyTree, images: jax.Array, labels: jax.Array, generator: nn.Module) -> jax.Array:
    def one(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        image, label = inputs
        return edited(params, image[None], label[None], generator)[0]

    return _in_blocks(one, (images, labels), generator)


@functools.partial(jax.jit, static_argnames="discriminator")
def _recognise(params: PyTree, images: jax.Array, discriminator: nn.Module) -> jax.Array:
    def one(image: jax.Array) -> jax.Array:
        _, classes, *_ = cast(tuple, discriminator.apply(params, 2 * image[None] - 1))
        return classes[0]

    return _in_blocks(one, images, discriminator)
