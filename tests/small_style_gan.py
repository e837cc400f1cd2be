"""A small generator whose weights, noise and mean style all have an effect."""

import functools

import jax
import numpy as np
from small_run import save_run

from jaxgan import game
from jaxgan.systems.stylegan2.config import StyleGAN2Config
from jaxgan.systems.stylegan2.networks import Generator

SMALL = Generator(3, (16, 16, 3), (), 4, 1, 64, 4)
CONDITIONAL = Generator(3, (8, 8, 1), (2, 3), 4, 1, 64, 4)


def random_variables(generator, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.zeros((1, len(generator.num_classes)), np.int32) if generator.num_classes else None
    latents = np.zeros((1, generator.latent_size), np.float32)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), latents, labels)

    def drawn(path, x):
        # The layers of the mapping multiply by 0.01.
        scale = 100 if "['fc" in jax.tree_util.keystr(path) else 1
        return rng.normal(scale=scale / 2, size=x.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(drawn, shapes)


def save_random_run(workdir, **settings):
    """A work dir with a checkpoint of a generator whose weights are random; gives its settings."""
    config = StyleGAN2Config(
        workdir=str(workdir),
        **{
            "image_shape": (8, 8, 3),
            "channel_base": 64,
            "channel_max": 4,
            "latent_size": 3,
            "style_size": 4,
            "mapping_layers": 1,
            **settings,
        },
    )
    key = jax.random.key(0)
    shapes = jax.eval_shape(functools.partial(game.init, config.gan()), key).replace(key=None)
    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes).replace(key=key)
    averages = {"generator": random_variables(config.generator())}
    save_run(config, workdir, state.replace(averages=averages))
    return config
