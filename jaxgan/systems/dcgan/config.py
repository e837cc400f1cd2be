"""The settings of the convolutional GAN (Radford et al. 2015, arXiv 1511.06434)."""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax.numpy as jnp

from jaxgan.layers.chain import Layer
from jaxgan.run.settings import count, one_of, rate, setting
from jaxgan.schedules import ADAM_EPSILON
from jaxgan.systems.dcgan import networks
from jaxgan.systems.dcgan.chain import discriminator_chain, generator_chain
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.latent.images import OWN_SHAPES
from jaxgan.systems.latent.labelled import LabelledConfig

PyTree = Any
FAKES = ("new", "same")
RecipeName = Literal["default", "textbook"]

# Recipes: the values of settings that are not given. 'textbook' is the training of the paper
# (section 4), except for the number of epochs, with the networks of PyTorch's example.
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {
            "epochs": 12,
            "batch_size": 64,
            "generator_learning_rate": 4e-4,
            "discriminator_learning_rate": 2e-4,
            "decay_after_kimg": 300.0,
            "generator_half_life_kimg": 120.0,
            "discriminator_half_life_kimg": 240.0,
            "beta1": 0.0,
            "beta2": 0.99,
            "r1": 0.1,
            "penalty_interval": 4,
            "translation": 2,
            "ema_decay": 0.9995,
            "adam_epsilon": ADAM_EPSILON,
            "fakes": "new",
            "biases": "unnormalised",
            "running_variance": "biased",
        },
        "textbook": {
            "epochs": 20,
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
            "adam_epsilon": 1e-8,
            "fakes": "same",
            "biases": "none",
            "running_variance": "unbiased",
        },
    }
)
# The default of `image_shape` for data sets of coloured images.
_OTHER_SHAPE = (32, 32, 3)


@dataclasses.dataclass(frozen=True)
class DCGANConfig(LabelledConfig, LatentGANConfig):
    """The settings of the convolutional GAN, added to those of every GAN with latents."""

    recipe: RecipeName = setting("default")
    """The recipe, which gives the values of settings that are not given. 'textbook' is the plain
    training of the paper."""
    workdir: str = setting("runs/dcgan", may_change=True)
    """The folder that the run writes to, and resumes from."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are resized to. Height and width are 4 to 7 times a
    power of two. By default 28 28 1 for mnist, fashion_mnist and kmnist, and 32 32 3 for other data
    sets."""
    width: int = setting(64, count(1))
    """Channels of the largest feature maps. Each halving of height and width doubles the
    channels."""
    adam_epsilon: float = setting(None, rate)
    """Adam's epsilon, added to the square root of the second moment."""
    fakes: str = setting(None, one_of(*FAKES))
    """The latents of the generator's turn: 'new' draws them, 'same' takes those of the
    discriminator's last turn, so that the generator makes the very images that were judged."""
    biases: str = setting(None, one_of("unnormalised", "none"))
    """The layers that have a bias: 'unnormalised', those that no normalisation follows; or
    'none'."""
    running_variance: str = setting(None, one_of("biased", "unbiased"))
    """The variance of a batch that the running variance of a batch normalisation is the mean of:
    'biased', or 'unbiased', as PyTorch's."""

    recipes = RECIPES
    # Version 0.2.0 brought them; `textbook` has had other networks since.
    added = MappingProxyType(
        {
            name: RECIPES["default"][name]
            for name in ("adam_epsilon", "fakes", "biases", "running_variance")
        }
    )

    def __post_init__(self):
        if not self.image_shape:
            object.__setattr__(self, "image_shape", OWN_SHAPES.get(self.dataset, _OTHER_SHAPE))
        super().__post_init__()
        networks.num_halvings(self.image_shape)

    @property
    def images_per_piece(self) -> int:
        # Of 28x28 pixels, two cores train a thousand in seconds.
        return max(1, 1000 * 28 * 28 // math.prod(self.image_shape[:2]))

    def generator(self) -> networks.Generator:
        return networks.Generator(
            self.latent_size,
            self.width,
            self.image_shape,
            self.num_classes,
            jnp.dtype(self.precision),
            *self._options,
        )

    def discriminator(self) -> networks.Discriminator:
        return networks.Discriminator(
            self.width,
            self.image_shape,
            self.num_classes,
            jnp.dtype(self.precision),
            *self._options,
        )

    @property
    def _options(self) -> tuple[bool, bool]:
        return self.biases != "none", self.running_variance == "unbiased"

    def generator_chain(self, variables: PyTree) -> list[Layer]:
        return generator_chain(variables)

    def discriminator_chain(self, variables: PyTree) -> list[Layer]:
        return discriminator_chain(variables)
