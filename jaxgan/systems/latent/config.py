"""Settings of every GAN whose images come from latents: the game, the optimisers, recipes."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import optax

from jaxgan.data import Dataset
from jaxgan.game import GAN
from jaxgan.layers.chain import Layer
from jaxgan.run.config import Precision, RunConfig
from jaxgan.sampling import sample
from jaxgan.systems.latent.losses import latent_gan

PyTree = Any
GRID_IMAGES = 64
# Gulrajani et al. 2017 (arXiv 1704.00028), section 4.
WGAN_GP_LAMBDA = 10.0
# Adam divides by the gradient's size, however small: with the usual 1e-8 it makes full steps of
# what is rounding noise in a gradient, and runs on different numbers of devices drift apart.
ADAM_EPSILON = 1e-6


LossName = Literal["non_saturating", "minimax", "least_squares", "wasserstein", "hinge"]
NoiseName = Literal["normal", "uniform"]


@dataclasses.dataclass(frozen=True)
class LatentGANConfig(RunConfig):
    """Settings of a GAN whose images come from latents, on top of those of every run.

    A subclass has its `recipes` and its networks.
    """

    recipe: str = "default"
    """Sets what is None."""
    epochs: int | None = None
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    batch_size: int | None = None
    """Images a step, over all devices together; a multiple of their number."""
    generator_learning_rate: float | None = None
    """Adam's learning rate, of the generator, at the start."""
    discriminator_learning_rate: float | None = None
    """Adam's learning rate, of the discriminator, at the start."""
    decay_after_kimg: float | None = None
    """Thousands of real images seen before the learning rates begin to fall."""
    generator_half_life_kimg: float | None = None
    """Thousands of real images in which the generator's learning rate then halves, again and
    again; 0: it does not fall."""
    discriminator_half_life_kimg: float | None = None
    """The same of the discriminator's."""
    beta1: float | None = None
    """Adam's decay of the first moment."""
    beta2: float | None = None
    """Adam's decay of the second moment."""
    loss: LossName = "non_saturating"
    """The game's objective; 'minimax' is the original of 2014, 'wasserstein' comes with its
    gradient penalty."""
    noise: NoiseName = "normal"
    """What latents are drawn from: N(0, 1) or U(-1, 1)."""
    latent_size: int = 100
    """Numbers in a latent vector."""
    r1: float | None = None
    """Gamma of the gradient penalty at real images; None: 0 with --loss wasserstein."""
    r2: float = 0.0
    """Gamma of the gradient penalty at fake images, 0 for none."""
    gradient_penalty: float | None = None
    """Lambda of WGAN-GP's penalty; None: 10 with --loss wasserstein, else 0."""
    penalty_interval: int | None = None
    """The gradient penalties are taken every so many steps only, times this; None: 1 with --loss
    wasserstein."""
    label_smoothing: float = 0.0
    """A real image's label is 1 minus this."""
    translation: int | None = None
    """Half of all images, real and generated, are moved by up to this many pixels before the
    discriminator sees them; 0: none."""
    discriminator_steps: int = 1
    """Updates of the discriminator before each update of the generator."""
    ema_decay: float | None = None
    """Of the moving average of the generator's weights that samples are drawn from."""
    precision: Precision = "float32"
    """What matrix products are computed in. Parameters and optimiser stay float32."""

    presets = frozenset({"recipe"})
    # What the settings of these names are, by the recipe, where they are not given.
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})

    def __post_init__(self):
        if self.recipe not in self.recipes:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(self.recipes)}")
        # Each loss comes with one penalty, unless told otherwise.
        is_wasserstein = self.loss == "wasserstein"
        wanted = dict(self.recipes[self.recipe])
        wanted["gradient_penalty"] = WGAN_GP_LAMBDA if is_wasserstein else 0.0
        if is_wasserstein:
            wanted |= {"r1": 0.0, "penalty_interval": 1}
        for name, value in wanted.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()
        for name in ("latent_size", "discriminator_steps", "penalty_interval"):
            self._check_at_least(name, 1)
        for name in ("generator_learning_rate", "discriminator_learning_rate"):
            self._check_weight(name, positive=True)
        for name in (
            "decay_after_kimg",
            "generator_half_life_kimg",
            "discriminator_half_life_kimg",
            "r1",
            "r2",
            "gradient_penalty",
        ):
            self._check_weight(name)
        self._check_at_least("translation", 0)
        for name in ("beta1", "beta2", "ema_decay"):
            self._check_share(name, below=1)
        self._check_share("label_smoothing", below=0.5)
        self.gan()  # Has a word on the loss, the noise and what goes with them.

    def generator(self) -> nn.Module:
        """The counterfeiter's module."""
        raise NotImplementedError

    def discriminator(self) -> nn.Module:
        """The police's module."""
        raise NotImplementedError

    def gan(self) -> GAN:
        def adam(
            learning_rate: float, half_life_kimg: float, images_an_update: int
        ) -> optax.GradientTransformation:
            # Counted in images, so that a run may be told to go on for longer than it was.
            schedule = learning_rate
            if half_life_kimg:
                schedule = optax.exponential_decay(
                    learning_rate,
                    transition_steps=1000 * half_life_kimg / images_an_update,
                    decay_rate=0.5,
                    transition_begin=1000 * self.decay_after_kimg / images_an_update,
                )
            return optax.adam(schedule, self.beta1, self.beta2, ADAM_EPSILON)

        return latent_gan(
            self.generator(),
            self.discriminator(),
            adam(
                self.generator_learning_rate,
                self.generator_half_life_kimg,
                self.batch_size * self.discriminator_steps,
            ),
            adam(
                self.discriminator_learning_rate,
                self.discriminator_half_life_kimg,
                self.batch_size,
            ),
            loss=self.loss,
            noise=self.noise,
            r1=self.r1,
            r2=self.r2,
            gradient_penalty=self.gradient_penalty,
            penalty_interval=self.penalty_interval,
            label_smoothing=self.label_smoothing,
            translation=self.translation,
            discriminator_steps=self.discriminator_steps,
            ema_decay=self.ema_decay,
        )

    def command_for_play(self, workdir: str) -> str | None:
        if self.image_shape != (28, 28, 1):
            return None
        return f"python experiments/playground.py --workdir {workdir}"

    def labels(self, dataset: Dataset, key: jax.Array, num_images: int) -> jax.Array | None:
        """What `draw` asks for: labels as they go together in the data set.

        Returns:
            int32 [num_images, k]; None for no labels.
        """
        return None

    def draw(
        self, variables: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> jax.Array:
        return sample(
            variables,
            key,
            num_samples=num_samples,
            labels=self.labels(dataset, key, num_samples),
            noise=self.noise,
            generator=self.generator(),
        )

    def picture(
        self, variables: PyTree, key: jax.Array, dataset: Dataset
    ) -> tuple[jax.Array, int | None]:
        return self.draw(variables, key, GRID_IMAGES, dataset), None

    # The classes of each attribute that the networks are told. No field: only a conditional system
    # has such a setting, and it declares one of this name.
    classes = ()

    @property
    def picture_shape(self) -> tuple[int, int]:
        """(rows, columns) of the images of a `picture`."""
        side = math.isqrt(GRID_IMAGES)
        return side, side

    def check_playable(self, workdir: str | Path) -> None:
        if self.image_shape != (28, 28, 1):
            shape = "x".join(map(str, self.image_shape))
            raise ValueError(
                f"the playground shows images of 28x28x1; {workdir} is a run on {shape}"
            )

    def generator_chain(self, variables: PyTree) -> list[Layer]:
        """The trained generator as a chain of layers.

        Args:
            variables: what the generator's `apply` takes.

        Returns:
            float32 [n, latent_size + k] -> float32 [n, H * W * C] in [-1, 1]. k is the number of
            all classes: each latent is followed by the one-hot vectors of its labels.
        """
        raise NotImplementedError

    def discriminator_chain(self, variables: PyTree) -> list[Layer]:
        """The trained discriminator as a chain of layers.

        Args:
            variables: what the discriminator's `apply` takes.

        Returns:
            float32 [n, H, W, C] in [-1, 1] -> float32 [n, 1 + k]: the logit without labels, and
            what each class adds to the logit of an image with it.
        """
        raise NotImplementedError
