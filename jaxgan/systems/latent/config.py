"""The settings that all GANs with latents share: losses, optimisers, recipes."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import flax.linen as nn
import optax

from jaxgan import schedules
from jaxgan.game import GAN
from jaxgan.latents import NOISES
from jaxgan.layers.chain import Layer
from jaxgan.losses import ADVERSARIAL_LOSSES
from jaxgan.run import settings
from jaxgan.run.config import Precision
from jaxgan.run.settings import count, rate, setting, share, weight
from jaxgan.systems.latent.images import LatentConfig
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.training import collapse
from jaxgan.training.collapse import Sign

PyTree = Any
# Height, width and channels of the images that the playground can show.
PLAYABLE = (28, 28, 1)
# The penalty's weight in Gulrajani et al. 2017 (arXiv 1704.00028), section 4.
WGAN_GP_LAMBDA = 10.0


@dataclasses.dataclass(frozen=True)
class LatentGANConfig(LatentConfig):
    """The settings of a GAN whose generator takes latents, added to those of every run.

    A subclass defines `recipes`, `generator` and `discriminator`. A setting that is None here gets
    its value from the recipe; `--help` shows the values that will be used.

    Raises:
        ValueError: a value is out of range, the recipe is unknown, or settings do not go together.
    """

    recipe: str = setting("default")
    """The recipe, which gives the values of settings that are not given."""
    epochs: int = setting(None, count(1), may_change=True)
    """Total number of passes over the data set. A stopped run continues up to this number."""
    batch_size: int = setting(None, count(1))
    """Images in a step, over all devices together; a multiple of the number of devices."""
    generator_learning_rate: float = setting(None, rate)
    """Adam's learning rate for the generator, at the start of training."""
    discriminator_learning_rate: float = setting(None, rate)
    """Adam's learning rate for the discriminator, at the start of training."""
    decay_after_kimg: float = setting(None, weight)
    """Thousands of real images after which the learning rates begin to fall."""
    generator_half_life_kimg: float = setting(None, weight)
    """Thousands of real images in which the generator's learning rate halves once it falls; 0: the
    rate is constant."""
    discriminator_half_life_kimg: float = setting(None, weight)
    """Thousands of real images in which the discriminator's learning rate halves once it falls; 0:
    the rate is constant."""
    beta1: float = setting(None, share())
    """Adam's decay of the first moment, in [0, 1)."""
    beta2: float = setting(None, share())
    """Adam's decay of the second moment, in [0, 1)."""
    loss: str = setting("non_saturating", choices=ADVERSARIAL_LOSSES)
    """The adversarial loss. 'minimax' is the original one of 2014; 'wasserstein' turns on WGAN-GP's
    gradient penalty; 'relativistic' compares each generated image with a real one, and turns on R2
    and penalties at every step, as R3GAN has them."""
    noise: str = setting("normal", choices=NOISES)
    """The distribution of the latents: 'normal' is N(0, 1), 'uniform' is U(-1, 1)."""
    latent_size: int = setting(100, count(1))
    """Length of a latent vector."""
    r1: float = setting(None, weight)
    """Gamma of the gradient penalty at real images (R1); 0: no penalty. By default 0 with --loss
    wasserstein."""
    r2: float = setting(None, weight)
    """Gamma of the gradient penalty at generated images (R2); 0: no penalty. By default that of R1
    with --loss relativistic, else 0."""
    gradient_penalty: float = setting(None, weight)
    """Lambda of WGAN-GP's gradient penalty; 0: no penalty. By default 10 with --loss wasserstein,
    else 0."""
    penalty_interval: int = setting(None, count(1))
    """Compute the gradient penalties only at every N-th step, N times as strong. By default 1 with
    --loss wasserstein or relativistic."""
    label_smoothing: float = setting(0.0, share(0.5))
    """The label of real images is 1 minus this number, which is in [0, 0.5)."""
    translation: int = setting(None, count(0))
    """Half of all images, real and generated, are shifted by up to this many pixels before the
    discriminator sees them; 0: no shifts."""
    discriminator_steps: int = setting(1, count(1))
    """Updates of the discriminator before each update of the generator."""
    ema_decay: float = setting(None, share())
    """Decay, in [0, 1), of the moving average of the generator's weights. Samples are drawn with
    the averaged weights."""
    precision: Precision = setting("float32")
    """The dtype of matrix products. Parameters and the optimiser's state are always float32."""

    presets = frozenset({"recipe"})
    # No fields: only some systems have settings of these names.
    fakes = "new"
    adam_epsilon = schedules.ADAM_EPSILON
    # The values of settings by the name of the recipe, for settings that are not given.
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})

    def __post_init__(self):
        if self.recipe not in self.recipes:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(self.recipes)}")
        # By default a loss has the recipe's R1, but WGAN-GP's penalty for wasserstein.
        is_wasserstein = self.loss == "wasserstein"
        wanted = dict(self.recipes[self.recipe])
        wanted["gradient_penalty"] = WGAN_GP_LAMBDA if is_wasserstein else 0.0
        wanted["r2"] = 0.0
        if is_wasserstein:
            wanted |= {"r1": 0.0, "penalty_interval": 1}
        elif self.loss in ADVERSARIAL_LOSSES and ADVERSARIAL_LOSSES[self.loss].is_paired:
            # Huang et al. 2024 (arXiv 2501.05441): with R1 alone, or rarely, it diverges.
            its = wanted["r1"] if self.r1 is None else self.r1
            wanted |= {"r2": its, "penalty_interval": 1}
        settings.fill(self, wanted)
        super().__post_init__()
        # Raises a ValueError for an unknown loss or noise, or settings that the loss does not take.
        self.gan()

    @property
    def signs(self) -> tuple[Sign, ...]:
        return collapse.signs(self.loss)

    def discriminator(self) -> nn.Module:
        """The discriminator's module: images [batch, *image_shape] in [-1, 1] -> logits [batch].

        A conditional discriminator takes labels as its second argument.
        """
        raise NotImplementedError

    def gan(self) -> GAN:
        """The game of generator and discriminator with these settings; as `latent_gan`."""
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
            same_fakes=self.fakes == "same",
            ema_decay=self.ema_decay,
        )

    def commands(self, workdir: str) -> dict[str, str]:
        commands = super().commands(workdir)
        if self.image_shape == PLAYABLE:
            where = f"--workdir {shlex.quote(workdir)}"
            commands["Play"] = f"python experiments/playground.py {where}"
        return commands

    def _adam(self, player: str, images_per_update: int) -> optax.GradientTransformation:
        learning_rate = schedules.halving(
            getattr(self, f"{player}_learning_rate"),
            after=1000 * self.decay_after_kimg,
            half_life=1000 * getattr(self, f"{player}_half_life_kimg"),
        )
        return schedules.adam(
            learning_rate,
            self.beta1,
            self.beta2,
            images_per_update=images_per_update,
            epsilon=self.adam_epsilon,
        )

    def check_playable(self, workdir: str | Path) -> None:
        if ADVERSARIAL_LOSSES[self.loss].is_paired:
            raise ValueError(
                "the playground shows the probability that an image is real; a discriminator of "
                f"--loss {self.loss}, as in {workdir}, compares two images"
            )
        if self.image_shape != PLAYABLE:
            shape = "x".join(map(str, self.image_shape))
            raise ValueError(
                f"the playground shows images of 28x28x1; {workdir} is a run on {shape}"
            )

    def generator_chain(self, variables: PyTree) -> list[Layer]:
        """The trained generator as a chain of layers, for the playground.

        Args:
            variables: the generator's variables, {"params": ..., other collections}.

        Returns:
            The layers. Together they map float32 [n, latent_size + k] to float32 [n, H * W * C] in
            [-1, 1]. An input is a latent and the one-hot vectors of its labels; k is the number of
            classes of all attributes.

        Raises:
            ValueError: the playground cannot show this system.
        """
        raise ValueError(self._instead("cannot be played with", "Images"))

    def discriminator_chain(self, variables: PyTree) -> list[Layer]:
        """The trained discriminator as a chain of layers, for the playground.

        Args:
            variables: the discriminator's variables, {"params": ..., other collections}.

        Returns:
            The layers. Together they map float32 [n, H, W, C] in [-1, 1] to float32 [n, 1 + k]. The
            first number is the logit without labels. Each other number is added to the logit if the
            image has that class; k is the number of classes of all attributes.

        Raises:
            ValueError: the playground cannot show this system.
        """
        raise ValueError(self._instead("cannot be played with", "Images"))
