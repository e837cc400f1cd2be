import dataclasses
import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import game
from jaxgan.run.config import FILE_NAME, MAY_CHANGE, RunConfig
from jaxgan.systems.latent.config import ADAM_EPSILON
from jaxgan.systems.mlp_gan import networks as mlp
from jaxgan.systems.mlp_gan.config import RECIPES, MLPGANConfig

LOSSES = ["non_saturating", "minimax", "least_squares", "wasserstein", "hinge"]

# Every setting, at something else than its default.
OTHER = MLPGANConfig(
    devices="2",
    epochs=3,
    batch_size=96,
    seed=11,
    seeds=3,
    workdir="runs/other",
    dataset="fashion_mnist",
    data_dir="/data",
    download=True,
    image_shape=(8, 10, 3),
    checkpoint_every=4,
    keep_checkpoints=5,
    resume=False,
    debug_nans=True,
    coordinator="host:1234",
    num_processes=2,
    process_id=1,
    recipe="textbook",
    generator_learning_rate=2e-3,
    discriminator_learning_rate=3e-3,
    decay_after_kimg=1.5,
    generator_half_life_kimg=2.5,
    discriminator_half_life_kimg=3.5,
    beta1=0.25,
    beta2=0.75,
    loss="hinge",
    noise="uniform",
    latent_size=7,
    generator_widths=(16, 32),
    discriminator_widths=(64,),
    r1=0.5,
    r2=0.25,
    gradient_penalty=3.0,
    penalty_interval=5,
    label_smoothing=0.0,
    translation=3,
    discriminator_steps=2,
    ema_decay=0.5,
    precision="bfloat16",
)
SMALL = {
    "image_shape": (2, 2, 1),
    "latent_size": 3,
    "generator_widths": (4,),
    "discriminator_widths": (5,),
    "translation": 0,
}


def field_names(config_class=MLPGANConfig):
    return [field.name for field in dataclasses.fields(config_class)]


def test_other_differs_everywhere():
    # The hinge loss has no labels to smooth, and not all images are evaluated.
    default = MLPGANConfig()
    same = [name for name in field_names() if getattr(default, name) == getattr(OTHER, name)]
    assert same == ["eval_every", "label_smoothing"]


@pytest.mark.parametrize(
    "config",
    [MLPGANConfig(), OTHER, MLPGANConfig(label_smoothing=0.1, eval_every=5)],
    ids=["0", "1", "2"],
)
def test_json_gives_the_same_configuration_back(config, tmp_path):
    text = json.dumps(config.to_json(), allow_nan=False)
    assert MLPGANConfig.from_json(json.loads(text)) == config
    config.save(tmp_path)
    loaded = MLPGANConfig.load(str(tmp_path))
    assert loaded == config
    # Lists would be equal to nothing and could not be hashed.
    assert isinstance(loaded.image_shape, tuple)
    assert isinstance(loaded.generator_widths, tuple)
    assert hash(loaded) == hash(config)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_json_names_the_experiment():
    assert MLPGANConfig().to_json()["experiment"] == "mnist_gan"


def test_from_json_leaves_what_it_is_given():
    values = MLPGANConfig().to_json()
    before = dict(values)
    MLPGANConfig.from_json(values)
    assert values == before


def test_from_json_of_a_run_that_lacks_a_setting_takes_the_default():
    values = OTHER.to_json()
    del values["seed"]
    assert MLPGANConfig.from_json(values) == dataclasses.replace(OTHER, seed=MLPGANConfig().seed)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"experiment": "celeba_dcgan"}, ["'celeba_dcgan'", "'mnist_gan'"]),
        ({"experiment": None}, ["None", "'mnist_gan'"]),
        ({"batchsize": 3, "zoom": 1}, ["'batchsize'"]),
        ({"epochs": 0}, ["--epochs", "0"]),
        ({"loss": "wgan"}, ["'wgan'"]),
        ({"noise": ["normal"]}, []),
    ],
)
def test_from_json_refuses_what_is_no_such_configuration(changes, named):
    with pytest.raises(ValueError) as error:
        MLPGANConfig.from_json(MLPGANConfig().to_json() | changes)
    for part in named:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "3"),
        ("epochs", 2.5),
        ("epochs", "many"),
        ("seed", [0]),
        ("batch_size", 12.5),
        ("workdir", 5),
        ("dataset", None),
        ("devices", 2),
        ("resume", "no"),
        ("image_shape", 28),
        ("image_shape", [28, "28", 1]),
        ("image_shape", [28, 28.5, 1]),
        ("generator_widths", 256),
        ("generator_widths", ["256"]),
        ("generator_widths", [25.6]),
        ("generator_learning_rate", "fast"),
        ("beta1", [0.5]),
        ("r1", "much"),
        ("loss", {}),
        ("precision", "float99"),
        ("precision", "int32"),
        ("precision", 32),
    ],
)
def test_from_json_refuses_a_value_of_another_type(name, value):
    with pytest.raises(ValueError):
        MLPGANConfig.from_json(MLPGANConfig().to_json() | {name: value})


