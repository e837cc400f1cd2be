"""The losses of StarGAN, with networks so simple that NumPy computes them in float64."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game, training
from jaxgan.systems.stargan.labels import Coding
from jaxgan.systems.stargan.losses import EditingGame, editing_gan
from jaxgan.training import examples

CODING = Coding((("hair", ("black", "brown", "grey")), ("beard", ("no", "yes"))))
BATCH, SIDE = 4, 4


class Shifting(nn.Module):
    """G(x, c) = x + a * c: each label's number is added to every pixel, a times."""

    image_shape: tuple = (SIDE, SIDE, 1)
    label_size: int = 4

    @nn.compact
    def __call__(self, images, labels):
        a = self.param("a", lambda key: jnp.array([0.3, -0.2, 0.5, -0.4]))
        return images + (labels @ a)[:, None, None, None]


class Averaging(nn.Module):
    """A patch is p times the mean of a quarter of the image; classes are q times its mean."""

    @nn.compact
    def __call__(self, images):
        p = self.param("p", lambda key: jnp.float32(0.7))
        q = self.param("q", lambda key: jnp.array([1.0, -2.0, 0.5, 3.0]))
        quarters = images.reshape(len(images), 2, SIDE // 2, 2, SIDE // 2).mean(axis=(2, 4))
        return p * quarters, images.mean(axis=(1, 2)) * q


A, P, Q = np.array([0.3, -0.2, 0.5, -0.4]), 0.7, np.array([1.0, -2.0, 0.5, 3.0])
RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (BATCH, SIDE, SIDE, 1)).astype(np.float32)
OWN = np.array([[0, 1], [1, 0], [2, 1], [0, 0]], np.int32)
TARGET = np.array([[2, 1], [1, 0], [0, 0], [0, 1]], np.int32)
NOISE = {"target": TARGET, "mix": np.array([0.1, 0.5, 0.9, 0.0], np.float32)}
DATA = {"images": jnp.asarray(X), "labels": jnp.asarray(OWN)}


def numbers(codes):
    return np.concatenate([np.eye(3)[codes[:, 0]], codes[:, 1:]], axis=1)


def edited(images, codes):
    return images + (numbers(codes) @ A)[:, None, None, None]


def patches(images):
    return P * images.reshape(BATCH, 2, 2, 2, 2).mean(axis=(2, 4))


def classes(images):
    return images.mean(axis=(1, 2)) * Q


def cross_entropy(logits, codes):
    hair = logits[:, :3] - np.log(np.exp(logits[:, :3]).sum(axis=1, keepdims=True))
    yes = 1 / (1 + np.exp(-logits[:, 3]))
    return -(
        hair[np.arange(BATCH), codes[:, 0]] + np.log(np.where(codes[:, 1] == 1, yes, 1 - yes))
    ).mean()


def game_of(**weights):
    return EditingGame(Shifting(), Averaging(), CODING, **weights)


def state_of(its, **options):
    gan = editing_gan(
        its.generator,
        its.discriminator,
        optax.sgd(0.1),
        optax.sgd(0.1),
        **{
            field.name: getattr(its, field.name)
            for field in dataclasses.fields(its)
            if field.name not in ("generator", "discriminator")
        },
        **options,
    )
    return gan, game.init(gan, jax.random.key(0))


def test_the_discriminators_loss():
    its = game_of(class_weight=2.0, gradient_penalty=3.0)
    _, state = state_of(its)
    value, outcome = jax.jit(its.discriminator_loss)(state, DATA, NOISE)
    real, fake = np.float64(X), edited(np.float64(X), TARGET)
    # The gradient of the sum of an image's four patches: p / 4 at each of its sixteen pixels.
    penalty = (P / 4 * np.sqrt(SIDE * SIDE) - 1) ** 2
    expected = patches(fake).mean() - patches(real).mean()
    expected += 2 * cross_entropy(classes(real), OWN) + 3 * penalty
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    told = [
        classes(real)[:, :3].argmax(axis=1) == OWN[:, 0],
        (classes(real)[:, 3] > 0) == OWN[:, 1],
    ]
    np.testing.assert_allclose(outcome.metrics["classes_told"], np.mean(told))
    np.testing.assert_allclose(outcome.metrics["discriminator_loss"], value)


