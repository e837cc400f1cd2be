"""The settings of every GAN from latents, shown on mlp_gan: the game, its optimisers, penalties."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import game
from jaxgan.data import Dataset
from jaxgan.schedules import ADAM_EPSILON
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import RECIPES, MLPGANConfig

LOSSES = ["non_saturating", "minimax", "least_squares", "wasserstein", "hinge"]
SMALL = {
    "image_shape": (2, 2, 1),
    "latent_size": 3,
    "generator_widths": (4,),
    "discriminator_widths": (5,),
    "translation": 0,
}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"loss": "wgan"}, ["'wgan'", *LOSSES]),
        ({"noise": "gaussian"}, ["'gaussian'", "normal", "uniform"]),
        ({"loss": "hinge", "label_smoothing": 0.1}, ["label smoothing", "hinge"]),
        ({"loss": "wasserstein", "label_smoothing": 0.1}, ["label smoothing", "wasserstein"]),
    ],
)
def test_settings_that_make_no_game_are_refused(settings, named):
    with pytest.raises(ValueError) as error:
        MLPGANConfig(**settings)
    for part in named:
        assert part in str(error.value)


def test_the_turns_and_the_average_are_those_asked_for():
    gan = MLPGANConfig(**SMALL, discriminator_steps=2, ema_decay=0.5).gan()
    turns = [(turn.player, turn.times, turn.every, turn.batch) for turn in gan.turns]
    assert turns == [("discriminator", 2, 1, "next"), ("generator", 1, 1, "last")]
    assert gan.averages == {"generator": 0.5} and gan.images == ("images",)


@functools.cache
def small_inputs():
    """State, batch and noise of any game that is SMALL."""
    gan = MLPGANConfig(**SMALL).gan()
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (4, 2, 2, 1)).astype(np.float32)
    noise = {"latent": rng.normal(size=(4, 3)).astype(np.float32), "mix": np.ones(4, np.float32)}
    return state, {"images": images}, noise


# After 6 images the generator's learning rate halves every 4, the discriminator's every 10; an
# update of either is of 2 images, or of 4 of the generator's where the discriminator has two.
@pytest.mark.parametrize(
    ("player", "discriminator_steps", "halved"),
    [
        ("generator", 1, [0, 0, 0, 0, 0.5, 1, 1.5]),
        ("generator", 2, [0, 0, 0.5, 1.5, 2.5, 3.5, 4.5]),
        ("discriminator", 1, [0, 0, 0, 0, 0.2, 0.4, 0.6]),
        ("discriminator", 2, [0, 0, 0, 0, 0.2, 0.4, 0.6]),
    ],
)
def test_both_players_learn_by_adam_with_the_settings_given(player, discriminator_steps, halved):
    rates = {"generator_learning_rate": 0.03, "discriminator_learning_rate": 0.02}
    rate, beta1, beta2 = rates[f"{player}_learning_rate"], 0.6, 0.8
    gan = MLPGANConfig(
        **SMALL,
        **rates,
        batch_size=2,
        decay_after_kimg=0.006,
        generator_half_life_kimg=0.004,
        discriminator_half_life_kimg=0.010,
        discriminator_steps=discriminator_steps,
        beta1=beta1,
        beta2=beta2,
    ).gan()
    state, batch, noise = small_inputs()
    turn = next(turn for turn in gan.turns if turn.player == player)
    update = getattr(game, f"update_{player}")

    def loss(params, state):
        return turn.loss(state.with_player(player, params=params), batch, noise, None)

    slope = jax.jit(
        lambda state: jax.grad(loss, has_aux=True)(state.players[player].params, state)[0]
    )
    step = jax.jit(lambda state: update(gan, state, batch, noise)[0])
    # Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1.
    params = [np.float64(x) for x in jax.tree.leaves(state.players[player].params)]
    first, second = [0.0] * len(params), [0.0] * len(params)
    for t, halvings in enumerate(halved, start=1):
        gradients = [np.float64(x) for x in jax.tree.leaves(slope(state))]
        state = step(state)
        for i, gradient in enumerate(gradients):
            first[i] = beta1 * first[i] + (1 - beta1) * gradient
            second[i] = beta2 * second[i] + (1 - beta2) * gradient**2
            mean, square = first[i] / (1 - beta1**t), second[i] / (1 - beta2**t)
            step_size = rate * 0.5**halvings
            params[i] = params[i] - step_size * mean / (np.sqrt(square) + ADAM_EPSILON)
        moved = jax.tree.leaves(state.players[player].params)
        for given, expected in zip(moved, params, strict=True):
            np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)


def penalty(scale, **settings):
    """What a configuration's penalties add to the discriminator's loss.

    The discriminator's first layer is scaled: by 0 it has no slope, and of the penalties the
    one-centred alone is left, whose value is its factor then. It is step 0, when all are due.
    """
    config = MLPGANConfig(**SMALL, **settings)
    without = dataclasses.replace(config, r1=0.0, r2=0.0, gradient_penalty=0.0)
    state, batch, noise = small_inputs()
    params = dict(state.players["discriminator"].params)
    params["Dense_0"] = jax.tree.map(lambda x: scale * x, params["Dense_0"])
    state = state.with_player("discriminator", params=params)
    losses = [each.gan().turns[0].loss for each in (config, without)]
    given, bare = jax.jit(lambda: [loss(state, batch, noise, None)[0] for loss in losses])()
    return float(given - bare)


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"loss": "wasserstein"}, 10.0),
        ({"loss": "wasserstein", "gradient_penalty": 3.0}, 3.0),
        ({"loss": "wasserstein", "gradient_penalty": 0.0}, 0.0),
        ({"loss": "non_saturating"}, 0.0),
        ({"loss": "hinge", "gradient_penalty": 2.0, "penalty_interval": 1}, 2.0),
        ({"loss": "hinge", "gradient_penalty": 2.0, "penalty_interval": 3}, 6.0),
    ],
)
def test_the_factor_of_the_gradient_penalty(settings, factor):
    np.testing.assert_allclose(penalty(0.0, **settings), factor, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_the_factors_of_r1_and_r2(name):
    one = penalty(1.0, **{"r1": 0.0, "r2": 0.0, name: 1.0})
    assert one > 0.01
    settings = {"r1": 0.0, "r2": 0.0, name: 8.0}
    np.testing.assert_allclose(penalty(1.0, **settings), 8 * one, rtol=1e-4)


def test_the_r1_that_each_loss_comes_with():
    given = penalty(1.0)
    recipe = RECIPES["default"]
    whole = recipe["penalty_interval"] * penalty(1.0, r1=recipe["r1"], penalty_interval=1)
    np.testing.assert_allclose(given, whole, rtol=1e-5)
    assert given > 0
    # Wasserstein's comes with the other penalty instead.
    assert penalty(1.0, loss="wasserstein", gradient_penalty=0.0) == 0


@pytest.fixture
def averaged():
    """A state whose average is far from its generator."""
    state, _, _ = small_inputs()
    rng = np.random.default_rng(0)
    average = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype("f4"), state.averages["generator"]
    )
    return state.replace(averages={"generator": average})


def images_by_hand(state, noise, key, count):
    """What SMALL's averaged generator makes of the latents of a key, float64."""
    if noise == "normal":
        latents = np.float64(jax.random.normal(key, (count, 3)))
    else:
        latents = 2 * np.float64(jax.random.uniform(key, (count, 3))) - 1
    average = state.averages["generator"]["params"]
    first, second = (jax.tree.map(np.float64, average[f"Dense_{i}"]) for i in range(2))
    hidden = latents @ first["kernel"] + first["bias"]
    hidden = np.where(hidden >= 0, hidden, 0.2 * hidden)
    images = (np.tanh(hidden @ second["kernel"] + second["bias"]) + 1) / 2
    return images.reshape(count, 2, 2, 1)


