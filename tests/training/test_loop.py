"""Training: the same on any number of devices, in calls of any length, stopped or not."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_gan import (
    BATCH,
    STEPS,
    assert_same_bits,
    parameters,
    relative_distance,
    small_gan,
    small_images,
    states_of,
    train,
)
from small_run import slow

from jaxgan import game, training
from jaxgan.game import Outcome, Turn
from jaxgan.systems.dcgan import networks as dcgan
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix import networks as pix2pix
from jaxgan.systems.pix2pix.losses import paired_gan
from jaxgan.training import examples, seeds, streaming


@pytest.mark.parametrize(
    "settings",
    [
        slow({"loss": "wasserstein", "gradient_penalty": 10.0, "discriminator_steps": 3}),
        {"loss": "hinge", "noise": "uniform", "r1": 0.1, "r2": 0.1},
    ],
    ids=["wgan-gp", "hinge-r1-r2"],
)
def test_any_number_of_devices_trains_the_same_gan(settings):
    gan = small_gan(**settings)
    one, metrics_of_one = train(gan, num_devices=1)
    many, metrics = train(gan, num_devices=4)
    assert one.step == STEPS
    assert relative_distance(many, one) < 1e-4
    chex.assert_trees_all_close(metrics, metrics_of_one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("recipe", "last_step", "num_devices"),
    [
        *(slow("textbook", STEPS, num_devices) for num_devices in (2, 4, 8)),
        # The gradient of a gradient penalty jumps where a unit crosses LeakyReLU's kink, and in so
        # large a network rounding takes one across every few steps.
        slow("default", 1, 2),
        slow("default", 1, 8),
    ],
)
def test_the_chapters_networks_train_the_same_on_any_number_of_devices(
    recipe, last_step, num_devices
):
    gan = MLPGANConfig(recipe=recipe).gan()
    rng = np.random.default_rng(0)
    data = {"images": rng.integers(0, 256, (BATCH * STEPS, 28, 28, 1), dtype=np.uint8)}
    options = {"data": data, "last_step": last_step, "pieces": STEPS // last_step}
    one, _ = train(gan, **options)
    many, _ = train(gan, num_devices=num_devices, **options)
    assert relative_distance(many, one) < 1e-4


CONVOLUTIONAL_STEPS = 3
CONVOLUTIONAL_IMAGES = BATCH * CONVOLUTIONAL_STEPS


def conditional_dcgan():
    """The GAN, and an epoch of a few steps of what it is trained on."""
    gan = latent_gan(
        dcgan.Generator(8, 4, (8, 8, 1), (3, 2)),
        dcgan.Discriminator(4, (8, 8, 1), (3, 2)),
        *(optax.sgd(0.1), optax.sgd(0.1)),
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (CONVOLUTIONAL_IMAGES, 8, 8, 1), dtype=np.uint8)
    labels = rng.integers(0, (3, 2), (CONVOLUTIONAL_IMAGES, 2)).astype(np.int32)
    return gan, {"images": images, "labels": labels}


def small_pix2pix():
    """The same of pairs of images."""
    gan = paired_gan(
        pix2pix.UNet(4, (16, 16, 1), 1),
        pix2pix.PatchDiscriminator(4, (16, 16, 1), 1),
        *(optax.sgd(1e-3), optax.sgd(0.1)),
    )
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 256, (2, CONVOLUTIONAL_IMAGES, 16, 16, 1), dtype=np.uint8)
    return gan, {"images": pairs[0], "inputs": pairs[1]}


def train_convolutional(gan, data, num_devices, **options):
    steps = CONVOLUTIONAL_STEPS
    state = training.on_host(jax.jit(lambda key: game.init(gan, key))(jax.random.key(0)))
    ((replicated, metrics),) = training.train(
        gan,
        state,
        data,
        training.Schedule(steps, steps, steps),
        devices=jax.devices()[:num_devices],
        batch_size=BATCH,
        last_step=steps,
        **options,
    )
    return state, training.unreplicate(replicated), metrics


@pytest.mark.parametrize(
    ("make", "num_devices"),
    [
        (conditional_dcgan, 2),
        slow(small_pix2pix, 2),
        slow(conditional_dcgan, 8),
        slow(small_pix2pix, 8),
    ],
)
def test_convolutional_gans_train_the_same_on_any_number_of_devices(make, num_devices):
    gan, data = make()
    first, one, metrics_of_one = train_convolutional(gan, data, 1)
    # Not because nothing has moved: weights are N(0, 0.02) at first.
    assert relative_distance(one, first) > 1e-3
    _, many, metrics = train_convolutional(gan, data, num_devices)
    assert relative_distance(many, one) < 1e-4
    chex.assert_trees_all_close(metrics, metrics_of_one, rtol=1e-3, atol=1e-4)
    for name in ("generator", "discriminator"):
        chex.assert_trees_all_close(
            *(state.players[name].collections for state in (many, one)), rtol=1e-3, atol=1e-5
        )
    averages = [dict(state.averages["generator"]) for state in (many, one)]
    for average in averages:
        del average["params"]  # Compared above, all of them together.
    chex.assert_trees_all_close(*averages, rtol=1e-3, atol=1e-5)


def test_without_the_axis_batch_statistics_would_be_each_devices_own():
    gan, data = conditional_dcgan()

    def alone(turn):
        return dataclasses.replace(turn, loss=lambda *args: turn.loss(*args[:-1], None))

    apart = dataclasses.replace(gan, turns=tuple(map(alone, gan.turns)))
    _, one, _ = train_convolutional(gan, data, 1)
    _, many, _ = train_convolutional(apart, data, 8)
    assert relative_distance(many, one) > 1e-3


@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("make", [conditional_dcgan, slow(small_pix2pix)])
def test_streamed_images_with_labels_and_in_pairs_give_the_same_bits(make, num_devices):
    gan, data = make()
    _, resident, metrics = train_convolutional(gan, data, num_devices)
    _, streamed, metrics_of_streamed = train_convolutional(gan, data, num_devices, streamed=True)
    assert_same_bits(streamed, resident)
    chex.assert_trees_all_equal(metrics_of_streamed, metrics)


def test_another_seed_trains_another_gan():
    gan = small_gan()
    assert relative_distance(train(gan, seed=0)[0], train(gan, seed=1)[0]) > 0.1


def test_the_same_seed_gives_the_same_bits():
    gan = small_gan()
    chex.assert_trees_all_equal(
        parameters(train(gan, num_devices=2)[0]), parameters(train(gan, num_devices=2)[0])
    )


@pytest.mark.parametrize("num_devices", [slow(4), 1])
def test_stopping_and_going_on_gives_the_same_bits(num_devices):
    gan = small_gan(r1=0.1)
    straight, metrics = train(gan, num_devices=num_devices, last_step=3 * STEPS, pieces=4)
    half, first = train(gan, num_devices=num_devices, last_step=5 * STEPS // 4, pieces=4)
    resumed, second = train(gan, num_devices=num_devices, last_step=3 * STEPS, pieces=4, state=half)
    chex.assert_trees_all_equal(
        straight.replace(key=jax.random.key_data(straight.key)),
        resumed.replace(key=jax.random.key_data(resumed.key)),
    )
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second)
    chex.assert_trees_all_equal(metrics, joined)


@pytest.mark.parametrize("last_step", [STEPS // 4, 5 * STEPS // 4])
def test_a_run_that_ends_within_an_epoch_ends_there(last_step):
    """On an accelerator a call is an epoch, but a run that a CPU has begun may end within one."""
    schedule = training.Schedule(STEPS, STEPS // 4, STEPS)
    state, metrics = train(small_gan(), last_step=last_step, schedule=schedule)
    assert state.step == len(metrics["d_real"]) == last_step
    in_pieces, expected = train(small_gan(), last_step=last_step, pieces=4)
    chex.assert_trees_all_equal(parameters(state), parameters(in_pieces))
    chex.assert_trees_all_equal(metrics, expected)


def test_the_length_of_a_call_changes_no_number():
    gan = small_gan()
    whole, metrics = train(gan, last_step=2 * STEPS, pieces=1)
    in_pieces, metrics_in_pieces = train(gan, last_step=2 * STEPS, pieces=10)
    chex.assert_trees_all_equal(parameters(whole), parameters(in_pieces))
    chex.assert_trees_all_equal(metrics, metrics_in_pieces)


def seldom_gan():
    """The small GAN and a third player, who moves at every fourth step and tells what it saw."""
    gan = small_gan()

    def loss(state, batch, noise, axis_name):
        w = state.players["third"].params["w"]
        seen = jnp.mean(noise * jnp.mean(batch["images"], axis=(1, 2, 3)))
        return w * seen, Outcome({"seen": seen, "w": w})

    def draw_noise(key, data):
        return jax.random.normal(key)

    return dataclasses.replace(
        gan,
        init=lambda key: gan.init(key) | {"third": {"params": {"w": jnp.zeros(())}}},
        optimizers=gan.optimizers | {"third": optax.sgd(0.5)},
        turns=(*gan.turns, Turn("third", loss, draw_noise, every=4, batch="drawn")),
    )


def test_metrics_of_a_turn_that_is_not_due_are_nan_and_stop_no_training():
    one, metrics_of_one = train(seldom_gan(), pieces=2)
    is_due = np.arange(STEPS) % 4 == 0
    for name in ("seen", "w"):
        assert metrics_of_one[name].shape == (STEPS,)
        np.testing.assert_array_equal(np.isnan(metrics_of_one[name]), ~is_due)
    # Plain descent of w times what is seen.
    w = -0.5 * np.cumsum(metrics_of_one["seen"][is_due])
    np.testing.assert_allclose(metrics_of_one["w"][is_due], [0, *w[:-1]], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(one.players["third"].params["w"], w[-1], rtol=1e-5)
    # What is drawn is keyed by the index in the global batch, as all is.
    many, metrics = train(seldom_gan(), num_devices=4, pieces=2)
    assert relative_distance(many, one) < 1e-4
    chex.assert_trees_all_close(metrics, metrics_of_one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_metrics_of_a_turn_that_is_not_due_are_nan_of_each_seed(platform, monkeypatch):
    gan = seldom_gan()
    states = states_of(gan, (0, 1))
    groups = seeds.groups(states, platform)
    with monkeypatch.context() as patched:
        patched.setattr(seeds, "groups", lambda *_: groups)
        ((_, together),) = training.train_seeds(
            gan,
            states,
            {"images": small_images(BATCH * STEPS * examples.batches_per_step(gan))},
            training.Schedule(STEPS, STEPS, STEPS),
            devices=jax.devices()[:1],
            batch_size=BATCH,
            last_step=STEPS,
        )
    for i, state in enumerate(states):
        _, alone = train(gan, state=state)
        assert together["seen"].shape == (2, STEPS)
        for name, values in alone.items():
            np.testing.assert_allclose(together[name][i], values, rtol=1e-3, atol=1e-4)


# A third player moves on batches drawn with replacement, and the discriminator takes several.
@pytest.mark.parametrize("make", [small_gan, seldom_gan])
@pytest.mark.parametrize("num_devices", [1, 2])
@pytest.mark.parametrize("bytes_of_call", [1 << 27, 3 * BATCH * 64])
def test_streamed_images_give_the_same_bits(make, num_devices, bytes_of_call, monkeypatch):
    monkeypatch.setattr(streaming, "CALL_BYTES", bytes_of_call)
    options = {"num_devices": num_devices, "pieces": 2, "last_step": 2 * STEPS}
    resident, metrics = train(make(), **options)
    streamed, metrics_of_streamed = train(make(), streamed=True, **options)
    assert_same_bits(streamed, resident)
    chex.assert_trees_all_equal(metrics_of_streamed, metrics)


def test_streamed_images_give_each_seed_its_own_in_the_same_operations(monkeypatch):
    gan = small_gan()
    states = states_of(gan, (0, 1))
    groups = [seeds.stack(states)]
    monkeypatch.setattr(seeds, "groups", lambda *_: groups)
    both = []
    for streamed in (False, True):
        ((groups_after, metrics),) = training.train_seeds(
            gan,
            states,
            {"images": small_images()},
            training.Schedule(STEPS, STEPS, STEPS),
            devices=jax.devices()[:2],
            batch_size=BATCH,
            last_step=STEPS,
            streamed=streamed,
        )
        both.append((training.unreplicate(groups_after[0]), metrics))
    assert_same_bits(both[0][0], both[1][0])
    chex.assert_trees_all_equal(both[0][1], both[1][1])


def test_streamed_images_are_those_of_a_run_that_goes_on_within_an_epoch():
    whole, metrics = train(small_gan(), last_step=2 * STEPS, pieces=4)
    half, first = train(small_gan(), last_step=STEPS // 4, pieces=4)
    resumed, second = train(small_gan(), last_step=2 * STEPS, pieces=4, state=half, streamed=True)
    assert_same_bits(resumed, whole)
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second)
    chex.assert_trees_all_equal(joined, metrics)


def test_a_noise_that_reads_streamed_images_is_refused():
    gan = small_gan()

    def noise(key, data):
        return gan.turns[0].noise(key, data) + 0 * data["images"][0, 0, 0, 0]

    reading = dataclasses.replace(gan, turns=(dataclasses.replace(gan.turns[0], noise=noise),))
    with pytest.raises(ValueError, match="the noise of a turn reads the 'images' .* --data resi"):
        train(reading, streamed=True)
