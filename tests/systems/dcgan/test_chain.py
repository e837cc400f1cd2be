import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data import Attribute, Dataset
from jaxgan.layers import chain
from jaxgan.run.images import grid
from jaxgan.systems.dcgan.config import DCGANConfig

RNG = np.random.default_rng(0)
CLASSES = (("hair", ("black", "blond", "grey")), ("eyes", ("wide", "bow")))
UNTOLD = DCGANConfig(image_shape=(16, 16, 1), width=4, latent_size=9)
TOLD = DCGANConfig(
    image_shape=(16, 16, 1), width=4, latent_size=9, conditional=True, classes=CLASSES
)
TEXTBOOK = DCGANConfig(image_shape=(16, 16, 1), width=4, latent_size=9, recipe="textbook")
both = pytest.mark.parametrize(
    "config", [UNTOLD, TOLD, TEXTBOOK], ids=["unconditional", "conditional", "textbook"]
)


def drawn_variables(module, *inputs):
    """Random ones, with which batch normalisation is not the identity."""

    def draw(path, x):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        if name in ("scale", "var"):
            return RNG.uniform(0.5, 2, x.shape).astype(np.float32)
        # As large as keeps outputs of the order of 1.
        fan_in = math.prod(x.shape[:-1])
        return (RNG.standard_normal(x.shape) / np.sqrt(fan_in)).astype(np.float32)

    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree_util.tree_map_with_path(draw, shapes)


def labels_of(config, count):
    if not config.classes:
        return []
    return [np.stack([RNG.integers(0, n, count) for n in config.num_classes], axis=1)]


def conditions_of(config, labels):
    one_hot = [np.eye(n)[labels[0][:, i]] for i, n in enumerate(config.num_classes)]
    return np.concatenate([np.zeros((7, 0)), *one_hot], axis=1).astype(np.float32)


@both
def test_the_generators_chain_is_the_generator(config):
    latents = RNG.standard_normal((7, 9)).astype(np.float32)
    labels = labels_of(config, 7)
    generator = config.generator()
    variables = drawn_variables(generator, latents, *labels)
    layers = config.generator_chain(variables)
    assert [layer.kind for layer in layers] == ["dense", "upsample", "upsample"]
    inputs = np.concatenate([latents, conditions_of(config, labels)], axis=1)
    expected = generator.apply(variables, latents, *labels).reshape(7, -1)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(chain.apply(layers, inputs), expected, atol=1e-5)


@both
def test_the_discriminators_chain_is_the_discriminator(config):
    images = RNG.uniform(-1, 1, (7, 16, 16, 1)).astype(np.float32)
    labels = labels_of(config, 7)
    discriminator = config.discriminator()
    variables = drawn_variables(discriminator, images, *labels)
    layers = config.discriminator_chain(variables)
    assert [layer.kind for layer in layers] == ["downsample", "downsample", "dense"]
    outputs = np.asarray(chain.apply(layers, images))
    assert outputs.shape == (7, 1 + sum(config.num_classes))
    given = outputs[:, 0] + np.sum(outputs[:, 1:] * conditions_of(config, labels), axis=1)
    expected = discriminator.apply(variables, images, *labels)
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(given, expected, atol=1e-5)


@both
def test_a_picture_has_the_rows_and_columns_that_its_shape_says(config):
    attributes = {name: Attribute(names, np.arange(2)) for name, names in CLASSES}
    faces = Dataset("faces", np.zeros((2, 16, 16, 1), np.uint8), attributes, ())
    generator = config.generator()
    variables = drawn_variables(generator, jnp.zeros((1, 9)), *labels_of(config, 1))
    images, columns = config.picture(variables, jax.random.key(0), faces)
    canvas = grid(np.asarray(images), columns, gap=0)
    assert canvas.shape == (16 * config.picture_shape[0], 16 * config.picture_shape[1], 1)
    assert len(images) == math.prod(config.picture_shape)