DATASET = Dataset("few", np.zeros((9, 2, 2, 1), np.uint8), {}, ())


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_draw_is_of_the_averaged_generator(noise, averaged):
    (stage,) = MLPGANConfig(**SMALL, noise=noise).system(DATASET).stages
    drawn = stage.draw(averaged, jax.random.key(1), 6)
    assert drawn.dtype == jnp.float32
    expected = images_by_hand(averaged, noise, jax.random.key(1), 6)
    np.testing.assert_allclose(drawn, expected, rtol=1e-5, atol=1e-6)


def test_the_picture_is_of_the_averaged_generator(averaged):
    (stage,) = MLPGANConfig(**SMALL, noise="uniform").system(DATASET).stages
    images, columns = stage.picture(averaged, jax.random.key(1))
    assert columns is None
    expected = images_by_hand(averaged, "uniform", jax.random.key(1), 64)
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_samples_are_of_the_run_s_own_noise_and_networks(noise, averaged):
    config = MLPGANConfig(**SMALL, noise=noise)
    params, key = averaged.averages["generator"], jax.random.key(1)
    expected = images_by_hand(averaged, noise, key, 6)
    np.testing.assert_allclose(config.sample(params, key, 6), expected, rtol=1e-5, atol=1e-6)
    images, asked = config.judged_samples(params, key, 6, DATASET)
    assert asked == {}
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-6)


def test_the_system_trains_what_the_settings_say_on_the_data_set():
    config = MLPGANConfig(**SMALL, epochs=3, batch_size=4)
    system = config.system(DATASET)
    assert system.config == config
    (stage,) = system.stages
    assert (stage.epochs, stage.batch_size) == (3, 4)
    assert stage.data.keys() == {"images"} and stage.data["images"] is DATASET.images


def test_what_a_run_without_labels_is_not_asked():
    config, key = MLPGANConfig(**SMALL), jax.random.key(0)
    assert config.labels_named([], key, 5) == (None, None)
    with pytest.raises(ValueError, match="not conditional: there is nothing to ask for"):
        config.labels_named(["7"], key, 5)
    assert config.attribute_names == () and config.label_array(DATASET, key, 5) is None


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda config: config.input_shape(), "makes no images of images"),
        (lambda config: config.translate({}, None, None), "makes no images of images"),
        (lambda config: config.inputs_of(None), "makes no images of images"),
        (lambda config: config.objective(), "is not judged by pairs"),
    ],
)
def test_what_it_does_not_do_is_refused_with_what_does(ask, said):
    config = MLPGANConfig(**SMALL, workdir="my runs/one")
    with pytest.raises(ValueError, match=f"a run of mlp_gan {said}: python experiments/") as error:
        ask(config)
    assert "--workdir 'my runs/one'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (0.1, 0.1, 1)),
        ({"r1": 2.0}, (2.0, 2.0, 1)),
        ({"r1": 2.0, "r2": 0.5, "penalty_interval": 4}, (2.0, 0.5, 4)),
        ({"loss": "hinge"}, (0.1, 0.0, 4)),
        ({"recipe": "textbook"}, (0.0, 0.0, 1)),
    ],
)
def test_the_relativistic_loss_has_both_penalties_at_every_step(given, expected):
    config = DCGANConfig(dataset="mnist", **{"loss": "relativistic", **given})
    assert (config.r1, config.r2, config.penalty_interval) == expected


def test_a_discriminator_of_pairs_is_nothing_to_play_with():
    config = DCGANConfig(dataset="mnist", loss="relativistic")
    with pytest.raises(ValueError, match="--loss relativistic, as in run, compares two images"):
        config.check_playable("run")
