import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from small_run import slow

from jaxgan import game, training
from jaxgan.systems.dcgan import networks as dcgan
from jaxgan.systems.latent.config import ADAM_EPSILON
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.systems.mlp_gan import networks as mlp
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix import networks as pix2pix
from jaxgan.systems.pix2pix.losses import paired_gan

BATCH = 32
STEPS = 20


def small_gan(**settings):
    optimizer = optax.adam(5e-4, b1=0.5, eps=ADAM_EPSILON)
    return latent_gan(
        mlp.Generator(16, (32, 64), (8, 8, 1)),
        mlp.Discriminator((64, 32), (8, 8, 1)),
        optimizer,
        optimizer,
        **settings,
    )


def small_images(count=BATCH * STEPS):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def train(gan, *, num_devices=1, seed=0, last_step=STEPS, state=None, data=None, pieces=1):
    """The state on the host after training up to a step, and the metrics of all steps."""
    if state is None:
        state = training.on_host(game.init(gan, jax.random.key(seed)))
    if data is None:
        data = {"images": small_images(BATCH * STEPS * gan.discriminator_steps)}
    cut = training.Schedule(STEPS, STEPS // pieces, STEPS // pieces)
    rows = []
    for replicated, metrics in training.train(
        gan,
        state,
        data,
        cut,
        devices=jax.devices()[:num_devices],
        batch_size=BATCH,
        last_step=last_step,
    ):
        rows.append(metrics)
        state = training.unreplicate(replicated)
    return state, jax.tree.map(lambda *x: np.concatenate(x), *rows)


def relative_distance(a, b):
    """|a - b| / |b| in the L2 norm: the largest of both players' and of the average's."""
    vectors = ([ravel_pytree(part)[0] for part in parameters(state)] for state in (a, b))
    return max(jnp.linalg.norm(x - y) / jnp.linalg.norm(y) for x, y in zip(*vectors, strict=True))


def parameters(state):
    return state.generator.params, state.discriminator.params, state.ema_params


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "wasserstein", "gradient_penalty": 10.0, "discriminator_steps": 3},
        {"loss": "hinge", "noise": "uniform", "r1": 0.1, "r2": 0.1},
    ],
    ids=["wgan-gp", "hinge-r1-r2"],
)
def test_any_number_of_devices_trains_the_same_gan(settings):
    gan = small_gan(**settings)
    one, metrics_of_one = train(gan, num_devices=1)
    many, metrics = train(gan, num_devices=8)
    assert one.step == STEPS
    assert relative_distance(many, one) < 1e-4
    chex.assert_trees_all_close(metrics, metrics_of_one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("recipe", "last_step", "num_devices"),
    [
        *(slow("textbook", STEPS, 2), slow("textbook", STEPS, 4), ("textbook", STEPS, 8)),
        # The gradient of a gradient penalty jumps where a unit crosses LeakyReLU's kink, and in so
        # large a network rounding takes one across every few steps.
        ("default", 1, 8),
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


def conditional_dcgan():
    return latent_gan(
        dcgan.Generator(8, 4, (8, 8, 1), (3, 2)),
        dcgan.Discriminator(4, (8, 8, 1), (3, 2)),
        *(optax.sgd(0.1), optax.sgd(0.1)),
    )


def small_pix2pix():
    return paired_gan(
        pix2pix.UNet(4, (16, 16, 1), 1),
        pix2pix.PatchDiscriminator(4, (16, 16, 1), 1),
        *(optax.sgd(1e-3), optax.sgd(0.1)),
    )


def convolutional_data(gan, steps=3):
    """Images, and what else they have, of an epoch of a few steps."""
    rng = np.random.default_rng(0)
    count = BATCH * steps
    shape = (count, *gan.generator.image_shape)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    if isinstance(gan.generator, pix2pix.UNet):
        return {"images": images, "inputs": rng.integers(0, 256, shape, dtype=np.uint8)}
    return {"images": images, "labels": rng.integers(0, (3, 2), (count, 2)).astype(np.int32)}


def train_convolutional(gan, num_devices, steps=3):
    state = training.on_host(jax.jit(lambda key: game.init(gan, key))(jax.random.key(0)))
    ((replicated, metrics),) = training.train(
        gan,
        state,
        convolutional_data(gan, steps),
        training.Schedule(steps, steps, steps),
        devices=jax.devices()[:num_devices],
        batch_size=BATCH,
        last_step=steps,
    )
    return state, training.unreplicate(replicated), metrics


@pytest.mark.parametrize("num_devices", [slow(2), 8])
@pytest.mark.parametrize("make", [conditional_dcgan, small_pix2pix], ids=["dcgan", "pix2pix"])
def test_convolutional_gans_train_the_same_on_any_number_of_devices(make, num_devices):
    gan = make()
    first, one, metrics_of_one = train_convolutional(gan, 1)
    # Not because nothing has moved: weights are N(0, 0.02) at first.
    assert relative_distance(one, first) > 1e-3
    _, many, metrics = train_convolutional(gan, num_devices)
    assert relative_distance(many, one) < 1e-4
    chex.assert_trees_all_close(metrics, metrics_of_one, rtol=1e-3, atol=1e-4)
    for name in ("generator", "discriminator"):
        chex.assert_trees_all_close(
            *(getattr(state, name).collections for state in (many, one)), rtol=1e-3, atol=1e-5
        )
    chex.assert_trees_all_close(many.ema_collections, one.ema_collections, rtol=1e-3, atol=1e-5)


def test_without_the_axis_batch_statistics_would_be_each_devices_own():
    gan = conditional_dcgan()

    def alone(loss):
        return lambda *args: loss(*args[:-1], None)

    apart = dataclasses.replace(
        gan,
        generator_loss=alone(gan.generator_loss),
        discriminator_loss=alone(gan.discriminator_loss),
    )
    _, one, _ = train_convolutional(gan, 1)
    _, many, _ = train_convolutional(apart, 8)
    assert relative_distance(many, one) > 1e-3


def test_another_seed_trains_another_gan():
    gan = small_gan()
    assert relative_distance(train(gan, seed=0)[0], train(gan, seed=1)[0]) > 0.1


def states_of(gan, seeds):
    return [training.on_host(game.init(gan, jax.random.key(seed))) for seed in seeds]


def assert_same_bits(a, b):
    chex.assert_trees_all_equal(
        *(state.replace(key=jax.random.key_data(state.key)) for state in (a, b)), strict=True
    )


# Lazy penalties are a `cond` on the step, which all seeds share.
LAZY = {"r1": 1.0, "penalty_interval": 4, "translation": 2}
SEEDS = (0, 1, 5)


def call_once(state, num_devices, **options):
    """As `train` for one call, of a state or several seeds' together."""
    return training.unreplicate(compiled(num_devices, **options)(state))


@functools.cache
def compiled(num_devices, **options):
    devices = jax.devices()[:num_devices]
    data = training.replicate({"images": small_images()}, devices)
    program = compile_small(devices, **options)

    def call(state):
        state = training.replicate(state, devices)
        return program.train(state, data, program.order(state))

    return call


def compile_small(devices, **options):
    return training.compile_epoch(
        small_gan(**LAZY),
        devices,
        num_images=BATCH * STEPS,
        batch_size=BATCH,
        steps_per_epoch=STEPS,
        steps_per_call=STEPS,
        **options,
    )


@pytest.mark.parametrize("num_devices", [slow(1), 2])
def test_seeds_in_turn_are_bit_for_bit_each_seed_alone(num_devices):
    states = states_of(small_gan(**LAZY), SEEDS)
    together, metrics = call_once(training.stack(states), num_devices, seeds_in_turn=True)
    for i, (state, end) in enumerate(zip(states, training.unstack(together), strict=True)):
        alone, metrics_of_one = call_once(state, num_devices)
        assert end.step == STEPS
        assert_same_bits(end, alone)
        chex.assert_trees_all_equal({name: x[i] for name, x in metrics.items()}, metrics_of_one)


@pytest.mark.parametrize("num_devices", [slow(1), 2])
def test_seeds_in_the_same_operations_are_each_seed_alone(num_devices):
    """As accelerators train them; in larger operations floats are summed in another order."""
    states = states_of(small_gan(**LAZY), SEEDS)
    together, metrics = call_once(training.stack(states), num_devices, seeds_in_turn=False)
    for i, (state, end) in enumerate(zip(states, training.unstack(together), strict=True)):
        alone, metrics_of_one = call_once(state, num_devices)
        assert end.step == STEPS
        assert relative_distance(end, alone) < 1e-4
        for name, values in metrics_of_one.items():
            np.testing.assert_allclose(metrics[name][i], values, rtol=1e-3, atol=1e-4)


def test_training_several_seeds_is_calls_of_all_of_them_in_turn():
    gan = small_gan(**LAZY)
    stacked = training.stack(states_of(gan, SEEDS))
    trained, metrics = train(gan, state=stacked, data={"images": small_images()})
    expected, expected_metrics = call_once(stacked, 1, seeds_in_turn=True)
    assert_same_bits(trained, expected)
    assert metrics["d_real"].shape == (len(SEEDS), STEPS)
    chex.assert_trees_all_equal(metrics, expected_metrics)


def test_seeds_in_the_same_operations_take_lazy_penalties_as_seldom():
    """A condition on a step for each seed would become a choice between both branches' results."""
    gan = small_gan(**LAZY)
    state = training.replicate(training.stack(states_of(gan, (0, 1))), jax.devices()[:1])
    data = training.replicate({"images": small_images()}, jax.devices()[:1])
    conditions = []
    for in_turn in (True, False):
        program = compile_small(jax.devices()[:1], seeds_in_turn=in_turn)
        lowered = program.train.lower(state, data, program.order(state))
        conditions.append(lowered.as_text().count("stablehlo.case"))
    assert conditions[0] == conditions[1] > 0


def test_stack_and_unstack_undo_each_other():
    states = states_of(small_gan(), (3, 4))
    stacked = training.stack(states)
    assert stacked.step.shape == () and stacked.key.shape == (2,)
    for state, back in zip(states, training.unstack(stacked), strict=True):
        assert_same_bits(state, back)
    assert training.stack(states[:1]) is states[0]
    assert training.unstack(states[0]) == [states[0]]


def test_states_at_different_steps_are_not_stacked():
    state, other = states_of(small_gan(), (3, 4))
    with pytest.raises(ValueError, match="at one step, not at 0, 20"):
        training.stack([state, other.replace(step=np.int32(20))])


def test_the_same_seed_gives_the_same_bits():
    gan = small_gan()
    chex.assert_trees_all_equal(
        parameters(train(gan, num_devices=2)[0]), parameters(train(gan, num_devices=2)[0])
    )


@pytest.mark.parametrize("num_devices", [slow(1), 4])
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


def test_the_length_of_a_call_changes_no_number():
    gan = small_gan()
    whole, metrics = train(gan, last_step=2 * STEPS, pieces=1)
    cut, metrics_of_cut = train(gan, last_step=2 * STEPS, pieces=10)
    chex.assert_trees_all_close(parameters(whole), parameters(cut), rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(metrics, metrics_of_cut, rtol=1e-4, atol=1e-5)


def recording_gan(discriminator_steps=1):
    """A GAN whose metrics are what it was fed: each example's row in the data, and its noise."""
    nothing = {"params": jnp.zeros(())}

    def mean_of_powers(values):
        # The mean over devices of these says what the global batch held, whatever its order.
        return {f"power_{n}": jnp.mean(values**n) for n in (1, 2, 3)}

    def discriminator_loss(params, state, batch, noise, axis_name):
        metrics = {f"row_{k}": v for k, v in mean_of_powers(batch["row"]).items()}
        metrics |= {"image": jnp.mean(batch["images"])}
        return 0.0 * params, (metrics, {})

    def generator_loss(params, state, batch, noise, axis_name):
        metrics = {f"noise_{k}": v for k, v in mean_of_powers(noise).items()}
        return 0.0 * params, (metrics | {"last_row": jnp.mean(batch["row"])}, {})

    return game.GAN(
        generator=None,
        discriminator=None,
        init=lambda key: (nothing, nothing),
        noise=lambda key: jax.random.normal(key),
        generator_loss=generator_loss,
        discriminator_loss=discriminator_loss,
        generator_optimizer=optax.sgd(0.1),
        discriminator_optimizer=optax.sgd(0.1),
        discriminator_steps=discriminator_steps,
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
    assert training.schedule(num_images, batch_size, discriminator_steps, platform) == expected


def test_a_schedule_divides_and_leaves_out_at_most_a_hundredth():
    wrong = {}
    for steps in range(1, 400):
        per_epoch, per_piece, per_call = schedule = training.schedule(steps, 1, 1, "cpu")
        divides = per_epoch % per_piece == 0 and per_call == per_piece
        if not (divides and 0.99 * steps <= per_epoch <= steps):
            wrong[steps] = schedule
    assert wrong == {}


def test_schedule_of_a_data_set_smaller_than_a_step():
    with pytest.raises(ValueError, match="a step takes 640 images .*the data set has 639"):
        training.schedule(639, 128, 5, "cpu")


def test_select_devices():
    assert training.select_devices("all") == jax.devices()
    assert training.select_devices("3") == jax.devices()[:3]


@pytest.mark.parametrize("which", ["0", "-1", "two", "", "1.5", "²"])
def test_select_devices_refuses_what_is_no_count(which):
    with pytest.raises(ValueError, match="'all' or a count"):
        training.select_devices(which)


def test_select_devices_refuses_more_than_there_are():
    with pytest.raises(ValueError, match=r"9 devices asked for, but there are 8 \(cpu\)"):
        training.select_devices("9")


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="batch of 100 does not divide over 8 devices"):
        training.local_batch_size(100, 8)


def test_unreplicate_undoes_replicate():
    state = training.on_host(game.init(small_gan(), jax.random.key(3)))
    back = training.unreplicate(training.replicate(state, jax.devices()[:4]))
    chex.assert_trees_all_equal(parameters(state), parameters(back))
    assert jax.random.key_data(back.key).tolist() == jax.random.key_data(state.key).tolist()


def spoilt(gan, at_step, spoil):
    """A GAN whose generator's loss is spoilt in one step."""

    def generator_loss(params, state, batch, noise, axis_name):
        value, (metrics, collections) = gan.generator_loss(params, state, batch, noise, axis_name)
        value = jax.lax.cond(state.step == at_step - 1, spoil, lambda value: value, value)
        return value, (metrics | {"generator_loss": value}, collections)

    return dataclasses.replace(gan, generator_loss=generator_loss)


def yielded_before_failure(gan, message, **options):
    """The steps that calls ended at before training failed so."""
    state = training.on_host(game.init(gan, jax.random.key(0)))
    ends = []
    with pytest.raises(FloatingPointError, match=message):
        for replicated, _ in training.train(
            gan,
            options.pop("state", state),
            {"images": small_images()},
            training.Schedule(STEPS, STEPS // 4, STEPS // 4),
            batch_size=BATCH,
            last_step=2 * STEPS,
            **({"devices": jax.devices()[:1]} | options),
        ):
            ends.append(int(training.unreplicate(replicated.step)))
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
    states = training.stack(states_of(gan, (0, 1)))
    assert yielded_before_failure(gan, "^generator_loss is nan at step 3$", state=states) == []


def test_a_gradient_whose_square_is_too_large_for_a_float_is_seen_in_the_optimizer():
    # The loss and the parameters stay finite: Adam divides by the root of an infinite square.
    gan = spoilt(small_gan(), 5, lambda loss: loss * 1e25)
    message = r"^generator/optimizer_state/0/nu/.* is not finite after step 5$"
    assert yielded_before_failure(gan, message) == []


def test_debug_nans_names_the_operation_and_its_line():
    gan = spoilt(small_gan(), 13, lambda loss: jnp.log(-loss))
    message = r"^generator_loss is nan at step 13: .*\blog\b.*in step 13 at test_training\.py:\d+: "
    assert yielded_before_failure(gan, message, debug_nans=True) == [5, 10]


def test_no_operation_is_found_where_all_went_well():
    gan = small_gan(r1=0.1)
    state = training.on_host(game.init(gan, jax.random.key(0)))
    cut = training.Schedule(STEPS, STEPS, STEPS)
    found = training.find_operation(
        gan, state, {"images": small_images()}, batch_size=BATCH, cut=cut, num_steps=2
    )
    assert found is None
