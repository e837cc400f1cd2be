"""Images from a trained generator, by default that of mnist_gan.py.

The functions are pure, and can be used inside jit, vmap and grad. For a run, `Run.sample` (from
`jaxgan.load_run`) chooses the generator and the noise that the run was trained with.
"""

from typing import Any

import flax.linen as nn
import jax
from numpy.typing import ArrayLike

from jaxgan.systems.latent import drawing
from jaxgan.systems.mlp_gan.networks import Generator

PyTree = Any
MNIST_GENERATOR = Generator()


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
        params: the variables that `generator.apply` takes, {"params": ...}, such as `load_params`
            returns.
        key: a PRNG key, typed (`jax.random.key`) or old-style (`jax.random.PRNGKey`).
        num_samples: how many images to draw, 1 or more; None: 64, or one for each row of labels.
        labels: for a conditional generator the classes of each image, int [num_samples, k]. Column
            i has numbers from 0 to below generator.num_classes[i]. If k is 1, [num_samples] is
            accepted too. None for a generator that is not conditional.
        noise: "normal" or "uniform": the distribution that the generator was trained with, which is
            the setting `noise` of its run.
        generator: the module that params belong to; by default the generator of mnist_gan.py.

    Returns:
        float32 [num_samples, height, width, channels] in [0, 1]; (64, 28, 28, 1) by default.

    Raises:
        ValueError: params belong to another network (the message names the first wrong shape), key
            is no PRNG key, noise is unknown, num_samples is below 1, or the generator does not
            accept the labels. Inside jit the labels' numbers are not checked.
    """
    return drawing.sample(
        params, key, num_samples=num_samples, labels=labels, noise=noise, generator=generator
    )


def generate(
    params: PyTree,
    latents: jax.Array,
    *,
    labels: ArrayLike | None = None,
    generator: nn.Module = MNIST_GENERATOR,
) -> jax.Array:
    """Makes the images of given latents. Differentiable with respect to params and latents.

    Args:
        params: as in `sample`.
        latents: float [batch, generator.latent_size].
        labels: as in `sample`, int [batch, k].
        generator: as in `sample`.

    Returns:
        float32 [batch, height, width, channels] in [0, 1].

    Raises:
        ValueError: params belong to another network, latents have another shape, or the generator
            does not accept the labels.
    """
    return drawing.generate(params, latents, labels=labels, generator=generator)


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
    """Makes the images on a path from one latent to another.

    The path is an arc for normal noise, and a straight line for uniform noise (`jaxgan.latents`).

    Args:
        params: as in `sample`.
        start: float [generator.latent_size], the latent of the first image.
        end: float [generator.latent_size], the latent of the last image.
        num_steps: how many images to make, 2 or more, the first and the last included.
        labels: as in `sample`, int [num_steps, k].
        noise: as in `sample`.
        generator: as in `sample`.

    Returns:
        float32 [num_steps, height, width, channels] in [0, 1].

    Raises:
        ValueError: start or end has another shape, num_steps is below 2, or as in `sample`.
    """
    return drawing.interpolate(
        params, start, end, num_steps=num_steps, labels=labels, noise=noise, generator=generator
    )
