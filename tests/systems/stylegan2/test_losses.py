"""StyleGAN2's turns: the lazy ones, the numbers of a run, and its independence of devices."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_style_gan import random_variables

import jaxgan
from jaxgan import training
from jaxgan.systems.stylegan2.augmentation import PIPELINES
from jaxgan.systems.stylegan2.losses import CALLS, LENGTH, PROBABILITY, SIGNS, StyleGame, style_gan
from jaxgan.systems.stylegan2.networks import BUFFERS, Discriminator, Generator

GENERATOR = Generator(3, (8, 8, 3), (2,), 4, 1, 16, 2)
DISCRIMINATOR = Discriminator((8, 8, 3), (2,), 16, 2, label_layers=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 2, (32, 1), np.int32)
DATA = {"images": IMAGES, "labels": LABELS}
GAME = StyleGame(GENERATOR, DISCRIMINATOR, 16)


def small(**options):
    return style_gan(GENERATOR, DISCRIMINATOR, batch_size=16, **options)


def state_of(step=0, players=None, **numbers):
    numbers = {name: jnp.float32(value) for name, value in numbers.items()}
    return jaxgan.TrainState(jnp.int32(step), jax.random.key(0), players or {}, {}, numbers)


@pytest.mark.parametrize(
    ("step", "signs", "calls", "before", "after"),
    [
        (4, 4.0, 5.0, 0.1, 0.1 + 4 * 16 / 500_000),  # The mean is 0.8, above 0.6.
        (4, 2.0, 5.0, 0.1, 0.1 - 4 * 16 / 500_000),
        (8, -5.0, 5.0, 0.0, 0.0),
        (5, 4.0, 5.0, 0.1, 0.1),
        (0, 0.0, 0.0, 0.0, 0.0),
        (4, 5.0, 5.0, 0.8, 0.8),
    ],
)
def test_the_probability_of_augmentations_follows_the_signs(step, signs, calls, before, after):
    game = StyleGame(GENERATOR, DISCRIMINATOR, 16, most_probable=0.8)
    state = state_of(step, **{PROBABILITY: before, SIGNS: signs, CALLS: calls})
    numbers = game._adapted(state)
    np.testing.assert_allclose(numbers[PROBABILITY], after, rtol=1e-6)
    is_due = step % 4 == 0
    assert numbers[CALLS] == (0 if is_due else calls)
    assert numbers[SIGNS] == (0 if is_due else signs)


def test_real_logits_are_counted():
    state = state_of(**{SIGNS: 1.5, CALLS: 2})
    counted = GAME._counted(state, jnp.array([3.0, -1.0, 2.0, 0.0]))
    assert (counted[SIGNS], counted[CALLS]) == (1.75, 3)


def test_a_lazy_turn_lowers_the_rate_and_the_betas():
    """One step of a gradient g: Adam's is the rate. After another, the second moment tells beta."""
    gan = small(learning_rate=0.1, adam_epsilon=1e-30)
    expected = {"generator": 0.1 * 4 / 5, "discriminator": 0.1 * 16 / 17}
    betas = {"generator": 0.99 ** (4 / 5), "discriminator": 0.99 ** (16 / 17)}
    for player, optimizer in gan.optimizers.items():
        params = {"x": jnp.zeros(2)}
        state = optimizer.init(params)
        update, state = optimizer.update({"x": jnp.array([2.0, -3.0])}, state, params)
        np.testing.assert_allclose(update["x"], [-expected[player], expected[player]], rtol=1e-5)
        (moment,) = {float(leaf[0]) for leaf in jax.tree.leaves(state) if leaf.shape} - {2.0}
        assert moment == pytest.approx((1 - betas[player]) * 4, rel=1e-4)
    turns = [(turn.player, turn.every, turn.batch) for turn in gan.turns]
    assert turns == [
        ("generator", 1, "next"),
        ("generator", 4, "last"),
        ("discriminator", 1, "last"),
        ("discriminator", 16, "last"),
    ]


def test_without_lazy_turns_the_rate_is_whole():
    gan = small(gamma=0.0, length_weight=0.0, learning_rate=0.1)
    assert [turn.player for turn in gan.turns] == ["generator", "discriminator"]
    assert LENGTH not in gan.numbers
    for optimizer in gan.optimizers.values():
        params = {"x": jnp.zeros(1)}
        update, _ = optimizer.update({"x": jnp.ones(1)}, optimizer.init(params), params)
        np.testing.assert_allclose(update["x"], -0.1, rtol=1e-5)


