"""The losses of pix2pix (Isola et al. 2016, arXiv 1611.07004): image to image, from pairs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.augmentation import draw_cut, enlarged_and_cut, mirrored
from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.layers.training_call import call

PyTree = Any
# Folded into an example's key for its jitter. Dropout folds in the number of a layer.
_JITTER = 2**16


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
    discriminator_weight: float = 0.5
    jitter: float = 1.0
    flip: float = 0.0

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
            "key", the PRNG key of the generator's dropout. With jitter also "corner", int32 [2], as
            `augmentation.draw_cut` draws it; with flips also "is_mirrored", bool.
        """
        drawn = {"key": key}
        cut_key, flip_key = jax.random.split(jax.random.fold_in(key, _JITTER))
        if any(self._margins):
            drawn["corner"] = draw_cut(cut_key, self._margins)
        if self.flip:
            drawn["is_mirrored"] = jax.random.bernoulli(flip_key, jnp.float32(self.flip))
        return drawn

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """discriminator_weight times the adversarial loss of the discriminator (section 3.3).

        The half, which is the default, makes the discriminator learn more slowly than the
        generator. A discriminator with running statistics judges generated images first, then real
        ones, each with their own batch statistics.

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
        real, inputs = self._jittered(batch, noise)
        fake, _ = call(
            self.generator, state.variables("generator"), inputs, noise["key"], axis_name=axis_name
        )
        variables = state.variables("discriminator")

        def judge(variables: PyTree, *images: jax.Array) -> tuple[jax.Array, PyTree]:
            repeated = jnp.concatenate([inputs] * len(images))
            judged = jnp.concatenate(images)
            logits, collections = call(
                self.discriminator, variables, judged, repeated, axis_name=axis_name
            )
            return logits.reshape(-1), collections

        if state.players["discriminator"].collections:
            fake_logits, collections = judge(variables, fake)
            real_logits, collections = judge({**variables, **collections}, real)
        else:
            # Both are judged in one pass: the weights are read once, in a larger matrix product.
            logits, collections = judge(variables, real, fake)
            real_logits, fake_logits = jnp.split(logits, 2)
        value = self.discriminator_weight * adversarial.discriminator(real_logits, fake_logits, 0.0)
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        metrics["discriminator_loss"] = value
        return value, Outcome(metrics, {"discriminator": collections})

    def generator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """adversarial_weight L_cGAN + l1_weight E[|y - G(x, z)|] (equation 4).

        Args and returns are as in `discriminator_loss`. The metrics are generator_loss and l1.
        """
        real, inputs = self._jittered(batch, noise)
        generator, discriminator = map(state.variables, ("generator", "discriminator"))
        fake, collections = call(
            self.generator, generator, inputs, noise["key"], axis_name=axis_name
        )
        moved = {"generator": collections}
        difference = jnp.mean(jnp.abs(fake - real))
        value = self.l1_weight * difference
        if self.adversarial_weight:
            logits, moved["discriminator"] = call(
                self.discriminator, discriminator, fake, inputs, axis_name=axis_name
            )
            adversarial = losses.adversarial_loss(self.loss).generator(logits.reshape(-1))
            value += self.adversarial_weight * adversarial
        # Images are in [-1, 1] here. The metric is the difference of pixels in [0, 1], which is
        # half as large.
        metrics = {"generator_loss": value, "l1": difference / 2}
        return value, Outcome(metrics, moved)

    @property
    def _margins(self) -> tuple[int, int]:
        """How many pixels higher and wider the enlarged image is."""
        height, width, _ = self.generator.image_shape
        return round(self.jitter * height) - height, round(self.jitter * width) - width

    def _jittered(self, batch: PyTree, noise: PyTree) -> tuple[jax.Array, jax.Array]:
        """The images and the inputs of a batch, each pair changed by the same random numbers."""
        images, inputs = batch["images"], batch["inputs"]
        if not any(self._margins) and not self.flip:
            return images, inputs
        both = jnp.concatenate([images, inputs], axis=-1)
        if any(self._margins):
            both = enlarged_and_cut(both, noise["corner"], self._margins)
        if self.flip:
            both = mirrored(both, noise["is_mirrored"])
        return both[..., : images.shape[-1]], both[..., images.shape[-1] :]


def paired_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    ema_decay: float = 0.999,
    same_fakes: bool = False,
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
        same_fakes: whether the generator's turn has the random numbers of the discriminator's turn,
            so that it makes the very images that the discriminator has just judged.
        loss: a name in `losses.UNPAIRED_LOSSES`; "non_saturating" by default.
        adversarial_weight: weight of the adversarial loss in the generator's loss, 1 by default. If
            it is 0, the discriminator is trained but the generator ignores it.
        l1_weight: weight of the L1 distance in the generator's loss, lambda in equation 4; 100 by
            default, 0 for none.
        discriminator_weight: weight of the adversarial loss in the discriminator's loss, 1/2 by
            default.
        jitter: input and image are enlarged by this factor, 1 or more, and cut to their size again
            at a place that is drawn for each example; 1, the default, for none.
        flip: the probability that an input and its image are both mirrored left to right; 0 by
            default.

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
            Turn(
                "generator",
                its.generator_loss,
                "last" if same_fakes else its.draw_noise,
                batch="last",
            ),
        ),
        averages={"generator": ema_decay},
        images=("images", "inputs"),
    )
