"""The losses of StarGAN (Choi et al. 2017, arXiv 1711.09020): edits by labels, without pairs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.augmentation import mirrored
from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.layers.training_call import call
from jaxgan.systems.stargan.labels import Coding

PyTree = Any


@dataclasses.dataclass(frozen=True)
class EditingGame:
    """The losses of generator and discriminator. The attributes are as in `editing_gan`.

    Raises:
        ValueError: the loss is unknown.
    """

    generator: nn.Module
    discriminator: nn.Module
    coding: Coding
    loss: str = "wasserstein"
    class_weight: float = 1.0
    reconstruction_weight: float = 10.0
    gradient_penalty: float = 10.0
    r1: float = 0.0
    change_weight: float = 0.0
    single_edits: float = 0.0
    flip: float = 0.0

    def __post_init__(self):
        losses.adversarial_loss(self.loss)

    def init(self, key: jax.Array) -> dict[str, PyTree]:
        """Initialises both networks.

        Args:
            key: a typed PRNG key.

        Returns:
            The variables of "generator" and of "discriminator", {"params": ...}.
        """
        generator_key, discriminator_key = jax.random.split(key)
        images = jnp.zeros((1, *self.generator.image_shape), jnp.float32)
        labels = jnp.zeros((1, self.generator.label_size), jnp.float32)
        return {
            "generator": self.generator.init(generator_key, images, labels),
            "discriminator": self.discriminator.init(discriminator_key, images),
        }

    def draw_noise(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """Draws the random numbers of one example.

        Args:
            key: a typed PRNG key.
            data: the data set; "labels" has the classes of all images.

        Returns:
            "target", int32 [attributes]: the classes of a random image, so that all targets occur
            in the data, and as often as there. "mix", float32 in [0, 1], with a gradient penalty;
            "is_mirrored", bool, with flips; "is_asked", bool [attributes], with single edits: the
            attributes that are to change at all.
        """
        target_key, mix_key, flip_key, single_key = jax.random.split(key, 4)
        row = jax.random.randint(target_key, (), 0, len(data["labels"]), jnp.int32)
        drawn = {"target": data["labels"][row]}
        if self.gradient_penalty:
            drawn["mix"] = jax.random.uniform(mix_key, (), jnp.float32)
        if self.single_edits:
            group_key, use_key = jax.random.split(single_key)
            groups = self.coding.groups
            members = jnp.array(
                [[i in group for i in range(len(self.coding.names))] for group in groups]
            )
            one = members[jax.random.randint(group_key, (), 0, len(groups), jnp.int32)]
            is_single = jax.random.bernoulli(use_key, jnp.float32(self.single_edits))
            drawn["is_asked"] = jnp.where(is_single, one, True)
        if self.flip:
            drawn["is_mirrored"] = jax.random.bernoulli(flip_key, jnp.float32(self.flip))
        return drawn

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The discriminator's loss, equation 5: adversarial, and the classes of real images.

        Args:
            state: the state of the run.
            batch: "images", float32 [batch, H, W, C] in [-1, 1], and "labels", int32 [batch,
                attributes].
            noise: `draw_noise` of each example, leaves [batch, ...].
            axis_name: the pmap axis, over which edits_shown is counted; None for none.

        Returns:
            (float32 scalar, Outcome): its metrics are those of `editing_gan`, but for the
            generator's.
        """
        real = self._mirrored(batch["images"], noise)
        target = self._target(batch, noise)
        fake = self._edited(state, real, self.coding.encode(target))

        def sum_of_logits(images: jax.Array) -> jax.Array:
            return jnp.sum(self._judged(state, images, batch["labels"])[0], axis=1)

        # Both are judged in one pass: the weights are read once, in a larger matrix product.
        both = jnp.concatenate([real, fake])
        shown = jnp.concatenate([batch["labels"], target])
        logits, classes = self._judged(state, both, shown)
        real_logits, fake_logits = (half.reshape(-1) for half in jnp.split(logits, 2))
        class_logits = classes[: len(real)]
        adversarial = losses.adversarial_loss(self.loss)
        value = adversarial.discriminator(real_logits, fake_logits, 0.0)
        value += self.class_weight * self.coding.cross_entropy(class_logits, batch["labels"])
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        if self.gradient_penalty:
            penalty = losses.gradient_penalty(sum_of_logits, real, fake, noise["mix"])
            value += self.gradient_penalty * penalty
        if self.r1:
            value += self.r1 * losses.zero_centred_penalty(sum_of_logits, real)
        right = self.coding.decode(class_logits) == batch["labels"]
        metrics |= {"discriminator_loss": value, "classes_told": jnp.mean(right)}
        return value, Outcome(metrics)

    def generator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The generator's loss, equation 6: adversarial, the classes wanted, reconstruction.

        Args and returns are as in `discriminator_loss`.
        """
        real = self._mirrored(batch["images"], noise)
        target, own = self._target(batch, noise), batch["labels"]
        fake = self._edited(state, real, self.coding.encode(target))
        logits, classes = self._judged(state, fake, target)
        again = self._edited(state, fake, self.coding.encode(own))
        value = losses.adversarial_loss(self.loss).generator(logits.reshape(-1))
        value += self.class_weight * self.coding.cross_entropy(classes, target)
        reconstruction = jnp.mean(jnp.abs(real - again))
        value += self.reconstruction_weight * reconstruction
        change = jnp.mean(jnp.abs(real - fake))
        value += self.change_weight * change
        asked = target != own
        counts = jnp.stack([asked, asked & (self.coding.decode(classes) == target)])
        counts = jnp.sum(counts, axis=(1, 2), dtype=jnp.float32)
        if axis_name is not None:
            counts = jax.lax.psum(counts, axis_name)
        metrics = {
            "generator_loss": value,
            # Images are in [-1, 1] here. These metrics are of pixels in [0, 1].
            "reconstruction": reconstruction / 2,
            "change": change / 2,
            # A batch in which every target is the image's own class asks for nothing.
            "edits_shown": jnp.where(counts[0] > 0, counts[1] / jnp.maximum(counts[0], 1), 1.0),
        }
        return value, Outcome(metrics)

    def _edited(self, state: TrainState, images: jax.Array, labels: jax.Array) -> jax.Array:
        edited, _ = call(
            self.generator, state.variables("generator"), images, labels, axis_name=None
        )
        return edited

    def _judged(
        self, state: TrainState, images: jax.Array, codes: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The logits of realness [batch, n], and the logits of the classes.

        The first are those of all patches, and of the branches of the classes that the images are
        to show, if the discriminator has branches.
        """
        (patches, classes, *branches), _ = call(
            self.discriminator, state.variables("discriminator"), images, axis_name=None
        )
        logits = [patches.reshape(len(patches), -1)]
        logits += [self.coding.branches(each, codes) for each in branches]
        return jnp.concatenate(logits, axis=1), classes

    def _target(self, batch: PyTree, noise: PyTree) -> jax.Array:
        """The classes that the edits are to show, int32 [batch, attributes]."""
        if not self.single_edits:
            return noise["target"]
        return jnp.where(noise["is_asked"], noise["target"], batch["labels"])

    def _mirrored(self, images: jax.Array, noise: PyTree) -> jax.Array:
        return mirrored(images, noise["is_mirrored"]) if self.flip else images


