"""The losses of BigGAN, with networks so simple that NumPy computes them in float64."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game
from jaxgan.layers.spectral import SpectralDense
from jaxgan.systems.biggan.losses import (
    BigGame,
    apart,
    big_gan,
    copied_until,
    in_parts,
    orthogonal_regularisation,
)
from jaxgan.systems.biggan.networks import ConditionalNorm, Discriminator, Generator
from jaxgan.training import examples

BATCH = 4
CLASSES = (2, 3)


class Counting(nn.Module):
    """Calls in training are counted in a collection."""

    def count(self, train):
        calls = self.variable("calls", "count", lambda: jnp.float32(0))
        if train and not self.is_initializing():
            calls.value = calls.value + 1
        return calls.value


class Making(Counting):
    """G(z, y) = a z + y_0 + y_1 / 10, at each of four pixels."""

    latent_size: int = 4
    num_classes: tuple = CLASSES
    image_shape: tuple = (2, 2, 1)

    @nn.compact
    def __call__(self, latents, labels, train=False, axis_name=None):
        a = self.param("a", lambda key: jnp.float32(0.5))
        self.count(train)
        told = labels @ jnp.array([1.0, 0.1])
        return a * latents.reshape(-1, 2, 2, 1) + told[:, None, None, None]


class Judging(Counting):
    """D(x, y) = p mean(x) - y_0 + calls before this one / 8."""

    @nn.compact
    def __call__(self, images, labels, train=False, axis_name=None):
        p = self.param("p", lambda key: jnp.float32(0.7))
        calls = self.count(train) - (1 if train else 0)
        return p * images.mean(axis=(1, 2, 3)) - labels[:, 0] + calls / 8


A, P = 0.5, 0.7
RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(-1, 1, (BATCH, 2, 2, 1)).astype(np.float32)
OWN = np.array([[0, 2], [1, 0], [0, 1], [1, 1]], np.int32)
ASKED = np.array([[1, 0], [1, 2], [0, 0], [0, 1]], np.int32)
LATENTS = RANDOM.normal(size=(BATCH, 4)).astype(np.float32)
DATA = {"images": jnp.asarray(X), "labels": jnp.asarray(OWN)}
NOISE = {"latent": jnp.asarray(LATENTS), "labels": jnp.asarray(ASKED)}


def state_of(**options):
    gan = big_gan(Making(), Judging(), optax.sgd(0.1), optax.sgd(0.1), **options)
    return gan, jax.jit(functools.partial(game.init, gan))(jax.random.key(0))


def loss_of(gan, which, state, noise=NOISE):
    return jax.jit(gan.turns[which].loss, static_argnums=3)(state, DATA, noise, None)


def made(rows=slice(None)):
    z = np.float64(LATENTS[rows]).reshape(-1, 2, 2, 1)
    return A * z + (ASKED[rows] @ [1, 0.1])[:, None, None, None]


def judged(images, labels, calls=0):
    return P * np.float64(images).mean(axis=(1, 2, 3)) - labels[:, 0] + calls / 8


def hinge(logits):
    return np.maximum(0, 1 + logits).mean()


def calls_of(state):
    return [
        float(state.players[name].collections["calls"]["count"])
        for name in ("generator", "discriminator")
    ]


def test_the_discriminators_loss_is_of_one_call_and_of_labels_that_were_drawn():
    gan, state = state_of()
    value, outcome = loss_of(gan, 0, state)
    expected = hinge(-judged(X, OWN)) + hinge(judged(made(), ASKED))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(outcome.metrics["discriminator_loss"], value)
    right = np.concatenate([judged(X, OWN) > 0, judged(made(), ASKED) < 0])
    np.testing.assert_allclose(outcome.metrics["d_accuracy"], right.mean())


def test_the_generators_loss():
    gan, state = state_of()
    value, outcome = loss_of(gan, 1, state)
    np.testing.assert_allclose(value, -judged(made(), ASKED).mean(), rtol=1e-5)
    assert outcome.metrics.keys() == {"generator_loss"}


def test_each_turn_moves_the_collections_of_both_networks_once():
    gan, state = state_of(discriminator_steps=2)
    assert [turn.times for turn in gan.turns] == [2, 1]
    assert [turn.batch for turn in gan.turns] == ["next", "last"]
    for turn in gan.turns:
        before = calls_of(state)
        state, _ = jax.jit(functools.partial(game.take_turn, gan, turn))(state, DATA, NOISE)
        assert calls_of(state) == [count + 1 for count in before]


def test_r1_is_of_real_images_of_their_own_labels():
    values = [state_of(r1=r1) for r1 in (0.0, 3.0)]
    plain, with_r1 = (loss_of(gan, 0, state)[0] for gan, state in values)
    # The gradient at each of four pixels is p / 4.
    np.testing.assert_allclose(with_r1 - plain, 3 * 4 * (P / 4) ** 2 / 2, rtol=1e-4)


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_of_parts_is_their_mean_and_each_part_sees_the_calls_before(which):
    gan, state = state_of(parts=2)
    turn = gan.turns[which]

    def value(params):
        moved = state.with_player(turn.player, params=params)
        return turn.loss(moved, DATA, NOISE, None)

    (found, outcome), slopes = jax.jit(jax.value_and_grad(value, has_aux=True))(
        state.players[turn.player].params
    )
    expected, by_p, by_a = [], [], []
    for part in range(2):
        rows = slice(part, None, 2)
        fakes, labels = made(rows), ASKED[rows]
        fake, real = judged(fakes, labels, part), judged(X[rows], OWN[rows], part)
        means, own = fakes.mean(axis=(1, 2, 3)), np.float64(X[rows]).mean(axis=(1, 2, 3))
        if which == 0:
            expected.append(hinge(-real) + hinge(fake))
            by_p.append(((fake > -1) * means).mean() - ((real < 1) * own).mean())
        else:
            expected.append(-fake.mean())
            by_a.append(-P * np.float64(LATENTS[rows]).mean())
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)
    slope = slopes["p"] if which == 0 else slopes["a"]
    np.testing.assert_allclose(slope, np.mean(by_p if which == 0 else by_a), rtol=1e-5)
    assert {float(its["calls"]["count"]) for its in outcome.collections.values()} == {2.0}
    loss = "discriminator_loss" if which == 0 else "generator_loss"
    np.testing.assert_allclose(outcome.metrics[loss], np.mean(expected), rtol=1e-5)


def test_one_part_is_the_loss_itself_and_unequal_parts_are_refused():
    its = BigGame(Making(), Judging())
    assert in_parts(its.generator_loss, "generator", 1) == its.generator_loss
    gan, state = state_of(parts=3)
    with pytest.raises(ValueError, match="a device has 4 images of a batch, which are not 3 equal"):
        game.take_turn(gan, gan.turns[0], state, DATA, NOISE)


def test_labels_of_fakes():
    its = BigGame(Making(), Judging())
    keys = jax.random.split(jax.random.key(1), 3000)
    drawn = jax.jit(jax.vmap(lambda key: its.draw_noise(key, DATA)))(keys)
    assert drawn.keys() == {"latent", "labels"} and drawn["latent"].shape == (3000, 4)
    _, counts = np.unique(drawn["labels"], axis=0, return_counts=True)
    assert len(counts) == 6 and np.all(np.abs(counts / 3000 - 1 / 6) < 0.04)
    its = dataclasses.replace(its, fake_labels="data")
    drawn = jax.jit(jax.vmap(lambda key: its.draw_noise(key, DATA)))(keys)
    found, counts = np.unique(drawn["labels"], axis=0, return_counts=True)
    np.testing.assert_array_equal(found, np.unique(OWN, axis=0))
    assert np.all(np.abs(counts / 3000 - 1 / 4) < 0.04)


def test_every_turn_draws_anew():
    gan, state = state_of(discriminator_steps=2)
    draws = jax.jit(functools.partial(examples.draws, gan))
    noises = draws(state.key, state.step, jnp.arange(BATCH), DATA)
    latents = np.concatenate([noise["latent"] for noise in noises])
    assert latents.shape == (3, BATCH, 4) and len(np.unique(latents)) == latents.size


def test_real_and_generated_images_are_shifted_apart():
    its = BigGame(Making(), Judging(), translation=1)
    keys = jax.random.split(jax.random.key(0), 200)
    shifts = jax.jit(jax.vmap(lambda key: its.draw_noise(key, DATA)))(keys)["shifts"]
    assert shifts.shape == (200, 2, 2) and np.abs(shifts).max() == 1
    _, state = state_of()
    moved = np.zeros((BATCH, 2, 2), np.int32)
    moved[:, 0] = [0, 1]  # Real images: one pixel to the right.
    noise = {**NOISE, "shifts": jnp.asarray(moved)}
    value, _ = jax.jit(its.discriminator_loss)(state, DATA, noise)
    real = np.repeat(X[:, :, :1], 2, axis=2)
    expected = hinge(-judged(real, OWN)) + hinge(judged(made(), ASKED))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5), (4, 1)])
def test_orthogonal_regularisation_is_the_gradient_of_its_penalty(shape):
    columns = RANDOM.normal(size=shape).astype(np.float32)

    def penalty(columns):
        gram = columns.T @ columns
        return jnp.sum(jnp.square(gram * (1 - jnp.eye(len(gram))))) / 2

    # The authors' code, and the half in the penalty, make a half of the gradient.
    np.testing.assert_allclose(2 * apart(columns), jax.grad(penalty)(columns), rtol=1e-4, atol=1e-4)


def test_orthogonal_regularisation_is_added_to_the_gradients_of_weights_alone():
    def some(*shape):
        return jnp.asarray(RANDOM.normal(size=shape), jnp.float32)

    params = {
        "conv": {"kernel": some(3, 3, 2, 4), "bias": some(4)},
        "embed": {"embedding": some(5, 3)},
        "shared": {"embedding": some(5, 3)},
        "gamma": some(),
    }
    slopes = jax.tree.map(lambda x: some(*x.shape), params)
    regularised = orthogonal_regularisation(0.1)
    new, _ = regularised.update(slopes, regularised.init(params), params)
    added = jax.tree.map(np.subtract, new, slopes)

    def expected(w):
        w = np.float64(w)
        return 0.2 * ((w @ w.T) * (1 - np.eye(len(w)))) @ w

    kernel = np.asarray(params["conv"]["kernel"]).reshape(-1, 4).T
    np.testing.assert_allclose(
        added["conv"]["kernel"].reshape(-1, 4).T, expected(kernel), atol=1e-5
    )
    table = params["embed"]["embedding"]
    np.testing.assert_allclose(added["embed"]["embedding"], expected(table), atol=1e-5)
    for name in ("shared", "gamma"):
        jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), added[name])
    np.testing.assert_array_equal(added["conv"]["bias"], 0)


def test_the_average_is_a_copy_until_its_start():
    decay = copied_until(3, 0.75)
    np.testing.assert_allclose([decay(jnp.int32(step)) for step in range(4)], [0, 0, 0.75, 0.75])
    gan, state = state_of(ema_start=3, ema_decay=0.75)
    update = jax.jit(functools.partial(game.update_generator, gan))
    for _ in range(2):
        state, _ = update(state, DATA, NOISE)
    for name, its in state.averages["generator"].items():
        jax.tree.map(np.testing.assert_array_equal, its, state.variables("generator")[name])
    before = state.averages["generator"]
    state, _ = update(state, DATA, NOISE)
    jax.tree.map(
        lambda new, old, own: np.testing.assert_allclose(new, 0.75 * old + 0.25 * own, rtol=1e-6),
        state.averages["generator"],
        before,
        state.variables("generator"),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "wgan"}, "unknown loss 'wgan'"),
        ({"fake_labels": "same"}, "unknown fake labels 'same': one of uniform, data"),
    ],
)
def test_unknown_names(options, message):
    with pytest.raises(ValueError, match=message):
        state_of(**options)


class Normed(nn.Module):
    """A spectrally normalised layer and batch normalisation, each of them BigGAN's."""

    latent_size: int = 4
    num_classes: tuple = (3,)
    image_shape: tuple = (8, 8, 1)

    @nn.compact
    def __call__(self, latents, labels, train=False, axis_name=None):
        x = SpectralDense(64)(latents, train).reshape(-1, 8, 8, 1)
        norm = {"use_running_average": not train, "axis_name": axis_name, "is_unbiased": True}
        told = jax.nn.one_hot(labels[:, 0], 3)
        return ConditionalNorm(True, norm, {"init_kernel": "normal"})(x, told, train)