def test_r1_is_of_real_images_and_of_the_sum_of_their_patches():
    plain, with_r1 = (game_of(gradient_penalty=0.0, r1=r1) for r1 in (0.0, 5.0))
    _, state = state_of(plain)
    values = [its.discriminator_loss(state, DATA, NOISE)[0] for its in (plain, with_r1)]
    np.testing.assert_allclose(values[1] - values[0], 5 * P**2 / 2, rtol=1e-4)


def test_the_generators_loss():
    its = game_of(class_weight=2.0, reconstruction_weight=7.0, change_weight=0.5)
    _, state = state_of(its)
    value, outcome = jax.jit(its.generator_loss)(state, DATA, NOISE)
    fake = edited(np.float64(X), TARGET)
    reconstruction = np.abs(edited(fake, OWN) - X).mean()
    change = np.abs(fake - X).mean()
    expected = -patches(fake).mean() + 2 * cross_entropy(classes(fake), TARGET)
    expected += 7 * reconstruction + 0.5 * change
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # Images are in [-1, 1]; the metrics are of pixels in [0, 1].
    np.testing.assert_allclose(outcome.metrics["reconstruction"], reconstruction / 2, rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["change"], change / 2, rtol=1e-5)
    asked = TARGET != OWN
    seen = np.stack([classes(fake)[:, :3].argmax(axis=1), classes(fake)[:, 3] > 0], axis=1)
    np.testing.assert_allclose(
        outcome.metrics["edits_shown"], (asked & (seen == TARGET)).sum() / asked.sum()
    )


class Branching(nn.Module):
    """As `Averaging`, with branches: b times the image's mean."""

    @nn.compact
    def __call__(self, images):
        patches, classes = Averaging(name="averaging")(images)
        b = self.param("b", lambda key: jnp.array([0.5, -1.0, 2.0, 1.5, -0.5]))
        return patches, classes, images.mean(axis=(1, 2)) * b


def test_branches_of_the_classes_asked_for_are_judged_beside_the_patches():
    its = dataclasses.replace(game_of(gradient_penalty=0.0, r1=2.0), discriminator=Branching())
    _, state = state_of(its)
    value, _ = jax.jit(its.discriminator_loss)(state, DATA, NOISE)
    b = np.array([0.5, -1.0, 2.0, 1.5, -0.5])
    real, fake = np.float64(X), edited(np.float64(X), TARGET)

    def logits(images, codes):
        of_branches = images.mean(axis=(1, 2)) * b
        rows = np.arange(BATCH)[:, None]
        chosen = of_branches[rows, codes + np.array([0, 3])]
        return np.concatenate([patches(images).reshape(BATCH, -1), chosen], axis=1)

    # The gradient of the sum of an image's logits, at each of its sixteen pixels.
    slope = P / 4 + (b[OWN[:, 0]] + b[3 + OWN[:, 1]]) / SIDE**2
    penalty = (SIDE**2 * slope**2).mean() / 2
    expected = logits(fake, TARGET).mean() - logits(real, OWN).mean()
    expected += cross_entropy(classes(real), OWN) + 2 * penalty
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    value, _ = jax.jit(its.generator_loss)(state, DATA, NOISE)
    expected = -logits(fake, TARGET).mean() + cross_entropy(classes(fake), TARGET)
    expected += 10 * np.abs(edited(fake, OWN) - X).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_edits_that_nothing_asks_for_are_all_shown():
    its = game_of()
    _, state = state_of(its)
    _, outcome = its.generator_loss(state, DATA, {**NOISE, "target": OWN})
    assert outcome.metrics["edits_shown"] == 1


def test_the_share_of_edits_is_counted_over_all_devices():
    """Devices whose parts of the batch ask for different numbers of edits agree on the share."""
    its = game_of()
    _, state = state_of(its)
    whole = its.generator_loss(state, DATA, NOISE)[1].metrics["edits_shown"]

    def part(batch, noise):
        return its.generator_loss(state, batch, noise, "devices")[1].metrics["edits_shown"]

    halves = jax.tree.map(lambda x: jnp.asarray(x).reshape(2, 2, *x.shape[1:]), (DATA, NOISE))
    np.testing.assert_allclose(jax.vmap(part, axis_name="devices")(*halves), [whole, whole])


