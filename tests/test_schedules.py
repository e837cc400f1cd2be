"""Schedules of the images seen, against their closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import schedules

RATE, BETA1, BETA2 = 3e-3, 0.5, 0.99
IMAGES = 64
STEPS = 12


def gradients():
    rng = np.random.default_rng(0)
    return rng.normal(size=(STEPS, 5)).astype(np.float32)


def updates(optimizer):
    """The updates that an optimiser makes of the gradients, [STEPS, 5]."""
    params = jnp.ones(5)
    update = jax.jit(optimizer.update)
    state = optimizer.init(params)
    rows = []
    for gradient in gradients():
        row, state = update(gradient, state, params)
        rows.append(np.asarray(row))
    return np.stack(rows)


def adam_by_hand(rate, beta1, beta2, epsilon):
    """The same in float64 (Kingma and Ba 2015, algorithm 1); all three are functions of the images
    seen. As in optax, the biases are corrected as if a beta had always been what it is."""
    first, second = np.zeros(5), np.zeros(5)
    rows = []
    for count, gradient in enumerate(np.float64(gradients())):
        b1, b2 = (beta(count * IMAGES) for beta in (beta1, beta2))
        first = b1 * first + (1 - b1) * gradient
        second = b2 * second + (1 - b2) * gradient**2
        corrected = first / (1 - b1 ** (count + 1)), second / (1 - b2 ** (count + 1))
        rows.append(-rate(count * IMAGES) * corrected[0] / (np.sqrt(corrected[1]) + epsilon))
    return np.stack(rows)


def always(value):
    return lambda images: value


def falling_rate(images):
    return RATE / (1 + images / 100)


def falling_beta(images):
    return BETA1 / (1 + images / 1000)


def rising_beta(images):
    return 1 - (1 - BETA2) / (1 + images / 1000)


def test_plain_numbers_are_adams_bit_for_bit():
    given = schedules.adam(RATE, BETA1, BETA2, images_per_update=IMAGES)
    expected = optax.adam(RATE, BETA1, BETA2, 1e-6)
    np.testing.assert_array_equal(updates(given), updates(expected))
    # Of the same structure too: checkpoints of either are those of the other.
    states = (optimizer.init(jnp.ones(5)) for optimizer in (given, expected))
    assert len({jax.tree.structure(state) for state in states}) == 1


@pytest.mark.parametrize("epsilon", [schedules.ADAM_EPSILON, 0.1])
@pytest.mark.parametrize(
    ("rate", "beta1", "beta2"),
    [
        (RATE, BETA1, BETA2),
        (falling_rate, BETA1, BETA2),
        (RATE, falling_beta, BETA2),
        (RATE, BETA1, rising_beta),
        (falling_rate, falling_beta, rising_beta),
    ],
    ids=["numbers", "rate", "beta1", "beta2", "all"],
)
def test_adam_follows_the_images_seen(rate, beta1, beta2, epsilon):
    given = updates(schedules.adam(rate, beta1, beta2, images_per_update=IMAGES, epsilon=epsilon))
    functions = (value if callable(value) else always(value) for value in (rate, beta1, beta2))
    np.testing.assert_allclose(given, adam_by_hand(*functions, epsilon), rtol=2e-5, atol=1e-9)


def test_betas_that_are_constant_functions_are_the_numbers():
    given = schedules.adam(RATE, always(BETA1), always(BETA2), images_per_update=IMAGES)
    np.testing.assert_allclose(
        updates(given), updates(optax.adam(RATE, BETA1, BETA2, 1e-6)), rtol=1e-6
    )


def test_a_rate_is_the_same_for_the_same_images_whatever_the_batch():
    small, large = (schedules.in_images(falling_rate, images) for images in (32, 128))
    for count in range(4):
        assert large(count) == small(4 * count) == falling_rate(128 * count)


@pytest.mark.parametrize(("after", "half_life"), [(0, 100), (300, 50), (300, 2)])
def test_halving(after, half_life):
    rate = schedules.halving(RATE, after=after, half_life=half_life)
    for images in (0, 1, 150, 299, 300, 301, 350, 400, 450):
        halvings = max(0, images - after) / half_life
        np.testing.assert_allclose(rate(images), RATE * 0.5**halvings, rtol=1e-4)


def test_a_rate_without_a_half_life_is_the_number():
    assert schedules.halving(RATE, after=10, half_life=0) is RATE


@pytest.mark.parametrize("images_per_step", [1, 64])
@pytest.mark.parametrize("half_life", [10, 500])
def test_average_decay(half_life, images_per_step):
    decay = schedules.average_decay(half_life, images_per_step=images_per_step)
    for step in (0, 1, 1000):
        expected = 0.5 ** (images_per_step / half_life)
        np.testing.assert_allclose(decay(jnp.int32(step)), expected, rtol=1e-6)
    # A step's share in the average has halved once half-life images are seen.
    np.testing.assert_allclose(decay(0) ** (half_life / images_per_step), 0.5, rtol=1e-4)


@pytest.mark.parametrize("ramp_up", [0.05, 0.5])
def test_average_decay_is_ramped_up(ramp_up):
    decay = jax.jit(schedules.average_decay(5000, images_per_step=32, ramp_up=ramp_up))
    for step in (0, 1, 10, 311, 312, 313, 3124, 3125, 10_000):
        half_life = min(5000, max(32 * step * ramp_up, 1e-8))
        np.testing.assert_allclose(decay(jnp.int32(step)), 0.5 ** (32 / half_life), rtol=1e-5)


def test_a_falling_rate_is_constant_at_first_and_then_goes_linearly_to_0():
    rate = schedules.falling(RATE, after=100, over=50)
    seen = np.array([0, 100, 110, 150, 151, 10_000])
    expected = RATE * np.array([1, 1, 0.8, 0, 0, 0])
    np.testing.assert_allclose(jax.vmap(rate)(seen), expected, rtol=1e-5)
    assert schedules.falling(RATE, after=100, over=0) == RATE
