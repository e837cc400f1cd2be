"""A small generator whose weights, noise and mean style all have an effect."""

import jax
import numpy as np

from jaxgan.systems.stylegan2.networks import Generator

SMALL = Generator(3, (16, 16, 3), (), 4, 1, 64, 4)
CONDITIONAL = Generator(3, (8, 8, 1), (2, 3), 4, 1, 64, 4)


def random_variables(generator, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros((1, len(generator.num_classes)), np.int32) if generator.num_classes else None
    latents = np.zeros((1, generator.latent_size), np.float32)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), latents, labels)
    return jax.tree.map(lambda x: rng.normal(scale=0.5, size=x.shape).astype(np.float32), shapes)
