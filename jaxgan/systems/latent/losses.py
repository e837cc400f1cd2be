"""The losses of a GAN that makes images from noise (Goodfellow et al. 2014), conditional or not."""

import dataclasses
from collections.abc import Callable, Mapping
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
# Images, and the discriminator's new collections if it has been called before -> (logits, its
# collections after this call).
Judge = Callable[..., tuple[jax.Array, PyTree]]

# The probability that an image is shifted, if `translation` is not 0.
SHIFTED = 0.5
# An example has two shifts, with these indices: of its real image, and of its generated image.
REAL, FAKE = 0, 1


@dataclasses.dataclass(frozen=True)
class LatentGame:
    """The losses of generator and discriminator. The attributes are as in `latent_gan`.

    Raises:
        ValueError: as `latent_gan`.
    """

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
        adversarial = losses.adversarial_loss(self.loss, paired=True)
        check_noise(self.noise)
        if self.label_smoothing and not adversarial.smooths_labels:
            raise ValueError(
                f"label smoothing means nothing to the {self.loss} loss: it has no labels"
            )

    @property
    def is_conditional(self) -> bool:
        """Whether the networks take labels."""
        return bool(getattr(self.generator, "num_classes", ()))

    def init(self, key: jax.Array) -> dict[str, PyTree]:
        """Initialises both networks.

        Args:
            key: a typed PRNG key.

        Returns:
            The variables of "generator" and of "discriminator", {"params": ..., other collections}.
        """
        return init_pair(self.generator, self.discriminator, key)

    def draw_noise(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """Draws the random numbers of one example.

        Args:
            key: a typed PRNG key.
            data: the data set, which is not used.

        Returns:
            "latent", float32 [latent_size]. With a gradient penalty also "mix", float32 in [0, 1),
            the share of the real image in the mixture. With translation also "shifts", int32
            [2, 2]: the shift of the real image and that of the generated image, each as
            `augmentation.draw_shift` returns it.
        """
        latent_key, mix_key, shift_key = jax.random.split(key, 3)
        drawn = {"latent": NOISES[self.noise](latent_key, (self.generator.latent_size,))}
        if self.gradient_penalty:
            drawn["mix"] = jax.random.uniform(mix_key, dtype=jnp.float32)
        if self.translation:
            drawn["shifts"] = jax.vmap(lambda key: draw_shift(key, self.translation, SHIFTED))(
                jax.random.split(shift_key)
            )
        return drawn

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The adversarial loss of the discriminator plus its gradient penalties.

        Args:
            state: the state of the run.
            batch: "images", float32 [batch, H, W, C] in [-1, 1]; if conditional also "labels",
                int32 [batch, k].
            noise: `draw_noise` of each example, leaves [batch, ...].
            axis_name: the pmap axis to average batch statistics over; None for none.

        Returns:
            (float32 scalar, Outcome): its metrics are those of `latent_gan` but generator_loss.
        """
        adversarial = losses.adversarial_loss(self.loss, paired=True)
        labels = self._labels(batch)
        real = self._shifted(batch["images"], noise, REAL)
        generator = state.variables("generator")
        fake, _ = call(self.generator, generator, noise["latent"], *labels, axis_name=axis_name)
        fake = self._shifted(fake, noise, FAKE)
        judge = self._judge(state, labels, axis_name)
        real_logits, fake_logits, collections = self._judged_pairs(judge, state, real, fake)
        value = adversarial.discriminator(real_logits, fake_logits, self.label_smoothing)
        if self.r1 or self.r2 or self.gradient_penalty:
            value += self._penalties(lambda images: judge(images)[0], real, fake, noise, state.step)
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        metrics["discriminator_loss"] = value
        return value, Outcome(metrics, {"discriminator": collections})

    def generator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The adversarial loss of the generator. Args and returns are as in `discriminator_loss`.

        The only metric is generator_loss.
        """
        labels = self._labels(batch)
        generator = state.variables("generator")
        fake, collections = call(
            self.generator, generator, noise["latent"], *labels, axis_name=axis_name
        )
        fake = self._shifted(fake, noise, FAKE)
        adversarial = losses.adversarial_loss(self.loss, paired=True)
        judge = self._judge(state, labels, axis_name)
        if adversarial.is_paired:
            real = self._shifted(batch["images"], noise, REAL)
            real_logits, fake_logits, _ = self._judged_pairs(judge, state, real, fake)
            value = adversarial.generator(real_logits, fake_logits)
        else:
            value = adversarial.generator(judge(fake)[0])
        return value, Outcome({"generator_loss": value}, {"generator": collections})

    def _judge(
        self, state: TrainState, labels: tuple[jax.Array, ...], axis_name: str | None
    ) -> Judge:
        """The discriminator of a state, for images that are once or several times the labels."""

        def judge(images: jax.Array, collections: PyTree = None) -> tuple[jax.Array, PyTree]:
            variables = {**state.variables("discriminator"), **(collections or {})}
            repeated = [jnp.concatenate([each] * (len(images) // len(each))) for each in labels]
            return call(self.discriminator, variables, images, *repeated, axis_name=axis_name)

        return judge

    def _judged_pairs(
        self, judge: Judge, state: TrainState, real: jax.Array, fake: jax.Array
    ) -> tuple[jax.Array, jax.Array, PyTree]:
        """The logits of real and of generated images, and the new collections."""
        if state.players["discriminator"].collections:
            # Real and generated images are judged separately, each with its own batch statistics.
            real_logits, collections = judge(real)
            fake_logits, collections = judge(fake, collections)
        else:
            # Both are judged in one pass: the weights are read once, in a larger matrix product.
            logits, collections = judge(jnp.concatenate([real, fake]))
            real_logits, fake_logits = jnp.split(logits, 2)
        return real_logits, fake_logits, collections

    def _penalties(
        self,
        logit: losses.Discriminator,
        real: jax.Array,
        fake: jax.Array,
        noise: PyTree,
        step: jax.Array,
    ) -> jax.Array:
        """The weighted gradient penalties times `penalty_interval`; 0 at steps without them."""

        def penalties() -> jax.Array:
            value = jnp.zeros((), jnp.float32)
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
        return jax.lax.cond(is_due, penalties, lambda: jnp.zeros((), jnp.float32))

    def _labels(self, batch: PyTree) -> tuple[jax.Array, ...]:
        return (batch["labels"],) if self.is_conditional else ()

    def _shifted(self, images: jax.Array, noise: PyTree, which: int) -> jax.Array:
        if not self.translation:
            return images
        return shift(images, noise["shifts"][:, which], self.translation)


def init_pair(generator: nn.Module, discriminator: nn.Module, key: jax.Array) -> dict[str, PyTree]:
    """Initialises a generator from latents and its discriminator.

    Args:
        generator: latents (and labels) -> images. It has the attributes latent_size and
            image_shape, and num_classes if it takes labels.
        discriminator: images (and labels) -> logits.
        key: a typed PRNG key.

    Returns:
        The variables of "generator" and of "discriminator", {"params": ..., other collections}.
    """
    generator_key, discriminator_key = jax.random.split(key)
    latents = jnp.zeros((1, generator.latent_size), jnp.float32)
    images = jnp.zeros((1, *generator.image_shape), jnp.float32)
    labels: tuple[jax.Array, ...] = ()
    if num_classes := getattr(generator, "num_classes", ()):
        labels = (jnp.zeros((1, len(num_classes)), jnp.int32),)
    return {
        "generator": generator.init(generator_key, latents, *labels),
        "discriminator": discriminator.init(discriminator_key, images, *labels),
    }


def latent_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    discriminator_steps: int = 1,
    same_fakes: bool = False,
    ema_decay: float = 0.999,
    **game: Any,
) -> GAN:
    """Makes the GAN of Goodfellow et al. 2014 (arXiv 1406.2661) from two networks.

    A batch is {"images": float32 [batch, H, W, C]}. Conditional networks (Mirza and Osindero 2014,
    arXiv 1411.1784) take labels as their second argument. Then a batch has "labels" too, int32
    [batch, k], and each generated image has the labels of a real one.

    A network with collections besides "params", such as batch statistics, is called with
    train=True and axis_name=..., the pmap axis to average the statistics over. If the discriminator
    has such collections, it judges real and generated images separately, each with their own
    statistics. Otherwise it judges them together.

    Args:
        generator: latents [batch, generator.latent_size] (and labels) -> images in [-1, 1], [batch,
            *generator.image_shape]. It is conditional if it has an attribute num_classes, the
            number of classes of each label, that is not ().
        discriminator: images [batch, H, W, C] in [-1, 1] (and labels) -> logits [batch].
        generator_optimizer: an optax transformation.
        discriminator_optimizer: an optax transformation.
        discriminator_steps: updates of the discriminator before each update of the generator.
        same_fakes: whether the generator's turn has the random numbers of the discriminator's last
            turn, so that it makes the very images that the discriminator has just judged.
        ema_decay: decay of the moving average of the generator, in [0, 1).
        loss: a name in `losses.ADVERSARIAL_LOSSES`; "non_saturating" by default.
        noise: a name in `latents.NOISES`; "normal" by default.
        r1: gamma of the zero-centred gradient penalty at real images; 0, the default, for none.
        r2: gamma of the zero-centred gradient penalty at generated images; 0, the default, for
            none.
        gradient_penalty: lambda of WGAN-GP's one-centred gradient penalty, at mixtures of real and
            generated images; 0, the default, for none.
        penalty_interval: the gradient penalties are computed only at every so many steps, and
            multiplied by this number (lazy regularisation: Karras et al. 2020, arXiv 1912.04958,
            section 3.1); 1 by default.
        label_smoothing: the label of real images is 1 minus this number; 0 by default.
        translation: half of all images, real and generated, are shifted by up to this many pixels
            before the discriminator sees them (`augmentation`); 0, the default, for none.

    Returns:
        The system. Its metrics are generator_loss; discriminator_loss, which includes the
        penalties; d_real, the mean D(x); d_fake, the mean D(G(z)); and d_accuracy, the share of the
        real and generated images that the discriminator classifies correctly. All metrics but
        generator_loss are measured before the discriminator's update.

    Raises:
        ValueError: the loss or the noise is unknown, or the loss has no labels to smooth.
    """
    its = LatentGame(generator, discriminator, **game)
    return GAN(
        init=its.init,
        optimizers={"generator": generator_optimizer, "discriminator": discriminator_optimizer},
        turns=(
            Turn("discriminator", its.discriminator_loss, its.draw_noise, discriminator_steps),
            Turn(
                "generator",
                its.generator_loss,
                "last" if same_fakes else its.draw_noise,
                batch="last",
            ),
        ),
        averages={"generator": ema_decay},
        images=("images",),
    )