REAL_SIZES = {"width": 1, "image_shape": (8, 8, 1), "num_classes": (3,), "attention": ()}
SMALL_NETWORKS = Normed(), Judging()
REAL_NETWORKS = Generator(4, shared_size=2, **REAL_SIZES), Discriminator(**REAL_SIZES)


@pytest.mark.parametrize(
    ("networks", "parts"),
    [
        (SMALL_NETWORKS, 1),
        (SMALL_NETWORKS, 2),
        pytest.param(REAL_NETWORKS, 2, marks=pytest.mark.slow),
    ],
    ids=["small", "in_parts", "real"],
)
def test_a_step_is_the_same_on_one_and_two_devices(networks, parts):
    """One global batch norm, and parts of the batch that do not depend on the devices."""
    gan = big_gan(*networks, optax.sgd(0.1), optax.sgd(0.1), parts=parts)
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    labels = jnp.asarray(RANDOM.integers(3, size=(8, 1)), jnp.int32)
    images = jnp.asarray(RANDOM.normal(size=(8, 8, 8, 1)), jnp.float32)
    batch = {"images": images, "labels": labels}
    noise = {
        "latent": jnp.asarray(RANDOM.normal(size=(8, 4)), jnp.float32),
        "labels": jnp.asarray(RANDOM.integers(3, size=(8, 1)), jnp.int32),
    }

    def step(state, batch, noise, axis_name=None):
        for turn in gan.turns:
            state, _ = game.take_turn(gan, turn, state, batch, noise, axis_name)
        return state.players

    whole = jax.jit(step)(state, batch, noise)
    halves = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), (batch, noise))
    of_devices = jax.jit(
        jax.vmap(lambda *inputs: step(state, *inputs, axis_name="devices"), axis_name="devices")
    )(*halves)
    for device in range(2):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y[device], atol=2e-5),  # noqa: B023
            whole,
            of_devices,
        )


