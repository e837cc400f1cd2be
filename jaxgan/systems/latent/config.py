"""Settings of every GAN whose images come from latents: the game, the optimisers, recipes."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxgan import schedules
from jaxgan.data import Dataset
from jaxgan.game import GAN, TrainState
from jaxgan.latents import NOISES
from jaxgan.layers.chain import Layer
from jaxgan.losses import ADVERSARIAL_LOSSES
from jaxgan.run.config import Precision, RunConfig
from jaxgan.run.settings import count, rate, setting, share, weight
from jaxgan.run.system import ABOUT_THE_GAME, GAME_PROGRESS, JUDGEMENT, LOSSES, System
from jaxgan.systems.latent import drawing
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.training.stages import Picture, Stage

PyTree = Any
GRID_IMAGES = 64
# The images that the playground shows.
PLAYABLE = (28, 28, 1)
# Gulrajani et al. 2017 (arXiv 1704.00028), section 4.
WGAN_GP_LAMBDA = 10.0


@dataclasses.dataclass(frozen=True)
class LatentGANConfig(RunConfig):
    """Settings of a GAN whose images come from latents, on top of those of every run.

    A subclass has its `recipes` and its networks. A recipe gives the settings that are None here;
    `--help` shows the numbers that will be used.
    """

    recipe: str = setting("default")
    """Sets what is not given."""
    epochs: int = setting(None, count(1), may_change=True)
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    batch_size: int = setting(None, count(1))
    """Images a step, over all devices together; a multiple of their number."""
    generator_learning_rate: float = setting(None, rate)
    """Adam's learning rate, of the generator, at the start."""
    discriminator_learning_rate: float = setting(None, rate)
    """Adam's learning rate, of the discriminator, at the start."""
    decay_after_kimg: float = setting(None, weight)
    """Thousands of real images seen before the learning rates begin to fall."""
    generator_half_life_kimg: float = setting(None, weight)
    """Thousands of real images in which the generator's learning rate then halves, again and
    again; 0: it does not fall."""
    discriminator_half_life_kimg: float = setting(None, weight)
    """The same of the discriminator's learning rate."""
    beta1: float = setting(None, share())
    """Adam's decay of the first moment."""
    beta2: float = setting(None, share())
    """Adam's decay of the second moment."""
    loss: str = setting("non_saturating", choices=ADVERSARIAL_LOSSES)
    """The game's objective; 'minimax' is the original of 2014, 'wasserstein' comes with its
    gradient penalty."""
    noise: str = setting("normal", choices=NOISES)
    """What latents are drawn from: N(0, 1) or U(-1, 1)."""
    latent_size: int = setting(100, count(1))
    """Numbers in a latent vector."""
    r1: float = setting(None, weight)
    """Gamma of the gradient penalty at real images; by default 0 with --loss wasserstein."""
    r2: float = setting(0.0, weight)
    """Gamma of the gradient penalty at fake images, 0 for none."""
    gradient_penalty: float = setting(None, weight)
    """Lambda of WGAN-GP's penalty; by default 10 with --loss wasserstein, else 0."""
    penalty_interval: int = setting(None, count(1))
    """The gradient penalties are taken every so many steps only, times this; by default 1 with
    --loss wasserstein."""
    label_smoothing: float = setting(0.0, share(0.5))
    """A real image's label is 1 minus this."""
    translation: int = setting(None, count(0))
    """Half of all images, real and generated, are shifted by up to this many pixels before the
    discriminator sees them; 0: none."""
    discriminator_steps: int = setting(1, count(1))
    """Updates of the discriminator before each update of the generator."""
    ema_decay: float = setting(None, share())
    """Of the moving average of the generator's weights that samples are drawn from."""
    precision: Precision = setting("float32")
    """What matrix products are computed in. Parameters and optimiser stay float32."""

    presets = frozenset({"recipe"})
    about_curves = ABOUT_THE_GAME
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
        self.gan()  # Refuses an unknown loss or noise, and what does not go with the loss.

    def generator(self) -> nn.Module:
        """The counterfeiter's module."""
        raise NotImplementedError

    def discriminator(self) -> nn.Module:
        """The police's module."""
        raise NotImplementedError

    def gan(self) -> GAN:
        """The game of both networks that these settings ask for."""
        steps = self.discriminator_steps
        return latent_gan(
            self.generator(),
            self.discriminator(),
            self._adam("generator", self.batch_size * steps),
            self._adam("discriminator", self.batch_size),
            loss=self.loss,
            noise=self.noise,
            r1=self.r1,
            r2=self.r2,
            gradient_penalty=self.gradient_penalty,
            penalty_interval=self.penalty_interval,
            label_smoothing=self.label_smoothing,
            translation=self.translation,
            discriminator_steps=steps,
            ema_decay=self.ema_decay,
        )

    def system(self, dataset: Dataset) -> System:
        config = self.for_dataset(dataset)

        def draw(state: TrainState, key: jax.Array, num_samples: int) -> jax.Array:
            return config.judged_samples(state.averages["generator"], key, num_samples, dataset)[0]

        stage = Stage(
            config.gan(),
            config.examples(dataset),
            config.epochs,
            config.batch_size,
            draw=draw,
            picture=lambda state, key: config.picture(state.averages["generator"], key, dataset),
            progress=GAME_PROGRESS,
        )
        title = "The game: both losses, and what the discriminator believes"
        return System(config, [stage], title, [LOSSES, JUDGEMENT])

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """What the networks are told of an image; () for nothing."""
        return ()

    def for_dataset(self, dataset: Dataset) -> "LatentGANConfig":
        """These settings, with what they take from the data set.

        Raises:
            ValueError: the data set has not what they want of it.
        """
        return self

    def examples(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """What the system is trained on: arrays [N, ...], what its batches are taken from."""
        return {"images": dataset.images}

    def label_array(self, dataset: Dataset, key: jax.Array, num_images: int) -> jax.Array | None:
        """Labels as they go together in a data set, int32 [num_images, k]; None for no labels."""
        return None

    def sample(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        return drawing.sample(
            params,
            key,
            num_samples=num_samples,
            labels=labels,
            noise=self.noise,
            generator=self.generator(),
        )

    def judged_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        labels = self.label_array(dataset, key, num_samples)
        images = self.sample(params, key, num_samples, labels=labels)
        asked = {} if labels is None else dict(zip(self.attribute_names, labels.T, strict=True))
        return images, asked

    def picture(self, params: PyTree, key: jax.Array, dataset: Dataset) -> Picture:
        """What is looked at of every epoch: images of always the same latents and labels.

        Args:
            params: what the generator's `apply` takes.
            key: of everything random.
            dataset: what labels are taken from.
        """
        labels = self.label_array(dataset, key, GRID_IMAGES)
        return self.sample(params, key, GRID_IMAGES, labels=labels), None

    def commands(self, workdir: str) -> dict[str, str]:
        where = f"--workdir {shlex.quote(workdir)}"
        commands = {
            "Images": f"python experiments/sample.py {where} --num 100 --out samples.png",
            "Scores": f"python experiments/evaluate.py {where}",
        }
        if self.image_shape == PLAYABLE:
            commands["Play"] = f"python experiments/playground.py {where}"
        return commands

    def _adam(self, player: str, images_per_update: int) -> optax.GradientTransformation:
        learning_rate = schedules.halving(
            getattr(self, f"{player}_learning_rate"),
            after=1000 * self.decay_after_kimg,
            half_life=1000 * getattr(self, f"{player}_half_life_kimg"),
        )
        return schedules.adam(
            learning_rate, self.beta1, self.beta2, images_per_update=images_per_update
        )

    # No field: only a conditional system has such a setting, and it declares one of this name.
    @property
    def classes(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The classes of each attribute that the networks are told; () for nothing."""
        return ()

    @property
    def picture_shape(self) -> tuple[int, int]:
        """(rows, columns) of the images of a `picture`."""
        side = math.isqrt(GRID_IMAGES)
        return side, side

    def check_playable(self, workdir: str | Path) -> None:
        if self.image_shape != PLAYABLE:
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
        raise ValueError(self._instead("cannot be played with", "Images"))

    def discriminator_chain(self, variables: PyTree) -> list[Layer]:
        """The trained discriminator as a chain of layers.

        Args:
            variables: what the discriminator's `apply` takes.

        Returns:
            float32 [n, H, W, C] in [-1, 1] -> float32 [n, 1 + k]: the logit without labels, and
            what each class adds to the logit of an image with it.
        """
        raise ValueError(self._instead("cannot be played with", "Images"))
