"""The turns of the game, on toys whose every number is worked out by hand in float64."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game
from jaxgan.game import GAN, Outcome, Player, TrainState, Turn
from jaxgan.layers.training_call import call

G_RATE, D_RATE, MOMENTUM = 0.1, 0.2, 0.5
BATCH = 8
STEPS = 3


def weights(state, *players):
    return (state.players[player].params["w"] for player in players)


def generator_loss(state, batch, noise, axis_name):
    g, d = weights(state, "generator", "discriminator")
    value = g * jnp.mean(batch["x"] + noise["z"]) + d * g**2 / 2
    return value, Outcome({"generator_loss": value})


def discriminator_loss(state, batch, noise, axis_name):
    g, d = weights(state, "generator", "discriminator")
    value = d * jnp.mean(batch["x"] * noise["z"]) + g * d**2 / 2
    return value, Outcome({"discriminator_loss": value, "d_real": d})


def draw_noise(key, data):
    return {"z": jax.random.normal(key)}


OPTIMIZERS = {
    "generator": optax.sgd(G_RATE, momentum=MOMENTUM),
    "discriminator": optax.sgd(D_RATE, momentum=MOMENTUM),
}
GENERATOR_TURN = Turn("generator", generator_loss, draw_noise, batch="last")


def make_toy(discriminator_steps=STEPS, ema_decay=0.999):
    return GAN(
        init=lambda key: {
            "generator": {"params": {"w": jax.random.normal(key)}},
            "discriminator": {
                "params": {"w": jax.random.uniform(key)},
                "statistics": {"count": jnp.zeros(2)},
            },
        },
        optimizers=OPTIMIZERS,
        turns=(
            Turn("discriminator", discriminator_loss, draw_noise, discriminator_steps),
            GENERATOR_TURN,
        ),
        averages={"generator": ema_decay},
    )


TOY = make_toy()


def a_player(w, momentum, optimizer):
    params = {"w": jnp.float32(w)}
    trace, *rest = optimizer.init(params)
    return Player(params, {}, (trace._replace(trace={"w": jnp.float32(momentum)}), *rest))


def a_state(step=0):
    """In the midst of a run: momenta are not 0, and the average is not the generator."""
    return TrainState(
        step=jnp.int32(step),
        key=jax.random.key(7),
        players={
            "generator": a_player(0.7, 0.3, OPTIMIZERS["generator"]),
            "discriminator": a_player(-0.4, -0.2, OPTIMIZERS["discriminator"]),
        },
        averages={"generator": {"params": {"w": jnp.float32(2.0)}}},
        numbers={},
    )


def inputs(count=STEPS):
    """(x of the discriminator's batches [count, BATCH], z of all turns [count + 1, BATCH])."""
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 1.0, (count, BATCH)).astype(np.float32)
    return x, rng.normal(0.5, 1.0, (count + 1, BATCH)).astype(np.float32)


def of_step(x, z):
    """The batches and the noises of a step of the toy, as `game.train_step` takes them."""
    return ({"x": x}, None), ({"z": z[:-1]}, {"z": z[-1:]})


def at(tree, index):
    return jax.tree.map(lambda x: x[index], tree)


def weight_of(state, player):
    return state.players[player].params["w"]


def momentum_of(state, player):
    return state.players[player].optimizer_state[0].trace["w"]


def average_of(state):
    return state.averages["generator"]["params"]["w"]


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
    state, (x, z) = a_state(step=5), inputs()
    before = snapshot(state)
    after, metrics = wrap(lambda *args: game.update_discriminator(TOY, *args))(
        state, {"x": x[0]}, {"z": z[0]}
    )
    d, momentum, loss = discriminator_turn(-0.4, -0.2, 0.7, np.float64(x[0]), np.float64(z[0]))
    assert_close(weight_of(after, "discriminator"), d)
    assert_close(momentum_of(after, "discriminator"), momentum)
    assert_close(metrics["discriminator_loss"], loss)
    moved = state.players["discriminator"]
    assert_same(after.replace(players=after.players | {"discriminator": moved}), state)
    jax.tree.map(np.testing.assert_array_equal, snapshot(state), before)


