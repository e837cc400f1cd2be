"""The networks of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), with labels as in its ADA form.

Karras et al. 2020 (arXiv 2006.06676), appendix, describe the conditional networks.
"""

import math
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.classes import one_hot
from jaxgan.layers.equalised import (
    EqualisedConvolution,
    EqualisedDense,
    activated,
    modulated_convolution,
    with_unit_second_moment,
)
from jaxgan.layers.filtering import downsampled, upsampled
from jaxgan.layers.minibatch import with_deviation
from jaxgan.layers.resampling import depth_to_space, space_to_depth

GENERATOR_KINDS = ("skip", "resnet", "orig")
DISCRIMINATOR_KINDS = ("resnet", "orig", "skip")
NOISES = ("random", "const", "none")
# The collection of what is neither trained nor averaged: the mean style and the constant noise.
BUFFERS = "buffers"
# The mean style keeps this share at each call in training.
MEAN_DECAY = 0.995
MULTIPLIER = 0.01
# Layers of the discriminator's mapping of labels.
LABEL_LAYERS = 8
_SMALLEST = 4


class Mapping(nn.Module):
    """Turns latents, or labels, or both, into styles.

    Latents and the embedding of the labels are divided by their root mean square, joined, and go
    through fully connected layers, each followed by a LeakyReLU.

    Attributes:
        width: the size of a style.
        num_layers: how many layers.
        latent_size: the size of a latent; 0 for labels alone.
        label_size: how many numbers the labels of an image are; 0 for none.
        hidden: the width of all layers but the last; None for that of the styles.
        embedded: the size of the embedding of the labels; None for that of the styles.
        multiplier: of the layers' learning rates.
        decay: of the running mean of the styles; None for no mean.
    """

    width: int
    num_layers: int
    latent_size: int
    label_size: int = 0
    hidden: int | None = None
    embedded: int | None = None
    multiplier: float = MULTIPLIER
    decay: float | None = MEAN_DECAY

    @nn.compact
    def __call__(
        self, latents: jax.Array | None, labels: jax.Array | None, train: bool = False
    ) -> jax.Array:
        """Makes styles.

        Args:
            latents: float32 [batch, latent_size]; None if latent_size is 0.
            labels: float32 [batch, label_size]; None if label_size is 0.
            train: whether to move the running mean by this batch.

        Returns:
            float32 [batch, width].
        """
        parts = []
        if self.latent_size:
            chex.assert_shape(latents, (None, self.latent_size))
            assert latents is not None
            parts.append(with_unit_second_moment(latents))
        if self.label_size:
            chex.assert_shape(labels, (None, self.label_size))
            assert labels is not None
            embed = EqualisedDense(self.embedded or self.width, name="embed")
            parts.append(with_unit_second_moment(embed(labels)))
        x = jnp.concatenate(parts, axis=1)
        for i in range(self.num_layers):
            width = self.width if i == self.num_layers - 1 else self.hidden or self.width
            x = activated(EqualisedDense(width, self.multiplier, name=f"fc{i}")(x))
        if self.decay is not None:
            mean = self.variable(BUFFERS, "w_average", jnp.zeros, (self.width,), jnp.float32)
            if train:
                mean.value = mean.value + (1 - self.decay) * (jnp.mean(x, axis=0) - mean.value)
        return x


class _SynthesisLayer(nn.Module):
    """A modulated 3x3 convolution, noise, bias, LeakyReLU.

    Attributes:
        width: the number of output channels.
        index: the layer's number among those with noise.
        resampling: "" or "up".
        clamp, dtype: as in `Generator`.
    """

    width: int
    index: int
    resampling: str
    clamp: float | None
    dtype: Any

    @nn.compact
    def __call__(
        self, x: jax.Array, styles: jax.Array, noise: str, keys: Any, gain: float = 1.0
    ) -> jax.Array:
        channels = x.shape[-1]
        scales = EqualisedDense(channels, bias=1, name="affine")(styles)
        kernel = self.param(
            "kernel", nn.initializers.normal(1), (3, 3, channels, self.width), jnp.float32
        )
        x = modulated_convolution(x, kernel, scales, resampling=self.resampling, dtype=self.dtype)
        shape = x.shape[1:3]
        strength = self.param("noise_strength", nn.initializers.zeros, (), jnp.float32)
        constant = self.variable(BUFFERS, "noise", self._drawn, shape)
        if noise == "random":
            drawn = jax.vmap(
                lambda key: jax.random.normal(
                    jax.random.fold_in(key, self.index), shape, jnp.float32
                )
            )(keys)
            x = x + strength * drawn[..., None]
        elif noise == "const":
            x = x + strength * constant.value[..., None]
        x = x + self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        return activated(x, gain=gain, clamp=self.clamp)

    def _drawn(self, shape: tuple[int, int]) -> jax.Array:
        return jax.random.normal(self.make_rng("params"), shape, jnp.float32)


