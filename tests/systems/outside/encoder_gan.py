"""A GAN of 4x4 digits; then a third player learns which latent the generator's images have."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

import jaxgan
from jaxgan.game import Outcome, Turn
from jaxgan.run.command import train
from jaxgan.run.config import RunConfig
from jaxgan.run.settings import count, rate, setting
from jaxgan.run.system import LOSSES, Panel, System
from jaxgan.systems.mlp_gan.networks import Discriminator, Generator
from jaxgan.training.stages import Stage

SHAPE, PAIRS, PAIRS_A_STEP = (4, 4, 1), 640, 64


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, images):
        return nn.Dense(3)(nn.tanh(nn.Dense(16)(images.reshape(len(images), -1))))


GENERATOR, ENCODER = Generator(3, (16,), SHAPE), Encoder()


def encoder_loss(state, batch, latents, axis_name):
    images = GENERATOR.apply(state.averages["generator"], latents)
    value = jnp.mean((ENCODER.apply(state.variables("encoder"), images) - latents) ** 2)
    return value, Outcome({"encoder_loss": value})


@dataclasses.dataclass(frozen=True)
class EncoderGANConfig(RunConfig):
    """A GAN, then an encoder for its generator, which is held still."""

    epochs: int = setting(5, count(1), may_change=True)
    """Passes in all, those of the encoder included."""
    gan_epochs: int = setting(2, count(1))
    """Passes before the encoder's turn."""
    learning_rate: float = setting(1e-3, rate)
    """Adam's, of all players."""

    def system(self, dataset):
        images = dataset.images[:512, 2:26, 2:26].reshape(-1, 4, 6, 4, 6, 1).mean((2, 4))
        adam = optax.adam(self.learning_rate, 0.5, eps=1e-4)
        gan = jaxgan.latent_gan(GENERATOR, Discriminator((16,), SHAPE), adam, adam)

        def init(key):
            encoder = ENCODER.init(jax.random.fold_in(key, 2), jnp.zeros((1, *SHAPE)))
            return {**gan.init(key), "encoder": encoder}

        turn = Turn("encoder", encoder_loss, lambda key, data: jax.random.normal(key, (3,)))
        second = dataclasses.replace(
            gan,
            init=init,
            optimizers={**gan.optimizers, "encoder": adam},
            turns=(turn,),
            averages={"generator": lambda step: 1.0},  # held still, as the generator is
            images=(),
        )
        # Each pair is a fresh one; an epoch is a number of them.
        pairs, epochs = {"number": np.arange(PAIRS)}, self.epochs - self.gan_epochs
        stages = [
            Stage(gan, {"images": images.astype(np.uint8)}, self.gan_epochs, self.batch_size // 4),
            Stage(second, pairs, epochs, PAIRS_A_STEP, progress="error {encoder_loss:.3f}"),
        ]
        panels = [LOSSES, Panel("error", {"encoder_loss": "encoder"})]
        return System(self, stages, "Three players", panels)

    def sample(self, params, key, num_samples, *, labels=None):
        return jaxgan.sample(params, key, num_samples=num_samples, generator=GENERATOR)


if __name__ == "__main__":
    train("encoder_gan:EncoderGANConfig", __doc__)