@JIT
@pytest.mark.parametrize(
    ("step", "ema_decay"),
    # While warming up, around the step where it is warm, and after it: 8991 / 9000 is 0.999.
    [(0, 0.999), (5, 0.999), (100, 0.999), (8990, 0.9), (80, 0.9), (81, 0.9), (20_000, 0.999)],
)
def test_update_generator(step, ema_decay, wrap):
    state, (x, z) = a_state(step), inputs()
    before = snapshot(state)
    toy = make_toy(ema_decay=ema_decay)
    after, metrics = wrap(lambda *args: game.update_generator(toy, *args))(
        state, {"x": x[0]}, {"z": z[0]}
    )
    g, momentum, loss = generator_turn(0.7, 0.3, -0.4, np.float64(x[0]), np.float64(z[0]))
    assert_close(weight_of(after, "generator"), g)
    assert_close(momentum_of(after, "generator"), momentum)
    assert_close(metrics["generator_loss"], loss)
    # 2 at first: what the average has come nearer to g is the share that is tested.
    assert_close(average_of(after), averaged(2.0, g, step, ema_decay))
    assert after.step == step + 1
    assert after.step.dtype == jnp.int32
    players = after.players | {"generator": state.players["generator"]}
    moved = {"step": state.step, "players": players, "averages": state.averages}
    assert_same(after.replace(**moved), state)
    jax.tree.map(np.testing.assert_array_equal, snapshot(state), before)


def test_the_average_follows_over_many_steps():
    state, (x, z) = a_state(), inputs(1)
    toy = make_toy(ema_decay=0.5)
    update = jax.jit(lambda state: game.update_generator(toy, state, {"x": x[0]}, {"z": z[0]}))
    expected = 2.0
    for step in range(12):
        state, _ = update(state)
        expected = averaged(expected, float(weight_of(state, "generator")), step, 0.5)
        assert_close(average_of(state), expected)


@pytest.mark.parametrize("steps", [1, 3])
def test_train_step_by_hand(steps):
    toy, state, (x, z) = make_toy(steps), a_state(step=4), inputs(steps)
    after, metrics = jax.jit(lambda *args: game.train_step(toy, *args))(state, *of_step(x, z))
    x, z = np.float64(x), np.float64(z)
    d, d_momentum, g, g_momentum = -0.4, -0.2, 0.7, 0.3
    losses, beliefs = [], []
    for i in range(steps):
        beliefs.append(d)
        d, d_momentum, loss = discriminator_turn(d, d_momentum, g, x[i], z[i])
        losses.append(loss)
    # The counterfeiter moves last: against the police as they are by now, with a noise of its own.
    g, g_momentum, g_loss = generator_turn(g, g_momentum, d, x[-1], z[-1])
    assert_close(weight_of(after, "discriminator"), d)
    assert_close(momentum_of(after, "discriminator"), d_momentum)
    assert_close(weight_of(after, "generator"), g)
    assert_close(momentum_of(after, "generator"), g_momentum)
    assert_close(average_of(after), averaged(2.0, g, 4, 0.999))
    assert after.step == 5
    assert metrics.keys() == {"generator_loss", "discriminator_loss", "d_real"}
    assert_close(metrics["generator_loss"], g_loss)
    assert_close(metrics["discriminator_loss"], np.mean(losses))
    assert_close(metrics["d_real"], np.mean(beliefs))


def test_train_step_is_its_updates_one_after_the_other():
    state, (x, z) = a_state(), inputs()
    after, _ = jax.jit(lambda *args: game.train_step(TOY, *args))(state, *of_step(x, z))
    for i in range(STEPS):
        state, _ = game.update_discriminator(TOY, state, {"x": x[i]}, {"z": z[i]})
    state, _ = game.update_generator(TOY, state, {"x": x[-1]}, {"z": z[-1]})
    jax.tree.map(assert_close, snapshot(after), snapshot(state))


@pytest.mark.parametrize("parts", [2, 8])
def test_parts_of_a_batch_make_the_step_of_the_whole(parts):
    # vmap with a name for its axis is what pmap does, on one device.
    state, (batches, noises) = a_state(), of_step(*inputs())
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
    expected = TOY.init(jax.random.fold_in(key, game.INIT))
    assert state.step == 0
    assert state.step.dtype == jnp.int32
    assert state.key == key
    generator, discriminator = (state.players[name] for name in ("generator", "discriminator"))
    assert generator.params == expected["generator"]["params"]
    assert generator.collections == {}
    assert discriminator.params == expected["discriminator"]["params"]
    assert discriminator.collections.keys() == {"statistics"}
    assert state.variables("discriminator").keys() == {"params", "statistics"}
    assert momentum_of(state, "generator") == momentum_of(state, "discriminator") == 0
    assert state.averages == {"generator": {"params": expected["generator"]["params"]}}
    assert state.numbers == {}
    # Of its own memory: a state that held one buffer twice could not be donated to a step.
    assert (
        average_of(state).unsafe_buffer_pointer()
        != weight_of(state, "generator").unsafe_buffer_pointer()
    )
    assert_same(game.init(TOY, key), state)
    another = game.init(TOY, jax.random.key(4))
    assert weight_of(another, "generator") != weight_of(state, "generator")


