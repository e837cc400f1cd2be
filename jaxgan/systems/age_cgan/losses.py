"""What Age-cGAN (Antipov et al. 2017, arXiv 1702.01983) adds to the losses of a conditional GAN."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.latents import NOISES
from jaxgan.layers.filtering import resample
from jaxgan.layers.training_call import call

PyTree = Any
# An error of exactly 0 has no gradient. Distances below this number count as this number.
_LEAST = 1e-6
# The largest standard deviation of the noise of `distort`, of pixels in [-1, 1].
_NOISE = 0.2
# The filter of rows and columns of `distort`.
_BLUR = (0.25, 0.5, 0.25)


@dataclasses.dataclass(frozen=True)
class LikenessLoss:
    """A generator's loss plus how much its images change with their labels.

    The paper has no such term. Without it the latent of a face says other things in each group, so
    a face that ages becomes somebody else.

    Attributes:
        turn: the generator's turn without the term.
        generator: latents, labels -> images in [-1, 1]. It has the attribute num_classes.
        weight: of the term.
    """

    turn: Turn
    generator: nn.Module
    weight: float

    def __call__(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The turn's loss + weight * mean |G(z, y') - G(z, y)|, where G(z, y) is held still.

        Args:
            state: the state of the run.
            batch: as the turn's. Its "labels" are y, int32 [batch, k]; y' are the next classes, of
                the last class the first.
            noise: as the turn's. Its "latent" is z, float32 [batch, latent_size].
            axis_name: as the turn's.

        Returns:
            (float32 scalar, Outcome): its metrics are the turn's, and generator_change, the term
            without its weight, of pixels in [0, 1].
        """
        value, outcome = self.turn.loss(state, batch, noise, axis_name)
        variables = state.variables("generator")
        labels = batch["labels"]
        next_labels = (labels + 1) % jnp.asarray(self.generator.num_classes, jnp.int32)
        images, others = (
            call(self.generator, variables, noise["latent"], each, axis_name=axis_name)[0]
            for each in (labels, next_labels)
        )
        change = jnp.mean(jnp.abs(others - jax.lax.stop_gradient(images)))
        metrics = {**outcome.metrics, "generator_change": change / 2}
        return value + self.weight * change, outcome._replace(metrics=metrics)


def with_likeness(gan: GAN, generator: nn.Module, weight: float) -> GAN:
    """The same system, whose generator's loss is a `LikenessLoss`.

    Args:
        gan: a system whose last turn is the generator's.
        generator: as in `LikenessLoss`.
        weight: as in `LikenessLoss`; 0 gives `gan` itself.
    """
    if not weight:
        return gan
    *turns, last = gan.turns
    likeness = LikenessLoss(last, generator, weight)
    return dataclasses.replace(gan, turns=(*turns, dataclasses.replace(last, loss=likeness)))


def distort(images: jax.Array, distortion: Mapping[str, jax.Array]) -> jax.Array:
    """Blurs images, each by its own amount, and adds noise.

    Args:
        images: float32 [batch, height, width, channels] in [-1, 1].
        distortion: "blur", float32 [batch], in [0, 1]: the share of the image that is blurred by
            the kernel (1, 2, 1) / 4 over rows and columns; "noise", float32 as images.

    Returns:
        float32 as images, of any range.
    """
    chex.assert_equal_shape([images, distortion["noise"]])
    chex.assert_shape(distortion["blur"], (len(images),))
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    blurred = resample(padded, _BLUR)
    share = distortion["blur"][:, None, None, None]
    return images + share * (blurred - images) + distortion["noise"]