class TwoLayers(nn.Module):
    """Spectrally normalised layers alone: a generator's images, or a discriminator's logits."""

    gives_logits: bool
    latent_size: int = 4
    image_shape: tuple = (2, 2, 1)

    @nn.compact
    def __call__(self, x, labels=None, train=False, axis_name=None):
        x = x.reshape(len(x), 4)
        for i in range(2):
            x = SpectralDense(4, has_bias=False, name=f"layer_{i}")(x, train)
        return x.sum(axis=1) if self.gives_logits else x.reshape(-1, 2, 2, 1)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_largest_norm_of_each_network_is_measured(parts):
    players = TwoLayers(False), TwoLayers(True)
    gan = big_gan(*players, optax.sgd(0.0), optax.sgd(0.0), parts=parts)
    state = jax.jit(functools.partial(game.init, gan))(jax.random.key(0))
    for name, norms in (("generator", (2, 5)), ("discriminator", (7, 3))):
        kernels = {
            f"layer_{i}": {"kernel": jnp.diag(jnp.float32([1, norm, 0.5, 0.1]))}
            for i, norm in enumerate(norms)
        }
        state = state.with_player(name, params=kernels)
    update = jax.jit(functools.partial(game.update_discriminator, gan))
    batch, noise = {"images": DATA["images"]}, {"latent": jnp.asarray(LATENTS)}
    for _ in range(20):
        state, metrics = update(state, batch, noise)
    np.testing.assert_allclose(metrics["g_spectral_norm"], 5, rtol=1e-4)
    np.testing.assert_allclose(metrics["d_spectral_norm"], 7, rtol=1e-4)
