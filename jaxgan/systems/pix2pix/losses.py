"""The game of pix2pix (Isola et al. 2016, arXiv 1611.07004): images to images, by pairs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.layers.training_call import call

PyTree = Any


@dataclasses.dataclass(frozen=True)
class PairedGame:
    """The losses of two networks, and what they need; the attributes are as in `paired_gan`."""

    generator: nn.Module
    discriminator: nn.Module
    loss: str = "non_saturating"
    adversarial_weight: float = 1.0
    l1_weight: float = 100.0

    def __post_init__(self):
        losses.adversarial_loss(self.loss)

    def init(self, key: jax.Array) -> dict[str, PyTree]:
        """The variables of both players."""
        generator_key, discriminator_key = jax.random.split(key)
        images = jnp.zeros((1, *self.generator.image_shape))
        inputs = jnp.zeros((1, *self.generator.image_shape[:2], self.generator.input_channels))
        return {
            "generator": self.generator.init(generator_key, inputs),
            "discriminator": self.discriminator.init(discriminator_key, images, inputs),
        }

    def draw_noise(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """The key of an example's dropout."""
        return {"key": key}

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """Half of the adversarial loss, which slows the discriminator down (section 3.3)."""
        adversarial = losses.adversarial_loss(self.loss)
        real, inputs = batch["images"], batch["inputs"]
        fake, _ = call(
            self.generator, state.variables("generator"), inputs, noise["key"], axis_name=axis_name
        )
        # One pass over both: the weights are read once and the matrix product is larger.
        logits, collections = call(
            self.discriminator,
            state.variables("discriminator"),
            jnp.concatenate([real, fake]),
            jnp.concatenate([inputs, inputs]),
            axis_name=axis_name,
        )
        real_logits, fake_logits = jnp.split(logits.reshape(-1), 2)
        value = adversarial.discriminator(real_logits, fake_logits, 0.0) / 2
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        metrics["discriminator_loss"] = value
        return value, Outcome(metrics, {"discriminator": collections})

    def generator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """adversarial_weight L_cGAN + l1_weight E[|y - G(x, z)|] (equation 4)."""
        real, inputs = batch["images"], batch["inputs"]
        generator, discriminator = map(state.variables, ("generator", "discriminator"))
        fake, collections = call(
            self.generator, generator, inputs, noise["key"], axis_name=axis_name
        )
        difference = jnp.mean(jnp.abs(fake - real))
        value = self.l1_weight * difference
        if self.adversarial_weight:
            logits, _ = call(self.discriminator, discriminator, fake, inputs, axis_name=axis_name)
            adversarial = losses.adversarial_loss(self.loss).generator(logits.reshape(-1))
            value += self.adversarial_weight * adversarial
        # Images are in [-1, 1] here: the metric is of pixels in [0, 1].
        metrics = {"generator_loss": value, "l1": difference / 2}
        return value, Outcome(metrics, {"generator": collections})


def paired_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    ema_decay: float = 0.999,
    **game: Any,
) -> GAN:
    """Puts two networks into the game of pix2pix.

    Its batch is {"inputs": [batch, H, W, Ci], "images": [batch, H, W, C]}: what images are to be
    made of, and the images.

    Args:
        generator: (inputs, keys) -> images in [-1, 1], of generator.image_shape; the keys are typed
            PRNG keys [batch] of all that is random in it.
        discriminator: (images, inputs) -> logits [batch, ...], one or several an image.
        generator_optimizer: optax transformation.
        discriminator_optimizer: optax transformation.
        ema_decay: of the moving average of the generator.
        loss: "non_saturating" by default, a name in `losses.ADVERSARIAL_LOSSES`.
        adversarial_weight: 1 by default; 0 for no adversary: the discriminator only looks on.
        l1_weight: lambda of equation 4, 100 by default; 0 for none.

    Returns:
        The system, whose metrics are generator_loss, discriminator_loss, l1 (of pixels in [0, 1]),
        d_real, d_fake and d_accuracy (shares of the logits, as in `latent_gan`).

    Raises:
        ValueError: unknown loss.
    """
    its = PairedGame(generator, discriminator, **game)
    return GAN(
        init=its.init,
        optimizers={"generator": generator_optimizer, "discriminator": discriminator_optimizer},
        turns=(
            Turn("discriminator", its.discriminator_loss, its.draw_noise),
            Turn("generator", its.generator_loss, its.draw_noise, batch="last"),
        ),
        averages={"generator": ema_decay},
        images=("images", "inputs"),
    )