def test_what_is_random_is_keyed_apart():
    uses = game.INIT, game.ORDER, game.NOISE, game.DRAWING, game.EVALUATION, game.ROWS
    assert len(set(uses)) == 6


@pytest.mark.parametrize("name", ["step", "players", "averages"])
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


def test_the_average_of_collections_follows_as_that_of_the_weights_does():
    def loss(state, batch, noise, axis_name):
        given, collections = call(Adds(), state.variables("generator"), batch, axis_name=axis_name)
        return given, Outcome({"generator_loss": given}, {"generator": collections})

    toy = dataclasses.replace(
        make_toy(ema_decay=0.5),
        init=lambda key: {
            "generator": Adds().init(key, 0.0),
            "discriminator": {"params": {"w": jnp.zeros(())}},
        },
        turns=(TOY.turns[0], dataclasses.replace(GENERATOR_TURN, loss=loss)),
    )

    def seen(state):
        return state.averages["generator"]["seen"]["times"]

    state = jax.jit(lambda key: game.init(toy, key))(jax.random.key(0))
    collections = {"seen": {"times": 0.0}}
    assert state.players["generator"].collections == collections
    assert state.averages["generator"].keys() == {"params", "seen"} and seen(state) == 0
    update = jax.jit(lambda state: game.update_generator(toy, state, jnp.float32(1.0), None))
    expected = 0.0
    for step in range(8):
        state, _ = update(state)
        assert state.players["generator"].collections["seen"]["times"] == step + 1
        expected = averaged(expected, step + 1, step, 0.5)
        assert_close(seen(state), expected)
    assert state.averages["generator"].keys() == {"params", "seen"}


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

    def d_loss(state, batch, noise, axis_name):
        variables = state.variables("discriminator")
        real, collections = judge(variables, batch["images"])
        fake = generator.apply(state.variables("generator"), noise)
        fake, _ = judge(variables, fake)
        value = jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))
        return value, Outcome({"discriminator_loss": value}, {"discriminator": collections})

    def g_loss(state, batch, noise, axis_name):
        fake = generator.apply(state.variables("generator"), noise)
        fake, _ = judge(state.variables("discriminator"), fake)
        value = jnp.mean(jax.nn.softplus(-fake))
        return value, Outcome({"generator_loss": value})

    def init(key):
        modules = {"generator": generator, "discriminator": discriminator}
        return {name: module.init(key, jnp.zeros((1, 2))) for name, module in modules.items()}

    def noise(key, data):
        return jax.random.normal(key, (2,))

    return GAN(
        init=init,
        optimizers={"generator": optax.adam(0.01), "discriminator": optax.adam(0.01)},
        turns=(
            Turn("discriminator", d_loss, noise, STEPS),
            Turn("generator", g_loss, noise, batch="last"),
        ),
        averages={"generator": 0.999},
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
            gan, state, ({"images": images}, None), (noises[:-1], noises[-1:]), axis_name="devices"
        ),
        in_axes=1,
        axis_name="devices",
    )
    after, _ = jax.jit(step)(images, noises)
    mean, var = np.zeros(2), np.ones(2)
    for batch in np.float64(images):
        mean = 0.9 * mean + 0.1 * batch.mean(axis=1).mean(axis=0)
        var = 0.9 * var + 0.1 * batch.var(axis=1).mean(axis=0)
    statistics = after.players["discriminator"].collections["batch_stats"]["BatchNorm_0"]
    for part in range(parts):
        np.testing.assert_allclose(statistics["mean"][part], mean, rtol=1e-5)
        np.testing.assert_allclose(statistics["var"][part], var, rtol=1e-5)
    assert after.players["generator"].collections == {}
    assert jax.tree.structure(after) == jax.tree.structure(state)


C_RATE = 0.3


