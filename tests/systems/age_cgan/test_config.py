"""The settings of Age-cGAN, and the stages that they make."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import game, training
from jaxgan.data import Attribute, Dataset
from jaxgan.systems.age_cgan import inversion
from jaxgan.systems.age_cgan.config import PICTURED, AgeCGANConfig
from jaxgan.systems.age_cgan.networks import Encoder
from jaxgan.training import stages

HAIR = np.array([0, 1, 2, 0] * 8, np.int32)
FACES = Dataset(
    "faces",
    np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8),
    {"hair": Attribute(("black", "grey", "white"), HAIR), "eyes": Attribute(("wide",), 0 * HAIR)},
    (),
)
GROUPS = ("dark=hair:black", "light=hair:grey/white")
TINY = AgeCGANConfig(
    image_shape=(16, 16, 3),
    width=1,
    latent_size=3,
    batch_size=8,
    gan_epochs=1,
    epochs=2,
    groups=GROUPS,
    # Weights move little, so that rounding stays rounding.
    ema_decay=0.5,
)


def test_the_default_is_toon_faces_of_32x32_in_three_groups():
    config = AgeCGANConfig()
    assert config.dataset == "toon_faces" and config.image_shape == (32, 32, 3)
    assert AgeCGANConfig(recipe="textbook").image_shape == (64, 64, 3)
    assert config.generator() == inversion.FACES
    assert config.group_names == ("natural", "grey", "white")
    assert config.generator().num_classes == config.discriminator().num_classes == (3,)
    assert config.epochs > config.gan_epochs
    again = AgeCGANConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config and again.to_json()["system"] == "age_cgan"


def test_an_earlier_run_has_the_papers_generator():
    written = AgeCGANConfig().to_json()
    del written["conditioning"], written["likeness"]
    config = AgeCGANConfig.from_json(written)
    assert (config.conditioning, config.likeness) == ("latents", 0.0)


def test_the_page_shows_only_generators_that_are_told_the_group_beside_the_latents():
    options = {"dataset": "mnist", "groups": ("a=label:0", "b=label:1"), "image_shape": (28, 28, 1)}
    paper = AgeCGANConfig(conditioning="latents", **options)
    paper.check_playable("runs/it")
    assert "Play" in paper.commands("runs/it")
    config = AgeCGANConfig(**options)
    with pytest.raises(ValueError, match="runs/it is a run with --conditioning last_norm"):
        config.check_playable("runs/it")
    assert "Play" not in config.commands("runs/it")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"conditioning": "first"}, "--conditioning must be one of latents, last_norm"),
        ({"epochs": 3, "gan_epochs": 3}, "--epochs must be more than --gan-epochs 3"),
        ({"dataset": "mnist"}, "--dataset mnist wants --groups too"),
        ({"groups": ("grey=hair",)}, "--groups must be NAME=ATTRIBUTE:CLASS each"),
        ({"encoder_learning_rate": 0.0}, "--encoder-learning-rate must be above 0"),
        ({"image_shape": (9, 9, 3)}, "4 to 7 times a power of two"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AgeCGANConfig(**settings)


def test_it_is_told_the_group_and_nothing_else():
    config = TINY.for_dataset(FACES)
    assert config.classes == (("age", ("dark", "light")),)
    examples = config.examples(FACES)
    assert examples.keys() == {"images", "labels"}
    np.testing.assert_array_equal(examples["labels"], (HAIR > 0)[:, None])
    labels = config.label_array(FACES, jax.random.key(0), 400)
    assert labels.shape == (400, 1) and 0.4 < float(labels.mean()) < 0.6
    asked, _ = config.labels_named(["age=light"], jax.random.key(0), 2)
    np.testing.assert_array_equal(asked, [[1], [1]])


def test_a_data_set_that_the_groups_do_not_divide():
    with pytest.raises(ValueError, match="8 of 32 images of faces are in no group"):
        dataclasses.replace(TINY, groups=("a=hair:black", "b=hair:white")).system(FACES)
    empty = dataclasses.replace(TINY, groups=(*GROUPS, "c=hair:white,eyes:wide,hair:grey"))
    with pytest.raises(ValueError, match="no image of faces is in the group c"):
        empty.system(FACES)


def test_images_are_judged_without_ages():
    params = TINY.gan().init(jax.random.key(0))["generator"]
    images, asked = TINY.judged_samples(params, jax.random.key(1), 3, FACES)
    assert images.shape == (3, 16, 16, 3) and asked == {}


def trained(num_devices):
    """The states at the end of both stages, after an epoch of each, and the encoder's metrics."""
    system = TINY.system(FACES)
    state, ends = None, []
    for stage, schedule in zip(system.stages, stages.plan(system.stages, "cpu"), strict=True):
        key = jax.random.key(0)
        state = stages.next_state(stage, state) if ends else stages.first_state(stage, key)
        calls = training.train(
            stage.gan,
            training.on_host(state),
            stage.data,
            schedule,
            devices=jax.devices()[:num_devices],
            batch_size=stage.batch_size,
            last_step=stages.last_step(stage, schedule),
        )
        measured = []
        for replicated, metrics in calls:
            measured.append(metrics)
            state = training.unreplicate(replicated)
        ends.append(state)
    return system, ends, jax.tree.map(lambda *x: np.concatenate(x), *measured)


