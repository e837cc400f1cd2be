"""The game from noise to images (Goodfellow et al. 2014), with conditions if they are wanted."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.augmentation import draw_shift, shift
from jaxgan.game import GAN, Metrics, TrainState, call
from jaxgan.latents import NOISES, check_noise

PyTree = Any

# The share of the images that are translated, if any are.
TRANSLATED = 0.5
# Which of an example's two shifts is whose.
REAL, FAKE = 0, 1


def latent_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    loss: str = "non_saturating",
    noise: str = "normal",
    r1: float = 0.0,
    r2: float = 0.0,
    gradient_penalty: float = 0.0,
    penalty_interval: int = 1,
    label_smoothing: float = 0.0,
    translation: int = 0,
    discriminator_steps: int = 1,
    ema_decay: float = 0.999,
) -> GAN:
    """Puts two networks into the game of Goodfellow et al. 2014 (arXiv 1406.2661).

    Its batch is {"images": [batch, H, W, C]}. Conditional networks (Mirza and Osindero 2014, arXiv
    1411.1784) are given labels as a second argument: the batch then has "labels" too, int32
    [batch, k], and a fake is made for the labels of each real image.

    Networks with collections besides "params", such as batch statistics, are called with
    train=True and axis_name=..., the axis to average those over. Without them real and generated
    images go through the discriminator together; with them apart, each with its own statistics.

    Args:
        generator: latents [batch, generator.latent_size] (and labels) -> images in [-1, 1], of
            generator.image_shape. It is conditional if it has num_classes, the number of classes
            of each label, which are not ().
        discriminator: images [batch, H, W, C] in [-1, 1] (and labels) -> logits [batch].
        generator_optimizer: optax transformation.
        discriminator_optimizer: optax transformation.
        loss: a name in `losses.ADVERSARIAL_LOSSES`.
        noise: a name in `latents.NOISES`.
        r1: gamma of the zero-centred gradient penalty at real images, 0 for none.
        r2: gamma of the same at fake images, 0 for none.
        gradient_penalty: lambda of the one-centred penalty between them (WGAN-GP), 0 for none.
        penalty_interval: the penalties are taken every so many steps only, times this (lazy
            regularisation: Karras et al. 2020, arXiv 1912.04958, section 3.1).
        label_smoothing: a real image's label is 1 minus this.
        translation: before the discriminator sees them, every second image on average, real and
            generated, is moved by up to this many pixels (`augmentation.shift`); 0 for none.
        discriminator_steps: discriminator updates before each generator update.
        ema_decay: of the moving average of the generator.

    Returns:
        The system, whose metrics are generator_loss, discriminator_loss (the latter with its
        penalties), d_real (mean D(x)), d_fake (mean D(G(z))) and d_accuracy (share of the batch's
        real and fake images that the discriminator tells right), each but the first taken before
        the update of the discriminator.

    Raises:
        ValueError: unknown loss or noise; label smoothing of a loss without labels.
    """
    if loss not in losses.ADVERSARIAL_LOSSES:
        raise ValueError(f"unknown loss {loss!r}: one of {', '.join(losses.ADVERSARIAL_LOSSES)}")
    check_noise(noise)
    adversarial = losses.ADVERSARIAL_LOSSES[loss]
    if label_smoothing and not adversarial.smooths_labels:
        raise ValueError(f"label smoothing means nothing to the {loss} loss: it has no labels")

    is_conditional = bool(getattr(generator, "num_classes", ()))

    def labels_of(batch: PyTree) -> tuple[jax.Array, ...]:
        return (batch["labels"],) if is_conditional else ()

    def init(key: jax.Array) -> tuple[PyTree, PyTree]:
        generator_key, discriminator_key = jax.random.split(key)
        latents = jnp.zeros((1, generator.latent_size))
        images = jnp.zeros((1, *generator.image_shape))
        labels = (jnp.zeros((1, len(generator.num_classes)), jnp.int32),) if is_conditional else ()
        return (
            generator.init(generator_key, latents, *labels),
            discriminator.init(discriminator_key, images, *labels),
        )

    def draw_noise(key: jax.Array) -> PyTree:
        latent_key, mix_key, shift_key = jax.random.split(key, 3)
        drawn = {"latent": NOISES[noise](latent_key, (generator.latent_size,))}
        if gradient_penalty:
            drawn["mix"] = jax.random.uniform(mix_key)
        if translation:
            drawn["shifts"] = jax.vmap(lambda key: draw_shift(key, translation, TRANSLATED))(
                jax.random.split(shift_key)
            )
        return drawn

    def augment(images: jax.Array, noise: PyTree, which: int) -> jax.Array:
        if not translation:
            return images
        return shift(images, noise["shifts"][:, which], translation)

    def discriminator_loss(
        params: PyTree,
        state: TrainState,
        batch: PyTree,
        noise: PyTree,
        axis_name: str | None = None,
    ) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
        labels = labels_of(batch)
        real = augment(batch["images"], noise, REAL)
        fake, _ = call(
            generator, state.generator.variables, noise["latent"], *labels, axis_name=axis_name
        )
        fake = augment(fake, noise, FAKE)
        collections = state.discriminator.collections

        def judge(images: jax.Array, collections: PyTree = collections) -> tuple[jax.Array, PyTree]:
            variables = {"params": params, **collections}
            times = len(images) // len(real)
            repeated = [jnp.concatenate([each] * times) for each in labels]
            return call(discriminator, variables, images, *repeated, axis_name=axis_name)

        if collections:
            real_logits, collections = judge(real)
            fake_logits, collections = judge(fake, collections)
        else:
            # One pass over both: the weights are read once and the matrix product is larger.
            logits, collections = judge(jnp.concatenate([real, fake]))
            real_logits, fake_logits = jnp.split(logits, 2)
        value = adversarial.discriminator(real_logits, fake_logits, label_smoothing)
        if r1 or r2 or gradient_penalty:

            def penalties() -> jax.Array:
                def logit(images: jax.Array) -> jax.Array:
                    return judge(images)[0]

                value = jnp.zeros(())
                if r1:
                    value += r1 * losses.zero_centred_penalty(logit, real)
                if r2:
                    value += r2 * losses.zero_centred_penalty(logit, fake)
                if gradient_penalty:
                    mixing = noise["mix"]
                    value += gradient_penalty * losses.gradient_penalty(logit, real, fake, mixing)
                return penalty_interval * value

            if penalty_interval == 1:
                value += penalties()
            else:
                is_due = state.step % penalty_interval == 0
                value += jax.lax.cond(is_due, penalties, lambda: jnp.zeros(()))
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        metrics["discriminator_loss"] = value
        return value, (metrics, collections)

    def generator_loss(
        params: PyTree,
        state: TrainState,
        batch: PyTree,
        noise: PyTree,
        axis_name: str | None = None,
    ) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
        labels = labels_of(batch)
        variables = {"params": params, **state.generator.collections}
        fake, collections = call(
            generator, variables, noise["latent"], *labels, axis_name=axis_name
        )
        fake_logits, _ = call(
            discriminator,
            state.discriminator.variables,
            augment(fake, noise, FAKE),
            *labels,
            axis_name=axis_name,
        )
        value = adversarial.generator(fake_logits)
        return value, ({"generator_loss": value}, collections)

    return GAN(
        generator=generator,
        discriminator=discriminator,
        init=init,
        noise=draw_noise,
        generator_loss=generator_loss,
        discriminator_loss=discriminator_loss,
        generator_optimizer=generator_optimizer,
        discriminator_optimizer=discriminator_optimizer,
        discriminator_steps=discriminator_steps,
        ema_decay=ema_decay,
    )