def critic_loss(state, batch, noise, axis_name):
    c, g, d = weights(state, "critic", "generator", "discriminator")
    value = c * jnp.mean(batch["x"] - noise["z"]) + (g - d) * c**2 / 2
    return value, Outcome({"critic_loss": value})


def critic_turn(c, g, d, x, z):
    """(c, loss) after one update, in float64."""
    loss = c * np.mean(x - z) + (g - d) * c**2 / 2
    return c - C_RATE * (np.mean(x - z) + (g - d) * c), loss


def with_critic(*turns, **changes):
    """(the toy's two turns and some of a third player, a state whose critic is 0.9)."""
    toy = dataclasses.replace(
        make_toy(1),
        optimizers=OPTIMIZERS | {"critic": optax.sgd(C_RATE)},
        turns=(*make_toy(1).turns, *turns),
        **changes,
    )
    optimizer_state = toy.optimizers["critic"].init({"w": jnp.float32(0.9)})
    critic = Player({"w": jnp.float32(0.9)}, {}, optimizer_state)
    return toy, a_state().replace(players=a_state().players | {"critic": critic})


def by_hand(x, z, z_of_generator):
    """(d, g) of the first step of a toy of one turn each."""
    d, _, _ = discriminator_turn(-0.4, -0.2, 0.7, x, z)
    g, _, _ = generator_turn(0.7, 0.3, d, x, z_of_generator)
    return d, g


def test_a_third_player_moves_against_the_others_as_they_are_by_now():
    toy, state = with_critic(Turn("critic", critic_loss, draw_noise))
    x, z = inputs(2)
    batches = {"x": x[:1]}, None, {"x": x[1:]}
    noises = tuple({"z": z[i : i + 1]} for i in range(3))
    after, metrics = jax.jit(lambda *args: game.train_step(toy, *args))(state, batches, noises)
    x, z = np.float64(x), np.float64(z)
    d, g = by_hand(x[0], z[0], z[1])
    c, loss = critic_turn(0.9, g, d, x[1], z[2])
    assert_close(weight_of(after, "discriminator"), d)
    assert_close(weight_of(after, "generator"), g)
    assert_close(weight_of(after, "critic"), c)
    assert metrics.keys() == {"discriminator_loss", "d_real", "generator_loss", "critic_loss"}
    assert_close(metrics["critic_loss"], loss)
    # An average is kept of the players that the system names, and of no other.
    assert after.averages.keys() == {"generator"}


def test_a_turn_taken_several_times_on_the_last_batch():
    toy, state = with_critic(Turn("critic", critic_loss, draw_noise, times=3, batch="last"))
    toy = dataclasses.replace(
        toy, turns=(dataclasses.replace(TOY.turns[0], times=2), *toy.turns[1:])
    )
    (x, z), z_of_critic = inputs(2), inputs(3)[0]
    batches, noises = of_step(x, z)
    after, metrics = jax.jit(lambda *args: game.train_step(toy, *args))(
        state, (*batches, None), (*noises, {"z": z_of_critic})
    )
    x, z = np.float64(x), np.float64(z)
    d, momentum = -0.4, -0.2
    for i in range(2):
        d, momentum, _ = discriminator_turn(d, momentum, 0.7, x[i], z[i])
    g, _, _ = generator_turn(0.7, 0.3, d, x[1], z[2])
    c, losses = 0.9, []
    for each in np.float64(z_of_critic):
        # Always the discriminator's second batch, but a noise of its own.
        c, loss = critic_turn(c, g, d, x[1], each)
        losses.append(loss)
    assert_close(weight_of(after, "critic"), c)
    assert_close(metrics["critic_loss"], np.mean(losses))


@pytest.mark.parametrize("times", [1, 2])
def test_a_turn_at_every_third_step(times):
    toy, state = with_critic(Turn("critic", critic_loss, draw_noise, times, 3, "last"))
    (x, z), z_of_critic = inputs(1), inputs(times)[0]
    batches, noises = of_step(x, z)
    step = jax.jit(
        lambda state: game.train_step(toy, state, (*batches, None), (*noises, {"z": z_of_critic}))
    )
    c = 0.9
    for number in range(7):
        state, metrics = step(state)
        assert metrics["critic_loss"].shape == (2,) and metrics["generator_loss"].shape == ()
        losses = []
        if number in (0, 3, 6):
            # The generator and the discriminator have moved before, as by hand above.
            g, d = (np.float64(weight_of(state, name)) for name in ("generator", "discriminator"))
            for each in np.float64(z_of_critic):
                c, loss = critic_turn(c, g, d, np.float64(x[0]), each)
                losses.append(loss)
        assert_close(weight_of(state, "critic"), c)
        assert_close(metrics["critic_loss"], [np.mean(losses), 1] if losses else [0, 0])
        assert state.step == number + 1


