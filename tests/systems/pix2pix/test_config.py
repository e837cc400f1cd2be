"""The settings of a translation."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import data, game
from jaxgan.data import Dataset
from jaxgan.systems.pix2pix.config import PICTURED, Pix2PixConfig, beside
from jaxgan.systems.pix2pix.tasks import grey, masked
from jaxgan.systems.pix2pix.translation import translate

TINY = Pix2PixConfig(image_shape=(16, 16, 3), width=2)


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({}, 1),
        ({"task": "grey2colour"}, 1),
        ({"task": "mask2face"}, 3),
        ({"task": "mask2face", "image_shape": (32, 32, 1)}, 1),
        ({"task": "pairs", "input_feature": "map"}, 3),
        ({"task": "pairs", "input_feature": "map", "input_channels": 1}, 1),
    ],
)
def test_what_goes_in_has_the_channels_of_its_task(settings, channels):
    config = Pix2PixConfig(**settings)
    assert config.input_channels == channels
    assert config.generator().input_channels == channels
    assert config.input_shape() == (*config.image_shape[:2], channels)
    # The discriminator sees the input beside the output.
    variables = jax.eval_shape(config.gan().init, jax.random.key(0))
    kernels = jax.tree.leaves(variables["discriminator"]["params"])
    assert channels + config.image_shape[-1] in [x.shape[2] for x in kernels if x.ndim == 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "pairs"}, "--task pairs wants --input-feature"),
        ({"input_feature": "map"}, "--input-feature and --output-feature want --task pairs"),
        ({"output_feature": "map"}, "--input-feature and --output-feature want --task pairs"),
        ({"input_channels": 3}, "--input-channels of edges2face cannot be chosen"),
        ({"task": "mask2face", "input_channels": 1}, "--input-channels of mask2face cannot"),
        (
            {"task": "pairs", "input_feature": "map", "input_channels": 2},
            "--input-channels must be 1 or 3, not 2",
        ),
        ({"image_shape": (28, 28, 1)}, "powers of two, 16 or more, not 28x28"),
        ({"image_shape": (8, 8, 3)}, "powers of two, 16 or more, not 8x8"),
        ({"width": 0}, "--width must be 1 or more"),
        ({"l1_weight": -1.0}, "--l1-weight must be 0 or more"),
        ({"l1_weight": 0.0, "adversarial_weight": 0.0}, "cannot both be 0"),
        ({"generator_learning_rate": 0.0}, "--generator-learning-rate must be above 0"),
        ({"beta1": 1.0}, "--beta1 must be from 0 to below 1"),
        ({"loss": "wgan"}, "unknown loss 'wgan'"),
        ({"task": "day2night"}, "day2night"),
        ({"recipe": "chapter"}, "unknown recipe 'chapter': one of default, textbook"),
        ({"norm": "layer"}, "--norm must be one of scaled_instance, instance, batch, not 'layer'"),
        ({"dropout": "all"}, "--dropout must be one of paper, port, none"),
        ({"fakes": "old"}, "--fakes must be one of new, same"),
        ({"jitter": 0.9}, "--jitter must be from 1 to 2, not 0.9"),
        ({"flip": 1.5}, "--flip must be from 0 to 1, not 1.5"),
        ({"halvings": 7}, "U-Net of 7 halvings wants"),
        ({"discriminator_halvings": 6}, "--discriminator-halvings must be from 1 to 5, not 6"),
        ({"discriminator_halvings": 5}, "multiples of 32, 96 or more, not 64x64"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        Pix2PixConfig(**settings).gan()


@pytest.mark.parametrize(
    "config",
    [
        Pix2PixConfig(),
        Pix2PixConfig(task="mask2face", l1_weight=0.0, image_shape=(32, 64, 3)),
        Pix2PixConfig(task="pairs", input_feature="map", output_feature="photo", input_channels=1),
        Pix2PixConfig(recipe="textbook"),
    ],
    ids=["default", "mask2face", "pairs", "textbook"],
)
def test_json_gives_the_same_configuration_back(config, tmp_path):
    assert Pix2PixConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    config.save(tmp_path)
    assert Pix2PixConfig.load(tmp_path) == config
    assert config.to_json()["system"] == "pix2pix"


@pytest.mark.parametrize(("task", "make"), [("grey2colour", grey), ("mask2face", masked)])
def test_what_goes_in_is_made_of_the_images_of_the_size_asked_for(task, make):
    config = dataclasses.replace(
        TINY, task=task, dataset="mnist", image_shape=(16, 16, 3), input_channels=None
    )
    dataset = config.load_dataset("test")
    shown = data.load("mnist", split="test", image_shape=(16, 16, 3))
    np.testing.assert_array_equal(dataset.images, shown.images)
    np.testing.assert_array_equal(dataset.inputs, make(shown.images))
    (stage,) = config.system(dataset).stages
    assert stage.data.keys() == {"images", "inputs"}
    assert stage.data["images"] is dataset.images and stage.data["inputs"] is dataset.inputs
    given, about = config.inputs_of(shown.images)
    np.testing.assert_array_equal(given, make(shown.images))
    assert about


def test_the_inputs_of_pairs_cannot_be_made():
    config = Pix2PixConfig(task="pairs", input_feature="map")
    with pytest.raises(ValueError, match="the inputs of a run of pairs cannot be computed"):
        config.inputs_of(images(1, 64, 64, 3))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "L1 + cGAN"),
        ({"adversarial_weight": 0.0}, "L1"),
        ({"l1_weight": 0.0}, "cGAN"),
    ],
)
def test_the_objective_is_named_as_in_the_paper(settings, name):
    assert Pix2PixConfig(**settings).objective() == name


def test_it_makes_no_images_of_noise():
    config, key = dataclasses.replace(TINY, workdir="a run"), jax.random.key(0)
    said = "makes no images from noise alone: python experiments/translate.py --workdir 'a run'"
    with pytest.raises(ValueError, match=said):
        config.sample({}, key, 3)
    with pytest.raises(ValueError, match="not judged by its images alone: .*evaluate_pairs.py"):
        config.judged_samples({}, key, 3, None)


def test_pairs_are_both_images_of_an_example(monkeypatch):
    asked = []

    def load(name, *, split, image_shape, data_dir, download, feature, crop, skip_unusable):
        asked.append((name, split, image_shape, feature))
        return Dataset(
            name, np.full((3, *image_shape), 100 * len(asked), np.uint8), {}, ("resized",)
        )

    monkeypatch.setattr("jaxgan.systems.pix2pix.config.load", load)
    config = Pix2PixConfig(
        task="pairs",
        dataset="maps",
        input_feature="map",
        output_feature="photo",
        input_channels=1,
        image_shape=(16, 32, 3),
    )
    dataset = config.load_dataset("test")
    assert asked == [
        ("maps", "test", (16, 32, 3), "photo"),
        ("maps", "test", (16, 32, 1), "map"),
    ]
    assert (dataset.images == 100).all() and (dataset.inputs == 200).all()
    assert dataset.images.shape == (3, 16, 32, 3) and dataset.inputs.shape == (3, 16, 32, 1)
    assert dataset.notes == ("resized",)


def test_beside():
    inputs, truth = images(2, 4, 4, 1), images(2, 4, 4, 3, seed=1)
    outputs = np.random.default_rng(2).uniform(size=(2, 4, 4, 3))
    given = beside(inputs, outputs, truth)
    assert given.shape == (6, 4, 4, 3) and given.dtype == np.float32
    for i in range(2):
        np.testing.assert_allclose(given[3 * i], inputs[i].repeat(3, -1) / 255, atol=1e-6)
        np.testing.assert_allclose(given[3 * i + 1], outputs[i], atol=1e-6)
        np.testing.assert_allclose(given[3 * i + 2], truth[i] / 255, atol=1e-6)
    # Colour beside grey is grey.
    given = beside(truth, outputs[..., :1], inputs)
    np.testing.assert_allclose(given[3, ..., 0], truth[1].mean(axis=-1) / 255, atol=1e-6)


@pytest.mark.parametrize("count", [3, PICTURED + 2])
def test_a_picture_is_input_output_and_truth_of_the_first_images(count):
    dataset = Dataset("faces", images(count, 16, 16, 3), {}, (), images(count, 16, 16, 1, seed=1))
    generator, key = TINY.generator(), jax.random.key(0)
    shapes = jax.eval_shape(generator.init, key, jnp.zeros((1, 16, 16, 1)))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: rng.normal(scale=0.3, size=x.shape).astype("f4"), shapes)
    (stage,) = TINY.system(dataset).stages
    state = jax.eval_shape(lambda: game.init(stage.gan, key)).replace(
        averages={"generator": variables}
    )
    shown, columns = stage.picture(state, key)
    assert columns == 6
    shown = np.asarray(shown).reshape(-1, 3, 16, 16, 3)
    assert len(shown) == min(count, PICTURED)
    made = translate(variables, dataset.inputs[: len(shown)], key, generator=generator)
    np.testing.assert_allclose(shown[:, 1], made, atol=1e-6)
    drawn = stage.draw(state, key, len(shown))
    np.testing.assert_allclose(drawn, made, atol=1e-6)
    np.testing.assert_allclose(shown[:, 0, ..., :1], dataset.inputs[: len(shown)] / 255, atol=1e-6)
    np.testing.assert_allclose(shown[:, 2], dataset.images[: len(shown)] / 255, atol=1e-6)


def test_textbook_is_the_authors_port():
    config = Pix2PixConfig(recipe="textbook")
    generator, discriminator = config.generator(), config.discriminator()
    assert (generator.width, generator.image_shape, generator.halvings) == (64, (256, 256, 3), 8)
    assert (generator.norm, generator.dropout, generator.norm_scale_std) == ("batch", "port", 0.02)
    assert (discriminator.width, discriminator.halvings, discriminator.norm) == (64, 3, "batch")
    assert (config.batch_size, config.adam_epsilon, config.ema_decay) == (1, 1e-8, 0)
    assert (config.jitter, config.flip, config.beta1, config.beta2) == (286 / 256, 0.5, 0.5, 0.999)
    gan = config.gan()
    assert gan.turns[1].noise == "last"
    shapes = jax.eval_shape(gan.init, jax.random.key(0))
    # The sizes of the authors' networks, of three channels to three.
    sizes = {
        name: sum(leaf.size for leaf in jax.tree.leaves(its["params"]))
        for name, its in shapes.items()
    }
    grey = {"generator": 2 * 16 * 64, "discriminator": 2 * 16 * 64}
    published = {"generator": 54_413_955, "discriminator": 2_768_705}
    assert {name: sizes[name] + grey[name] for name in sizes} == published


def test_the_textbooks_least_squares_have_the_weights_of_the_port():
    weights = [
        (config.discriminator_weight, config.adversarial_weight)
        for config in (
            Pix2PixConfig(recipe="textbook", loss="least_squares"),
            Pix2PixConfig(recipe="textbook", loss="least_squares", adversarial_weight=1.0),
            Pix2PixConfig(loss="least_squares"),
        )
    ]
    assert weights == [(1.0, 2.0), (1.0, 1.0), (0.5, 1.0)]


def test_a_run_from_before_the_recipes_is_the_default():
    old = Pix2PixConfig().to_json()
    new = {"recipe", "fakes", "jitter", "flip", "halvings", "discriminator_halvings", "norm"}
    new |= {"norm_scale_std", "dropout", "normalises_innermost", "adam_epsilon"}
    new |= {"discriminator_weight", "decay_after_kimg", "decay_kimg"}
    assert old.keys() >= new
    values = {name: value for name, value in old.items() if name not in new}
    assert Pix2PixConfig.from_json(values) == Pix2PixConfig()


def test_the_learning_rates_fall_where_they_are_asked_to():
    config = Pix2PixConfig(batch_size=10, decay_after_kimg=0.01, decay_kimg=0.02)
    optimizer = config.gan().optimizers["generator"]
    state, steps = optimizer.init(jnp.ones(())), []
    for _ in range(5):
        step, state = optimizer.update(jnp.ones(()), state)
        steps.append(float(step) / -config.generator_learning_rate)
    np.testing.assert_allclose(steps, [1, 1, 0.5, 0, 0], atol=1e-4)
