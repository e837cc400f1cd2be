"""The chapter's GAN: two fully connected networks (Goodfellow et al. 2014), from its settings."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from jaxgan.config import MOST_COUNT, Precision, RunConfig, flag
from jaxgan.game import GAN
from jaxgan.networks import mlp
from jaxgan.sampling import sample
from jaxgan.state import TrainState
from jaxgan.unconditional import unconditional_gan

# Gulrajani et al. 2017 (arXiv 1704.00028), section 4.
WGAN_GP_LAMBDA = 10.0
# Adam divides by the gradient's size, however small: with the usual 1e-8 it makes full steps of
# what is rounding noise in a gradient, and runs on different numbers of devices drift apart.
ADAM_EPSILON = 1e-6

LossName = Literal["non_saturating", "minimax", "least_squares", "wasserstein", "hinge"]
NoiseName = Literal["normal", "uniform"]
RecipeName = Literal["default", "textbook", "best"]

# Ways to train the chapter's two networks: what the settings of these names are where they are not
# given. What each reaches on MNIST is in the README.
RECIPES: Mapping[RecipeName, Mapping[str, Any]] = MappingProxyType(
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
class MLPGANConfig(RunConfig):
    """Settings of the fully connected GAN, on top of those of every run."""

    recipe: RecipeName = "default"
    """Sets what is None: 'textbook' is the chapter's plain training, its failures included;
    'default' drops no digits; 'best' goes on for half an hour, or on a GPU."""
    epochs: int | None = None
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    batch_size: int | None = None
    """Images a step, over all devices together; a multiple of their number."""
    workdir: str = "runs/mnist_gan"
    """The folder that the run leaves everything in, and goes on from."""
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
    generator_widths: tuple[int, ...] = (256, 512, 1024)
    """Units of the generator's hidden layers."""
    discriminator_widths: tuple[int, ...] = (1024, 512, 256)
    """Units of the discriminator's hidden layers."""
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

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(RECIPES)}")
        # Each loss comes with one penalty, unless told otherwise.
        is_wasserstein = self.loss == "wasserstein"
        wanted = dict(RECIPES[self.recipe])
        wanted["gradient_penalty"] = WGAN_GP_LAMBDA if is_wasserstein else 0.0
        if is_wasserstein:
            wanted |= {"r1": 0.0, "penalty_interval": 1}
        for name, value in wanted.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()
        for name in ("latent_size", "discriminator_steps", "penalty_interval"):
            self._check_at_least(name, 1)
        for name in ("generator_widths", "discriminator_widths"):
            if any(not 1 <= width <= MOST_COUNT for width in getattr(self, name)):
                raise ValueError(f"{flag(name)} must be from 1 to 2**32 each")
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

    @classmethod
    def experiment_name(cls) -> str:
        return "mnist_gan"

    def generator(self) -> mlp.Generator:
        """The counterfeiter's module."""
        return mlp.Generator(
            self.latent_size, self.generator_widths, self.image_shape, jnp.dtype(self.precision)
        )

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

        return unconditional_gan(
            self.generator(),
            mlp.Discriminator(
                self.discriminator_widths, self.image_shape, jnp.dtype(self.precision)
            ),
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

    def draw(self, state: TrainState, key: jax.Array, num_samples: int) -> jax.Array:
        return sample(
            state.ema_variables,
            key,
            num_samples=num_samples,
            noise=self.noise,
            generator=self.generator(),
        )