class _ToImage(nn.Module):
    """A modulated 1x1 convolution to the channels of an image, and a bias."""

    channels: int
    clamp: float | None
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, styles: jax.Array) -> jax.Array:
        inputs = x.shape[-1]
        scales = EqualisedDense(inputs, bias=1, name="affine")(styles) / math.sqrt(inputs)
        kernel = self.param(
            "kernel", nn.initializers.normal(1), (1, 1, inputs, self.channels), jnp.float32
        )
        x = modulated_convolution(x, kernel, scales, is_demodulated=False, dtype=self.dtype)
        x = x + self.param("bias", nn.initializers.zeros, (self.channels,), jnp.float32)
        return activated(x, is_linear=True, clamp=self.clamp)


class _SynthesisBlock(nn.Module):
    """The layers of one size: two convolutions, and what they add to the image.

    Attributes:
        width: channels of the maps.
        index: 0 for the smallest size, then 1 and so on.
        is_last: whether the size is that of the image.
        shape: (height, width) of the smallest map.
        channels, kind, clamp, dtype: as in `Generator`.
    """

    width: int
    index: int
    is_last: bool
    shape: tuple[int, int]
    channels: int
    kind: str
    clamp: float | None
    dtype: Any

    @nn.compact
    def __call__(
        self,
        x: jax.Array | None,
        image: jax.Array | None,
        styles: jax.Array,
        noise: str,
        keys: Any,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Goes on from the maps and the image of the size before; styles: [batch, 2 or 3, w]."""

        def layer(name: str, index: int, resampling: str) -> _SynthesisLayer:
            return _SynthesisLayer(self.width, index, resampling, self.clamp, self.dtype, name=name)

        is_residual = self.kind == "resnet" and x is not None
        gain = math.sqrt(0.5) if is_residual else 1.0
        if x is None:
            const = self.param(
                "const", nn.initializers.normal(1), (*self.shape, self.width), jnp.float32
            )
            x = jnp.broadcast_to(const, (styles.shape[0], *const.shape))
        else:
            before = x
            x = layer("conv0", 2 * self.index - 1, "up")(x, styles[:, 0], noise, keys)
            styles = styles[:, 1:]
        x = layer("conv1", 2 * self.index, "")(x, styles[:, 0], noise, keys, gain)
        if is_residual:
            skip = EqualisedConvolution(
                self.width,
                1,
                "up",
                has_bias=False,
                is_linear=True,
                dtype=self.dtype,
                name="skip",
            )
            x = skip(before, gain) + x
        if image is not None:
            image = upsampled(image)
        if self.is_last or self.kind == "skip":
            added = _ToImage(self.channels, self.clamp, self.dtype, name="torgb")(x, styles[:, 1])
            image = added if image is None else image + added
        return x, image


class Synthesis(nn.Module):
    """Makes images of styles; the attributes are as in `Generator`."""

    image_shape: tuple[int, int, int]
    channel_base: int
    channel_max: int
    kind: str
    clamp: float | None
    dtype: Any
    num_half: int
    block_size: int

    @nn.compact
    def __call__(self, styles: jax.Array, noise: str, keys: Any = None) -> jax.Array:
        """Makes images; the arguments are as in `Generator.render`."""
        shape, widths = pyramid(
            self.image_shape, self.channel_base, self.channel_max, self.block_size
        )
        x = image = None
        for i, width in enumerate(widths):
            is_half = i > 0 and len(widths) - i <= self.num_half
            block = _SynthesisBlock(
                width,
                i,
                i == len(widths) - 1,
                shape,
                self.image_shape[-1] * self.block_size**2,
                self.kind,
                self.clamp,
                self.dtype if is_half else jnp.float32,
                name=f"b{_SMALLEST << i}",
            )
            own = styles[:, max(0, 2 * i - 1) : 2 * i + 2]
            x, image = block(x, image, own, noise, keys)
        assert image is not None
        return depth_to_space(image, self.block_size)


class Generator(nn.Module):
    """Makes images from latents, and from labels if it is conditional.

    A latent is mapped to a style w. From a learnt constant, blocks of convolutions double the map
    up to the size of an image; in each layer a style scales the channels. Each block adds to the
    image of the block before.

    Attributes:
        latent_size: the size of a latent z.
        image_shape: (height, width, channels). Height and width are the same power of two times
            numbers of which the smaller is 4 to 7.
        num_classes: how many classes each label has; () for no labels.
        style_size: the size of a style w.
        mapping_layers: the layers of the mapping network.
        channel_base: a block whose side is R, counted from 4 in powers of two, has channel_base / R
            channels, and at most `channel_max`.
        channel_max: the most channels of a block.
        kind: "skip", the default; "resnet" or "orig", in which only the last block makes an image.
        clamp: the outputs of layers are cut to [-clamp, clamp]; None for no cut.
        dtype: the type of the operands of products in the largest blocks; float32 in all others.
        num_half: how many of the largest blocks have this type, 4 in the official code.
        truncation: psi of `spread`, in `__call__`.
        cutoff: as in `spread`, in `__call__`.
        mapping_hidden, mapping_embedded, mapping_multiplier, mean_decay: as in `Mapping`.
        block_size: 1, as in the paper; or 2, 4 and so on: a pixel of the largest maps makes a block
            of so many pixels a side (Shi et al. 2016, arXiv 1609.05158, section 3.1), and each of
            its pixels has channels of its own in the images that the blocks add up. R and
            `num_half` count from these maps. Larger blocks cost less.
    """

    latent_size: int = 512
    image_shape: tuple[int, int, int] = (64, 64, 3)
    num_classes: tuple[int, ...] = ()
    style_size: int = 512
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    kind: str = "skip"
    clamp: float | None = None
    dtype: Any = jnp.float32
    num_half: int = 4
    truncation: float = 1.0
    cutoff: int | None = None
    mapping_hidden: int | None = None
    mapping_embedded: int | None = None
    mapping_multiplier: float = MULTIPLIER
    mean_decay: float = MEAN_DECAY
    block_size: int = 1

    @property
    def num_styles(self) -> int:
        """How many styles an image takes: one for each layer, and one for the image."""
        _, widths = pyramid(self.image_shape, self.channel_base, self.channel_max, self.block_size)
        return 2 * len(widths)

    def setup(self) -> None:
        self.mapping = Mapping(
            self.style_size,
            self.mapping_layers,
            self.latent_size,
            sum(self.num_classes),
            self.mapping_hidden,
            self.mapping_embedded,
            self.mapping_multiplier,
            self.mean_decay,
        )
        self.synthesis = Synthesis(
            self.image_shape,
            self.channel_base,
            self.channel_max,
            self.kind,
            self.clamp,
            self.dtype,
            self.num_half,
            self.block_size,
        )

    def __call__(self, latents: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Makes images with the constant noise.

        Args:
            latents: float32 [batch, latent_size].
            labels: int32 [batch, len(num_classes)], each from 0 to below its number of classes;
                None if there are none.

        Returns:
            float32 [batch, height, width, channels] in [-1, 1].

        Raises:
            AssertionError: latents or labels have another shape (from chex).
        """
        styles = self.style(latents, label_vectors(labels, self.num_classes))
        styles = self.spread(styles, self.truncation, self.cutoff)
        return jnp.clip(self.render(styles, "const"), -1, 1)

    def style(
        self, latents: jax.Array, labels: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """Maps latents, and labels, to styles.

        Args:
            latents: float32 [batch, latent_size].
            labels: float32 [batch, sum(num_classes)], such as `label_vectors`; None if there
                are none.
            train: whether to move the mean style by this batch.

        Returns:
            float32 [batch, style_size].
        """
        return self.mapping(latents, labels, train)

    def spread(
        self, styles: jax.Array, truncation: float = 1.0, cutoff: int | None = None
    ) -> jax.Array:
        """One style for each layer, nearer to the mean style by truncation.

        Args:
            styles: float32 [batch, style_size].
            truncation: psi: a style becomes mean + psi * (style - mean). 1 changes nothing.
            cutoff: how many layers' styles are truncated, from the smallest on; None for all.

        Returns:
            float32 [batch, num_styles, style_size].
        """
        spread = jnp.repeat(styles[:, None], self.num_styles, axis=1)
        if truncation == 1:
            return spread
        mean: jax.Array = self.mapping.get_variable(BUFFERS, "w_average")
        nearer = mean + truncation * (spread - mean)
        return nearer if cutoff is None else spread.at[:, :cutoff].set(nearer[:, :cutoff])

    def render(
        self, styles: jax.Array, noise: str = "const", keys: jax.Array | None = None
    ) -> jax.Array:
        """Makes images of styles.

        Args:
            styles: float32 [batch, num_styles, style_size], a style for each layer.
            noise: "const", "random" or "none".
            keys: typed PRNG keys [batch], of each image's noise; None unless noise is "random".

        Returns:
            float32 [batch, height, width, channels], nominally in [-1, 1], but not bounded.

        Raises:
            AssertionError: styles have another shape (from chex).
        """
        chex.assert_shape(styles, (None, self.num_styles, self.style_size))
        return self.synthesis(styles, noise, keys)


class _DiscriminatorBlock(nn.Module):
    """The layers of one size: two convolutions, of which the second halves the map.

    Attributes:
        before: channels of the maps that come in.
        width: channels of the maps that go out.
        is_first: whether the size is that of the image.
        kind, clamp, dtype: as in `Discriminator`.
    """

    before: int
    width: int
    is_first: bool
    kind: str
    clamp: float | None
    dtype: Any

    @nn.compact
    def __call__(
        self, x: jax.Array | None, image: jax.Array | None
    ) -> tuple[jax.Array, jax.Array | None]:
        def layer(width: int, size: int, name: str, resampling: str = "", **options: Any) -> Any:
            options = {"clamp": self.clamp, **options}
            return EqualisedConvolution(
                width, size, resampling, dtype=self.dtype, name=name, **options
            )

        if self.is_first or self.kind == "skip":
            seen = layer(self.before, 1, "fromrgb")(image)
            x = seen if x is None else x + seen
            assert image is not None
            image = downsampled(image) if self.kind == "skip" else None
        assert x is not None
        gain = math.sqrt(0.5) if self.kind == "resnet" else 1.0
        y = layer(self.before, 3, "conv0")(x)
        y = layer(self.width, 3, "conv1", "down")(y, gain)
        if self.kind == "resnet":
            options = {"has_bias": False, "is_linear": True, "clamp": None}
            y = layer(self.width, 1, "skip", "down", **options)(x, gain) + y
        return y, image


class _Epilogue(nn.Module):
    """The judgement of the smallest maps, float32: maps and images -> logits [batch].

    Attributes: as in `Discriminator`; label_width is the size of the mapped labels, 0 for none.
    """

    kind: str
    clamp: float | None
    group_size: int | None
    num_deviations: int
    label_width: int

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        image: jax.Array | None,
        mapped: jax.Array | None,
        axis_name: str | None,
        parts: int,
    ) -> jax.Array:
        width = x.shape[-1]
        if image is not None:
            x = x + EqualisedConvolution(width, 1, clamp=self.clamp, name="fromrgb")(image)
        if self.num_deviations:
            x = with_deviation(x, self.group_size, self.num_deviations, axis_name, parts)
        x = EqualisedConvolution(width, 3, clamp=self.clamp, name="conv")(x)
        x = activated(EqualisedDense(width, name="fc")(x.reshape(x.shape[0], -1)))
        x = EqualisedDense(self.label_width or 1, name="out")(x)
        if mapped is None:
            return x[:, 0]
        return jnp.sum(x * mapped, axis=1) / math.sqrt(self.label_width)


class Discriminator(nn.Module):
    """Judges images, given their labels if it is conditional.

    Blocks of convolutions halve the map down to the smallest. The deviations of groups of examples
    join it, and two fully connected layers follow. With labels, the logit is the inner product of
    the last layer with a mapping of the labels (Miyato and Koyama 2018, arXiv 1802.05637).

    Attributes:
        image_shape, num_classes, channel_base, channel_max, clamp, dtype, num_half: as in
            `Generator`.
        kind: "resnet", the default; "orig", without skip connections; "skip", in which each block
            sees the image.
        group_size: the examples in a group of the minibatch deviation; None for the whole batch.
        num_deviations: the channels of the minibatch deviation; 0 for none.
        label_layers: the layers of the mapping of labels.
        label_width: the size of the mapped labels; None for the channels of the smallest map.
        label_hidden, label_embedded, label_multiplier: as in `Mapping`.
        block_size: 1, as in the paper; or 2, 4 and so on: each block of so many pixels a side is a
            pixel of the first maps.
    """

    image_shape: tuple[int, int, int] = (64, 64, 3)
    num_classes: tuple[int, ...] = ()
    channel_base: int = 32768
    channel_max: int = 512
    kind: str = "resnet"
    clamp: float | None = None
    dtype: Any = jnp.float32
    num_half: int = 4
    group_size: int | None = 4
    num_deviations: int = 1
    label_layers: int = LABEL_LAYERS
    label_width: int | None = None
    label_hidden: int | None = None
    label_embedded: int | None = None
    label_multiplier: float = MULTIPLIER
    block_size: int = 1

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        labels: jax.Array | None = None,
        axis_name: str | None = None,
        parts: int = 1,
    ) -> jax.Array:
        """Judges images.

        Args:
            images: float32 [batch, height, width, channels], nominally in [-1, 1].
            labels: float32 [batch, sum(num_classes)], such as `label_vectors`; None if there
                are none.
            axis_name: the pmap axis that the batch is spread over; None for one device.
            parts: how many batches follow each other in `images`. The minibatch deviation of each
                is its own.

        Returns:
            float32 [batch], the logits.

        Raises:
            AssertionError: images or labels have another shape (from chex).
            ValueError: the group size does not divide the batch.
        """
        chex.assert_shape(images, (None, *self.image_shape))
        _, widths = pyramid(self.image_shape, self.channel_base, self.channel_max, self.block_size)
        x: jax.Array | None = None
        image: jax.Array | None = space_to_depth(images, self.block_size)
        for i in reversed(range(1, len(widths))):
            is_half = len(widths) - i <= self.num_half
            block = _DiscriminatorBlock(
                widths[i],
                widths[i - 1],
                i == len(widths) - 1,
                self.kind,
                self.clamp,
                self.dtype if is_half else jnp.float32,
                name=f"b{_SMALLEST << i}",
            )
            x, image = block(x, image)
        assert x is not None
        label_width, mapped = 0, None
        if label_size := sum(self.num_classes):
            label_width = self.label_width or widths[0]
            mapping = Mapping(
                label_width,
                self.label_layers,
                0,
                label_size,
                self.label_hidden,
                self.label_embedded,
                self.label_multiplier,
                None,
                name="mapping",
            )
            mapped = mapping(None, labels)
        epilogue = _Epilogue(
            self.kind,
            self.clamp,
            self.group_size,
            self.num_deviations,
            label_width,
            name=f"b{_SMALLEST}",
        )
        return epilogue(x, image, mapped, axis_name, parts)


