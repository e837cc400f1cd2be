"""The settings of the fully connected GAN (Goodfellow et al. 2014, arXiv 1406.2661)."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax.numpy as jnp

from jaxgan.layers.chain import Layer
from jaxgan.run.settings import counts, setting
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.mlp_gan import networks
from jaxgan.systems.mlp_gan.chain import discriminator_chain, generator_chain

PyTree = Any
RecipeName = Literal["default", "textbook", "best"]

# Recipes: the values of settings that are not given. The README of this folder has the scores that
# each recipe reaches on MNIST.
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {
            "epochs": 28,
            "batch_size": 64,
            "generator_learning_rate": 1e-3,
            "discriminator_learning_rate": 2.5e-4,
            "decay_after_kimg": 480.0,
            "generator_half_life_kimg": 240.0,
            "discriminator_half_life_kimg": 720.0,
            "beta1": 0.0,
            "beta2": 0.99,
            "r1": 0.1,
            "penalty_interval": 4,
            "translation": 2,
            "ema_decay": 0.9999,
        },
        "textbook": {
            "epochs": 28,
            "batch_size": 128,
            "generator_learning_rate": 2e-4,
            "discriminator_learning_rate": 2e-4,
            "decay_after_kimg": 0.0,
            "generator_half_life_kimg": 0.0,
            "discriminator_half_life_kimg": 0.0,
            "beta1": 0.5,
            "beta2": 0.999,
            "r1": 0.0,
            "penalty_interval": 1,
            "translation": 0,
            "ema_decay": 0.0,
        },
        "best": {
            "epochs": 100,
            "batch_size": 64,
            "generator_learning_rate": 1e-3,
            "discriminator_learning_rate": 2.5e-4,
            "decay_after_kimg": 2400.0,
            "generator_half_life_kimg": 1200.0,
            "discriminator_half_life_kimg": 3600.0,
            "beta1": 0.0,
            "beta2": 0.99,
            "r1": 0.1,
            "penalty_interval": 4,
            "translation": 2,
            "ema_decay": 0.9999,
        },
    }
)


@dataclasses.dataclass(frozen=True)
class MLPGANConfig(LatentGANConfig):
    """The settings of the fully connected GAN, added to those of every GAN with latents."""

    recipe: RecipeName = setting("default")
    """The recipe, which gives the values of settings that are not given. 'textbook' is the plain
    training of 2014, with its failures; 'default' generates all ten digits; 'best' trains longer
    (about half an hour on a CPU) for better scores."""
    workdir: str = setting("runs/mnist_gan", may_change=True)
    """The folder that the run writes to, and resumes from."""
    generator_widths: tuple[int, ...] = setting((256, 512, 1024), counts)
    """Units in each hidden layer of the generator, from the latent on."""
    discriminator_widths: tuple[int, ...] = setting((1024, 512, 256), counts)
    """Units in each hidden layer of the discriminator, from the image on."""

    recipes = RECIPES
    multi_output_fusion = True
    former_names = ("mnist_gan",)

    def generator(self) -> networks.Generator:
        return networks.Generator(
            self.latent_size, self.generator_widths, self.image_shape, jnp.dtype(self.precision)
        )

    def discriminator(self) -> networks.Discriminator:
        return networks.Discriminator(
            self.discriminator_widths, self.image_shape, jnp.dtype(self.precision)
        )

    def generator_chain(self, variables: PyTree) -> list[Layer]:
        return generator_chain(variables)

    def discriminator_chain(self, variables: PyTree) -> list[Layer]:
        return discriminator_chain(variables)
