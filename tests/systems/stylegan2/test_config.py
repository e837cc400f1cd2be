"""The settings of StyleGAN2: the official recipes, what the data set decides, and the warnings."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from small_style_gan import random_variables

import jaxgan
from jaxgan.data import Attribute, Dataset
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.latent.labelled import GRID_COLUMNS
from jaxgan.systems.stylegan2.config import RECIPES, StyleGAN2Config, with_styles

rng = np.random.default_rng(0)
HAIR, EYES = np.array([[0, 0], [1, 0], [1, 1], [2, 1]] * 5, np.int32).T
FACES = Dataset(
    "faces",
    rng.integers(0, 256, (20, 8, 8, 1), dtype=np.uint8),
    {"hair": Attribute(("black", "blond", "grey"), HAIR), "eyes": Attribute(("wide", "bow"), EYES)},
    (),
)
TINY = StyleGAN2Config(
    image_shape=(8, 8, 1),
    channel_base=64,
    channel_max=4,
    latent_size=3,
    style_size=4,
    mapping_layers=1,
    batch_size=4,
)

# Of the official code: batch, group, channel base, learning rate, gamma, half-life, its ramp-up,
# layers of the mapping.
OFFICIAL = {
    "stylegan2": (32, 4, 32768, 0.002, 10, 10, 0, 8),
    "paper256": (64, 8, 16384, 0.0025, 1, 20, 0, 8),
    "paper512": (64, 8, 32768, 0.0025, 0.5, 20, 0, 8),
    "paper1024": (32, 4, 32768, 0.002, 2, 10, 0, 8),
    "cifar": (64, 32, 32768, 0.0025, 0.01, 500, 0.05, 2),
}
NAMES = ("batch_size", "group_size", "channel_base", "learning_rate", "gamma", "ema_kimg")
NAMES = (*NAMES, "ema_ramp_up", "mapping_layers")


@pytest.mark.parametrize("recipe", OFFICIAL)
def test_official_recipes(recipe):
    config = StyleGAN2Config(recipe=recipe)
    assert tuple(getattr(config, name) for name in NAMES) == OFFICIAL[recipe]
    shared = (config.latent_size, config.style_size, config.channel_max, config.clamp)
    assert shared == (512, 512, 512, 256)
    assert (config.beta1, config.beta2, config.adam_epsilon) == (0, 0.99, 1e-8)
    assert (config.penalty_interval, config.length_interval) == (16, 4)
    assert (config.augmentations, config.target, config.target_kimg) == ("bgc", 0.6, 500)
    assert config.most_probable == 0 and config.augment_probability == -1
    is_cifar = recipe == "cifar"
    assert (config.length_weight, config.mixing) == ((0, 0) if is_cifar else (2, 0.9))
    assert config.discriminator_kind == ("orig" if is_cifar else "resnet")
    assert set(RECIPES) == {"default", "auto", *OFFICIAL}


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (64, (32, 4, 16384, 0.0025, 0.0256, 10, 0.05, 2)),
        (256, (16, 4, 16384, 0.0025, 0.8192, 5, 0.05, 2)),
        (512, (8, 4, 32768, 0.0025, 6.5536, 2.5, 0.05, 2)),
        (1024, (4, 4, 32768, 0.002, 52.4288, 1.25, 0.05, 2)),
    ],
)
def test_auto_goes_by_the_size_of_the_images(side, expected):
    config = StyleGAN2Config(recipe="auto", image_shape=(side, side, 3))
    np.testing.assert_allclose([getattr(config, name) for name in NAMES], expected, rtol=1e-6)


def test_what_is_given_stands_above_the_recipe():
    config = StyleGAN2Config(recipe="paper256", gamma=3.0, image_shape=(128, 192, 1))
    assert config.gamma == 3 and config.generator().image_shape == (128, 192, 1)
    again = StyleGAN2Config.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config


def test_the_default_is_for_two_cores():
    config = StyleGAN2Config()
    assert (config.dataset, config.image_shape) == ("toon_faces", (64, 64, 3))
    assert (config.channel_base, config.channel_max, config.mapping_layers) == (1024, 64, 2)
    # Grey data sets stay grey.
    assert StyleGAN2Config(dataset="mnist").image_shape == (28, 28, 1)
    assert StyleGAN2Config(dataset="mnist", image_shape=(32, 32, 3)).image_shape == (32, 32, 3)


@pytest.mark.parametrize("shape", [(16, 24, 1), (24, 16, 3), (56, 28, 1)])
def test_rectangles_grow_from_a_rectangle(shape):
    generator = dataclasses.replace(TINY, image_shape=shape).generator()
    latents = jax.ShapeDtypeStruct((2, 3), np.float32)
    variables = jax.eval_shape(generator.init, jax.random.key(0), latents)
    const = variables["params"]["synthesis"]["b4"]["const"].shape
    assert 4 <= min(const[:2]) <= 7 and const[0] * shape[1] == const[1] * shape[0]
    assert jax.eval_shape(generator.apply, variables, latents).shape == (2, *shape)


def test_mirrored_images():
    config = dataclasses.replace(TINY, mirror=True, conditional=True).for_dataset(FACES)
    examples = config.examples(FACES)
    np.testing.assert_array_equal(examples["images"][:20], FACES.images)
    np.testing.assert_array_equal(examples["images"][20:], FACES.images[:, :, ::-1])
    np.testing.assert_array_equal(examples["labels"], np.tile(np.stack([HAIR, EYES], 1), (2, 1)))
    assert TINY.examples(FACES).keys() == {"images"} and len(FACES.images) == 20


def test_several_labels_at_once_are_those_of_dcgan():
    config = dataclasses.replace(TINY, conditional=True).for_dataset(FACES)
    other = DCGANConfig(image_shape=(8, 8, 1), conditional=True).for_dataset(FACES)
    assert config.classes == other.classes and config.num_classes == (3, 2)
    assert config.discriminator().num_classes == config.generator().num_classes == (3, 2)
    key = jax.random.key(0)
    for words in ([], ["eyes=bow"], ["hair=grey", "eyes=wide"]):
        mine, theirs = (each.labels_named(words, key, 7) for each in (config, other))
        np.testing.assert_array_equal(mine[0], theirs[0])
        assert mine[1] == theirs[1]
    drawn = [each.label_array(FACES, key, 9) for each in (config, other)]
    np.testing.assert_array_equal(*drawn)
    assert config.picture_shape == (3, GRID_COLUMNS)
    one = dataclasses.replace(TINY, conditional=True, attributes=("eyes",)).for_dataset(FACES)
    assert one.num_classes == (2,)


def test_truncation_is_for_pictures_and_not_for_scores():
    config = dataclasses.replace(TINY, truncation=0.5)
    assert config.generator().truncation == 0.5 and config.generator().cutoff is None
    cut = config.truncated(0.7, 2)
    assert (cut.generator().truncation, cut.generator().cutoff) == (0.7, 2)
    params = random_variables(TINY.generator())
    key = jax.random.key(1)
    judged, asked = config.judged_samples(params, key, 3, FACES)
    np.testing.assert_array_equal(judged, TINY.sample(params, key, 3))
    assert asked == {}
    assert np.abs(config.sample(params, key, 3) - judged).max() > 1e-4
    with pytest.raises(ValueError, match="the cutoff must be from 1 to 4, the layers, not 5"):
        config.truncated(0.7, 5)
    with pytest.raises(ValueError, match="the truncation must be 0 or more"):
        config.truncated(-1.0)
    with pytest.raises(ValueError, match="a run of dcgan has no truncation"):
        DCGANConfig().truncated(0.7)


def test_a_run_without_styles_is_told_apart():
    assert with_styles(TINY) is TINY
    with pytest.raises(ValueError, match="runs/dcgan is a run of dcgan, which has no styles"):
        with_styles(DCGANConfig())


def test_a_discriminator_that_tells_98_percent_of_the_images_right_is_a_sign_of_a_collapse():
    (stage,) = TINY.system(FACES).stages
    found = [
        [sign({"d_accuracy": np.full(9, share)}) for sign in stage.signs] for share in (0.985, 0.97)
    ]
    assert "tells 98.5% of the images right" in found[0][0] and found[0][1:] == [None, None]
    assert found[1] == [None, None, None]


@pytest.mark.parametrize(
    ("most", "metrics", "said"),
    [
        (0.8, {"augment_probability": 0.8}, "as probable as --most-probable 0.8 lets them be"),
        (0.8, {"augment_probability": 0.7, "d_accuracy": 0.9}, None),
        (0.0, {"augment_probability": 0.85}, "has the probability 0.85: above about 0.8"),
        (0.0, {"augment_probability": 0.75}, None),
        (0.8, {}, None),
    ],
)
def test_warnings(most, metrics, said):
    config = dataclasses.replace(TINY, most_probable=most)
    found = config.warning(metrics)
    assert found is None if said is None else said in found and "\n" not in found
    (stage,) = config.system(FACES).stages
    assert stage.warning(metrics) == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "paper128"}, "unknown recipe 'paper128': one of default, auto"),
        ({"image_shape": (30, 30, 3)}, "must be 4 to 7 times a power of two"),
        (
            {"image_shape": (36, 36, 3), "block_size": 2},
            "--image-shape 36 36 --block-size 2: .* 2 times 4 to 7 times a power of two",
        ),
        ({"batch_size": 6}, "--batch-size 6 must be a multiple of --group-size 4"),
        ({"augment_probability": 2.0}, "--augment-probability must be from 0 to 1, or -1"),
        ({"augmentations": "flip"}, "--augmentations must be one of none, blit"),
        ({"attributes": ("hair",)}, "--attributes wants --conditional too"),
        ({"truncation": -0.1}, "--truncation must be 0 or more"),
        ({"channel_base": 8}, "--channel-base must be 64 or more"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        StyleGAN2Config(**settings)


def test_it_is_public():
    assert jaxgan.StyleGAN2Config is StyleGAN2Config
