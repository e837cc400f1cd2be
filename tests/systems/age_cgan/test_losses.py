"""What Age-cGAN adds to the losses of a conditional GAN."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.ndimage

from jaxgan import game
from jaxgan.systems.age_cgan.config import AgeCGANConfig
from jaxgan.systems.age_cgan.losses import EncoderLoss, distort, with_encoder, with_likeness
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


class Encoder(nn.Module):
    """The first two pixels of each image, times a number."""

    image_shape: tuple = (2, 2, 3)

    @nn.compact
    def __call__(self, images, train=False):
        scale = self.param("scale", nn.initializers.constant(0.5), ())
        return scale * images.reshape(len(images), -1)[:, :2]


def test_an_image_is_blurred_by_its_share_and_gets_its_noise():
    draw = np.random.default_rng(3)
    images, noise = draw.normal(size=(2, 3, 5, 6, 2))
    blur = np.array([0.0, 0.25, 1.0])
    kernel = np.array([1, 2, 1]) / 4
    blurred = images
    for axis in (1, 2):
        blurred = scipy.ndimage.correlate1d(blurred, kernel, axis, mode="nearest")
    share = blur[:, None, None, None]
    expected = (1 - share) * images + share * blurred + noise
    distortion = {"blur": np.float32(blur), "noise": np.float32(noise)}
    np.testing.assert_allclose(distort(np.float32(images), distortion), expected, atol=1e-6)


@pytest.mark.parametrize("distorts", [True, False])
def test_the_encoders_loss_is_its_distance_from_the_latents_of_what_it_sees(distorts):
    optimizers = optax.sgd(0.1), optax.sgd(0.1)
    first = latent_gan(Generator(), Discriminator(), *optimizers, ema_decay=0.0)
    stage = with_encoder(first, Generator(), Encoder(), optax.sgd(0.1), distorts=distorts)
    state = game.init(stage, jax.random.key(0))
    (turn,) = stage.turns
    keys = jax.random.split(jax.random.key(1), 4)
    noise = jax.vmap(lambda key: turn.noise(key, {}))(keys)
    value, outcome = turn.loss(state, {}, noise, None)
    latents, labels = (np.float64(noise[name]) for name in ("latent", "labels"))
    images = latents @ KERNEL + SHADES[labels[:, 0].astype(int)]
    images = images.reshape(4, 2, 2, 3)
    if distorts:
        images = np.float64(distort(np.float32(images), noise["distortion"]))
    else:
        assert "distortion" not in noise
    guesses = images.reshape(4, -1)[:, :2] / 2
    expected = np.linalg.norm(guesses - latents, axis=1).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    baseline = np.linalg.norm(latents, axis=1).mean()
    np.testing.assert_allclose(outcome.metrics["encoder_baseline"], baseline, rtol=1e-5)


def test_distortions_are_drawn_for_each_image_in_their_ranges():
    loss = EncoderLoss(Generator(), Encoder(image_shape=(16, 16, 3)), distorts=True)
    keys = jax.random.split(jax.random.key(2), 500)
    drawn = jax.vmap(lambda key: loss.draw_pair(key, {}))(keys)["distortion"]
    deviations = np.asarray(drawn["noise"]).std(axis=(1, 2, 3))
    # Of a uniform share and a uniform deviation up to 0.2.
    for each, most in ((np.asarray(drawn["blur"]), 1.0), (deviations, 0.2)):
        quartiles = np.quantile(each, (0.25, 0.5, 0.75))
        np.testing.assert_allclose(quartiles, most * np.array([0.25, 0.5, 0.75]), atol=0.07 * most)
        assert each.min() >= 0 and each.max() < 1.1 * most
