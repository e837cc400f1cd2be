"""The losses of BigGAN (Brock et al. 2018, arXiv 1809.11096), and how gradients are computed."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from jaxgan import losses
from jaxgan.augmentation import draw_shift, shift
from jaxgan.game import GAN, Loss, Outcome, TrainState, Turn
from jaxgan.layers.spectral import largest_norm
from jaxgan.layers.training_call import call
from jaxgan.systems.latent.losses import init_pair

PyTree = Any
FAKE_LABELS = ("uniform", "data")
# The probability that an image is shifted, if `translation` is not 0.
SHIFTED = 0.5
# An example has two shifts, with these indices: of its real image, and of its generated image.
REAL, FAKE = 0, 1
# Params whose gradient orthogonal regularisation leaves as it is: the table of the classes'
# vectors that all blocks of the generator share.
UNREGULARISED = "shared"
# The metric of each network's largest singular value.
NORMS = {"generator": "g_spectral_norm", "discriminator": "d_spectral_norm"}


@dataclasses.dataclass(frozen=True)
class BigGame:
    """The losses of generator and discriminator. The attributes are as in `big_gan`.

    Raises:
        ValueError: a name is unknown.
    """

    generator: nn.Module
    discriminator: nn.Module
    loss: str = "hinge"
    fake_labels: str = "uniform"
    r1: float = 0.0
    translation: int = 0

    def __post_init__(self):
        losses.adversarial_loss(self.loss)
        if self.fake_labels not in FAKE_LABELS:
            raise ValueError(
                f"unknown fake labels {self.fake_labels!r}: one of {', '.join(FAKE_LABELS)}"
            )

    @property
    def num_classes(self) -> tuple[int, ...]:
        """How many classes each label has; () for no labels."""
        return getattr(self.generator, "num_classes", ())

    def init(self, key: jax.Array) -> dict[str, PyTree]:
        """Initialises both networks.

        Args:
            key: a typed PRNG key.

        Returns:
            The variables of "generator" and of "discriminator", {"params": ..., other collections}.
        """
        return init_pair(self.generator, self.discriminator, key)

    def draw_noise(self, key: jax.Array, data: Mapping[str, jax.Array]) -> PyTree:
        """Draws the random numbers of one generated image.

        Args:
            key: a typed PRNG key.
            data: the data set; "labels" has the classes of all images, if there are labels.

        Returns:
            "latent", float32 [latent_size] of N(0, 1). With labels "labels", int32 [k]: each class
            as likely as the others, or those of a random image. With translation "shifts", int32
            [2, 2]: the shift of the real image and that of the generated image, each as
            `augmentation.draw_shift` returns it.
        """
        latent_key, label_key, shift_key = jax.random.split(key, 3)
        size = (self.generator.latent_size,)
        drawn = {"latent": jax.random.normal(latent_key, size, jnp.float32)}
        if self.num_classes and self.fake_labels == "data":
            row = jax.random.randint(label_key, (), 0, len(data["labels"]), jnp.int32)
            drawn["labels"] = data["labels"][row]
        elif self.num_classes:
            counts = jnp.asarray(self.num_classes, jnp.int32)
            drawn["labels"] = jax.random.randint(label_key, counts.shape, 0, counts, jnp.int32)
        if self.translation:
            drawn["shifts"] = jax.vmap(lambda key: draw_shift(key, self.translation, SHIFTED))(
                jax.random.split(shift_key)
            )
        return drawn

    def discriminator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The discriminator's loss.

        It judges generated and real images in one call, so its spectral norms take one step.

        Args:
            state: the state of the run.
            batch: "images", float32 [batch, H, W, C] in [-1, 1]; with labels also "labels", int32
                [batch, k].
            noise: `draw_noise` of each example, leaves [batch, ...].
            axis_name: the pmap axis to average batch statistics over; None for none.

        Returns:
            (float32 scalar, Outcome): its metrics are those of `big_gan` but for the generator's.
        """
        adversarial = losses.adversarial_loss(self.loss)
        fake, of_generator = self._made(state, noise, axis_name)
        real = self._shifted(batch["images"], noise, REAL)
        labels = None
        if self.num_classes:
            labels = jnp.concatenate([noise["labels"], batch["labels"]])
        logits, collections = self._judged(state, jnp.concatenate([fake, real]), labels)
        fake_logits, real_logits = jnp.split(logits, (len(fake),))
        value = adversarial.discriminator(real_logits, fake_logits, 0.0)
        metrics = losses.judgement(adversarial, real_logits, fake_logits)
        if self.r1:
            own = batch["labels"] if self.num_classes else None
            penalty = losses.zero_centred_penalty(
                lambda images: self._judged(state, images, own)[0], real
            )
            value += self.r1 * penalty
        metrics["discriminator_loss"] = value
        moved = {"generator": of_generator, "discriminator": collections}
        for name, its in moved.items():
            if (norm := largest_norm(its)) is not None:
                metrics[NORMS[name]] = norm
        return value, Outcome(metrics, moved)

    def generator_loss(
        self, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        """The generator's loss. Args and returns are as in `discriminator_loss`.

        The batch is not used. The only metric is generator_loss.
        """
        fake, of_generator = self._made(state, noise, axis_name)
        logits, collections = self._judged(state, fake, noise.get("labels"))
        value = losses.adversarial_loss(self.loss).generator(logits)
        moved = {"generator": of_generator, "discriminator": collections}
        return value, Outcome({"generator_loss": value}, moved)

    def _made(
        self, state: TrainState, noise: PyTree, axis_name: str | None
    ) -> tuple[jax.Array, PyTree]:
        images, collections = call(
            self.generator,
            state.variables("generator"),
            noise["latent"],
            noise.get("labels"),
            axis_name=axis_name,
        )
        return self._shifted(images, noise, FAKE), collections

    def _judged(
        self, state: TrainState, images: jax.Array, labels: jax.Array | None
    ) -> tuple[jax.Array, PyTree]:
        variables = state.variables("discriminator")
        # Nothing in the discriminator is computed of a whole batch.
        return call(self.discriminator, variables, images, labels, axis_name=None)

    def _shifted(self, images: jax.Array, noise: PyTree, which: int) -> jax.Array:
        if not self.translation:
            return images
        return shift(images, noise["shifts"][:, which], self.translation)


def in_parts(loss: Loss, player: str, count: int) -> Loss:
    """A loss that is computed of one part of the batch after the other, to use less memory.

    Each part has a forward pass of its own: its own batch statistics, and a step of its own of
    running statistics and spectral norms. Value, metrics and gradient are the means over the parts.
    Example i of this device's part of the batch is in part i modulo `count`. So the parts are the
    same on any number of devices whose shares of the batch are multiples of `count`.

    Args:
        loss: the loss of a part.
        player: whose params the gradient is taken with respect to.
        count: how many parts; 1 returns the loss itself.

    Returns:
        The loss of the batch. It raises a ValueError if this device's share of the batch is no
        multiple of `count`.
    """
    if count == 1:
        return loss

    def whole(
        state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
    ) -> tuple[jax.Array, Outcome]:
        given = state.players[player].params
        params = jax.lax.stop_gradient(given)

        def part(
            carry: tuple[PyTree, PyTree], inputs: tuple[PyTree, PyTree]
        ) -> tuple[tuple[PyTree, PyTree], tuple[jax.Array, Mapping[str, jax.Array]]]:
            total, collections = carry
            current = state
            for name, its in collections.items():
                current = current.with_player(name, collections=its)

            def value(params: PyTree) -> tuple[jax.Array, Outcome]:
                return loss(current.with_player(player, params=params), *inputs, axis_name)

            (found, outcome), slopes = jax.value_and_grad(value, has_aux=True)(params)
            total = jax.tree.map(jnp.add, total, slopes)
            return (total, {**collections, **outcome.collections}), (found, outcome.metrics)

        def split(x: jax.Array) -> jax.Array:
            if len(x) % count:
                raise ValueError(
                    f"a device has {len(x)} images of a batch, which are not {count} equal parts: "
                    f"let the batch size be a multiple of {count} times the number of devices"
                )
            return x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)

        start = {name: its.collections for name, its in state.players.items()}
        carry = jax.tree.map(jnp.zeros_like, params), start
        inputs = jax.tree.map(split, (batch, noise))
        (total, collections), (values, metrics) = jax.lax.scan(part, carry, inputs)
        # The value of this sum is 0. Its gradient is the mean of those that are known already.
        known = jax.tree.map(
            lambda slope, x, fixed: jnp.vdot(slope, x - fixed) / count, total, given, params
        )
        value = jnp.mean(values) + jax.tree.reduce(jnp.add, known)
        return value, Outcome(jax.tree.map(jnp.mean, dict(metrics)), collections)

    return whole


