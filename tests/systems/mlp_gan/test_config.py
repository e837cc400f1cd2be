"""The settings of the chapter's GAN: its recipes and its two networks."""

import jax
import jax.numpy as jnp
import pytest

from jaxgan.systems.mlp_gan import networks as mlp
from jaxgan.systems.mlp_gan.config import RECIPES, MLPGANConfig


def test_a_recipe_sets_what_is_not_given():
    config = MLPGANConfig(recipe="textbook", beta1=0.75, epochs=3)
    assert (config.beta1, config.epochs) == (0.75, 3)
    # Radford et al. 2016 (arXiv 1511.06434), section 4, and nothing of what came later.
    assert config.generator_learning_rate == config.discriminator_learning_rate == 2e-4
    assert (config.r1, config.r2, config.gradient_penalty) == (0, 0, 0)
    assert (config.translation, config.ema_decay) == (0, 0)
    assert config.generator_half_life_kimg == config.discriminator_half_life_kimg == 0
    for name, recipe in RECIPES.items():
        config = MLPGANConfig(recipe=name)
        assert {setting: getattr(config, setting) for setting in recipe} == recipe
        assert config.generator_widths == (256, 512, 1024)
        assert config.discriminator_widths == (1024, 512, 256)


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="unknown recipe 'book': one of default, textbook, best"):
        MLPGANConfig(recipe="book")


def test_the_networks_are_of_the_sizes_asked_for():
    config = MLPGANConfig(
        latent_size=7,
        generator_widths=(16, 32),
        discriminator_widths=(64,),
        image_shape=(8, 10, 3),
        precision="bfloat16",
    )
    bfloat16 = jnp.dtype("bfloat16")
    assert config.generator() == mlp.Generator(7, (16, 32), (8, 10, 3), bfloat16)
    assert config.discriminator() == mlp.Discriminator((64,), (8, 10, 3), bfloat16)
    assert MLPGANConfig().generator() == mlp.Generator()
    assert MLPGANConfig().discriminator() == mlp.Discriminator()


def test_the_game_is_of_these_networks():
    config = MLPGANConfig(
        image_shape=(2, 2, 1), latent_size=3, generator_widths=(4,), discriminator_widths=(5,)
    )
    gan = config.gan()
    networks = {"generator": config.generator(), "discriminator": config.discriminator()}
    inputs = {"generator": jnp.zeros((1, 3)), "discriminator": jnp.zeros((1, 2, 2, 1))}
    variables = jax.eval_shape(gan.init, jax.random.key(0))
    assert variables == {
        name: jax.eval_shape(network.init, jax.random.key(0), inputs[name])
        for name, network in networks.items()
    }
