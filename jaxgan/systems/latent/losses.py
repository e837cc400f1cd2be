"""The game from noise to images (Goodfellow et al. 2014), with conditions if they are wanted."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.augmentation import draw_shift, shift
from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.latents import NOISES, check_noise
from jaxgan.layers.training_call import call

PyTree = Any

# The share of the images that are shifted, if any are.
SHIFTED = 0.5
# Each example has two shifts: of the real image, and of the generated one.
REAL, FAKE = 0, 1


@dataclasses.dataclass(frozen=True)
class LatentGame:
    """The losses of two networks, and what they need; the attributes are as in `latent_gan`."""

    generator: nn.Module
    discriminator: nn.Module
    loss: str = "non_saturating"
    noise: str = "normal"
    r1: float = 0.0
    r2: float = 0.0
    gradient_penalty: float = 0.0
    penalty_interval: int = 1
    label_smoothing: float = 0.0
    translation: int = 0

    def __post_init__(self):
        adversarial = losses.adversarial_loss(self.loss)
        check_noise(self.noise)
        if self.label_smoothing and not adversarial.smooths_labels:
            raise ValueError(
                f"label smoothing means nothing to the {self.loss} loss: it has no labels"
            )

    @property
    def is_conditional(self) -> bool:
        return bool(getattr(self.generator, "num_classes", ()))

    def init(self, key: jax.Array) -> dict[str, PyTree]:
        """The variables of both players."""
        generator_key, discriminator_key = jax.random.split(key)
        latents = jnp.zeros((1, self.generator.latent_size))
        images = jnp.zeros((1, *self.generator.image_shape))
        labels: tuple[jax.Array, ...] = ()
        if self.is_conditional:
            labels = (jnp.zeros((1, len(self.generator.num_classes)), jnp.int32),)
        return {
            "generator": self.generator.init(generator_key, latents, *labels),
            "discriminator": self.discriminator.init(discriminator_key, images, *labels),
        }

    def draw_noise(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """Of an example: its latent, and what its penalty and its shifts draw."""
        latent_key, mix_key, shift_key = jax.random.split(key, 3)
        drawn = {"latent": NOISES[self.noise](latent_key, (self.generator.latent_size,))}
        if self.gradient_penalty:
            drawn["mix"] = jax.random.uniform(mix_key)
        if self.translation:
            drawn["shifts"] = jax.vmap(lambda key: draw_shift(key, self.translation, SHIFTED))(
                jax.random.split(shift_key)
            )
        return drawn

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The adversarial loss of the discriminator, and its gradient penalties."""
        adversarial = losses.adversarial_loss(self.loss)
        labels = self._labels(batch)
        real = self._shifted(batch["images"], noise, REAL)
        generator = state.variables("generator")
        fake, _ = call(self.generator, generator, noise["latent"], *labels, axis_name=axis_name)
        fake = self._shifted(fake, noise, FAKE)
        variables = state.variables("discriminator")

        def judge(images: jax.Array, variables: PyTree = variables) -> tuple[jax.Array, PyTree]:
            repeated = [jnp.concatenate([each] * (len(images) // len(real))) for each in labels]
            return call(self.discriminator, variables, images, *repeated, axis_name=axis_name)

        if state.players["discriminator"].collections:
            # Apart, each with its own batch statistics.
            real_logits, collections = judge(real)
            fake_logits, collections = judge(fake, {**variables, **collections})
        else:
            # One pass over both: the weights are read once and the matrix product is larger.
            logits, collections = judge(jnp.concatenate([real, fake]))
            real_logits, fake_logits = jnp.split(logits, 2)
        value = adversarial.discriminator(real_logits, fake_logits, self.label_smoothing)
        if self.r1 or self.r2 or self.gradient_penalty:
            value += self._penalties(lambda images: judge(images)[0], real, fake, noise, state.step)
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        metrics["discriminator_loss"] = value
        return value, Outcome(metrics, {"discriminator": collections})

    def generator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The adversarial loss of the generator."""
        labels = self._labels(batch)
        generator, discriminator = map(state.variables, ("generator", "discriminator"))
        fake, collections = call(
            self.generator, generator, noise["latent"], *labels, axis_name=axis_name
        )
        fake = self._shifted(fake, noise, FAKE)
        fake_logits, _ = call(self.discriminator, discriminator, fake, *labels, axis_name=axis_name)
        value = losses.adversarial_loss(self.loss).generator(fake_logits)
        return value, Outcome({"generator_loss": value}, {"generator": collections})

    def _penalties(
        self,
        logit: losses.Discriminator,
        real: jax.Array,
        fake: jax.Array,
        noise: PyTree,
        step: jax.Array,
    ) -> jax.Array:
        """Their weighted sum where they are due, times the interval; else 0."""

        def penalties() -> jax.Array:
            value = jnp.zeros(())
            if self.r1:
                value += self.r1 * losses.zero_centred_penalty(logit, real)
            if self.r2:
                value += self.r2 * losses.zero_centred_penalty(logit, fake)
            if self.gradient_penalty:
                mixed = losses.gradient_penalty(logit, real, fake, noise["mix"])
                value += self.gradient_penalty * mixed
            return self.penalty_interval * value

        if self.penalty_interval == 1:
            return penalties()
        is_due = step % self.penalty_interval == 0
        return jax.lax.cond(is_due, penalties, lambda: jnp.zeros(()))

    def _labels(self, batch: PyTree) -> tuple[jax.Array, ...]:
        return (batch["labels"],) if self.is_conditional else ()

    def _shifted(self, images: jax.Array, noise: PyTree, which: int) -> jax.Array:
        if not self.translation:
            return images
        return shift(images, noise["shifts"][:, which], self.translation)


def latent_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    discriminator_steps: int = 1,
    ema_decay: float = 0.999,
    **game: Any,
) -> GAN:
    """Puts two networks into the game of Goodfellow et al. 2014 (arXiv 1406.2661).

    Its batch is {"images": [batch, H, W, C]}. Conditional networks (Mirza and Osindero 2014, arXiv
    1411.1784) are given labels as a second argument: the batch then has "labels" too, int32
    [batch, k], and a fake is made for the labels of each real image.

    Networks with collections besides "params", such as batch statistics, are called with
    train=True and axis_name=..., the axis to average those over. Without such collections real and
    generated images go through the discriminator together; with them apart, each with its own
    statistics.

    Args:
        generator: latents [batch, generator.latent_size] (and labels) -> images in [-1, 1], of
            generator.image_shape. It is conditional if it has num_classes, the number of classes
            of each label, which are not ().
        discriminator: images [batch, H, W, C] in [-1, 1] (and labels) -> logits [batch].
        generator_optimizer: optax transformation.
        discriminator_optimizer: optax transformation.
        discriminator_steps: discriminator updates before each generator update.
        ema_decay: of the moving average of the generator.
        loss: "non_saturating" by default, a name in `losses.ADVERSARIAL_LOSSES`.
        noise: "normal" by default, a name in `latents.NOISES`.
        r1: gamma of the zero-centred gradient penalty at real images, 0 (the default) for none.
        r2: gamma of the same at fake images, 0 for none.
        gradient_penalty: lambda of the one-centred penalty between them (WGAN-GP), 0 for none.
        penalty_interval: the penalties are taken every so many steps only, times this (lazy
            regularisation: Karras et al. 2020, arXiv 1912.04958, section 3.1); 1 by default.
        label_smoothing: a real image's label is 1 minus this; 0 by default.
        translation: before the discriminator sees them, every second image on average, real and
            generated, is shifted by up to this many pixels (`augmentation`); 0 for none.

    Returns:
        The system, whose metrics are generator_loss, discriminator_loss (the latter with its
        penalties), d_real (mean D(x)), d_fake (mean D(G(z))) and d_accuracy (share of the batch's
        real and fake images that the discriminator tells right), each but the first taken before
        the update of the discriminator.

    Raises:
        ValueError: unknown loss or noise; label smoothing of a loss without labels.
    """
    its = LatentGame(generator, discriminator, **game)
    return GAN(
        init=its.init,
        optimizers={"generator": generator_optimizer, "discriminator": discriminator_optimizer},
        turns=(
            Turn("discriminator", its.discriminator_loss, its.draw_noise, discriminator_steps),
            Turn("generator", its.generator_loss, its.draw_noise, batch="last"),
        ),
        averages={"generator": ema_decay},
        images=("images",),
    )
