"""A GAN of 4x4 digits with spectral norms, lazy R1 and LeCam's running means; it shows nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxgan import losses
from jaxgan.game import GAN, Outcome, Turn
from jaxgan.layers.training_call import call
from jaxgan.run.command import train
from jaxgan.run.config import RunConfig
from jaxgan.run.system import System
from jaxgan.systems.mlp_gan.networks import Generator
from jaxgan.training.stages import Stage

DECAY, LECAM, GAMMA, EVERY = 0.9, 0.1, 0.1, 4
GENERATOR, HINGE = Generator(3, (16,), (4, 4, 1)), losses.adversarial_loss("hinge")


class Critic(nn.Module):
    @nn.compact
    def __call__(self, x, train=False, axis_name=None):
        for width in (16, 1):
            layer = nn.SpectralNorm(nn.Dense(width), collection_name="spectral")
            x = nn.tanh(layer(x.reshape(len(x), -1), update_stats=train))
        return x[:, 0]


def judged(state, images):
    return call(Critic(), state.variables("discriminator"), images, axis_name=None)


def discriminator_loss(state, batch, latents, axis_name):
    fakes = GENERATOR.apply(state.variables("generator"), latents)
    logits, norms = judged(state, jnp.concatenate([batch["images"], fakes]))
    real, fake = jnp.split(logits, 2)
    value, means = HINGE.discriminator(real, fake, 0.0), state.numbers
    # Tseng et al. 2021 (arXiv 2104.03310): each kind is held near the other's running mean.
    value += LECAM * jnp.mean((real - means["fake"]) ** 2 + (fake - means["real"]) ** 2)
    new = {"real": real.mean(), "fake": fake.mean()}
    means = {name: DECAY * means[name] + (1 - DECAY) * new[name] for name in new}
    return value, Outcome({"critic": value}, {"discriminator": norms}, means)


def r1_loss(state, batch, noise, axis_name):
    r1 = losses.zero_centred_penalty(lambda x: judged(state, x)[0], batch["images"])
    return EVERY * GAMMA * r1, Outcome({"r1": r1})


def generator_loss(state, batch, latents, axis_name):
    logits, norms = judged(state, GENERATOR.apply(state.variables("generator"), latents))
    return HINGE.generator(logits), Outcome(collections={"discriminator": norms})


class LazyGANConfig(RunConfig):
    def system(self, dataset):
        images = dataset.images[:704, 2:26, 2:26].reshape(-1, 4, 6, 4, 6, 1).mean((2, 4))

        def latent(key, data):
            return jax.random.normal(key, (3,))

        def init(key):
            critic = Critic().init(key, jnp.zeros((1, 4, 4, 1)))
            return {"generator": GENERATOR.init(key, jnp.zeros((1, 3))), "discriminator": critic}

        turns = (
            Turn("discriminator", discriminator_loss, latent),
            Turn("discriminator", r1_loss, lambda key, data: (), every=EVERY, batch="drawn"),
            Turn("generator", generator_loss, latent, batch="last"),
        )
        adams = dict.fromkeys(("generator", "discriminator"), optax.adam(1e-3, 0.5, eps=1e-4))
        gan = GAN(init, adams, turns, numbers={"real": 0, "fake": 0}, images=("images",))
        return System(self, [Stage(gan, {"images": images.astype(np.uint8)}, self.epochs, 32)])


if __name__ == "__main__":
    train("lazy_gan:LazyGANConfig", __doc__)