def orthogonal_regularisation(strength: float) -> optax.GradientTransformation:
    """Adds the gradient of orthogonal regularisation to the gradients of params.

    Brock et al. 2018 (arXiv 1809.11096), equation 3: the penalty strength / 2 |W W^T (1 - I)|^2
    pushes the filters of a layer apart, and leaves their lengths alone. Its gradient, as in the
    authors' code, is 2 strength (W W^T (1 - I)) W. Products with 1 - I are by elements. W
    [outputs, inputs] is a "kernel" of any layer,
    or an "embedding", whose rows are its outputs; one of the module "shared" has no penalty.

    Args:
        strength: 1e-4 in the paper.

    Returns:
        An optax transformation. Its update wants params.
    """

    def added(path: tuple[str, ...], slope: jax.Array, param: jax.Array) -> jax.Array:
        if path[-1] not in ("kernel", "embedding") or UNREGULARISED in path:
            return slope
        columns = param.T if path[-1] == "embedding" else param.reshape(-1, param.shape[-1])
        term = 2 * strength * apart(columns)
        return slope + (term.T if path[-1] == "embedding" else term.reshape(param.shape))

    def update(gradients: PyTree, state: PyTree, params: PyTree = None) -> tuple[PyTree, PyTree]:
        slopes, its = map(flax.traverse_util.flatten_dict, (gradients, params))
        new = {path: added(path, slope, its[path]) for path, slope in slopes.items()}
        return flax.traverse_util.unflatten_dict(new), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def apart(columns: jax.Array) -> jax.Array:
    """C (C^T C (1 - I)), the product with 1 - I being by elements: how alike columns are.

    Only a matrix of the smaller side's size is made: the first layer of a large generator has
    24,576 outputs of 20 inputs.

    Args:
        columns: C, float32 [inputs, outputs].

    Returns:
        float32 [inputs, outputs].
    """
    inputs, outputs = columns.shape
    highest = jax.lax.Precision.HIGHEST
    if outputs <= inputs:
        gram = jnp.matmul(columns.T, columns, precision=highest)
        return jnp.matmul(columns, gram * (1 - jnp.eye(outputs)), precision=highest)
    small = jnp.matmul(columns, columns.T, precision=highest)
    own = jnp.sum(jnp.square(columns), axis=0)
    return jnp.matmul(small, columns, precision=highest) - columns * own


