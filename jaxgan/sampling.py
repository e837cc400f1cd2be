"""Images from a trained generator, by default the chapter's.

Pure: usable inside a caller's own jit, vmap and grad. Of a run, `jaxgan.load_run` gives the
generator and the noise that belong to its params.
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
        params: what `generator.apply` takes, {"params": ...}; from `load_params`, for one.
        key: a PRNG key, typed (`jax.random.key`) or old-style (`jax.random.PRNGKey`).
        num_samples: how many, 1 or more; None: 64, or one for each of the labels.
        labels: what each image is to show, if the generator is conditional: int
            [num_samples, k], for each of its k labels the number of a class, from 0 to below
            generator.num_classes; of a single label [num_samples] will do.
        noise: "normal" or "uniform", what the generator was trained with (`config.noise` of a run).
        generator: the module that params belong to; by default the 2014 GAN's on MNIST.

    Returns:
        float32 [num_samples, height, width, channels] in [0, 1]; (64, 28, 28, 1) by default.

    Raises:
        ValueError: params of another network (the message names the first shape that is wrong), no
            key, unknown noise, num_samples below 1, or labels that the generator does not take
            (inside a caller's own jit, numbers out of range go unseen).
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
    return drawing.interpolate(
        params, start, end, num_steps=num_steps, labels=labels, noise=noise, generator=generator
    )
