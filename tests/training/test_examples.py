"""What a step is given: the order of an epoch, batches, noise; and how an epoch is cut up."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_gan import BATCH, STEPS, train

from jaxgan import game, training
from jaxgan.game import GAN, Outcome, Turn
from jaxgan.training import examples


def recording_gan(discriminator_steps=1, *more):
    """A GAN whose metrics are what it was fed: each example's row in the data, and its noise."""
    nothing = {"params": jnp.zeros(())}
    optimizer = optax.sgd(0.1)

    def mean_of_powers(values):
        # The mean over devices of these says what the global batch held, whatever its order.
        return {f"power_{n}": jnp.mean(values**n) for n in (1, 2, 3)}

    def discriminator_loss(state, batch, noise, axis_name):
        metrics = {f"row_{k}": v for k, v in mean_of_powers(batch["row"]).items()}
        metrics |= {"image": jnp.mean(batch["images"])}
        return 0.0 * state.players["discriminator"].params, Outcome(metrics)

    def generator_loss(state, batch, noise, axis_name):
        metrics = {f"noise_{k}": v for k, v in mean_of_powers(noise).items()}
        metrics |= {"last_row": jnp.mean(batch["row"])}
        return 0.0 * state.players["generator"].params, Outcome(metrics)

    def noise(key, data):
        return jax.random.normal(key)

    return GAN(
        init=lambda key: {"generator": nothing, "discriminator": nothing},
        optimizers={"generator": optimizer, "discriminator": optimizer},
        turns=(
            Turn("discriminator", discriminator_loss, noise, discriminator_steps),
            Turn("generator", generator_loss, noise, batch="last"),
            *more,
        ),
        averages={"generator": 0.999},
        images=("images",),
    )


def test_an_epoch_shows_each_image_once_in_an_order_of_its_own():
    gan = recording_gan()
    count = BATCH * STEPS
    data = {"row": np.arange(count, dtype=np.float32), "images": np.zeros((count, 1), np.uint8)}
    _, metrics = train(gan, num_devices=4, last_step=2 * STEPS, data=data)
    means = metrics["row_power_1"].reshape(2, STEPS)
    np.testing.assert_allclose(means.mean(axis=1), (count - 1) / 2, rtol=1e-6)
    squares = metrics["row_power_2"].reshape(2, STEPS).mean(axis=1)
    np.testing.assert_allclose(squares, np.mean(np.arange(count) ** 2.0), rtol=1e-5)
    assert np.abs(means[0] - means[1]).max() > 10
    assert np.abs(np.diff(means[0])).min() > 0.01


def test_batches_are_slices_of_the_documented_permutation():
    gan = recording_gan()
    count = BATCH * STEPS + 5
    data = {"row": np.arange(count, dtype=np.float32), "images": np.zeros((count, 1), np.uint8)}
    _, metrics = train(gan, num_devices=2, last_step=2 * STEPS, data=data)
    for epoch in range(2):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), game.ORDER), epoch)
        order = np.asarray(jax.random.permutation(key, count), np.float64)
        batches = order[: BATCH * STEPS].reshape(STEPS, BATCH)
        got = metrics["row_power_1"][epoch * STEPS : (epoch + 1) * STEPS]
        np.testing.assert_allclose(got, batches.mean(axis=1), rtol=1e-5)


def test_noise_is_keyed_by_step_turn_and_index_in_the_global_batch():
    gan = recording_gan()
    data = {"row": np.zeros(BATCH * STEPS, np.float32), "images": np.zeros((640, 1), np.uint8)}
    _, metrics = train(gan, num_devices=8, last_step=2 * STEPS, data=data)
    root = jax.random.fold_in(jax.random.key(0), game.NOISE)
    for step in (0, 1, STEPS + 3):
        turn = jax.random.fold_in(jax.random.fold_in(root, step), 1)
        drawn = [jax.random.normal(jax.random.fold_in(turn, i)) for i in range(BATCH)]
        for power in (1, 2, 3):
            expected = np.mean(np.asarray(drawn, np.float64) ** power)
            np.testing.assert_allclose(metrics[f"noise_power_{power}"][step], expected, rtol=1e-4)