def test_a_recipe_sets_what_is_not_given():
    config = MLPGANConfig(recipe="textbook", beta1=0.75, epochs=3)
    assert (config.beta1, config.epochs) == (0.75, 3)
    # Radford et al. 2016 (arXiv 1511.06434), section 4, and nothing of what came later.
    assert config.generator_learning_rate == config.discriminator_learning_rate == 2e-4
    assert (config.r1, config.r2, config.gradient_penalty) == (0, 0, 0)
    assert (config.translation, config.ema_decay) == (0, 0)
    assert config.generator_half_life_kimg == config.discriminator_half_life_kimg == 0
    for name, recipe in RECIPES.items():
        config = MLPGANConfig(recipe=name)
        assert {setting: getattr(config, setting) for setting in recipe} == recipe
        assert config.generator_widths == (256, 512, 1024)
        assert config.discriminator_widths == (1024, 512, 256)


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="unknown recipe 'book': one of default, textbook, best"):
        MLPGANConfig(recipe="book")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"dataset": "kmnist"}, "there is no evaluator of kmnist, only of mnist and toon_faces"),
        (
            {"image_shape": (32, 32, 1)},
            "the evaluator of mnist knows images of 28x28x1 only, not of 32x32x1",
        ),
        (
            {"dataset": "toon_faces"},
            "the evaluator of toon_faces knows images of 32x32x3 or 64x64x3 only, not of 28x28x1",
        ),
    ],
)
def test_only_what_an_evaluator_knows_is_evaluated(settings, why):
    with pytest.raises(ValueError) as told:
        MLPGANConfig(**settings, eval_every=1)
    assert str(told.value) == f"--eval-every cannot be kept: {why}"
    MLPGANConfig(**settings)


@pytest.mark.parametrize("size", [32, 64])
def test_faces_are_evaluated(size):
    MLPGANConfig(dataset="toon_faces", image_shape=(size, size, 3), eval_every=1)


def test_load_says_where_there_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in") as error:
        MLPGANConfig.load(tmp_path / "none")
    assert str(tmp_path / "none") in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b"3", b'{"experiment": "other"}', b"\xff\xfe\x00"]
)
def test_load_names_the_file_that_is_no_configuration(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        MLPGANConfig.load(tmp_path)
    assert str(path) in str(error.value)


BELOW_ONE = [0, -1]
NO_WEIGHT = [-0.1, math.nan, math.inf, -math.inf]
NO_SHARE = [-0.1, 1.0, 1.5, math.nan, math.inf, -math.inf]
WRONG_VALUES = {
    "epochs": BELOW_ONE,
    "batch_size": BELOW_ONE,
    "seeds": [*BELOW_ONE, 2**32 + 1],
    "checkpoint_every": BELOW_ONE,
    "keep_checkpoints": BELOW_ONE,
    "latent_size": BELOW_ONE,
    "discriminator_steps": BELOW_ONE,
    "penalty_interval": BELOW_ONE,
    "seed": [-1, 2**32],
    "workdir": ["", "  "],
    "dataset": ["", "  "],
    "image_shape": [(28, 28), (28, 28, 1, 1), (0, 28, 1), (28, -1, 1), (28, 28, 2), (28, 28, 0)],
    "generator_widths": [(0,), (256, -1)],
    "discriminator_widths": [(0,), (256, -1)],
    "generator_learning_rate": [0.0, *NO_WEIGHT],
    "discriminator_learning_rate": [0.0, *NO_WEIGHT],
    "decay_after_kimg": NO_WEIGHT,
    "generator_half_life_kimg": NO_WEIGHT,
    "discriminator_half_life_kimg": NO_WEIGHT,
    "r1": NO_WEIGHT,
    "r2": NO_WEIGHT,
    "gradient_penalty": NO_WEIGHT,
    "beta1": NO_SHARE,
    "beta2": NO_SHARE,
    "ema_decay": NO_SHARE,
    "label_smoothing": [-0.1, 0.5, 0.9, math.nan, math.inf],
    "num_processes": [2],
    "process_id": [0],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_VALUES.items() for value in values]
)
def test_a_value_out_of_range_is_refused_by_its_flag(name, value):
    with pytest.raises(ValueError) as error:
        MLPGANConfig(**{name: value})
    assert f"--{name.replace('_', '-')}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1),
        ("seed", 0),
        ("seed", 2**32 - 1),
        ("seeds", 2**32),
        ("image_shape", (1, 1, 3)),
        ("r1", 0.0),
        ("gradient_penalty", 0.0),
        ("beta1", 0.0),
        ("ema_decay", 0.0),
        ("ema_decay", 0.9999),
        ("label_smoothing", 0.49),
    ],
)
def test_a_value_at_the_edge_is_taken(name, value):
    assert getattr(MLPGANConfig(**{name: value}), name) == value


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