@pytest.fixture(scope="module")
def alone():
    return trained(1)


def test_the_encoder_learns_alone(alone):
    system, (first, second), metrics = alone
    assert first.players.keys() == {"generator", "discriminator"}
    assert second.players.keys() == first.players.keys() | {"encoder"}
    assert metrics.keys() == {"encoder_loss", "encoder_baseline"}
    same = [(first.players[name], second.players[name]) for name in first.players]
    same.append((first.averages["generator"], second.averages["generator"]))
    for before, after in same:
        jax.tree.map(np.testing.assert_array_equal, before, after)
    begun = stages.next_state(system.stages[1], first)
    before, after = (x.players["encoder"].params for x in (begun, second))
    assert any(np.any(x != y) for x, y in zip(*map(jax.tree.leaves, (before, after)), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 8])
def test_any_number_of_devices_trains_the_same(alone, devices):
    _, one, metrics_of_one = alone
    _, many, metrics_of_many = trained(devices)
    for a, b in zip(one, many, strict=True):
        for name, player in a.players.items():
            for x, y in zip(
                jax.tree.leaves(player.params),
                jax.tree.leaves(b.players[name].params),
                strict=True,
            ):
                np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4)
    for name, values in metrics_of_one.items():
        np.testing.assert_allclose(values, metrics_of_many[name], rtol=1e-4)


def test_the_pictures_of_an_encoder(alone):
    system, (_, state), _ = alone
    images, columns = system.stages[1].picture(state, jax.random.key(0))
    assert images.shape == (PICTURED * 3, 16, 16, 3) and columns == 3
    np.testing.assert_allclose(images[::3], FACES.images[:PICTURED] / np.float32(255))


class Zero(Encoder):
    """An encoder that always says 0."""

    def __call__(self, images, *_, **__):
        return jnp.zeros((len(images), self.latent_size))


def test_the_loss_of_an_encoder_that_always_says_0_is_the_baseline():
    stage = TINY.encoder_stage()
    (turn,) = stage.turns
    loss = dataclasses.replace(turn.loss, encoder=Zero(3, 1, (16, 16, 3)))
    state = game.init(stage, jax.random.key(0))
    state = state.with_player("encoder", params={}, collections={})
    noise = jax.vmap(lambda key: turn.noise(key, {}))(jax.random.split(jax.random.key(1), 500))
    assert noise["labels"].shape == (500, 1) and 0.4 < float(noise["labels"].mean()) < 0.6
    value, outcome = loss(state, {}, noise)
    assert value == outcome.metrics["encoder_loss"]
    expected = np.linalg.norm(noise["latent"], axis=1).mean()
    np.testing.assert_allclose(outcome.metrics["encoder_baseline"], expected, rtol=1e-5)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_the_encoder_computes_in_bfloat16():
    encoder = dataclasses.replace(TINY, precision="bfloat16").encoder()
    assert encoder.dtype == jnp.bfloat16
    params = encoder.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
