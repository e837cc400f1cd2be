"""What Age-cGAN adds to the losses of a conditional GAN."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game
from jaxgan.systems.age_cgan.config import AgeCGANConfig
from jaxgan.systems.age_cgan.losses import with_likeness
from jaxgan.systems.latent.losses import latent_gan

LATENTS = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
LABELS = np.array([[0], [1], [2], [2]], np.int32)
# What each pixel adds to each latent, and each class to a pixel.
KERNEL = np.random.default_rng(1).normal(size=(2, 12)).astype(np.float32) / 8
SHADES = np.random.default_rng(2).normal(size=(3, 12)).astype(np.float32) / 8


class Generator(nn.Module):
    """Images that are linear in latents, and in their class."""

    latent_size: int = 2
    image_shape: tuple = (2, 2, 3)
    num_classes: tuple = (3,)

    @nn.compact
    def __call__(self, latents, labels):
        kernel = self.param("kernel", lambda key: jnp.asarray(KERNEL))
        shades = self.param("shades", lambda key: jnp.asarray(SHADES))
        x = latents @ kernel + jax.nn.one_hot(labels[:, 0], 3) @ shades
        return x.reshape(-1, *self.image_shape)


class Discriminator(nn.Module):
    """Gives every image the same logit."""

    @nn.compact
    def __call__(self, images, labels):
        bias = self.param("bias", nn.initializers.zeros, ())
        return jnp.full(len(images), bias)


def gan(weight):
    optimizers = optax.sgd(0.1), optax.sgd(0.1)
    generator = Generator()
    return with_likeness(
        latent_gan(generator, Discriminator(), *optimizers, ema_decay=0.0), generator, weight
    )


def test_the_likeness_is_the_distance_to_the_same_latents_in_the_next_group():
    its, plain = gan(3.0), gan(0.0)
    state = game.init(its, jax.random.key(0))
    batch = {"images": np.zeros((4, 2, 2, 3), np.float32), "labels": LABELS}
    noise = {"latent": LATENTS}

    def value(params, gan):
        mover = dataclasses.replace(state.players["generator"], params=params)
        its = dataclasses.replace(state, players={**state.players, "generator": mover})
        return gan.turns[-1].loss(its, batch, noise, None)

    params = state.players["generator"].params
    (loss, outcome), gradient = jax.value_and_grad(value, has_aux=True)(params, its)
    without, _ = value(params, plain)
    # The class of the last one is the first one, and the latents cancel out.
    difference = np.float64(SHADES[[1, 2, 0, 0]] - SHADES[[0, 1, 2, 2]])
    change = np.abs(difference).mean()
    np.testing.assert_allclose(loss, without + 3 * change, rtol=1e-6)
    np.testing.assert_allclose(outcome.metrics["generator_change"], change / 2, rtol=1e-6)
    np.testing.assert_allclose(outcome.metrics["generator_loss"], without, rtol=1e-6)
    # Only the next class is pulled, so the gradient is of its shades alone. D has no gradient.
    expected = np.zeros((3, 12))
    np.add.at(expected, [1, 2, 0, 0], 3 * np.sign(difference) / difference.size)
    np.testing.assert_allclose(gradient["shades"], expected, atol=1e-6)
    of_latents = LATENTS.T @ (3 * np.sign(difference) / difference.size)
    np.testing.assert_allclose(gradient["kernel"], of_latents, atol=1e-6)


def test_without_weight_the_game_is_as_before():
    before = latent_gan(Generator(), Discriminator(), optax.sgd(0.1), optax.sgd(0.1))
    assert with_likeness(before, Generator(), 0.0) is before
    changed = with_likeness(before, Generator(), 1.0)
    assert changed.turns[0] is before.turns[0] and changed.init is before.init


@pytest.mark.parametrize(("recipe", "weight"), [("default", True), ("textbook", False)])
def test_the_papers_recipe_has_no_likeness(recipe, weight):
    assert bool(AgeCGANConfig(recipe=recipe).likeness) == weight