def test_several_seeds_are_a_single_run_of_each():
    config = MLPGANConfig(seed=7, seeds=3, workdir="runs/three", beta1=0.25)
    assert config.of_each_seed() == [
        MLPGANConfig(seed=seed, workdir=f"runs/three/seed_{seed}", beta1=0.25) for seed in (7, 8, 9)
    ]
    single = MLPGANConfig(seed=7)
    assert single.of_each_seed() == [single]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seed": 2**32 - 1, "seeds": 2}, "--seed and --seeds must be 2\\*\\*32 or less together"),
        ({"seeds": 2, "keep_checkpoints": 1}, "--seeds wants --keep-checkpoints 2 or more"),
    ],
)
def test_several_seeds_that_cannot_be(settings, said):
    with pytest.raises(ValueError, match=said):
        MLPGANConfig(**settings)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MLPGANConfig().seed = 1


def test_what_may_change_are_settings_of_every_run():
    # And what comes with the data set, which has to be the same.
    assert MAY_CHANGE < set(field_names(RunConfig)) | {"classes"}
    assert not MAY_CHANGE & {"seed", "batch_size", "dataset", "image_shape"}


@pytest.mark.parametrize(
    "name", [name for name in field_names() if name not in ("eval_every", "label_smoothing")]
)
def test_differences_name_one_setting_each(name):
    # A process id is refused where there is no coordinator.
    mine = dataclasses.replace(MLPGANConfig(), coordinator="host:1")
    theirs = dataclasses.replace(mine, **{name: getattr(OTHER, name)})
    lines = mine.differences(theirs)
    if name in MAY_CHANGE:
        assert lines == []
    else:
        assert len(lines) == 1
        assert lines[0].startswith(f"--{name.replace('_', '-')} ")
        assert theirs.differences(theirs) == []


def test_differences_show_both_values():
    mine = MLPGANConfig(seed=0, generator_widths=(8, 16), loss="minimax", workdir="a")
    theirs = MLPGANConfig(seed=1, generator_widths=(4,), loss="hinge", workdir="b")
    assert mine.differences(theirs) == [
        "--seed 0, not 1",
        "--loss minimax, not hinge",
        "--generator-widths 8 16, not 4",
    ]


def test_the_networks_are_of_the_sizes_asked_for():
    gan = OTHER.gan()
    assert gan.generator == mlp.Generator(7, (16, 32), (8, 10, 3), jnp.dtype("bfloat16"))
    assert gan.discriminator == mlp.Discriminator((64,), (8, 10, 3), jnp.dtype("bfloat16"))
    assert OTHER.generator() == gan.generator
    assert (gan.discriminator_steps, gan.ema_decay) == (2, 0.5)
    assert MLPGANConfig().gan().generator == mlp.Generator()
    assert MLPGANConfig().gan().discriminator == mlp.Discriminator()


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
    loss = getattr(gan, f"{player}_loss")
    update = getattr(game, f"update_{player}")
    slope = jax.jit(
        lambda state: jax.grad(loss, has_aux=True)(
            getattr(state, player).params, state, batch, noise
        )[0]
    )
    step = jax.jit(lambda state: update(gan, state, batch, noise)[0])
    # Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1.
    params = [np.float64(x) for x in jax.tree.leaves(getattr(state, player).params)]
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
        moved = jax.tree.leaves(getattr(state, player).params)
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
    params = dict(state.discriminator.params)
    params["Dense_0"] = jax.tree.map(lambda x: scale * x, params["Dense_0"])
    given, bare = (
        jax.jit(each.gan().discriminator_loss)(params, state, batch, noise)[0]
        for each in (config, without)
    )
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


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_draw_is_of_the_averaged_generator(noise):
    config = MLPGANConfig(**SMALL, noise=noise)
    state, _, _ = small_inputs()
    rng = np.random.default_rng(0)
    average = jax.tree.map(lambda x: rng.normal(size=x.shape).astype("f4"), state.ema_params)
    variables = state.replace(ema_params=average).ema_variables
    drawn = config.draw(variables, jax.random.key(1), 6, None)
    if noise == "normal":
        latents = np.float64(jax.random.normal(jax.random.key(1), (6, 3)))
    else:
        latents = 2 * np.float64(jax.random.uniform(jax.random.key(1), (6, 3))) - 1
    first, second = (jax.tree.map(np.float64, average[f"Dense_{i}"]) for i in range(2))
    hidden = latents @ first["kernel"] + first["bias"]
    hidden = np.where(hidden >= 0, hidden, 0.2 * hidden)
    expected = (np.tanh(hidden @ second["kernel"] + second["bias"]) + 1) / 2
    assert drawn.dtype == jnp.float32
    np.testing.assert_allclose(drawn, expected.reshape(6, 2, 2, 1), rtol=1e-5, atol=1e-6)
