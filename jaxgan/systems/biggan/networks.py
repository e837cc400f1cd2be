"""The networks of BigGAN and of BigGAN-deep (Brock et al. 2018, arXiv 1809.11096, appendix B)."""

from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import latents as distributions
from jaxgan.layers.classes import one_hot
from jaxgan.layers.normalisation import EPSILON, BatchNorm
from jaxgan.layers.spectral import (
    Embedding,
    SpectralConvolution,
    SpectralDense,
    SpectralEmbedding,
    averaged,
    doubled,
    largest,
)

# Channels of the generator before and after each doubling, by the number of doublings, in widths.
# Images of fewer doublings than four have four widths throughout.
_GENERATOR_WIDTHS = {
    4: (16, 16, 8, 4, 2),
    5: (16, 16, 8, 4, 2, 1),
    6: (16, 16, 8, 8, 4, 2, 1),
    7: (16, 16, 8, 8, 4, 2, 1, 1),
}
# Channels of the discriminator after each of its blocks. Those of seven doublings are not in the
# authors' code.
_DISCRIMINATOR_WIDTHS = {
    4: (1, 2, 4, 8, 16),
    5: (1, 2, 4, 8, 16, 16),
    6: (1, 2, 4, 8, 8, 16, 16),
    7: (1, 1, 2, 4, 8, 8, 16, 16),
}
_FEW = 3
_SMALL_WIDTH = 4
# Blocks of the discriminator of small images, and how many of them halve.
_SMALL_BLOCKS, _SMALL_HALVINGS = 4, 2
# BigGAN-deep: the hidden channels of a block are this part of its others.
_BOTTLENECK = 4
# Attention: the parts of the channels that queries and values have.
_QUERIES, _VALUES = 8, 2


class Step(NamedTuple):
    """A block of a network.

    Attributes:
        before, after: its channels, in widths.
        resamples: whether it doubles or halves the map.
        side: the height by which attention after it is asked for.
    """

    before: int
    after: int
    resamples: bool
    side: int