def editing_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    coding: Coding,
    discriminator_steps: int = 5,
    ema_decay: float = 0.0,
    **game: Any,
) -> GAN:
    """Makes StarGAN from two networks.

    A batch is {"images": float32 [batch, H, W, C] in [-1, 1], "labels": int32 [batch, attributes]}.
    A step takes `discriminator_steps` turns of the discriminator, each on a new batch, then one of
    the generator on the last of these batches, with the same target labels (section 7.2).

    Args:
        generator: (images, labels float32 [batch, coding.size]) -> images in [-1, 1].
        discriminator: images -> (logits of patches [batch, h, w], logits of classes [batch,
            coding.size]); or with a third part, logits of branches [batch, coding.num_classes]: of
            an image that should show some classes, the logits of their branches count as those of
            patches do.
        generator_optimizer: an optax transformation.
        discriminator_optimizer: an optax transformation.
        coding: the attributes and their classes.
        discriminator_steps: turns of the discriminator in a step (n_critic).
        ema_decay: decay of the moving average of the generator, in [0, 1).
        loss: a name in `losses.UNPAIRED_LOSSES`; "wasserstein" by default.
        class_weight: weight of the classification losses (lambda_cls), 1 by default.
        reconstruction_weight: weight of the L1 distance from the image that is edited back
            (lambda_rec), 10 by default.
        gradient_penalty: lambda of WGAN-GP's penalty on the sum of an image's logits (lambda_gp),
            10 by default; 0 for none.
        r1: gamma of the penalty at real images, on the same sum; 0, the default, for none.
        change_weight: weight of the L1 distance between an image and its edit in the generator's
            loss; 0, the default, for none.
        single_edits: the share of the targets that change a single attribute of the image, to the
            class of a random image; 0, the default, for none, as in the paper. Attributes that
            exclude each other change together.
        flip: the probability that an image is mirrored left to right; 0 by default.

    Returns:
        The system. Its metrics are generator_loss; discriminator_loss; d_real, d_fake and
        d_accuracy, as in `latent_gan`, over all logits of realness; classes_told, the share of the
        real images' classes that the discriminator tells right; edits_shown, the share of the
        targets that differ from an image's own class and that the discriminator sees in the edit;
        reconstruction and change, mean absolute differences of pixels in [0, 1].

    Raises:
        ValueError: the loss is unknown.
    """
    its = EditingGame(generator, discriminator, coding, **game)
    return GAN(
        init=its.init,
        optimizers={"generator": generator_optimizer, "discriminator": discriminator_optimizer},
        turns=(
            Turn(
                "discriminator", its.discriminator_loss, its.draw_noise, times=discriminator_steps
            ),
            Turn("generator", its.generator_loss, "last", batch="last"),
        ),
        averages={"generator": ema_decay},
        images=("images",),
    )
