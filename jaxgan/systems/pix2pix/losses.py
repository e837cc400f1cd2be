"""The losses of pix2pix (Isola et al. 2016, arXiv 1611.07004): image to image, from pairs."""

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
    """The losses of generator and discriminator. The attributes are as in `paired_gan`.

    Raises:
        ValueError: the loss is unknown.
    """

    generator: nn.Module
    discriminator: nn.Module
    loss: str = "non_saturating"
    adversarial_weight: float = 1.0
    l1_weight: float = 100.0

    def __post_init__(self):
        losses.adversarial_loss(self.loss)

    def init(self, key: jax.Array) -> dict[str, PyTree]:
        """Initialises both networks.

        Args:
            key: a typed PRNG key.

        Returns:
            The variables of "generator" and of "discriminator", {"params": ..., other collections}.
        """
        generator_key, discriminator_key = jax.random.split(key)
        *size, channels = self.generator.image_shape
        images = jnp.zeros((1, *size, channels), jnp.float32)
        inputs = jnp.zeros((1, *size, self.generator.input_channels), jnp.float32)
        return {
            "generator": self.generator.init(generator_key, inputs),
            "discriminator": self.discriminator.init(discriminator_key, images, inputs),
        }

    def draw_noise(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """Draws the random numbers of one example.

        Args:
            key: a typed PRNG key.
            data: the data set, which is not used.

        Returns:
            "key", the PRNG key of the generator's dropout.
        """
        return {"key": key}

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """Half of the adversarial loss of the discriminator (section 3.3).

        The half makes the discriminator learn more slowly than the generator.

        Args:
            state: the state of the run.
            batch: "images", float32 [batch, H, W, C], and "inputs", float32 [batch, H, W, Ci], both
                in [-1, 1].
            noise: `draw_noise` of each example, leaves [batch].
            axis_name: the pmap axis to average batch statistics over; None for none.

        Returns:
            (float32 scalar, Outcome): its metrics are discriminator_loss, d_real, d_fake and
            d_accuracy of `paired_gan`.
        """
        adversarial = losses.adversarial_loss(self.loss)
        real, inputs = batch["images"], batch["inputs"]
        fake, _ = call(
            self.generator, state.variables("generator"), inputs, noise["key"], axis_name=axis_name
        )
        # Both are judged in one pass: the weights are read once, in a larger matrix product.
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
        """adversarial_weight L_cGAN + l1_weight E[|y - G(x, z)|] (equation 4).

        Args and returns are as in `discriminator_loss`. The metrics are generator_loss and l1.
        """
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
        # Images are in [-1, 1] here. The metric is the difference of pixels in [0, 1], which is
        # half as large.
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
    """Makes the GAN of pix2pix from two networks.

    A batch is {"inputs": float32 [batch, H, W, Ci], "images": float32 [batch, H, W, C]}, both in
    [-1, 1]. The images are the true outputs for the inputs.

    Args:
        generator: (inputs, keys) -> images in [-1, 1], [batch, *generator.image_shape]. The keys
            are typed PRNG keys [batch], for the generator's dropout.
        discriminator: (images, inputs) -> logits [batch, ...], one or more for each image.
        generator_optimizer: an optax transformation.
        discriminator_optimizer: an optax transformation.
        ema_decay: decay of the moving average of the generator, in [0, 1).
        loss: a name in `losses.ADVERSARIAL_LOSSES`; "non_saturating" by default.
        adversarial_weight: weight of the adversarial loss in the generator's loss, 1 by default. If
            it is 0, the discriminator is trained but the generator ignores it.
        l1_weight: weight of the L1 distance in the generator's loss, lambda in equation 4; 100 by
            default, 0 for none.

    Returns:
        The system. Its metrics are generator_loss; discriminator_loss; l1, the mean absolute
        difference of pixels in [0, 1]; d_real, d_fake and d_accuracy, as in `latent_gan`, over all
        logits of an image.

    Raises:
        ValueError: the loss is unknown.
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
