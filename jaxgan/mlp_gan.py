"""The chapter's GAN: two fully connected networks (Goodfellow et al. 2014), from its settings."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from jaxgan.config import Precision, RunConfig
from jaxgan.game import GAN
from jaxgan.networks import mlp
from jaxgan.sampling import sample
from jaxgan.state import TrainState
from jaxgan.unconditional import unconditional_gan

WGAN_GP_LAMBDA = 10.0


@dataclasses.dataclass(frozen=True)
class MLPGANConfig(RunConfig):
    """Settings of the fully connected GAN, on top of those of every run."""

    workdir: str = "runs/mnist_gan"
    """The folder that the run leaves everything in, and goes on from."""
    learning_rate: float = 2e-4
    """Adam's learning rate, of both players."""
    beta1: float = 0.5
    """Adam's decay of the first moment."""
    beta2: float = 0.999
    """Adam's decay of the second moment."""
    loss: Literal["non_saturating", "minimax", "least_squares", "wasserstein", "hinge"] = (
        "non_saturating"
    )
    """The game's objective; 'minimax' is the original of 2014, 'wasserstein' comes with its
    gradient penalty."""
    noise: Literal["normal", "uniform"] = "normal"
    """What latents are drawn from: N(0, 1) or U(-1, 1)."""
    latent_size: int = 100
    """Numbers in a latent vector."""
    generator_widths: tuple[int, ...] = (256, 512, 1024)
    """Units of the generator's hidden layers."""
    discriminator_widths: tuple[int, ...] = (1024, 512, 256)
    """Units of the discriminator's hidden layers."""
    r1: float = 0.0
    """Gamma of the gradient penalty at real images, 0 for none."""
    r2: float = 0.0
    """Gamma of the gradient penalty at fake images, 0 for none."""
    gradient_penalty: float | None = None
    """Lambda of WGAN-GP's penalty. [default: 10 with --loss wasserstein, else 0]"""
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
                raise ValueError(f"--{name.replace('_', '-')} must be 1 or more each")
        self._check_weight("learning_rate", positive=True)
        for name in ("r1", "r2", "gradient_penalty"):
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
        optimizer = optax.adam(self.learning_rate, b1=self.beta1, b2=self.beta2)
        penalty = self.gradient_penalty
        if penalty is None:
            penalty = WGAN_GP_LAMBDA if self.loss == "wasserstein" else 0.0
        return unconditional_gan(
            self.generator(),
            mlp.Discriminator(
                self.discriminator_widths, self.image_shape, jnp.dtype(self.precision)
            ),
            optimizer,
            optimizer,
            loss=self.loss,
            noise=self.noise,
            r1=self.r1,
            r2=self.r2,
            gradient_penalty=penalty,
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