def test_an_outcome_changes_the_collections_of_another_player_and_numbers():
    def loss(state, batch, noise, axis_name):
        count = state.players["discriminator"].collections["statistics"]["count"]
        mean = 0.75 * state.numbers["mean"] + 0.25 * jnp.mean(batch["x"])
        value, outcome = generator_loss(state, batch, noise, axis_name)
        collections = {"discriminator": {"statistics": {"count": count + jnp.mean(batch["x"])}}}
        return value, outcome._replace(collections=collections, numbers={"mean": mean})

    toy = dataclasses.replace(
        make_toy(1),
        turns=(TOY.turns[0], dataclasses.replace(GENERATOR_TURN, loss=loss)),
        numbers={"mean": 2, "other": 5.0},
    )
    state = game.init(toy, jax.random.key(0))
    assert state.numbers == {"mean": 2.0, "other": 5.0}
    assert {x.dtype for x in state.numbers.values()} == {jnp.dtype("float32")}
    x, z = inputs(1)

    def parts_of(inputs):
        return jax.tree.map(lambda x: x[0].reshape(2, -1), inputs)

    # On two devices: the outcome is a mean over them.
    update = jax.jit(
        jax.vmap(
            lambda *args: game.update_generator(toy, state, *args, "devices"), axis_name="devices"
        )
    )
    after, _ = update(parts_of({"x": x}), parts_of({"z": z}))
    mean = np.mean(np.float64(x[0]))
    for part in range(2):
        its = at(snapshot(after), part)
        discriminator = its.players["discriminator"]
        assert_close(discriminator.collections["statistics"]["count"], [mean, mean])
        assert its.numbers.keys() == {"mean", "other"}
        assert_close(its.numbers["mean"], 1.5 + 0.25 * mean)
        assert its.numbers["other"] == 5.0
        # Who does not move keeps params and moments.
        assert discriminator.params["w"] == weight_of(state, "discriminator")
        assert discriminator.optimizer_state[0].trace["w"] == 0


def test_the_decay_of_an_average_as_a_function_of_the_step():
    toy = make_toy(ema_decay=lambda step: 1 - 1 / (2.0 + step))
    state, (x, z) = a_state(step=2), inputs(1)
    update = jax.jit(lambda state: game.update_generator(toy, state, {"x": x[0]}, {"z": z[0]}))
    expected = 2.0
    for step in range(2, 6):
        state, _ = update(state)
        # It is not warmed up: at step 2 a number of 0.75 would be 3 / 12.
        decay = 1 - 1 / (2 + step)
        expected = decay * expected + (1 - decay) * float(weight_of(state, "generator"))
        assert_close(average_of(state), expected)


def test_any_players_may_be_averaged():
    toy = dataclasses.replace(make_toy(), averages={"discriminator": 0.5, "generator": 0.0})
    state = game.init(toy, jax.random.key(0))
    assert state.averages.keys() == {"generator", "discriminator"}
    assert state.averages["discriminator"].keys() == {"params", "statistics"}
    without = dataclasses.replace(toy, averages={})
    assert game.init(without, jax.random.key(0)).averages == {}


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([GENERATOR_TURN], "the first turn of a step has no last batch: give another batch="),
        (
            [dataclasses.replace(TOY.turns[0], noise="last")],
            "the first turn of a step has no last noise: give another noise=",
        ),
        (
            [TOY.turns[0], dataclasses.replace(GENERATOR_TURN, batch="next", every=2)],
            'a turn with every= takes no "next" batch: "last" or "drawn"',
        ),
    ],
)
def test_turns_that_no_step_can_take_are_refused(turns, message):
    with pytest.raises(ValueError) as error:
        dataclasses.replace(TOY, turns=tuple(turns))
    assert str(error.value) == message


def test_a_drawn_batch_may_come_first_and_seldom():
    first = dataclasses.replace(TOY.turns[0], batch="drawn", every=2)
    assert dataclasses.replace(TOY, turns=(first, GENERATOR_TURN)).turns[0] == first
