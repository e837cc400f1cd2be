import jax
import numpy as np

from jaxgan.layers import chain
from jaxgan.systems.mlp_gan.config import MLPGANConfig

CONFIG = MLPGANConfig(
    generator_widths=(16, 12),
    discriminator_widths=(12,),
    latent_size=9,
    image_shape=(4, 6, 3),
)
RNG = np.random.default_rng(0)


def drawn_variables(module, *shape):
    variables = module.init(jax.random.key(0), np.zeros((1, *shape)))
    return jax.tree.map(lambda x: RNG.standard_normal(x.shape, np.float32), variables)


def test_the_generators_chain_is_the_generator():
    generator = CONFIG.generator()
    variables = drawn_variables(generator, 9)
    layers = CONFIG.generator_chain(variables)
    assert [layer.activation for layer in layers] == ["leaky", "leaky", "tanh"]
    latents = RNG.standard_normal((5, 9), np.float32)
    expected = generator.apply(variables, latents).reshape(5, -1)
    np.testing.assert_allclose(chain.apply(layers, latents), expected, atol=1e-5)


def test_the_discriminators_chain_is_the_discriminator():
    discriminator = CONFIG.discriminator()
    variables = drawn_variables(discriminator, 4, 6, 3)
    layers = CONFIG.discriminator_chain(variables)
    assert [layer.activation for layer in layers] == ["leaky", "none"]
    images = RNG.uniform(-1, 1, (5, 4, 6, 3)).astype(np.float32)
    expected = discriminator.apply(variables, images)[:, None]
    np.testing.assert_allclose(chain.apply(layers, images), expected, atol=1e-4)


def test_it_has_no_classes_and_a_square_picture():
    assert CONFIG.classes == () and CONFIG.picture_shape == (8, 8)