def num_doublings(image_shape: tuple[int, int, int]) -> int:
    """How often the generator doubles its first map, whose shorter side has 4 to 7 pixels.

    Raises:
        ValueError: height and width are not 4 to 7 times a power of two, or more than 2**7 times.
    """
    height, width, _ = image_shape
    count = max(0, (min(height, width) // 4).bit_length() - 1)
    if not 1 <= count <= max(_GENERATOR_WIDTHS) or height % (1 << count) or width % (1 << count):
        raise ValueError(
            "BigGAN makes images whose height and width are 4 to 7 times a power of two from 2 to "
            f"128, such as 28, 32 or 128, not {height}x{width}"
        )
    return count


def generator_steps(image_shape: tuple[int, int, int], depth: int = 0) -> list[Step]:
    """The blocks of the generator in order; arguments as in `Generator`."""
    count = num_doublings(image_shape)
    widths = _GENERATOR_WIDTHS.get(count, (_SMALL_WIDTH,) * (count + 1))
    steps = []
    for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
        side = image_shape[0] >> (count - 1 - i)
        steps += [Step(before, before, False, 0)] * (depth - 1)
        steps.append(Step(before, after, True, side))
    return steps


def discriminator_steps(image_shape: tuple[int, int, int], depth: int = 0) -> list[list[Step]]:
    """The blocks of the discriminator in order, a list for each map; as `generator_steps`.

    The first block of BigGAN has the image's channels, for which `before` is 0.
    """
    count = num_doublings(image_shape)
    is_small = count <= _FEW
    widths = _DISCRIMINATOR_WIDTHS.get(count, (_SMALL_WIDTH,) * _SMALL_BLOCKS)
    if not depth:
        widths = (0, *widths)
    stages = []
    for i, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
        halves = i < (_SMALL_HALVINGS if is_small else count)
        # In the authors' tables all maps of small images count as half as high as the image.
        side = image_shape[0] >> (1 if is_small else min(i + 1, count))
        stage = [Step(before, after, halves, 0)]
        stage += [Step(after, after, False, 0)] * (depth - 1)
        stage[-1] = stage[-1]._replace(side=side)
        stages.append(stage)
    return stages


class Attention(nn.Module):
    """Self-attention of a map (Zhang et al. 2018, arXiv 1805.08318): [b, h, w, c] -> the same.

    Attributes:
        options: of the convolutions, as `SpectralConvolution` takes them.
    """

    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        batch, height, width, channels = x.shape

        def convolved(name: str, x: jax.Array, count: int) -> jax.Array:
            layer = SpectralConvolution(count, 1, has_bias=False, name=name, **self.options)
            return layer(x, train)

        def positions(x: jax.Array) -> jax.Array:
            return x.reshape(batch, -1, x.shape[-1]).astype(self.options["dtype"])

        queries = positions(convolved("theta", x, channels // _QUERIES))
        keys = positions(largest(convolved("phi", x, channels // _QUERIES)))
        values = positions(largest(convolved("g", x, channels // _VALUES)))
        float32 = {"preferred_element_type": jnp.float32}
        shares = jax.nn.softmax(jnp.einsum("bqc,bkc->bqk", queries, keys, **float32))
        seen = jnp.einsum("bqk,bkc->bqc", shares.astype(values.dtype), values, **float32)
        seen = convolved("o", seen.reshape(batch, height, width, -1), channels)
        return self.param("gamma", nn.initializers.zeros, (), jnp.float32) * seen + x


class ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and offset are linear in a condition.

    Attributes:
        is_table: whether the condition is weights of classes, each of which has its own scale and
            offset; otherwise two spectrally normalised layers compute them.
        norm: of the batch normalisation, as `BatchNorm` takes them.
        options: of the two layers, as `SpectralDense` takes them.
    """

    is_table: bool
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array, train: bool = False) -> jax.Array:
        """Float32 [batch, h, w, c], condition float32 [batch, n] -> float32 [batch, h, w, c]."""

        def learnt(name: str) -> jax.Array:
            width = x.shape[-1]
            if self.is_table:
                table = Embedding(width, self.options["init_kernel"], name=name)
                return table(condition)[:, None, None]
            layer = SpectralDense(width, has_bias=False, name=name, **self.options)
            return layer(condition, train)[:, None, None]

        norm = BatchNorm(use_scale=False, use_bias=False, name="norm", **self.norm)
        return norm(x) * (1 + learnt("gain")) + learnt("bias")


class GeneratorBlock(nn.Module):
    """A residual block of BigGAN that doubles the map, or one of BigGAN-deep.

    Attributes:
        step: its channels.
        width: the channels of one width.
        is_deep: whether it is one of BigGAN-deep.
        is_table, norm, options: as in `ConditionalNorm`.
    """

    step: Step
    width: int
    is_deep: bool
    is_table: bool
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array, train: bool = False) -> jax.Array:
        before, after = (self.width * each for each in self.step[:2])
        up = "up" if self.step.resamples else ""

        def activated(name: str, x: jax.Array) -> jax.Array:
            norm = ConditionalNorm(self.is_table, self.norm, self.options, name=name)
            return nn.relu(norm(x, condition, train))

        def convolved(name: str, x: jax.Array, *sizes: Any) -> jax.Array:
            return SpectralConvolution(*sizes, name=name, **self.options)(x, train)

        y = activated("bn1", x)
        if not self.is_deep:
            y = convolved("conv1", y, after, 3, up)
            y = convolved("conv2", activated("bn2", y), after, 3)
            return y + convolved("conv_sc", x, after, 1, up)
        hidden = before // _BOTTLENECK
        y = convolved("conv1", y, hidden, 1)
        y = convolved("conv2", activated("bn2", y), hidden, 3, up)
        y = convolved("conv3", activated("bn3", y), hidden, 3)
        y = convolved("conv4", activated("bn4", y), after, 1)
        x = x[..., :after]
        return y + (doubled(x) if up else x)


class DiscriminatorBlock(nn.Module):
    """A residual block of the discriminator.

    Attributes:
        step: its channels; `before` is 0 if it sees the image.
        width: the channels of one width.
        is_deep: whether it is one of BigGAN-deep.
        options: of the convolutions.
    """

    step: Step
    width: int
    is_deep: bool
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        before, after = (self.width * each for each in self.step[:2])
        halves = self.step.resamples

        def convolved(name: str, x: jax.Array, *sizes: Any) -> jax.Array:
            return SpectralConvolution(*sizes, name=name, **self.options)(x, train)

        y = nn.relu(x) if before else x
        if not self.is_deep:
            y = convolved("conv1", y, after, 3)
            y = convolved("conv2", nn.relu(y), after, 3, "down" if halves else "")
            if before == after and not halves:
                return y + x
            return y + convolved("conv_sc", x, after, 1, "down" if halves else "")
        hidden = after // _BOTTLENECK
        y = convolved("conv1", y, hidden, 1)
        y = convolved("conv2", nn.relu(y), hidden, 3)
        y = nn.relu(convolved("conv3", nn.relu(y), hidden, 3))
        if halves:
            y, x = averaged(y), averaged(x)
        y = convolved("conv4", y, after, 1)
        if after > before:
            x = jnp.concatenate([x, convolved("conv_sc", x, after - before, 1)], axis=-1)
        return y + x


class Generator(nn.Module):
    """Makes images of classes from latents.

    A spectrally normalised layer makes the first map, residual blocks double it, and batch
    normalisation, a ReLU, a convolution and a tanh make the image. Each block is told the class,
    through conditional batch normalisation, and a part of the latent.

    Without labels there is one class. Of several labels the vectors are added up.

    Attributes:
        latent_size: length of a latent vector. With is_hierarchical and depth 0 it is a multiple of
            the number of its parts: one for the first layer and one for each block.
        width: channels of one width (ch).
        image_shape: (height, width, channels) of an image.
        num_classes: how many classes each label has; () for no labels.
        shared_size: the length of a class's vector, which all blocks share; 0: each block has a
            table of its own of the classes' scales and offsets, and is not told the latent.
        is_hierarchical: whether blocks are told the latent: each its own part of it, or those of
            BigGAN-deep all of it.
        attention: the heights of the maps after which there is attention.
        depth: 0 for BigGAN; for BigGAN-deep the blocks for each map, 2 in the paper.
        init_kernels: a name of `spectral.INITS`.
        spectral_epsilon: as `epsilon` in `spectral.SpectralDense`.
        norm_epsilon: is added to the variance by conditional batch normalisation.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        truncation: the latents are changed to ones of the truncated normal distribution, with this
            bound (`latents.truncated`); None for those that are given.
        momentum: the share of the old running statistics that remains in a step.
        is_unbiased: whether the running variances are unbiased, as in `BatchNorm`.
    """

    latent_size: int = 120
    width: int = 96
    image_shape: tuple[int, int, int] = (128, 128, 3)
    num_classes: tuple[int, ...] = (1000,)
    shared_size: int = 128
    is_hierarchical: bool = True
    attention: tuple[int, ...] = (64,)
    depth: int = 0
    init_kernels: str = "orthogonal"
    spectral_epsilon: float = 1e-6
    norm_epsilon: float = EPSILON
    dtype: Any = jnp.float32
    truncation: float | None = None
    momentum: float = 0.9
    is_unbiased: bool = True

    @nn.compact
    def __call__(
        self,
        latents: jax.Array,
        labels: jax.Array | None = None,
        train: bool = False,
        axis_name: str | None = None,
        classes: jax.Array | None = None,
    ) -> jax.Array:
        """Makes images.

        Args:
            latents: float32 [batch, latent_size].
            labels: int32 [batch, len(num_classes)], each from 0 to below its number of classes;
                None if there are none.
            train: whether to normalise by the statistics of this batch, and to update the running
                ones and the vectors of the spectral norms.
            axis_name: the pmap axis to average the statistics of the batch over, if any.
            classes: in the place of labels, float32 [batch, shared_size]: vectors of classes, as
                `vectors_of_classes` gives them, or points between them.

        Returns:
            float32 [batch, height, width, channels] in [-1, 1].

        Raises:
            AssertionError: latents, labels or classes have another shape (from chex).
        """
        chex.assert_shape(latents, (None, self.latent_size))
        if self.truncation is not None:
            latents = distributions.truncated(latents, self.truncation)
        steps = generator_steps(self.image_shape, self.depth)
        options: dict[str, Any] = {
            "init_kernel": self.init_kernels,
            "epsilon": self.spectral_epsilon,
            "dtype": self.dtype,
        }
        norm: dict[str, Any] = {
            "use_running_average": not train,
            "momentum": self.momentum,
            "epsilon": self.norm_epsilon,
            "axis_name": axis_name,
            # The mean of the squares minus the square of the mean has fewer digits.
            "use_fast_variance": False,
            "is_unbiased": self.is_unbiased,
        }
        if classes is None:
            classes = class_weights(labels, self.num_classes, latents.shape[0])
            if self.shared_size:
                classes = Embedding(self.shared_size, self.init_kernels, name="shared")(classes)
        chex.assert_shape(classes, (latents.shape[0], self.shared_size or None))
        first, conditions = self._conditions(latents, classes, len(steps))
        count = num_doublings(self.image_shape)
        height, width = (side >> count for side in self.image_shape[:2])
        channels = steps[0].before * self.width
        x = SpectralDense(height * width * channels, name="linear", **options)(first, train)
        x = x.reshape(-1, height, width, channels)
        is_table = not self.shared_size
        for i, (step, condition) in enumerate(zip(steps, conditions, strict=True)):
            block = GeneratorBlock(
                step, self.width, self.depth > 0, is_table, norm, options, name=f"block_{i}"
            )
            x = block(x, condition, train)
            if step.side in self.attention:
                x = Attention(options, name=f"attention_{i}")(x, train)
        # The authors' code gives its epsilon to the conditional ones alone.
        x = nn.relu(BatchNorm(name="norm", **{**norm, "epsilon": EPSILON})(x))
        last = SpectralConvolution(self.image_shape[-1], 3, name="image", **options)
        return jnp.tanh(last(x, train))

    def _conditions(
        self, latents: jax.Array, classes: jax.Array, num_blocks: int
    ) -> tuple[jax.Array, list[jax.Array]]:
        """What the first layer is told, and each block."""
        if not self.is_hierarchical:
            return latents, [classes] * num_blocks
        if self.depth:
            both = jnp.concatenate([classes, latents], axis=1)
            return both, [both] * num_blocks
        first, *parts = jnp.split(latents, num_blocks + 1, axis=1)
        return first, [jnp.concatenate([classes, part], axis=1) for part in parts]


class Discriminator(nn.Module):
    """Judges images of classes.

    Residual blocks halve the image. The ReLU of the last map is summed over its pixels, and the
    logit is a linear function of that sum h plus the inner product of h with the vector of the
    class (Miyato and Koyama 2018, arXiv 1802.05637, equation 3), or with the sum of the vectors of
    several labels. There is no batch normalisation.

    Attributes:
        width, image_shape, num_classes, attention, depth, init_kernels, spectral_epsilon, dtype: as
            in `Generator`. Each attention follows the map of half, a quarter and so on of the
            image's height; in images of less than 64 pixels all maps count as half as high.
    """

    width: int = 96
    image_shape: tuple[int, int, int] = (128, 128, 3)
    num_classes: tuple[int, ...] = (1000,)
    attention: tuple[int, ...] = (64,)
    depth: int = 0
    init_kernels: str = "orthogonal"
    spectral_epsilon: float = 1e-6
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        labels: jax.Array | None = None,
        train: bool = False,
        axis_name: str | None = None,
    ) -> jax.Array:
        """Judges images.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].
            labels: as in `Generator`.
            train: whether to update the vectors of the spectral norms.
            axis_name: not used: nothing is computed of a whole batch.

        Returns:
            Logits, float32 [batch].

        Raises:
            AssertionError: images or labels have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        options: dict[str, Any] = {
            "init_kernel": self.init_kernels,
            "epsilon": self.spectral_epsilon,
            "dtype": self.dtype,
        }
        stages = discriminator_steps(self.image_shape, self.depth)
        x = images
        if self.depth:
            channels = self.width * stages[0][0].before
            x = SpectralConvolution(channels, 3, name="input", **options)(x, train)
        for i, stage in enumerate(stages):
            for j, step in enumerate(stage):
                name = f"block_{i}_{j}" if self.depth else f"block_{i}"
                block = DiscriminatorBlock(step, self.width, self.depth > 0, options, name=name)
                x = block(x, train)
                if step.side in self.attention:
                    x = Attention(options, name=f"attention_{i}")(x, train)
        x = jnp.sum(nn.relu(x), axis=(1, 2))
        logits = SpectralDense(1, name="linear", **options)(x, train)[:, 0]
        table = SpectralEmbedding(
            x.shape[1], self.init_kernels, self.spectral_epsilon, name="embed"
        )
        vectors = table(class_weights(labels, self.num_classes, x.shape[0]), train)
        return logits + jnp.sum(vectors * x, axis=1)


def class_weights(labels: jax.Array | None, num_classes: tuple[int, ...], batch: int) -> jax.Array:
    """The weights of the classes of all labels, 0 or 1.

    Args:
        labels: int [batch, len(num_classes)]; not looked at if there are none.
        num_classes: how many classes each label has; () is one class, which every image has.
        batch: the number of images.

    Returns:
        float32 [batch, sum(num_classes)], or [batch, 1].

    Raises:
        AssertionError: labels have another shape (from chex).
    """
    if not num_classes:
        return jnp.ones((batch, 1), jnp.float32)
    return one_hot(labels, num_classes, batch)


def vectors_of_classes(variables: Any, labels: jax.Array, generator: Generator) -> jax.Array:
    """The vectors of classes that all blocks of a generator share.

    Args:
        variables: the generator's variables, {"params": ..., other collections}.
        labels: int [n, len(generator.num_classes)].
        generator: the module.

    Returns:
        float32 [n, shared_size]; without a shared table what `class_weights` gives.
    """
    hot = class_weights(labels, generator.num_classes, len(labels))
    if not generator.shared_size:
        return hot
    table = Embedding(generator.shared_size)
    return table.apply({"params": variables["params"]["shared"]}, hot)  # type: ignore[return-value]


def check_attention(
    width: int, image_shape: tuple[int, int, int], generator: Any, discriminator: Any, depth: int
) -> None:
    """Checks that there are maps of the heights of attention, with channels enough.

    Args:
        width: as in `Generator`, of the narrower network.
        image_shape, depth: as in `Generator`.
        generator, discriminator: the heights of attention in each network.

    Raises:
        ValueError: a network has no map of a height, or too few channels for queries.
    """
    of_discriminator = [step for steps in discriminator_steps(image_shape, depth) for step in steps]
    for name, sides, steps in (
        ("generator", generator, generator_steps(image_shape, depth)),
        ("discriminator", discriminator, of_discriminator),
    ):
        for side in sides:
            channels = [width * step.after for step in steps if step.side == side]
            if not channels:
                known = sorted({step.side for step in steps if step.side})
                raise ValueError(
                    f"the {name} has no map of the height {side} for attention: one of "
                    f"{', '.join(map(str, known))}"
                )
            if min(channels) < _QUERIES:
                raise ValueError(
                    f"attention at {side} wants {_QUERIES} channels or more, and the {name}'s map "
                    f"has {min(channels)}"
                )