def test_discriminator_steps_take_a_batch_each_and_the_generator_gets_the_last():
    gan = recording_gan(discriminator_steps=4)
    count = 4 * BATCH * STEPS
    data = {"row": np.arange(count, dtype=np.float32), "images": np.zeros((count, 1), np.uint8)}
    _, metrics = train(gan, num_devices=2, data=data)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), game.ORDER), 0)
    batches = np.asarray(jax.random.permutation(key, count), np.float64).reshape(STEPS, 4, BATCH)
    np.testing.assert_allclose(metrics["row_power_1"], batches.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(metrics["last_row"], batches[:, -1].mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize(("pixel", "expected"), [(0, -1.0), (255, 1.0), (51, -0.6)])
def test_uint8_images_reach_the_losses_in_minus_one_to_one(pixel, expected):
    data = {
        "row": np.zeros(BATCH * STEPS, np.float32),
        "images": np.full((BATCH * STEPS, 2, 2, 1), pixel, np.uint8),
    }
    _, metrics = train(recording_gan(), data=data)
    np.testing.assert_allclose(metrics["image"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("num_images", "batch_size", "discriminator_steps", "platform", "expected"),
    [
        (60_000, 128, 1, "cpu", (468, 39, 39)),
        (60_000, 128, 1, "tpu", (468, 39, 468)),
        (60_000, 512, 1, "cpu", (117, 13, 13)),
        (60_000, 64, 1, "cpu", (936, 78, 78)),  # 937 is prime: one step is left out.
        (60_000, 128, 5, "cpu", (93, 31, 31)),
        (70, 64, 1, "gpu", (1, 1, 1)),
    ],
)
def test_schedule(num_images, batch_size, discriminator_steps, platform, expected):
    gan = recording_gan(discriminator_steps)
    assert training.schedule(num_images, batch_size, gan, platform)[:3] == expected


@pytest.mark.parametrize(
    ("images_per_piece", "per_piece"),
    [(None, 78), (10**6, 78), (5000, 78), (1000, 13), (160, 3), (64, 1), (1, 1)],
)
def test_a_piece_of_few_images_is_a_part_of_a_piece(images_per_piece, per_piece):
    options = {"images_per_piece": images_per_piece}
    on_cpu = training.schedule(60_000, 64, recording_gan(), "cpu", **options)
    assert on_cpu[:3] == (936, per_piece, per_piece)
    assert training.schedule(60_000, 64, recording_gan(), "tpu", **options)[1:3] == (per_piece, 936)


def test_a_schedule_divides_and_leaves_out_at_most_a_hundredth():
    gan, wrong = recording_gan(), {}
    for steps in range(1, 400):
        per_epoch, per_piece, per_call, *_ = schedule = training.schedule(steps, 1, gan, "cpu")
        divides = per_epoch % per_piece == 0 and per_call == per_piece
        if not (divides and 0.99 * steps <= per_epoch <= steps):
            wrong[steps] = schedule
    assert wrong == {}


def test_schedule_of_a_data_set_smaller_than_a_step():
    with pytest.raises(ValueError, match="a step takes 640 images .*the data set has 639"):
        training.schedule(639, 128, recording_gan(5), "cpu")


def powers_of_rows(state, batch, noise, axis_name):
    powers = {f"drawn_power_{n}": jnp.mean(batch["row"] ** n) for n in (1, 2, 3)}
    powers |= {f"drawn_noise_power_{n}": jnp.mean(noise**n) for n in (1, 2, 3)}
    return 0.0 * state.players["generator"].params, Outcome(powers)


def keyed(use, step, turn):
    """The key of each example of a turn's global batch."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), use), step)
    return [jax.random.fold_in(jax.random.fold_in(key, turn), i) for i in range(BATCH)]


def numbered_data(count):
    return {"row": np.arange(count, dtype=np.float32), "images": np.zeros((count, 1), np.uint8)}


@pytest.mark.parametrize("times", [1, 2])
def test_drawn_batches_are_keyed_by_step_turn_and_index_in_the_global_batch(times):
    def noise(key, data):
        return jax.random.uniform(key)

    # The discriminator's turns in a step are numbers 0 and 1, the generator's is 2.
    gan = recording_gan(2, Turn("generator", powers_of_rows, noise, times, batch="drawn"))
    count = 2 * BATCH * STEPS + 5
    _, metrics = train(gan, num_devices=8, last_step=2 * STEPS, data=numbered_data(count))
    for step in (0, 1, STEPS + 3):
        rows, noises = [], []
        for turn in range(3, 3 + times):
            rows += [jax.random.randint(key, (), 0, count) for key in keyed(game.ROWS, step, turn)]
            noises += [jax.random.uniform(key) for key in keyed(game.NOISE, step, turn)]
        for power in (1, 2, 3):
            for name, drawn in (("drawn", rows), ("drawn_noise", noises)):
                expected = np.mean(np.asarray(drawn, np.float64) ** power)
                given = metrics[f"{name}_power_{power}"][step]
                np.testing.assert_allclose(given, expected, rtol=1e-4)


@pytest.mark.parametrize("times", [1, 2])
def test_a_turn_may_have_the_noise_of_the_turn_before(times):
    gan = recording_gan(2)
    again = dataclasses.replace(gan.turns[1], noise="last", times=times)
    alike = dataclasses.replace(gan, turns=(gan.turns[0], again, gan.turns[1]))
    data = {"row": np.zeros(8)}
    given = examples.draws(alike, jax.random.key(0), jnp.int32(3), jnp.arange(4), data)
    assert given[1].shape == (times, 4)
    for noise in given[1]:
        np.testing.assert_array_equal(noise, given[0][-1])
    assert len(np.unique(np.concatenate([given[0], given[2]]))) == 12


def test_noise_may_pick_rows_of_the_data_set():
    def noise(key, data):
        return data["row"][jax.random.randint(key, (), 0, len(data["row"]))]

    gan = recording_gan(1, Turn("generator", powers_of_rows, noise, batch="last"))
    count = BATCH * STEPS
    _, metrics = train(gan, num_devices=4, data=numbered_data(count))
    for step in (0, 7):
        keys = keyed(game.NOISE, step, 2)
        rows = np.float64([jax.random.randint(key, (), 0, count) for key in keys])
        given = metrics["drawn_noise_power_2"][step]
        np.testing.assert_allclose(given, np.mean(rows**2), rtol=1e-4)
    # The batch is the last one: that of the discriminator.
    np.testing.assert_array_equal(metrics["drawn_power_1"], metrics["row_power_1"])


def test_an_epoch_of_a_later_stage_has_the_order_of_its_own_number():
    gan, count = recording_gan(), BATCH * STEPS
    state = training.on_host(game.init(gan, jax.random.key(0))).replace(step=np.int32(7))
    schedule = training.Schedule(STEPS, STEPS, STEPS, first_step=7, first_epoch=3)
    last_step = 7 + 2 * STEPS
    _, metrics = train(
        gan,
        num_devices=2,
        state=state,
        data=numbered_data(count),
        schedule=schedule,
        last_step=last_step,
    )
    for i, epoch in enumerate((3, 4)):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), game.ORDER), epoch)
        order = np.asarray(jax.random.permutation(key, count), np.float64).reshape(STEPS, BATCH)
        given = metrics["row_power_1"][i * STEPS : (i + 1) * STEPS]
        np.testing.assert_allclose(given, order.mean(axis=1), rtol=1e-5)


def test_epochs_of_a_schedule():
    schedule = training.schedule(60, 6, recording_gan(), "cpu", first_step=7, first_epoch=3)
    assert schedule == (10, 1, 1, 7, 3)
    assert [schedule.epochs(step) for step in (7, 12, 17)] == [3, 3.5, 4]
    assert [step for step in range(7, 30) if schedule.is_at_end_of_epoch(step)] == [7, 17, 27]
    assert training.schedule(60, 6, recording_gan(), "cpu")[3:] == (0, 0)


def test_a_step_of_drawn_batches_alone_is_counted_as_of_one():
    gan = recording_gan()
    drawn = dataclasses.replace(
        gan, turns=tuple(dataclasses.replace(turn, batch="drawn") for turn in gan.turns)
    )
    assert training.schedule(640, 64, drawn, "tpu")[:3] == (10, 1, 10)
    _, metrics = train(drawn, num_devices=2, data=numbered_data(BATCH * STEPS))
    rows = [jax.random.randint(key, (), 0, BATCH * STEPS) for key in keyed(game.ROWS, 5, 1)]
    np.testing.assert_allclose(metrics["last_row"][5], np.mean(rows), rtol=1e-5)