def test_gradients_that_are_no_numbers_become_numbers():
    optimizer = optax.chain(small().optimizers["generator"])
    params = {"x": jnp.zeros(3)}
    gradient = {"x": jnp.array([jnp.nan, jnp.inf, -jnp.inf])}
    update, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(update["x"], [0, -0.002, 0.002], rtol=1e-5)


def drawn(keys):
    data = {"labels": jnp.asarray(LABELS)}
    return jax.jit(jax.vmap(lambda key: GAME.draw_noise(key, data)))(keys)


def test_mixing_draws_a_layer_for_each_image():
    noise = drawn(jax.random.split(jax.random.key(0), 400))
    counts = np.bincount(noise["cutoff"], minlength=5)
    # 1 to 3 for nine of ten images; 4 is the number of layers.
    assert counts[0] == 0 and counts[1:4].min() > 85 and 20 < counts[4] < 65
    assert set(np.ravel(noise["codes"])) == {0, 1}
    assert jax.tree.map(jnp.shape, noise["latent"]) == (400, 3)


def test_styles_are_mixed_from_the_cutoff_on():
    variables = random_variables(GENERATOR)
    player = jaxgan.Player(variables["params"], {BUFFERS: variables[BUFFERS]}, ())
    state = state_of(players={"generator": player})
    keys = jax.random.split(jax.random.key(0), 2)
    noise = drawn(keys)
    noise["cutoff"] = jnp.array([1, 4])
    styles, _ = jax.jit(GAME._styles)(state, noise)
    assert np.all(styles[0, 0] != styles[0, 1])
    np.testing.assert_array_equal(styles[0, 1:], np.repeat(styles[:1, 1], 3, axis=0))
    np.testing.assert_array_equal(styles[1], np.repeat(styles[1:, 0], 4, axis=0))


def test_the_average_copies_what_is_not_trained():
    gan = small(ema_kimg=1.0, ema_ramp_up=0.0)
    decay = gan.averages["generator"](jnp.int32(3))
    np.testing.assert_allclose(decay["params"], 0.5 ** (16 / 1000), rtol=1e-6)
    assert decay[BUFFERS] == 0


def test_bad_names():
    with pytest.raises(ValueError, match="unknown augmentation 'sharpen': one of xflip, "):
        small(operations=("sharpen",))
    with pytest.raises(ValueError, match="unknown noise 'pink': one of random, const, none"):
        small(noise="pink")


def test_examples_that_cannot_be_halved():
    noise = {"latent": jnp.zeros((3, 3))}
    with pytest.raises(ValueError, match="a device has 3 images of a batch, and the path length"):
        GAME.length_loss(None, None, noise)


@pytest.mark.slow
def test_devices_do_not_matter():
    """Two steps with all turns, with mixing, noise and augmentations of a probability of 1/2."""
    # With the usual epsilon Adam makes whole steps of rounding errors.
    options = {"penalty_interval": 1, "length_interval": 1, "adam_epsilon": 1e-2}
    gan = small(**options, probability=None)
    states = {}
    for count in (1, 2, 8):
        state = jaxgan.init(gan, jax.random.key(0))
        state = state.replace(numbers={**state.numbers, PROBABILITY: jnp.float32(0.5)})
        schedule = training.schedule(len(IMAGES), 16, gan, "cpu")
        devices = jax.devices()[:count]
        calls = training.train(
            gan, state, DATA, schedule, devices=devices, batch_size=16, last_step=2
        )
        *_, (trained, metrics) = calls
        states[count] = jax.tree.map(
            np.asarray, training.unreplicate(trained).replace(key=jnp.zeros(()))
        )
        assert all(math.isfinite(value) for values in metrics.values() for value in values)
    for count in (2, 8):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            states[1],
            states[count],
        )
    assert states[1].numbers[PROBABILITY] == 0.5 and states[1].numbers[CALLS] == 4
    assert states[1].numbers[LENGTH] > 0


def test_the_pipelines_are_nested():
    for small_one, large in (("bg", "bgc"), ("bgc", "bgcf"), ("bgcf", "bgcfn")):
        assert set(PIPELINES[small_one]) < set(PIPELINES[large])
    assert len(PIPELINES["bgc"]) == 12
