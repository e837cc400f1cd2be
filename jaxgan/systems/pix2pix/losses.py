"""The game of pix2pix (Isola et al. 2016, arXiv 1611.07004): images to images, by pairs."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.game import GAN, Metrics, TrainState, call

PyTree = Any


def paired_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    loss: str = "non_saturating",
    adversarial_weight: float = 1.0,
    l1_weight: float = 100.0,
    ema_decay: float = 0.999,
) -> GAN:
    """Puts two networks into the game of pix2pix.

    Its batch is {"inputs": [batch, H, W, Ci], "images": [batch, H, W, C]}: what images are to be
    made of, and the images. The generator's loss is adversarial_weight times the adversarial one
    plus l1_weight times the mean absolute difference from the true image (equation 4); the
    discriminator's is halved, which slows it down (section 3.3).

    Args:
        generator: (inputs, keys) -> images in [-1, 1], of generator.image_shape; the keys are typed
            PRNG keys [batch] of all that is random in it.
        discriminator: (images, inputs) -> logits [batch, ...], one or several an image.
        generator_optimizer: optax transformation.
        discriminator_optimizer: optax transformation.
        loss: a name in `losses.ADVERSARIAL_LOSSES`.
        adversarial_weight: 0 for no adversary; the discriminator only looks on then.
        l1_weight: lambda, 0 for none.
        ema_decay: of the moving average of the generator.

    Returns:
        The system, whose metrics are generator_loss, discriminator_loss, l1 (of pixels in [0, 1]),
        d_real, d_fake and d_accuracy (shares of the logits, as in `latent_gan`).

    Raises:
        ValueError: unknown loss.
    """
    if loss not in losses.ADVERSARIAL_LOSSES:
        raise ValueError(f"unknown loss {loss!r}: one of {', '.join(losses.ADVERSARIAL_LOSSES)}")
    adversarial = losses.ADVERSARIAL_LOSSES[loss]

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        generator_key, discriminator_key = jax.random.split(key)
        images = jnp.zeros((1, *generator.image_shape))
        inputs = jnp.zeros((1, *generator.image_shape[:2], generator.input_channels))
        return generator.init(generator_key, inputs), discriminator.init(
            discriminator_key, images, inputs
        )

    def discriminator_loss(
        params: PyTree, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None
    ) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
        real, inputs = batch["images"], batch["inputs"]
        fake, _ = call(
            generator, state.generator.variables, inputs, noise["key"], axis_name=axis_name
        )
        variables = {"params": params, **state.discriminator.collections}
        # One pass over both: the weights are read once and the matrix product is larger.
        logits, collections = call(
            discriminator,
            variables,
            jnp.concatenate([real, fake]),
            jnp.concatenate([inputs, inputs]),
            axis_name=axis_name,
        )
        real_logits, fake_logits = jnp.split(logits.reshape(-1), 2)
        value = adversarial.discriminator(real_logits, fake_logits, 0.0) / 2
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        return value, ({"discriminator_loss": value, **metrics}, collections)

    def generator_loss(
        params: PyTree, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None
    ) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
        real, inputs = batch["images"], batch["inputs"]
        variables = {"params": params, **state.generator.collections}
        fake, collections = call(generator, variables, inputs, noise["key"], axis_name=axis_name)
        difference = jnp.mean(jnp.abs(fake - real))
        value = l1_weight * difference
        if adversarial_weight:
            fake_logits, _ = call(
                discriminator, state.discriminator.variables, fake, inputs, axis_name=axis_name
            )
            value += adversarial_weight * adversarial.generator(fake_logits.reshape(-1))
        return value, ({"generator_loss": value, "l1": difference / 2}, collections)

    return GAN(
        generator=generator,
        discriminator=discriminator,
        init=init,
        noise=lambda key: {"key": key},
        generator_loss=generator_loss,
        discriminator_loss=discriminator_loss,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        ema_decay=ema_decay,
    )