def test_targets_are_labels_of_the_data_as_often_as_there():
    rows = np.repeat([[0, 1], [2, 0]], [300, 100], axis=0).astype(np.int32)
    data = {"labels": jnp.asarray(rows)}
    its = game_of()
    keys = jax.random.split(jax.random.key(1), 2000)
    drawn = jax.vmap(lambda key: its.draw_noise(key, data))(keys)
    found, counts = np.unique(drawn["target"], axis=0, return_counts=True)
    np.testing.assert_array_equal(found, [[0, 1], [2, 0]])
    assert abs(counts[0] / 2000 - 0.75) < 0.04
    assert 0 <= drawn["mix"].min() < 0.01 and 0.99 < drawn["mix"].max() <= 1
    assert drawn.keys() == {"target", "mix"}


def test_the_generator_moves_on_the_last_batch_with_its_targets():
    gan, state = state_of(game_of(), discriminator_steps=3)
    noises = examples.draws(gan, state.key, state.step, jnp.arange(BATCH), DATA)
    np.testing.assert_array_equal(noises[1]["target"][0], noises[0]["target"][2])
    assert [turn.times for turn in gan.turns] == [3, 1]
    assert gan.turns[1].batch == "last"


def test_both_losses_see_the_same_mirrored_image():
    its = game_of(flip=0.5, gradient_penalty=0.0)
    keys = jax.random.split(jax.random.key(0), 64)
    drawn = jax.vmap(lambda key: its.draw_noise(key, DATA))(keys)
    assert 0.3 < drawn["is_mirrored"].mean() < 0.7 and "mix" not in drawn
    _, state = state_of(its)
    # The mean of the upper left quarter changes places with that of the upper right one.
    noise = {"target": TARGET, "is_mirrored": np.array([True] * BATCH)}
    plain = {"target": TARGET, "is_mirrored": np.array([False] * BATCH)}
    mirrored = {**DATA, "images": X[:, :, ::-1]}
    for loss in (its.discriminator_loss, its.generator_loss):
        np.testing.assert_allclose(
            loss(state, DATA, noise)[0], loss(state, mirrored, plain)[0], rtol=1e-6
        )


def test_single_edits_keep_all_attributes_but_one():
    its = game_of(single_edits=0.4, gradient_penalty=0.0)
    keys = jax.random.split(jax.random.key(0), 2000)
    drawn = jax.vmap(lambda key: its.draw_noise(key, DATA))(keys)
    kinds, counts = np.unique(drawn["is_asked"], axis=0, return_counts=True)
    np.testing.assert_array_equal(kinds, [[False, True], [True, False], [True, True]])
    np.testing.assert_allclose(counts / 2000, [0.2, 0.2, 0.6], atol=0.04)
    # Both losses are those of the targets in which the others are the image's own.
    _, state = state_of(its)
    asked = np.array([[True, False], [False, True], [True, True], [True, False]])
    noise = {"target": TARGET, "is_asked": asked}
    plain = {"target": np.where(asked, TARGET, OWN)}
    whole = game_of(gradient_penalty=0.0)
    for loss in ("discriminator_loss", "generator_loss"):
        given, expected = (
            getattr(each, loss)(state, DATA, numbers)[0]
            for each, numbers in ((its, noise), (whole, plain))
        )
        np.testing.assert_allclose(given, expected, rtol=1e-6)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="unknown loss 'wgan'"):
        game_of(loss="wgan")


def test_one_two_and_four_devices_train_the_same():
    gan, state = state_of(game_of(flip=0.5), discriminator_steps=2)
    images = np.random.default_rng(2).integers(0, 256, (16, SIDE, SIDE, 1), dtype=np.uint8)
    arrays = {"images": images, "labels": np.tile(OWN, (4, 1))}
    schedule = training.schedule(16, BATCH, gan, "cpu")
    ends = []
    for count in (1, 2, 4):
        options = {"devices": jax.devices()[:count], "batch_size": BATCH, "last_step": 4}
        calls = training.train(gan, training.on_host(state), arrays, schedule, **options)
        *_, (last, metrics) = calls
        ends.append((training.on_host(training.unreplicate(last)).players, metrics))
    for end in ends[1:]:
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), ends[0], end)
    moved = ends[0][0]["generator"].params["a"]
    assert np.abs(moved - A).max() > 1e-3
