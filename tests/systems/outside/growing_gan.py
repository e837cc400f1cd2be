"""A GAN of digits whose networks grow: 4x4 pixels first, then 8x8 (Karras et al. 2018)."""

import dataclasses

import numpy as np
import optax
from flax import linen as nn

import jaxgan
from jaxgan.run.command import train
from jaxgan.run.config import RunConfig
from jaxgan.run.settings import count, setting
from jaxgan.run.system import System
from jaxgan.training.stages import Stage, carry_over


def block(x, size):
    return nn.tanh(nn.Conv(4, (3, 3), name=f"block_{size}")(x))


class Generator(nn.Module):
    image_shape: tuple[int, int, int]
    latent_size: int = 4

    @nn.compact
    def __call__(self, latents):
        x = block(nn.Dense(64, name="base")(latents).reshape(-1, 4, 4, 4), 4)
        if self.image_shape[0] == 8:
            x = block(x.repeat(2, axis=1).repeat(2, axis=2), 8)
        return nn.tanh(nn.Conv(1, (1, 1), name="pixels")(x))


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, images):
        x = nn.Conv(4, (1, 1), name="pixels")(images)
        if images.shape[1] == 8:
            x = nn.avg_pool(block(x, 8), (2, 2), (2, 2))
        return nn.Dense(1, name="verdict")(block(x, 4).reshape(len(x), -1))[:, 0]


def begin(fresh, before):
    """What was learnt stays; Adam's moments begin again, with those of the new layers."""
    state = carry_over(fresh, before)
    for name, player in fresh.players.items():
        state = state.with_player(name, optimizer_state=player.optimizer_state)
    return state


@dataclasses.dataclass(frozen=True)
class GrowingGANConfig(RunConfig):
    """A GAN that grows."""

    epochs: int = setting(5, count(1), may_change=True)
    """Passes in all, at both sizes."""
    small_epochs: int = setting(2, count(1))
    """Passes at 4x4."""

    def stage(self, dataset, size, epochs):
        cells = (320, size, 24 // size, size, 24 // size, 1)
        images = dataset.images[:320, 2:26, 2:26].reshape(cells).mean((2, 4)).astype(np.uint8)
        generator, adam = Generator((size, size, 1)), optax.adam(1e-3, 0.5, eps=1e-4)
        gan = jaxgan.latent_gan(generator, Discriminator(), adam, adam, ema_decay=0.9)

        def picture(state, key):
            params = state.averages["generator"]
            return jaxgan.sample(params, key, num_samples=16, generator=generator), 4

        batch = self.batch_size // size
        return Stage(gan, {"images": images}, epochs, batch, begin=begin, picture=picture)

    def system(self, dataset):
        small = self.stage(dataset, 4, self.small_epochs)
        return System(self, [small, self.stage(dataset, 8, self.epochs - self.small_epochs)])


if __name__ == "__main__":
    train("growing_gan:GrowingGANConfig", __doc__)
