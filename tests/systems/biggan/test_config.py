"""The settings of BigGAN: recipes, what cannot be, what comes from the data set."""

import json

import jax
import numpy as np
import pytest

from jaxgan.data import Attribute, Dataset
from jaxgan.systems.biggan.config import RECIPES, BigGANConfig
from jaxgan.training import collapse

RANDOM = np.random.default_rng(0)
HAT, HAIR = np.arange(20) % 2, np.arange(20) % 3
FACES = Dataset(
    "faces",
    RANDOM.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
    {
        "hat": Attribute(("no", "yes"), HAT.astype(np.int32)),
        "hair": Attribute(("black", "blond", "grey"), HAIR.astype(np.int32)),
    },
    (),
)


def test_the_textbook_is_the_papers_training_on_imagenet():
    config = BigGANConfig(recipe="textbook", classes=(("label", ("a",) * 1000),))
    generator, discriminator = config.generator(), config.discriminator()
    assert (generator.latent_size, generator.shared_size, generator.width) == (120, 128, 96)
    assert generator.attention == discriminator.attention == (64,)
    assert generator.image_shape == (128, 128, 3) and generator.is_hierarchical
    assert (config.batch_size, config.discriminator_steps, config.beta1) == (2048, 2, 0)
    assert (config.generator_learning_rate, config.discriminator_learning_rate) == (5e-5, 2e-4)
    assert (config.loss, config.fake_labels, config.ema_start) == ("hinge", "uniform", 20_000)
    # About 150,000 steps of the 1,281,167 images of ImageNet.
    images = 2048 * config.discriminator_steps
    assert config.epochs * 1_281_167 / images == pytest.approx(150_000, rel=0.01)


def test_cifar_is_the_authors_script():
    config = BigGANConfig(recipe="cifar", dataset="cifar10")
    generator = config.generator()
    assert (generator.shared_size, generator.is_hierarchical, generator.attention) == (0, False, ())
    assert generator.init_kernels == "normal" and generator.spectral_epsilon == 1e-8
    # 125,000 steps of four batches of 50.
    assert config.epochs * 50_000 / (config.batch_size * config.discriminator_steps) == 125_000


def test_all_recipes_give_the_same_settings():
    assert len({frozenset(recipe) for recipe in RECIPES.values()}) == 1


def test_digits_are_small_and_grey():
    config = BigGANConfig(dataset="mnist")
    assert config.image_shape == (28, 28, 1)
    # One part of the latent for the first layer and one for each of two blocks.
    assert config.latent_size == 64 and config.generator().latent_size == 63


def test_the_classes_come_from_the_data_set():
    config = BigGANConfig().for_dataset(FACES)
    assert config.num_classes == (2, 3) and config.attribute_names == ("hat", "hair")
    again = BigGANConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    stage = config.system(FACES).stages[0]
    np.testing.assert_array_equal(stage.data["labels"], np.stack([HAT, HAIR], axis=1))
    alone = BigGANConfig(conditional=False).for_dataset(FACES)
    assert alone.num_classes == () and alone.examples(FACES).keys() == {"images"}


def test_a_data_set_without_attributes():
    plain = Dataset("plain", FACES.images, {}, ())
    with pytest.raises(ValueError, match="plain has no attributes: give --no-conditional"):
        BigGANConfig().for_dataset(plain)
    assert BigGANConfig(conditional=False).for_dataset(plain).num_classes == ()


def test_scores_are_of_images_that_are_not_truncated(monkeypatch):
    """The images are the truncation that they are drawn with."""
    monkeypatch.setattr(BigGANConfig, "sample", lambda config, *_, labels: config.truncation)
    config = BigGANConfig(truncation=0.5).for_dataset(FACES)
    images, asked = config.judged_samples({}, jax.random.key(0), 3, FACES)
    assert images == 0 and asked.keys() == {"hat", "hair"}
    assert config.truncated_samples({}, jax.random.key(0), 3, FACES, 0.3) == 0.3


def test_signs_of_a_collapse_are_watched_and_a_critics_accuracy_is_none():
    signs = BigGANConfig().for_dataset(FACES).system(FACES).stages[0].signs
    won = {"d_accuracy": np.full(9, 0.9995)}
    assert [sign(won) is None for sign in signs] == [False, True, True]
    config = BigGANConfig(loss="wasserstein").for_dataset(FACES)
    assert config.system(FACES).stages[0].signs == (collapse.has_leapt,)


def test_truncation_is_of_samples_and_not_of_training():
    config = BigGANConfig().truncated(0.5)
    assert config.generator().truncation == 0.5
    turn = config.gan().turns[0]
    drawn = jax.eval_shape(turn.noise, jax.random.key(0), {})
    assert drawn["latent"].shape == (64,)
    assert turn.loss.__self__.generator.truncation is None
    assert BigGANConfig().generator().truncation is None
    with pytest.raises(ValueError, match="a run of biggan has no cutoff"):
        config.truncated(0.5, 3)
    with pytest.raises(ValueError, match="the truncation must be 0 or more"):
        config.truncated(-1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "paper"}, "unknown recipe 'paper': one of default, cifar, textbook"),
        ({"image_shape": (36, 36, 3)}, "height and width are 4 to 7 times a power of two"),
        ({"shared_size": 0}, "--hierarchical wants a --shared-size above 0"),
        ({"latent_size": 3}, "--latent-size must be 4 or more, one number for each part"),
        ({"accumulate": 5}, "--batch-size 32 must be a multiple of --accumulate 5"),
        ({"generator_attention": (64,)}, "the generator has no map of the height 64"),
        ({"generator_attention": (-1,)}, "--generator-attention must be 0 or more each"),
        ({"recipe": "cifar", "attributes": ("a", "a")}, "--attributes has one twice: a a"),
        ({"conditional": False, "attributes": ("a",)}, "--attributes wants --conditional too"),
        ({"fake_labels": "same"}, "--fake-labels must be one of uniform, data, not 'same'"),
        ({"init_kernels": "ortho"}, "--init-kernels must be one of orthogonal, normal, xavier"),
        ({"loss": "wgan"}, "--loss must be one of non_saturating"),
        ({"spectral_epsilon": 0.0}, "--spectral-epsilon must be above 0"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        BigGANConfig(**settings)
