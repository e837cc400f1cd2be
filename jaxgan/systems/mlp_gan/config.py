"""The chapter's GAN: two fully connected networks (Goodfellow et al. 2014), from its settings."""

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

# Ways to train the chapter's two networks: what the settings of these names are where they are not
# given. What each reaches on MNIST is in the README beside.
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
    """Settings of the fully connected GAN, on top of those of every GAN from latents."""

    recipe: RecipeName = setting("default")
    """Sets what is not given: 'textbook' is the chapter's plain training, its failures included;
    'default' drops no digits; 'best' goes on for half an hour, or on a GPU."""
    workdir: str = setting("runs/mnist_gan", may_change=True)
    """The folder that the run leaves everything in, and goes on from."""
    generator_widths: tuple[int, ...] = setting((256, 512, 1024), counts)
    """Units of the generator's hidden layers."""
    discriminator_widths: tuple[int, ...] = setting((1024, 512, 256), counts)
    """Units of the discriminator's hidden layers."""

    recipes = RECIPES
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