def pyramid(
    image_shape: tuple[int, int, int], channel_base: int, channel_max: int, block_size: int = 1
) -> tuple[tuple[int, int], list[int]]:
    """The sizes of a network's blocks.

    Returns:
        (height and width of the smallest maps; the channels of each block, the smallest first).

    Raises:
        ValueError: images of this shape cannot be cut into blocks of pixels and halved down to a
            side of 4 to 7, or a block would have no channels.
    """
    height, width = (side // block_size for side in image_shape[:2])
    shorter = min(height, width)
    halvings = int(math.log2(shorter / _SMALLEST)) if shorter >= 2 * _SMALLEST else 0
    unit = block_size << halvings
    if not halvings or image_shape[0] % unit or image_shape[1] % unit:
        of_blocks = f" --block-size {block_size}" if block_size > 1 else ""
        times = f"{block_size} times " if block_size > 1 else ""
        raise ValueError(
            f"--image-shape {image_shape[0]} {image_shape[1]}{of_blocks}: height and width must be "
            f"{times}4 to 7 times a power of two from 2 on, or the longer one a larger multiple of "
            "that power"
        )
    widths = [min(channel_base // (_SMALLEST << i), channel_max) for i in range(halvings + 1)]
    if widths[-1] < 1:
        raise ValueError(
            f"--channel-base must be {_SMALLEST << halvings} or more for images of this size, not "
            f"{channel_base}"
        )
    return (height >> halvings, width >> halvings), widths


def label_vectors(codes: jax.Array | None, num_classes: tuple[int, ...]) -> jax.Array | None:
    """The one-hot vectors of each example's labels, one after another.

    Args:
        codes: int32 [batch, len(num_classes)]; None if there are none.
        num_classes: how many classes each label has.

    Returns:
        float32 [batch, sum(num_classes)]; None if there are no labels.
    """
    return one_hot(codes, num_classes) if num_classes else None