@dataclasses.dataclass(frozen=True)
class EncoderLoss:
    """How far an encoder's guesses are from the latents that images were made of.

    The paper distorts no image. A generator's images have fine faults that tell of their latents
    and that photographs have not: an encoder that learns from them guesses badly of photographs.

    Attributes:
        generator: latents, labels -> images in [-1, 1]. It has the attributes latent_size and
            num_classes.
        encoder: images in [-1, 1] -> latents.
        noise: a name in `latents.NOISES`, the distribution that the generator was trained with.
        distorts: whether the encoder sees each image with a `distort`.
    """

    generator: nn.Module
    encoder: nn.Module
    noise: str = "normal"
    distorts: bool = False

    def draw_pair(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """Draws what one image is made of.

        Args:
            key: a typed PRNG key.
            data: the data set, which is not used.

        Returns:
            "latent", float32 [latent_size], of the prior; "labels", int32 [k], each class as likely
            as the others; where it distorts "distortion", as `distort` wants it, of one image.
        """
        latent_key, label_key = jax.random.split(key)
        counts = jnp.asarray(self.generator.num_classes, jnp.int32)
        pair = {
            "latent": NOISES[self.noise](latent_key, (self.generator.latent_size,)),
            "labels": jax.random.randint(label_key, counts.shape, 0, counts, jnp.int32),
        }
        if self.distorts:
            blur_key, scale_key, noise_key = jax.random.split(jax.random.fold_in(key, 2), 3)
            scale = jax.random.uniform(scale_key, (), jnp.float32, maxval=_NOISE)
            white = jax.random.normal(noise_key, self.encoder.image_shape, jnp.float32)
            blur = jax.random.uniform(blur_key, (), jnp.float32)
            pair["distortion"] = {"blur": blur, "noise": scale * white}
        return pair

    def __call__(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The mean Euclidean distance |E(G(z, y)) - z|.

        G has its averaged weights and is in evaluation mode.

        Args:
            state: the state of the run.
            batch: not used.
            noise: `draw_pair` of each example, leaves [batch, ...].
            axis_name: the pmap axis to average batch statistics over; None for none.

        Returns:
            (float32 scalar, Outcome): its metrics are encoder_loss, and encoder_baseline, the loss
            of an encoder that always says 0.
        """
        latents = noise["latent"]
        images = cast(
            jax.Array,
            self.generator.apply(state.averages["generator"], latents, noise["labels"]),
        )
        if self.distorts:
            images = distort(images, noise["distortion"])
        guesses, collections = call(
            self.encoder, state.variables("encoder"), images, axis_name=axis_name
        )
        value = jnp.mean(optax.safe_norm(guesses - latents, _LEAST, axis=1))
        baseline = jnp.mean(jnp.linalg.norm(latents, axis=1))
        metrics = {"encoder_loss": value, "encoder_baseline": baseline}
        return value, Outcome(metrics, {"encoder": collections})


def with_encoder(
    gan: GAN,
    generator: nn.Module,
    encoder: nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    noise: str = "normal",
    distorts: bool = False,
    ema_decay: float = 0.99,
) -> GAN:
    """The system of the stage after a GAN's training, in which an encoder learns alone.

    Args:
        gan: the system of the stage before, with the players "generator" and "discriminator".
        generator: its generator, as in `EncoderLoss`.
        encoder: as in `EncoderLoss`.
        optimizer: the encoder's optax transformation.
        noise, distorts: as in `EncoderLoss`.
        ema_decay: decay of the moving average of the encoder, in [0, 1).

    Returns:
        The system, with a third player "encoder", which alone has a turn. The other players and the
        generator's average keep their values. Its metrics are those of `EncoderLoss`.
    """
    loss = EncoderLoss(generator, encoder, noise, distorts)
    images = jnp.zeros((1, *encoder.image_shape), jnp.float32)

    def init(key: jax.Array) -> dict[str, PyTree]:
        encoder_key = jax.random.fold_in(key, 0)  # `gan.init` splits the key itself.
        return {**gan.init(key), "encoder": encoder.init(encoder_key, images)}

    return GAN(
        init=init,
        optimizers={**gan.optimizers, "encoder": optimizer},
        turns=(Turn("encoder", loss, loss.draw_pair),),
        averages={"generator": lambda step: jnp.ones(()), "encoder": ema_decay},
    )
