"""The losses of StyleGAN2 (arXiv 1912.04958) with adaptive augmentation (arXiv 2006.06676)."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan import losses, schedules
from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.systems.stylegan2.augmentation import PIPELINES, augment, check_operations
from jaxgan.systems.stylegan2.networks import (
    BUFFERS,
    NOISES,
    Discriminator,
    Generator,
    label_vectors,
)

PyTree = Any
ADVERSARIAL = losses.adversarial_loss("non_saturating")
# The new share in the running mean of path lengths.
_LENGTH_SHARE = 0.01
# A gradient that is infinite becomes as large as this. NaN becomes 0.
_LARGEST_GRADIENT = 1e5
# The state's numbers.
LENGTH, PROBABILITY, SIGNS, CALLS = (
    "path_length_mean",
    "augment_probability",
    "real_signs",
    "real_calls",
)


@dataclasses.dataclass(frozen=True)
class StyleGame:
    """The losses of generator and discriminator. The attributes are as in `style_gan`.

    Raises:
        ValueError: a name is unknown.
    """

    generator: Generator
    discriminator: Discriminator
    batch_size: int
    gamma: float = 10.0
    penalty_interval: int = 16
    length_weight: float = 2.0
    length_interval: int = 4
    length_every: int = 2
    mixing: float = 0.9
    operations: tuple[str, ...] = PIPELINES["bgc"]
    probability: float | None = None
    target: float = 0.6
    target_kimg: float = 500.0
    target_interval: int = 4
    most_probable: float = math.inf
    noise: str = "random"

    def __post_init__(self):
        check_operations(self.operations)
        if self.noise not in NOISES:
            raise ValueError(f"unknown noise {self.noise!r}: one of {', '.join(NOISES)}")

    @property
    def is_adaptive(self) -> bool:
        """Whether the probability of an augmentation follows the discriminator."""
        return bool(self.operations) and self.probability is None

    @property
    def numbers(self) -> dict[str, float]:
        """The state's numbers at the start."""
        start = {LENGTH: 0.0} if self.length_weight else {}
        return start | ({PROBABILITY: 0.0, SIGNS: 0.0, CALLS: 0.0} if self.is_adaptive else {})

    def init(self, key: jax.Array) -> dict[str, PyTree]:
        """Initialises both networks.

        Args:
            key: a typed PRNG key.

        Returns:
            The variables of "generator", {"params": ..., "buffers": ...}, and of "discriminator",
            {"params": ...}.
        """
        generator_key, discriminator_key = jax.random.split(key)
        latents = jnp.zeros((1, self.generator.latent_size), jnp.float32)
        images = jnp.zeros((1, *self.generator.image_shape), jnp.float32)
        classes = self.generator.num_classes
        codes = jnp.zeros((1, len(classes)), jnp.int32) if classes else None
        return {
            "generator": self.generator.init(generator_key, latents, codes),
            "discriminator": self.discriminator.init(
                discriminator_key, images, label_vectors(codes, classes)
            ),
        }

    def draw_noise(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """Draws the random numbers of one generated image. What is large is drawn from keys later.

        Args:
            key: a typed PRNG key.
            data: the data set; a conditional one has "labels".

        Returns:
            "latent", float32 [latent_size]; "pixels", "augmented", "augmented_real" and
            "direction", PRNG keys. With mixing also "second", another latent, and "cutoff", int32,
            the first layer that has its style; this is the number of layers if no style is mixed.
            With labels "codes", int32 [labels], those of a random image.
        """
        names = ("latent", "second", "cutoff", "is_mixed", "codes")
        latent, second, cutoff, is_mixed, row, *keys = jax.random.split(key, len(names) + 4)
        drawn = dict(zip(("pixels", "augmented", "augmented_real", "direction"), keys, strict=True))
        size, count = (self.generator.latent_size,), self.generator.num_styles
        drawn["latent"] = jax.random.normal(latent, size, jnp.float32)
        if self.mixing:
            drawn["second"] = jax.random.normal(second, size, jnp.float32)
            layer = jax.random.randint(cutoff, (), 1, count, jnp.int32)
            mixes = jax.random.bernoulli(is_mixed, jnp.float32(self.mixing))
            drawn["cutoff"] = jnp.where(mixes, layer, count)
        if self.generator.num_classes:
            labels = data["labels"]
            drawn["codes"] = labels[jax.random.randint(row, (), 0, len(labels), jnp.int32)]
        return drawn

    def generator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The generator's loss. Before it, at each `target_interval`-th step, p is moved.

        Args:
            state: the state of the run.
            batch: not used.
            noise: `draw_noise` of each example, leaves [batch, ...].
            axis_name: the pmap axis that the batch is spread over; None for one device.

        Returns:
            (float32 scalar, Outcome): its metrics are generator_loss and, with an adaptive
            probability, augment_probability.
        """
        numbers = self._adapted(state)
        styles, buffers = self._styles(state, noise)
        fake = self._rendered(state, styles, noise)
        fake = self._augmented(fake, noise["augmented"], numbers)
        value = ADVERSARIAL.generator(self._judged(state, fake, self._labels(noise), axis_name))
        metrics = {"generator_loss": value}
        if self.is_adaptive:
            metrics[PROBABILITY] = numbers[PROBABILITY]
        return value, Outcome(metrics, {"generator": buffers}, numbers)

    def length_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The path length penalty of every `length_every`-th example, times its interval.

        Karras et al. 2020 (arXiv 1912.04958), section 3.2: a step of a style should change images
        by the same size everywhere. Gradients go through the running mean of lengths too.

        Args and returns are as in `generator_loss`; the only metric is path_length.

        Raises:
            ValueError: this device's part of the batch is no multiple of `length_every`. Examples
                would be other ones on other numbers of devices.
        """
        count = len(noise["latent"])
        if count % self.length_every:
            raise ValueError(
                f"a device has {count} images of a batch, and the path length is taken of every "
                f"{self.length_every}th: let the batch size be a multiple of {self.length_every} "
                "times the number of devices"
            )
        noise = jax.tree.map(lambda x: x[:: self.length_every], noise)
        lengths, buffers = self.path_lengths(state, noise)
        mean = jnp.mean(lengths)
        if axis_name is not None:
            mean = jax.lax.pmean(mean, axis_name)
        before = state.numbers[LENGTH]
        after = before + _LENGTH_SHARE * (mean - before)
        penalty = jnp.mean(jnp.square(lengths - after))
        value = self.length_interval * self.length_weight * penalty
        outcome = Outcome({"path_length": mean}, {"generator": buffers}, {LENGTH: after})
        return value, outcome

    def path_lengths(self, state: TrainState, noise: PyTree) -> tuple[jax.Array, PyTree]:
        """How long a random step of the image is, counted in styles.

        Returns:
            (float32 [n], the generator's collections after mapping the latents).
        """
        styles, buffers = self._styles(state, noise)
        height, width, _ = self.generator.image_shape
        directions = self._directions(noise) / math.sqrt(height * width)

        def along(styles: jax.Array) -> jax.Array:
            return jnp.sum(self._rendered(state, styles, noise) * directions)

        slopes = jax.grad(along)(styles)
        squares = jnp.mean(jnp.sum(jnp.square(slopes), axis=2), axis=1)
        # The derivative of sqrt is infinite at 0.
        return jnp.sqrt(jnp.maximum(squares, jnp.finfo(jnp.float32).tiny)), buffers

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The discriminator's loss. No group of the minibatch deviation has real and fake images.

        Args:
            state, noise, axis_name: as in `generator_loss`.
            batch: "images", float32 [batch, H, W, C] in [-1, 1], and with labels "labels", int32
                [batch, k].

        Returns:
            (float32 scalar, Outcome): its metrics are discriminator_loss, d_real, d_fake and
            d_accuracy, as in `losses.judgement`.
        """
        styles, buffers = self._styles(state, noise)
        fake = self._rendered(state, styles, noise)
        # Both are judged in one pass: one program, and larger matrix products.
        images, keys, labels = (
            jax.tree.map(lambda *its: jnp.concatenate(its), *pair)
            for pair in (
                (batch["images"], fake),
                (noise["augmented_real"], noise["augmented"]),
                (self._labels(batch), self._labels(noise)),
            )
        )
        images = self._augmented(images, keys, state.numbers)
        logits = self._judged(state, images, labels, axis_name, parts=2)
        real_logits, fake_logits = jnp.split(logits, 2)
        value = ADVERSARIAL.discriminator(real_logits, fake_logits, 0.0)
        metrics = losses.judgement(ADVERSARIAL, real_logits, fake_logits)
        metrics["discriminator_loss"] = value
        return value, Outcome(metrics, {"generator": buffers}, self._counted(state, real_logits))

    def penalty_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The gradient penalty at real images (R1), times its interval.

        Mescheder et al. 2018 (arXiv 1801.04406). The gradient is with respect to the images before
        they are augmented.

        Args and returns are as in `discriminator_loss`; the only metric is r1, the mean squared
        norm of the gradient.
        """
        squares, logits = self.squared_norms(state, batch, noise, axis_name)
        mean = jnp.mean(squares)
        value = self.penalty_interval * self.gamma / 2 * mean
        return value, Outcome({"r1": mean}, {}, self._counted(state, logits))

    def squared_norms(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The squared norm of the logits' gradient at each real image, and the logits: [n] each."""

        def logit(images: jax.Array) -> tuple[jax.Array, jax.Array]:
            images = self._augmented(images, noise["augmented_real"], state.numbers)
            logits = self._judged(state, images, self._labels(batch), axis_name)
            return jnp.sum(logits), logits

        slopes, logits = jax.grad(logit, has_aux=True)(batch["images"])
        return jnp.sum(jnp.square(slopes), axis=(1, 2, 3)), logits

    def _directions(self, noise: PyTree) -> jax.Array:
        """N(0, 1) of the shape of the images."""
        shape = self.generator.image_shape
        return jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(noise["direction"])

    def _styles(self, state: TrainState, noise: PyTree) -> tuple[jax.Array, PyTree]:
        """A style for each layer, mixed of two; and the collections with the new mean style."""
        variables, labels = state.variables("generator"), self._labels(noise)
        # `apply` has types that fit all its uses.
        apply: Callable[..., Any] = self.generator.apply
        style, collections = apply(
            variables, noise["latent"], labels, True, method="style", mutable=[BUFFERS]
        )
        styles = apply(variables, style, method="spread")
        if self.mixing:
            second = apply(variables, noise["second"], labels, method="style")
            is_second = jnp.arange(styles.shape[1]) >= noise["cutoff"][:, None]
            styles = jnp.where(is_second[..., None], second[:, None], styles)
        return styles, collections

    def _rendered(self, state: TrainState, styles: jax.Array, noise: PyTree) -> jax.Array:
        keys = noise["pixels"] if self.noise == "random" else None
        return self.generator.apply(  # type: ignore[return-value]
            state.variables("generator"), styles, self.noise, keys, method="render"
        )

    def _judged(
        self,
        state: TrainState,
        images: jax.Array,
        labels: Any,
        axis_name: str | None,
        parts: int = 1,
    ) -> jax.Array:
        return self.discriminator.apply(  # type: ignore[return-value]
            state.variables("discriminator"), images, labels, axis_name, parts
        )

    def _augmented(
        self, images: jax.Array, keys: jax.Array, numbers: Mapping[str, jax.Array]
    ) -> jax.Array:
        if not self.operations:
            return images
        probability = numbers[PROBABILITY] if self.is_adaptive else jnp.float32(self.probability)
        return augment(images, keys, probability, self.operations)

    def _labels(self, held: PyTree) -> jax.Array | None:
        """The numbers of the labels of a batch, or of the images that noise makes."""
        codes = held.get("codes", held.get("labels"))
        return label_vectors(codes, self.generator.num_classes)

    def _counted(self, state: TrainState, logits: jax.Array) -> dict[str, jax.Array]:
        """The numbers after a look at real images."""
        if not self.is_adaptive:
            return {}
        sign = jnp.mean(jnp.sign(logits))
        return {SIGNS: state.numbers[SIGNS] + sign, CALLS: state.numbers[CALLS] + 1}

    def _adapted(self, state: TrainState) -> dict[str, jax.Array]:
        """The numbers at the start of a step: p is moved by what the steps before have seen.

        Karras et al. 2020 (arXiv 2006.06676), section 3: p grows while more than a share of the
        real logits is positive, and falls while fewer are.
        """
        if not self.is_adaptive:
            return {}
        numbers = {name: state.numbers[name] for name in (PROBABILITY, SIGNS, CALLS)}
        mean = numbers[SIGNS] / jnp.maximum(numbers[CALLS], 1)
        move = self.target_interval * self.batch_size / (1000 * self.target_kimg)
        moved = numbers[PROBABILITY] + jnp.sign(mean - self.target) * move
        zero = jnp.zeros(())
        new = {PROBABILITY: jnp.clip(moved, 0, self.most_probable), SIGNS: zero, CALLS: zero}
        is_due = (state.step % self.target_interval == 0) & (numbers[CALLS] > 0)
        return {name: jnp.where(is_due, new[name], numbers[name]) for name in numbers}


def style_gan(
    generator: Generator,
    discriminator: Discriminator,
    *,
    batch_size: int,
    learning_rate: float = 0.0025,
    discriminator_learning_rate: float | None = None,
    beta1: float = 0.0,
    beta2: float = 0.99,
    adam_epsilon: float = 1e-8,
    ema_kimg: float = 10.0,
    ema_ramp_up: float = 0.05,
    **game: Any,
) -> GAN:
    """Makes StyleGAN2 from its two networks.

    A batch is {"images": float32 [batch, H, W, C] in [-1, 1]}, with labels also "labels", int32
    [batch, k]. A step has the generator's turn, at every `length_interval`-th step its turn on path
    lengths, the discriminator's turn, and at every `penalty_interval`-th step its turn on R1. Each
    turn is a step of Adam. As a lazy turn adds steps, its player's learning rate and betas are
    those to the power of, or times, interval / (interval + 1) (section 3.1).

    Args:
        generator: latents (and labels) -> images.
        discriminator: images (and labels) -> logits.
        batch_size: the global batch size.
        learning_rate: Adam's, of the generator.
        discriminator_learning_rate: Adam's; None for that of the generator.
        beta1, beta2, adam_epsilon: Adam's.
        ema_kimg: the half-life of the moving average of the generator, in thousands of images. The
            mean style and the constant noise are copied, not averaged.
        ema_ramp_up: the half-life is at most this share of the images seen; 0 for no limit.
        gamma: the weight of R1 is gamma / 2, with gamma 10 by default; 0 for no such turn.
        penalty_interval: steps between turns on R1, 16 by default.
        length_weight: the weight of the path length penalty, 2 by default; 0 for no such turn.
        length_interval: steps between turns on path lengths, 4 by default.
        length_every: path lengths are of every so many examples, 2 by default.
        mixing: the probability that an image has two styles, 0.9 by default.
        operations: the augmentations, by name; those of "bgc" by default.
        probability: of each augmentation; None, the default, for one that follows the
            discriminator.
        target: the mean sign of the real logits that the probability aims at, 0.6 by default.
        target_kimg: thousands of images in which the probability can go from 0 to 1; 500 by
            default.
        target_interval: steps between two moves of the probability, 4 by default.
        most_probable: a bound of the probability; none by default, as in the official code.
            Generated images show the augmentations from about 0.8 on.
        noise: where the noise of the pixels comes from: "random", the default, "const" or "none".

    Returns:
        The system. Its metrics are generator_loss, augment_probability, path_length,
        discriminator_loss, d_real, d_fake, d_accuracy and r1.

    Raises:
        ValueError: a name is unknown.
    """
    its = StyleGame(generator, discriminator, batch_size, **game)
    if discriminator_learning_rate is None:
        discriminator_learning_rate = learning_rate
    rates = {"generator": learning_rate, "discriminator": discriminator_learning_rate}
    adam = {"beta1": beta1, "beta2": beta2, "epsilon": adam_epsilon}
    average = schedules.average_decay(
        1000 * ema_kimg, images_per_step=batch_size, ramp_up=ema_ramp_up
    )
    return played(its, rates, adam, average)


def played(
    game: StyleGame,
    rates: Mapping[str, float],
    adam: Mapping[str, float],
    average: Callable[[jax.Array], jax.Array],
) -> GAN:
    """The system of given losses.

    Args:
        game: the losses.
        rates: Adam's learning rate by player.
        adam: Adam's beta1, beta2 and epsilon.
        average: step -> the decay of the moving average of the generator's params.
    """
    # The first turn takes the images of the step; all others use the same ones.
    turns = [Turn("generator", game.generator_loss, game.draw_noise)]
    lazy = {"generator": (game.length_loss, game.length_interval if game.length_weight else 0)}
    lazy["discriminator"] = (game.penalty_loss, game.penalty_interval if game.gamma else 0)
    optimizers = {}
    for player, (loss, interval) in lazy.items():
        if player == "discriminator":
            turns.append(Turn(player, game.discriminator_loss, game.draw_noise, batch="last"))
        if interval:
            turns.append(Turn(player, loss, game.draw_noise, every=interval, batch="last"))
        share = interval / (interval + 1) if interval else 1.0
        own = schedules.adam(
            rates[player] * share,
            adam["beta1"] ** share,
            adam["beta2"] ** share,
            images_per_update=game.batch_size,
            epsilon=adam["epsilon"],
        )
        # Many small arrays take twice as long to compile as one long vector.
        optimizers[player] = optax.flatten(optax.chain(optax.stateless(_finite), own))
    return GAN(
        init=game.init,
        optimizers=optimizers,
        turns=tuple(turns),
        averages={"generator": lambda step: {"params": average(step), BUFFERS: 0.0}},
        numbers=game.numbers,
        images=("images",),
    )


def _finite(gradients: PyTree, params: PyTree = None) -> PyTree:
    return jax.tree.map(
        lambda x: jnp.nan_to_num(x, posinf=_LARGEST_GRADIENT, neginf=-_LARGEST_GRADIENT), gradients
    )