def copied_until(start: int, decay: float) -> Callable[[jax.Array], jax.Array]:
    """The decay of a moving average that is a copy at first.

    Args:
        start: the first step, counted from 1, whose average is not a copy.
        decay: the decay from then on.

    Returns:
        A function: steps done before (int32 scalar) -> decay (float32 scalar).
    """
    return lambda step: jnp.where(step + 1 < start, 0.0, jnp.float32(decay))


def big_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    discriminator_steps: int = 1,
    parts: int = 1,
    ema_decay: float = 0.9999,
    ema_start: int = 0,
    generator_ortho: float = 0.0,
    discriminator_ortho: float = 0.0,
    **game: Any,
) -> GAN:
    """Makes BigGAN from two networks.

    A batch is {"images": float32 [batch, H, W, C] in [-1, 1]}, with labels also "labels", int32
    [batch, k]. A step takes `discriminator_steps` turns of the discriminator, each on a new batch,
    and one of the generator. Each turn draws new latents and labels. Both networks are in training
    in every turn, so running statistics and the vectors of spectral norms of both move in each.
    Batch statistics are those of the whole batch on all devices.

    Args:
        generator: (latents [batch, generator.latent_size], labels) -> images in [-1, 1], [batch,
            *generator.image_shape]. Its attribute num_classes is the number of classes of each
            label; without labels () and None in their place.
        discriminator: (images, labels) -> logits [batch].
        generator_optimizer: an optax transformation.
        discriminator_optimizer: an optax transformation.
        discriminator_steps: turns of the discriminator in a step.
        parts: each gradient is computed in so many parts, as in `in_parts`.
        ema_decay: decay of the moving average of the generator's variables, in [0, 1).
        ema_start: the average is a copy before this step, as in `copied_until`; 0 for the usual
            warm-up of `GAN`.
        generator_ortho, discriminator_ortho: the strength of `orthogonal_regularisation`; 0 for
            none.
        loss: a name in `losses.UNPAIRED_LOSSES`; "hinge" by default.
        fake_labels: the labels of generated images. "uniform", the default: each class as often as
            the others; "data": those of random images of the data set.
        r1: gamma of the zero-centred gradient penalty at real images; 0, the default, for none.
        translation: half of all images, real and generated, are shifted by up to this many pixels
            before the discriminator sees them; 0, the default, for none.

    Returns:
        The system. Its metrics are generator_loss; discriminator_loss; d_real, d_fake and
        d_accuracy, as in `losses.judgement`; g_spectral_norm and d_spectral_norm, as in
        `spectral.largest_norm`. All but generator_loss are measured before the discriminator's
        update.

    Raises:
        ValueError: a name is unknown.
    """
    its = BigGame(generator, discriminator, **game)

    def regularised(
        optimizer: optax.GradientTransformation, strength: float
    ) -> optax.GradientTransformation:
        if not strength:
            return optimizer
        return optax.chain(orthogonal_regularisation(strength), optimizer)

    return GAN(
        init=its.init,
        optimizers={
            "generator": regularised(generator_optimizer, generator_ortho),
            "discriminator": regularised(discriminator_optimizer, discriminator_ortho),
        },
        turns=(
            Turn(
                "discriminator",
                in_parts(its.discriminator_loss, "discriminator", parts),
                its.draw_noise,
                discriminator_steps,
            ),
            Turn(
                "generator",
                in_parts(its.generator_loss, "generator", parts),
                its.draw_noise,
                batch="last",
            ),
        ),
        averages={"generator": copied_until(ema_start, ema_decay) if ema_start else ema_decay},
        images=("images",),
    )
