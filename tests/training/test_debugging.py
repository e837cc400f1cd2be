"""Numbers that are not finite stop training, and the operation that made them is found."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from small_gan import BATCH, STEPS, small_gan, small_images, states_of

from jaxgan import game, training
from jaxgan.training import debugging


def spoilt(gan, at_step, spoil):
    """A GAN whose generator's loss is spoilt in one step."""

    discriminator_turn, generator_turn = gan.turns

    def generator_loss(state, *inputs):
        value, outcome = generator_turn.loss(state, *inputs)
        value = jax.lax.cond(state.step == at_step - 1, spoil, lambda value: value, value)
        return value, outcome._replace(metrics={**outcome.metrics, "generator_loss": value})

    spoilt_turn = dataclasses.replace(generator_turn, loss=generator_loss)
    return dataclasses.replace(gan, turns=(discriminator_turn, spoilt_turn))


def yielded_before_failure(gan, message, **options):
    """The steps that calls ended at before training failed so."""
    state = training.on_host(game.init(gan, jax.random.key(0)))
    ends = []
    with pytest.raises(FloatingPointError, match=message):
        for groups, _ in training.train_seeds(
            gan,
            options.pop("states", [state]),
            {"images": small_images()},
            training.Schedule(STEPS, STEPS // 4, STEPS // 4),
            batch_size=BATCH,
            last_step=2 * STEPS,
            **({"devices": jax.devices()[:1]} | options),
        ):
            ends.append(int(training.unreplicate(groups[0].step)))
    return ends


def test_a_loss_that_is_no_number_stops_training_at_the_end_of_its_call():
    gan = spoilt(small_gan(), 13, lambda loss: jnp.log(-loss))
    message = "^generator_loss is nan at step 13$"
    assert yielded_before_failure(gan, message, devices=jax.devices()[:2]) == [5, 10]


def test_infinity_stops_training_too():
    gan = spoilt(small_gan(), STEPS + 1, lambda loss: loss + jnp.inf)
    assert yielded_before_failure(gan, "^generator_loss is inf at step 21$") == [5, 10, 15, 20]


def test_one_seed_of_several_that_fails_stops_all():
    gan = spoilt(small_gan(), 3, lambda loss: jnp.where(loss > 0, jnp.nan, loss))
    states = states_of(gan, (0, 1))
    assert yielded_before_failure(gan, "^generator_loss is nan at step 3$", states=states) == []


def test_a_gradient_whose_square_is_too_large_for_a_float_is_seen_in_the_optimizer():
    # The loss and the parameters stay finite: Adam divides by the root of an infinite square.
    gan = spoilt(small_gan(), 5, lambda loss: loss * 1e25)
    message = r"^players/generator/optimizer_state/0/nu/.* is not finite after step 5$"
    assert yielded_before_failure(gan, message) == []


def test_debug_nans_names_the_operation_and_its_line():
    gan = spoilt(small_gan(), 11, lambda loss: jnp.log(-loss))
    message = (
        r"^generator_loss is nan at step 11: .*\blog\b.*in step 11 at test_debugging\.py:\d+: "
    )
    assert yielded_before_failure(gan, message, debug_nans=True) == [5, 10]


def test_no_operation_is_found_where_all_went_well():
    gan = small_gan(r1=0.1)
    state = training.on_host(game.init(gan, jax.random.key(0)))
    schedule = training.Schedule(STEPS, 2, 2)
    found = debugging.find_operation(
        gan, state, {"images": small_images()}, batch_size=BATCH, schedule=schedule
    )
    assert found is None
