"""The settings of the convolutional GAN."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import game
from jaxgan.data import Attribute, Dataset
from jaxgan.run.workdir import Workdir
from jaxgan.sampling import sample
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.latent.labelled import GRID_COLUMNS

rng = np.random.default_rng(0)
# What goes with what is no chance: a bow is never on black hair.
HAIR, EYES = np.array([[0, 0], [1, 0], [1, 1], [2, 1]] * 5, np.int32).T
FACES = Dataset(
    "faces",
    rng.integers(0, 256, (20, 8, 8, 1), dtype=np.uint8),
    {"hair": Attribute(("black", "blond", "grey"), HAIR), "eyes": Attribute(("wide", "bow"), EYES)},
    (),
)
DIGITS = dataclasses.replace(
    FACES,
    attributes={
        "stroke": Attribute(("thin", "thick"), EYES),
        "label": Attribute(("7", "8", "9"), HAIR),
    },
)
BARE = dataclasses.replace(FACES, attributes={})
TINY = DCGANConfig(image_shape=(8, 8, 1), width=4, latent_size=3, conditional=True)
OF_FACES = TINY.for_dataset(FACES)


def test_it_is_told_the_attributes_of_the_data_set():
    assert OF_FACES.classes == (("hair", ("black", "blond", "grey")), ("eyes", ("wide", "bow")))
    assert OF_FACES.num_classes == (3, 2)
    assert OF_FACES.generator().num_classes == OF_FACES.discriminator().num_classes == (3, 2)
    examples = OF_FACES.examples(FACES)
    assert examples.keys() == {"images", "labels"}
    np.testing.assert_array_equal(examples["labels"], np.stack([HAIR, EYES], axis=1))
    assert examples["labels"].dtype == np.int32


def test_the_label_alone_where_there_is_one():
    assert TINY.for_dataset(DIGITS).classes == (("label", ("7", "8", "9")),)
    both = dataclasses.replace(TINY, attributes=("stroke", "label")).for_dataset(DIGITS)
    assert both.num_classes == (2, 3)


def test_the_attributes_that_are_asked_for_in_their_order():
    config = dataclasses.replace(TINY, attributes=("eyes", "hair")).for_dataset(FACES)
    assert config.num_classes == (2, 3)
    np.testing.assert_array_equal(config.examples(FACES)["labels"], np.stack([EYES, HAIR], axis=1))


def test_an_unconditional_run_is_told_nothing():
    config = dataclasses.replace(TINY, conditional=False)
    assert config.for_dataset(FACES) == config.for_dataset(BARE) == config
    assert config.generator().num_classes == ()
    # Whatever it was told before.
    unlearnt = dataclasses.replace(OF_FACES, conditional=False).for_dataset(FACES)
    assert unlearnt.num_classes == ()
    assert config.examples(FACES).keys() == {"images"}
    assert config.label_array(FACES, jax.random.key(0), 3) is None


@pytest.mark.parametrize(
    ("attributes", "dataset", "message"),
    [
        ((), BARE, "faces has no attributes: leave out --conditional"),
        (("hat",), FACES, r"faces has no attribute 'hat'.*\(it has hair, eyes\)"),
        (("hair", "eye"), FACES, "no attribute 'eye'.*eyes"),
    ],
)
def test_what_the_data_set_has_not(attributes, dataset, message):
    config = dataclasses.replace(TINY, attributes=attributes)
    with pytest.raises(ValueError, match=message):
        config.for_dataset(dataset)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attributes": ("hair",)}, "--attributes wants --conditional too"),
        (
            {"attributes": ("hair", "eyes", "hair"), "conditional": True},
            "--attributes has one twice: hair eyes hair",
        ),
        ({"width": 0}, "--width must be 1 or more, not 0"),
        ({"image_shape": (30, 30, 3)}, "such as 28, 32 or 64, not 30x30"),
        ({"image_shape": (4, 4, 3)}, "such as 28, 32 or 64, not 4x4"),
        ({"recipe": "best"}, "unknown recipe 'best': one of default, textbook"),
        ({"loss": "wgan"}, "unknown loss 'wgan'"),
        ({"eval_every": 1, "image_shape": (16, 16, 1)}, "--eval-every"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        DCGANConfig(**settings)


def test_the_shape_of_images_goes_by_the_data_set():
    assert DCGANConfig().image_shape == (28, 28, 1)
    assert DCGANConfig(dataset="toon_faces").image_shape == (32, 32, 3)
    given = DCGANConfig(dataset="toon_faces", image_shape=(64, 64, 3))
    assert given.image_shape == given.generator().image_shape == (64, 64, 3)


def test_json_gives_the_same_configuration_back(tmp_path):
    for config in (DCGANConfig(), OF_FACES, dataclasses.replace(OF_FACES, attributes=("hair",))):
        assert DCGANConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
        config.save(tmp_path)
        loaded = DCGANConfig.load(tmp_path)
        assert loaded == config and hash(loaded) == hash(config)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["classes"] == [["hair", ["black", "blond", "grey"]], ["eyes", ["wide", "bow"]]]


@pytest.mark.parametrize("classes", ["hair", [["hair", "black"]], [["hair"]], [["hair", [1]]], [3]])
def test_classes_that_are_none(classes):
    with pytest.raises(ValueError, match="classes cannot be"):
        DCGANConfig.from_json(OF_FACES.to_json() | {"classes": classes})


def test_a_conditional_run_is_gone_on_with(tmp_path):
    config = dataclasses.replace(TINY, workdir=str(tmp_path))
    config.for_dataset(FACES).save(tmp_path)
    # Its classes are known only once the data set is read.
    Workdir(tmp_path, 3).check(config)
    with pytest.raises(ValueError, match="--conditional True, not False"):
        Workdir(tmp_path, 3).check(dataclasses.replace(config, conditional=False))
    with pytest.raises(ValueError, match="--attributes"):
        Workdir(tmp_path, 3).check(dataclasses.replace(config, attributes=("hair",)))


def test_labels_go_together_as_in_the_data_set():
    labels = np.asarray(OF_FACES.label_array(FACES, jax.random.key(0), 400))
    assert labels.shape == (400, 2) and labels.dtype == np.int32
    kinds, counts = np.unique(labels, axis=0, return_counts=True)
    np.testing.assert_array_equal(kinds, [[0, 0], [1, 0], [1, 1], [2, 1]])
    # A quarter of 400 each, within 5 standard errors.
    assert np.abs(counts - 100).max() < 5 * np.sqrt(400 * 3 / 16)


WITH_HATS = dataclasses.replace(OF_FACES, classes=(*OF_FACES.classes, ("hat", ("none", "red"))))


def asked_for(words, key, count, config=OF_FACES):
    """The labels of some words, for which there is no grid of rows."""
    labels, columns = config.labels_named(words, key, count)
    assert columns is None
    return np.asarray(labels)


def test_what_is_asked_for_by_name():
    key = jax.random.key(0)
    labels = asked_for(["eyes=bow"], key, 600)
    assert labels.shape == (600, 2) and labels.dtype == np.int32
    assert (labels[:, 1] == 1).all()
    # Of what is not asked for each class is as likely as the next.
    assert np.abs(np.bincount(labels[:, 0], minlength=3) - 200).max() < 5 * np.sqrt(600 * 2 / 9)
    both = asked_for(["eyes=wide", "hair=grey"], key, 2)
    np.testing.assert_array_equal(both, [[2, 0], [2, 0]])
    # What is drawn does not go together.
    drawn = asked_for(["hat=none"], key, 600, WITH_HATS)
    assert abs(np.corrcoef(drawn[:, :2], rowvar=False)[0, 1]) < 5 / np.sqrt(600)


@pytest.mark.parametrize(("count", "columns"), [(12, 4), (10, 4), (2, 1)])
def test_without_words_each_class_of_the_first_attribute_has_a_row(count, columns):
    labels, given = OF_FACES.labels_named([], jax.random.key(0), count)
    assert given == columns and labels.shape == (count, 2) and labels.dtype == jnp.int32
    np.testing.assert_array_equal(labels[:, 0], np.arange(count) // columns)
    # The other attribute is as it was drawn where something is asked for.
    np.testing.assert_array_equal(
        labels[:, 1], asked_for(["hair=grey"], jax.random.key(0), count)[:, 1]
    )


def test_a_class_of_a_single_attribute_needs_no_name():
    config = TINY.for_dataset(DIGITS)
    for word in ("9", "label=9"):
        assert asked_for([word], jax.random.key(0), 2, config).tolist() == [[2], [2]]


@pytest.mark.parametrize(
    ("config", "word", "message"),
    [
        (OF_FACES, "bow", "'bow' names no attribute .* give ATTRIBUTE=CLASS, of hair, eyes"),
        (OF_FACES, "hat=red", "'hat=red' names no attribute"),
        (OF_FACES, "hair=red", "hair cannot be 'red': it is one of black, blond, grey"),
        (TINY.for_dataset(DIGITS), "3", "label cannot be '3': it is one of 7, 8, 9"),
        (TINY, "hair=grey", "not conditional: there is nothing to ask for"),
    ],
)
def test_what_cannot_be_asked_for(config, word, message):
    with pytest.raises(ValueError, match=message):
        config.labels_named([word], jax.random.key(0), 2)


def variables_of(config, without=()):
    """Random ones, but that the generator sees nothing of some classes of all attributes."""
    generator = config.generator()
    labels = [jnp.zeros((1, len(config.num_classes)), jnp.int32)] if config.num_classes else []
    shapes = jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((1, 3)), *labels)
    rng = np.random.default_rng(0)
    # Variances are above 0.
    lows = {"params": -0.5, "batch_stats": 0.2}
    variables = {
        name: jax.tree.map(lambda x, n=name: rng.uniform(lows[n], 0.5, x.shape).astype("f4"), tree)
        for name, tree in shapes.items()
    }
    variables["params"]["Dense_0"]["kernel"][3 + np.array(without, int)] = 0
    return variables


def rows(images, columns):
    assert columns == GRID_COLUMNS
    return np.asarray(images).reshape(-1, GRID_COLUMNS, 8 * 8)


def test_a_picture_has_a_row_for_each_class_and_a_column_for_each_of_all_else():
    key = jax.random.key(1)

    def picture(without):
        return rows(*OF_FACES.picture(variables_of(OF_FACES, without), key, FACES))

    # It cannot tell black from blond hair.
    black, blond, grey = picture([0, 1])
    np.testing.assert_allclose(black, blond, atol=1e-6)
    assert np.abs(black - grey).max(axis=1).min() > 1e-3
    assert len(np.unique(black.round(5), axis=0)) == GRID_COLUMNS
    # Hair of all colours is the same to it, eyes are not: a column has the same eyes.
    same = picture([0, 1, 2])
    np.testing.assert_allclose(same[1:], np.repeat(same[:1], 2, axis=0), atol=1e-6)
    again = picture([0, 1, 2])
    np.testing.assert_array_equal(same, again)


def test_what_is_drawn_is_of_labels_as_in_the_data_set_and_the_latents_of_sample():
    variables, key = variables_of(OF_FACES), jax.random.key(2)
    labels = OF_FACES.label_array(FACES, key, 6)
    expected = sample(variables, key, labels=labels, generator=OF_FACES.generator())
    images, asked = OF_FACES.judged_samples(variables, key, 6, FACES)
    np.testing.assert_array_equal(images, expected)
    assert list(asked) == ["hair", "eyes"]
    np.testing.assert_array_equal(np.stack([asked["hair"], asked["eyes"]], axis=1), labels)
    np.testing.assert_array_equal(OF_FACES.sample(variables, key, 6, labels=labels), expected)


def test_the_system_is_told_and_draws_what_the_data_set_has():
    system = TINY.system(FACES)
    assert system.config == OF_FACES
    (stage,) = system.stages
    assert stage.data.keys() == {"images", "labels"}
    np.testing.assert_array_equal(stage.data["labels"], np.stack([HAIR, EYES], axis=1))
    variables, key = variables_of(OF_FACES), jax.random.key(2)
    state = jax.eval_shape(lambda: game.init(stage.gan, key)).replace(
        averages={"generator": variables}
    )
    drawn, _ = OF_FACES.judged_samples(variables, key, 6, FACES)
    np.testing.assert_array_equal(stage.draw(state, key, 6), drawn)
    pictured, columns = OF_FACES.picture(variables, key, FACES)
    given = stage.picture(state, key)
    np.testing.assert_array_equal(given[0], pictured)
    assert given[1] == columns


def test_an_unconditional_picture_is_64_samples():
    config = dataclasses.replace(TINY, conditional=False)
    variables, key = variables_of(config), jax.random.key(0)
    images, columns = config.picture(variables, key, FACES)
    assert columns is None
    expected = sample(variables, key, num_samples=64, generator=config.generator())
    np.testing.assert_array_equal(images, expected)


def test_textbook_has_the_networks_of_pytorchs_example():
    config = DCGANConfig(recipe="textbook", image_shape=(64, 64, 3))
    assert (config.adam_epsilon, config.fakes) == (1e-8, "same")
    assert config.gan().turns[1].noise == "last"
    for player in ("generator", "discriminator"):
        shapes = jax.eval_shape(config.gan().init, jax.random.key(0))[player]["params"]
        layers = {name: its for name, its in shapes.items() if not name.startswith("BatchNorm")}
        assert all(its.keys() == {"kernel"} for its in layers.values()), player
    assert config.generator().is_unbiased and config.discriminator().is_unbiased


def test_the_default_has_the_networks_that_it_had():
    config = DCGANConfig(image_shape=(8, 8, 1))
    assert (config.biases, config.running_variance, config.fakes) == (
        "unnormalised",
        "biased",
        "new",
    )
    shapes = jax.eval_shape(config.gan().init, jax.random.key(0))
    biased = {
        player: {
            name
            for name, its in shapes[player]["params"].items()
            if "kernel" in its and "bias" in its
        }
        for player in shapes
    }
    assert biased == {"generator": {"Conv_0"}, "discriminator": {"Conv_0", "Dense_0"}}
    assert not config.generator().is_unbiased and config.adam_epsilon == 1e-6


def test_the_settings_of_a_run_of_an_earlier_version_are_of_its_networks():
    """Its textbook had biases, and its config.json does not say so."""
    textbook = DCGANConfig(recipe="textbook", image_shape=(8, 8, 1), width=4)
    values = textbook.to_json()
    for name in ("adam_epsilon", "fakes", "biases", "running_variance"):
        del values[name]
    old = DCGANConfig.from_json(values)
    assert (old.recipe, old.batch_size, old.translation) == ("textbook", 128, 0)
    assert old.generator().has_bias and not old.discriminator().is_unbiased
    assert (old.fakes, old.adam_epsilon) == ("new", 1e-6)
    assert DCGANConfig.from_json(textbook.to_json()) == textbook
