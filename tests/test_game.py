"""The turns of the game, on toys whose every number is worked out by hand in float64."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game
from jaxgan.game import GAN, Player, TrainState

G_RATE, D_RATE, MOMENTUM = 0.1, 0.2, 0.5
BATCH = 8
STEPS = 3


def generator_loss(params, state, batch, noise, axis_name):
    g, d = params["w"], state.discriminator.params["w"]
    value = g * jnp.mean(batch["x"] + noise["z"]) + d * g**2 / 2
    return value, ({"generator_loss": value}, {})


def discriminator_loss(params, state, batch, noise, axis_name):
    d, g = params["w"], state.generator.params["w"]
    value = d * jnp.mean(batch["x"] * noise["z"]) + g * d**2 / 2
    return value, ({"discriminator_loss": value, "d_real": d}, {})


def make_toy(discriminator_steps=STEPS, ema_decay=0.999):
    return GAN(
        generator=nn.Module(),
        discriminator=nn.Module(),
        init=lambda key: (
            {"params": {"w": jax.random.normal(key)}},
            {"params": {"w": jax.random.uniform(key)}, "statistics": {"count": jnp.zeros(2)}},
        ),
        noise=lambda key: {"z": jax.random.normal(key)},
        generator_loss=generator_loss,
        discriminator_loss=discriminator_loss,
        generator_optimizer=optax.sgd(G_RATE, momentum=MOMENTUM),
        discriminator_optimizer=optax.sgd(D_RATE, momentum=MOMENTUM),
        discriminator_steps=discriminator_steps,
        ema_decay=ema_decay,
    )


TOY = make_toy()


def a_state(step=0):
    """In the midst of a run: momenta are not 0, and the average is not the generator."""

    def player(w, momentum, optimizer):
        params = {"w": jnp.float32(w)}
        trace, *rest = optimizer.init(params)
        return Player(params, {}, (trace._replace(trace={"w": jnp.float32(momentum)}), *rest))

    return TrainState(
        step=jnp.int32(step),
        key=jax.random.key(7),
        generator=player(0.7, 0.3, TOY.generator_optimizer),
        discriminator=player(-0.4, -0.2, TOY.discriminator_optimizer),
        ema_params={"w": jnp.float32(2.0)},
        ema_collections={},
    )


def inputs(count=STEPS):
    rng = np.random.default_rng(0)
    batches = {"x": rng.normal(1.0, 1.0, (count, BATCH)).astype(np.float32)}
    noises = {"z": rng.normal(0.5, 1.0, (count + 1, BATCH)).astype(np.float32)}
    return batches, noises


def at(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def momentum_of(player):
    return player.optimizer_state[0].trace["w"]


def without_keys(state):
    return dataclasses.replace(state, key=jax.random.key_data(state.key))


def snapshot(state):
    return jax.tree.map(np.array, without_keys(state))


def assert_same(given, expected):
    jax.tree.map(np.testing.assert_array_equal, snapshot(given), snapshot(expected))


def assert_close(given, expected):
    np.testing.assert_allclose(given, expected, rtol=2e-6, atol=1e-7)


def discriminator_turn(d, momentum, g, x, z):
    """(d, momentum, loss) after one update, in float64."""
    slope = np.mean(x * z) + g * d
    loss = d * np.mean(x * z) + g * d**2 / 2
    momentum = MOMENTUM * momentum + slope
    return d - D_RATE * momentum, momentum, loss


def generator_turn(g, momentum, d, x, z):
    slope = np.mean(x + z) + d * g
    loss = g * np.mean(x + z) + d * g**2 / 2
    momentum = MOMENTUM * momentum + slope
    return g - G_RATE * momentum, momentum, loss


def averaged(ema, g, step, ema_decay):
    decay = min(ema_decay, (1 + step) / (10 + step))
    return decay * ema + (1 - decay) * g


JIT = pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])


@JIT
def test_update_discriminator(wrap):
    state, (batches, noises) = a_state(step=5), inputs()
    before = snapshot(state)
    after, metrics = wrap(lambda *args: game.update_discriminator(TOY, *args))(
        state, at(batches, 0), at(noises, 0)
    )
    d, momentum, loss = discriminator_turn(
        -0.4, -0.2, 0.7, *(np.float64(tree[0]) for tree in (batches["x"], noises["z"]))
    )
    assert_close(after.discriminator.params["w"], d)
    assert_close(momentum_of(after.discriminator), momentum)
    assert_close(metrics["discriminator_loss"], loss)
    assert_same(after.replace(discriminator=state.discriminator), state)
    jax.tree.map(np.testing.assert_array_equal, snapshot(state), before)


@JIT
@pytest.mark.parametrize(
    ("step", "ema_decay"),
    # While warming up, around the step where it is warm, and after it: 8991 / 9000 is 0.999.
    [(0, 0.999), (5, 0.999), (100, 0.999), (8990, 0.9), (80, 0.9), (81, 0.9), (20_000, 0.999)],
)
def test_update_generator(step, ema_decay, wrap):
    state, (batches, noises) = a_state(step), inputs()
    before = snapshot(state)
    toy = make_toy(ema_decay=ema_decay)
    after, metrics = wrap(lambda *args: game.update_generator(toy, *args))(
        state, at(batches, 0), at(noises, 0)
    )
    g, momentum, loss = generator_turn(
        0.7, 0.3, -0.4, *(np.float64(tree[0]) for tree in (batches["x"], noises["z"]))
    )
    assert_close(after.generator.params["w"], g)
    assert_close(momentum_of(after.generator), momentum)
    assert_close(metrics["generator_loss"], loss)
    # 2 at first: what the average has come nearer to g is the share that is tested.
    assert_close(after.ema_params["w"], averaged(2.0, g, step, ema_decay))
    assert after.step == step + 1
    assert after.step.dtype == jnp.int32
    moved = {"step": state.step, "generator": state.generator, "ema_params": state.ema_params}
    assert_same(after.replace(**moved), state)
    jax.tree.map(np.testing.assert_array_equal, snapshot(state), before)


def test_the_average_follows_over_many_steps():
    state, (batches, noises) = a_state(), inputs(1)
    toy = make_toy(ema_decay=0.5)
    update = jax.jit(lambda state: game.update_generator(toy, state, at(batches, 0), at(noises, 0)))
    expected = 2.0
    for step in range(12):
        state, _ = update(state)
        expected = averaged(expected, float(state.generator.params["w"]), step, 0.5)
        assert_close(state.ema_params["w"], expected)


@pytest.mark.parametrize("steps", [1, 3])
def test_train_step_by_hand(steps):
    toy, state, (batches, noises) = make_toy(steps), a_state(step=4), inputs(steps)
    after, metrics = jax.jit(lambda *args: game.train_step(toy, *args))(state, batches, noises)
    x, z = np.float64(batches["x"]), np.float64(noises["z"])
    d, d_momentum, g, g_momentum = -0.4, -0.2, 0.7, 0.3
    losses, beliefs = [], []
    for i in range(steps):
        beliefs.append(d)
        d, d_momentum, loss = discriminator_turn(d, d_momentum, g, x[i], z[i])
        losses.append(loss)
    # The counterfeiter moves last: against the police as they are by now, with a noise of its own.
    g, g_momentum, g_loss = generator_turn(g, g_momentum, d, x[-1], z[-1])
    assert_close(after.discriminator.params["w"], d)
    assert_close(momentum_of(after.discriminator), d_momentum)
    assert_close(after.generator.params["w"], g)
    assert_close(momentum_of(after.generator), g_momentum)
    assert_close(after.ema_params["w"], averaged(2.0, g, 4, 0.999))
    assert after.step == 5
    assert metrics.keys() == {"generator_loss", "discriminator_loss", "d_real"}
    assert_close(metrics["generator_loss"], g_loss)
    assert_close(metrics["discriminator_loss"], np.mean(losses))
    assert_close(metrics["d_real"], np.mean(beliefs))


def test_train_step_is_its_updates_one_after_the_other():
    state, (batches, noises) = a_state(), inputs()
    after, _ = jax.jit(lambda *args: game.train_step(TOY, *args))(state, batches, noises)
    for i in range(STEPS):
        state, _ = game.update_discriminator(TOY, state, at(batches, i), at(noises, i))
    state, _ = game.update_generator(TOY, state, at(batches, -1), at(noises, -1))
    jax.tree.map(assert_close, snapshot(after), snapshot(state))


@pytest.mark.parametrize("parts", [2, 8])
def test_parts_of_a_batch_make_the_step_of_the_whole(parts):
    # vmap with a name for its axis is what pmap does, on one device.
    state, (batches, noises) = a_state(), inputs()
    whole, whole_metrics = jax.jit(lambda *args: game.train_step(TOY, *args))(
        state, batches, noises
    )

    def apart(tree):
        return jax.tree.map(lambda x: x.reshape(len(x), parts, -1).swapaxes(0, 1), tree)

    step = jax.vmap(
        lambda *inputs: game.train_step(TOY, state, *inputs, axis_name="devices"),
        axis_name="devices",
    )
    each, metrics = jax.jit(step)(apart(batches), apart(noises))
    for part in range(parts):
        jax.tree.map(assert_close, at(snapshot(each), part), snapshot(whole))
        # Every metric here is a mean over the batch, so the mean of the parts is that of the whole.
        jax.tree.map(assert_close, at(metrics, part), whole_metrics)


def test_init():
    key = jax.random.key(3)
    state = game.init(TOY, key)
    generator, discriminator = TOY.init(jax.random.fold_in(key, game.INIT))
    assert state.step == 0
    assert state.step.dtype == jnp.int32
    assert state.key == key
    assert state.generator.params == generator["params"]
    assert state.generator.collections == {}
    assert state.discriminator.params == discriminator["params"]
    assert state.discriminator.collections.keys() == {"statistics"}
    assert state.discriminator.variables.keys() == {"params", "statistics"}
    assert momentum_of(state.generator) == momentum_of(state.discriminator) == 0
    assert state.ema_params == generator["params"]
    assert state.ema_variables == {"params": generator["params"]}
    # Of its own memory: a state that held one buffer twice could not be donated to a step.
    assert (
        state.ema_params["w"].unsafe_buffer_pointer()
        != state.generator.params["w"].unsafe_buffer_pointer()
    )
    assert_same(game.init(TOY, key), state)
    assert game.init(TOY, jax.random.key(4)).generator.params != state.generator.params


def test_what_is_random_is_keyed_apart():
    assert len({game.INIT, game.ORDER, game.NOISE, game.DRAWING}) == 4


@pytest.mark.parametrize("name", ["step", "generator", "ema_params"])
def test_a_state_cannot_be_changed(name):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(a_state(), name, None)


class Adds(nn.Module):
    """What is given plus a number, seen so many times."""

    @nn.compact
    def __call__(self, x, train=False, axis_name=None):
        seen = self.variable("seen", "times", lambda: jnp.zeros(()))
        if train and not self.is_initializing():
            seen.value += 1
        return x + self.param("w", nn.initializers.ones, ())


class AddsPlainly(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + self.param("w", nn.initializers.ones, ())


def test_call_hands_collections_on_and_needs_none():
    counting, plain = (module.init(jax.random.key(0), 0.0) for module in (Adds(), AddsPlainly()))
    assert game.call(AddsPlainly(), plain, 2.0, axis_name="devices") == (3.0, {})
    given, collections = game.call(Adds(), counting, 2.0, axis_name=None)
    assert given == 3.0 and collections == {"seen": {"times": 1.0}}
    assert counting["seen"] == {"times": 0.0}


def test_the_average_of_collections_follows_as_that_of_the_weights_does():
    def loss(params, state, batch, noise, axis_name):
        variables = {"params": params, **state.generator.collections}
        given, collections = game.call(Adds(), variables, batch, axis_name=axis_name)
        return given, ({"generator_loss": given}, collections)

    toy = dataclasses.replace(
        make_toy(ema_decay=0.5),
        init=lambda key: (Adds().init(key, 0.0), {"params": {"w": jnp.zeros(())}}),
        generator_loss=loss,
    )
    state = jax.jit(lambda key: game.init(toy, key))(jax.random.key(0))
    assert state.ema_collections == state.generator.collections == {"seen": {"times": 0.0}}
    update = jax.jit(lambda state: game.update_generator(toy, state, jnp.float32(1.0), None))
    expected = 0.0
    for step in range(8):
        state, _ = update(state)
        assert state.generator.collections["seen"]["times"] == step + 1
        expected = averaged(expected, step + 1, step, 0.5)
        assert_close(state.ema_collections["seen"]["times"], expected)
    assert state.ema_variables["seen"] == state.ema_collections["seen"]


class BatchNormDiscriminator(nn.Module):
    @nn.compact
    def __call__(self, images):
        x = nn.BatchNorm(use_running_average=False, momentum=0.9)(images)
        return nn.Dense(1)(x)[:, 0]


class ShiftGenerator(nn.Module):
    @nn.compact
    def __call__(self, latents):
        return latents + self.param("shift", nn.initializers.ones, (2,))


def make_batch_norm_gan():
    generator, discriminator = ShiftGenerator(), BatchNormDiscriminator()

    def judge(variables, images):
        return discriminator.apply(variables, images, mutable=["batch_stats"])

    def d_loss(params, state, batch, noise, axis_name):
        variables = {"params": params, **state.discriminator.collections}
        real, collections = judge(variables, batch["images"])
        fake = generator.apply(state.generator.variables, noise)
        fake, _ = judge(variables, fake)
        value = jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))
        return value, ({"discriminator_loss": value}, collections)

    def g_loss(params, state, batch, noise, axis_name):
        fake, _ = judge(state.discriminator.variables, generator.apply({"params": params}, noise))
        value = jnp.mean(jax.nn.softplus(-fake))
        return value, ({"generator_loss": value}, {})

    def init(key):
        return generator.init(key, jnp.zeros((1, 2))), discriminator.init(key, jnp.zeros((1, 2)))

    return GAN(
        generator=generator,
        discriminator=discriminator,
        init=init,
        noise=lambda key: jax.random.normal(key, (2,)),
        generator_loss=g_loss,
        discriminator_loss=d_loss,
        generator_optimizer=optax.adam(0.01),
        discriminator_optimizer=optax.adam(0.01),
        discriminator_steps=STEPS,
    )


@pytest.mark.parametrize("parts", [1, 2])
def test_batch_statistics_are_carried_in_the_state(parts):
    gan = make_batch_norm_gan()
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    rng = np.random.default_rng(0)
    images = rng.normal(3.0, 2.0, (STEPS, parts, BATCH, 2)).astype(np.float32)
    noises = rng.normal(size=(STEPS + 1, parts, BATCH, 2)).astype(np.float32)
    step = jax.vmap(
        lambda images, noises: game.train_step(
            gan, state, {"images": images}, noises, axis_name="devices"
        ),
        in_axes=1,
        axis_name="devices",
    )
    after, _ = jax.jit(step)(images, noises)
    mean, var = np.zeros(2), np.ones(2)
    for batch in np.float64(images):
        mean = 0.9 * mean + 0.1 * batch.mean(axis=1).mean(axis=0)
        var = 0.9 * var + 0.1 * batch.var(axis=1).mean(axis=0)
    statistics = after.discriminator.collections["batch_stats"]["BatchNorm_0"]
    for part in range(parts):
        np.testing.assert_allclose(statistics["mean"][part], mean, rtol=1e-5)
        np.testing.assert_allclose(statistics["var"][part], var, rtol=1e-5)
    assert after.generator.collections == {}
    assert jax.tree.structure(after) == jax.tree.structure(state)
