"""The chapter's GAN: two fully connected networks (Goodfellow et al. 2014), from its settings."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jaxgan.config import Precision, RunConfig, flag
from jaxgan.game import GAN
from jaxgan.networks import mlp
from jaxgan.sampling import sample
from jaxgan.state import TrainState
from jaxgan.unconditional import unconditional_gan

# Gulrajani et al. 2017 (arXiv 1704.00028), section 4.
WGAN_GP_LAMBDA = 10.0
# Found on MNIST: without it these two networks drop digits.
R1_GAMMA = 0.05
# Adam divides by the gradient's size, however small: with the usual 1e-8 it makes full steps of
# what is rounding noise in a gradient, and runs on different numbers of devices drift apart.
ADAM_EPSILON = 1e-6

LossName = Literal["non_saturating", "minimax", "least_squares", "wasserstein", "hinge"]
NoiseName = Literal["normal", "uniform"]


@dataclasses.dataclass(frozen=True)
class MLPGANConfig(RunConfig):
    """Settings of the fully connected GAN, on top of those of every run."""

    epochs: int = 20
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    workdir: str = "runs/mnist_gan"
    """The folder that the run leaves everything in, and goes on from."""
    learning_rate: float = 5e-4
    """Adam's learning rate, of both players."""
    beta1: float = 0.5
    """Adam's decay of the first moment."""
    beta2: float = 0.999
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
    """Gamma of the gradient penalty at real images; None: 0.05, but 0 with --loss wasserstein."""
    r2: float = 0.0
    """Gamma of the gradient penalty at fake images, 0 for none."""
    gradient_penalty: float | None = None
    """Lambda of WGAN-GP's penalty; None: 10 with --loss wasserstein, else 0."""
    label_smoothing: float = 0.0
    """A real image's label is 1 minus this."""
    discriminator_steps: int = 1
    """Updates of the discriminator before each update of the generator."""
    ema_decay: float = 0.999
    """Of the moving average of the generator's weights that samples are drawn from."""
    precision: Precision = "float32"
    """What matrix products are computed in. Parameters and optimiser stay float32."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("latent_size", "discriminator_steps"):
            self._check_at_least(name, 1)
        for name in ("generator_widths", "discriminator_widths"):
            if any(width < 1 for width in getattr(self, name)):
                raise ValueError(f"{flag(name)} must be 1 or more each")
        self._check_weight("learning_rate", positive=True)
        for name in ("r1", "r2", "gradient_penalty"):
            if getattr(self, name) is not None:
                self._check_weight(name)
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
        optimizer = optax.adam(self.learning_rate, self.beta1, self.beta2, ADAM_EPSILON)
        # Each loss comes with one penalty, unless told otherwise.
        is_wasserstein = self.loss == "wasserstein"
        r1, gradient_penalty = self.r1, self.gradient_penalty
        if r1 is None:
            r1 = 0.0 if is_wasserstein else R1_GAMMA
        if gradient_penalty is None:
            gradient_penalty = WGAN_GP_LAMBDA if is_wasserstein else 0.0
        return unconditional_gan(
            self.generator(),
            mlp.Discriminator(
                self.discriminator_widths, self.image_shape, jnp.dtype(self.precision)
            ),
            optimizer,
            optimizer,
            loss=self.loss,
            noise=self.noise,
            r1=r1,
            r2=self.r2,
            gradient_penalty=gradient_penalty,
            label_smoothing=self.label_smoothing,
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
