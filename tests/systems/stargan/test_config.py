"""The settings of StarGAN."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxgan import data, game
from jaxgan.data import Attribute, Dataset
from jaxgan.systems.stargan import editing
from jaxgan.systems.stargan.config import PICTURED, StarGANConfig

TINY = StarGANConfig(
    image_shape=(8, 8, 3),
    attributes=("beard", "skin"),
    width=1,
    blocks=0,
    halvings=2,
    block_size=1,
    discriminator_width=1,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
CODES = {"beard": np.arange(12, dtype=np.int32) % 2, "skin": np.arange(12, dtype=np.int32) % 3}
FACES = Dataset(
    "faces",
    IMAGES,
    {
        "beard": Attribute(("no", "yes"), CODES["beard"]),
        "skin": Attribute(("0", "1", "2"), CODES["skin"]),
        "hat": Attribute(("none", "tall"), np.zeros(12, np.int32)),
    },
    (),
)


def test_textbook_is_the_papers():
    config = StarGANConfig(recipe="textbook", dataset="celeb_a")
    assert config.attributes == ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
    assert (config.image_shape, config.batch_size, config.epochs) == ((128, 128, 3), 16, 20)
    assert (config.width, config.blocks, config.halvings, config.block_size) == (64, 6, 6, 1)
    assert (config.conditioning, config.output, config.loss) == ("planes", "image", "wasserstein")
    assert (config.class_weight, config.reconstruction_weight, config.gradient_penalty) == (
        *(1.0, 10.0),
        10.0,
    )
    assert (config.beta1, config.beta2, config.adam_epsilon) == (0.5, 0.999, 1e-8)
    assert (config.judged, config.discriminator_init) == ("image", "uniform")
    assert (config.discriminator_steps, config.ema_decay, config.r1, config.flip) == (5, 0, 0, 0.5)
    # Ten epochs of CelebA's 202,599 images at a constant rate, and ten in which it falls to 0.
    assert config.decay_after_kimg == config.decay_kimg == pytest.approx(2026, abs=1)


def test_the_attributes_of_toon_faces():
    config = StarGANConfig().for_dataset(data.load("toon_faces", split="test"))
    names = ("hair_colour", "beard", "mouth", "skin", "eyebrows")
    assert config.attributes == editing.ATTRIBUTES == names
    assert config.generator() == editing.FACES and config.coding == editing.FACES_CODING


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dataset": "mnist"}, "--attributes is wanted: the names of the attributes of mnist"),
        ({"attributes": ("skin", "skin")}, "--attributes has one twice: skin skin"),
        ({"image_shape": (28, 28, 3)}, "--image-shape 28 28: .* both must be multiples of 32"),
        (
            {"image_shape": (64, 32, 3), "halvings": 6},
            "--image-shape 64 32: .* both must be multiples of 64",
        ),
        ({"block_size": 3}, "--image-shape 64 64: .* both must be multiples of 96"),
        ({"conditioning": "film"}, "--conditioning must be one of planes, norms, not 'film'"),
        ({"output": "mask"}, "--output must be one of image, masked, not 'mask'"),
        ({"loss": "wgan"}, "--loss must be one of non_saturating"),
        ({"recipe": "paper"}, "unknown recipe 'paper': one of default, textbook"),
        ({"class_weight": 0.0}, "--class-weight must be above 0"),
        ({"flip": 2.0}, "--flip must be from 0 to 1"),
        ({"discriminator_steps": 0}, "--discriminator-steps must be 1 or more"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        StarGANConfig(**settings)


def test_the_classes_come_from_the_data_set():
    config = TINY.for_dataset(FACES)
    assert config.classes == (("beard", ("no", "yes")), ("skin", ("0", "1", "2")))
    assert config.coding.size == 4 and config.generator().label_size == 4
    again = StarGANConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config


def test_an_attribute_that_is_not_there_or_never_varies_is_refused():
    with pytest.raises(ValueError, match="faces has no attribute 'hair'"):
        dataclasses.replace(TINY, attributes=("hair",)).for_dataset(FACES)
    with pytest.raises(ValueError, match="every image of faces has hat=none: there is nothing to"):
        dataclasses.replace(TINY, attributes=("hat", "skin")).for_dataset(FACES)


def test_the_stage_trains_on_images_with_their_classes():
    stage = TINY.system(FACES).stages[0]
    assert stage.data["images"] is FACES.images
    np.testing.assert_array_equal(stage.data["labels"], np.stack([*CODES.values()], axis=1))
    assert stage.gan.images == ("images",)


def test_the_picture_has_a_row_for_each_face_and_a_column_for_each_class():
    stage = TINY.system(FACES).stages[0]
    state = jax.jit(lambda key: game.init(stage.gan, key))(jax.random.key(0))
    images, columns = stage.picture(state, jax.random.key(1))
    assert columns == 1 + 2 + 3 and images.shape == (PICTURED * columns, 8, 8, 3)
    np.testing.assert_allclose(images[::columns], IMAGES[:PICTURED] / 255, atol=1e-6)
    params = state.averages["generator"]
    config = TINY.for_dataset(FACES)
    codes = np.array([[1, CODES["skin"][4]]])
    expected = config.edit(params, IMAGES[4:5], codes)
    np.testing.assert_allclose(images[4 * columns + 2], expected[0], atol=1e-6)


def test_judged_images_are_edits_to_classes_of_the_data():
    config = TINY.for_dataset(FACES)
    state = jax.jit(lambda key: game.init(config.gan(), key))(jax.random.key(0))
    images, asked = config.judged_samples(state.averages["generator"], jax.random.key(0), 20, FACES)
    assert images.shape == (20, 8, 8, 3) and asked.keys() == {"beard", "skin"}
    pairs = set(zip(*(np.asarray(codes).tolist() for codes in asked.values()), strict=True))
    assert pairs <= set(zip(*(codes.tolist() for codes in CODES.values()), strict=True))
    assert len(pairs) > 2


def test_images_of_noise_are_refused_in_a_line():
    config = dataclasses.replace(TINY, workdir="run")
    with pytest.raises(ValueError, match="makes no images from noise alone: python experiments/ed"):
        config.sample({}, jax.random.key(0), 1)


def test_the_default_data_set_has_the_default_attributes():
    faces = data.load("toon_faces", split="test")
    config = StarGANConfig().for_dataset(faces)
    assert [len(names) for _, names in config.classes] == [6, 6, 5, 5, 5]


@pytest.mark.parametrize(
    ("told", "shown", "words"),
    [
        (0.2, 0.9, "the discriminator tells 20% of the classes of real images"),
        (0.9, 0.02, "2% of the edits show the class asked for, so the outputs hardly depend on"),
        (0.9, 0.9, None),
    ],
)
def test_a_training_that_learns_no_labels_is_warned_of(told, shown, words):
    stage = TINY.system(FACES).stages[0]
    line = stage.warning({"classes_told": told, "edits_shown": shown})
    assert line is None if words is None else line.startswith(words)
