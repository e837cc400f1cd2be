"""The two networks of StarGAN (Choi et al. 2017, arXiv 1711.09020, section 7.1)."""

import math
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions import downsample, keep_size, upsample
from jaxgan.layers.normalisation import EPSILON
from jaxgan.layers.products import dense, product
from jaxgan.layers.resampling import depth_to_space, space_to_depth
from jaxgan.layers.training_call import call

LEAKY_RELU_SLOPE = 0.01
# The initialisation of the authors' code: uniform in +-1 / sqrt(inputs of a unit).
_INITIALIZER = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# Of a transposed layer the code counts the outputs, of which there are half as many.
_TRANSPOSED_INITIALIZER = nn.initializers.variance_scaling(2 / 3, "fan_in", "uniform")
_INITIALIZERS = {"uniform": _INITIALIZER, "he": nn.initializers.he_normal()}
INITS = tuple(_INITIALIZERS)
# Where the generator is told the labels, and what it makes.
CONDITIONINGS = ("planes", "norms")
OUTPUTS = ("image", "masked")


class Generator(nn.Module):
    """Changes images so that they show the classes that labels say.

    Image -> convolution -> halved -> residual blocks -> doubled -> convolution. Between layers are
    instance normalisation and a ReLU; a tanh follows the last. Padding is with zeros everywhere.

    Attributes:
        width: channels of the largest map; twice as many with each halving.
        image_shape: (height, width, channels) of an image; height and width are multiples of
            block_size * 2**num_halvings.
        label_size: how many numbers the labels of an image are.
        num_blocks: how many residual blocks.
        num_halvings: how often the maps are halved before the residual blocks; 2 in the paper.
        end_size: the size of the first and of the last kernel, odd; 7 in the paper.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        conditioning: where the labels come in. "planes", as in the paper: behind the channels of
            the image, each number as a constant plane. "norms": they add to scale and bias of each
            normalisation (Dumoulin et al. 2017, arXiv 1610.07629).
        output: what comes out. "image", as in the paper: the image. "masked": a new image, and a
            mask in [0, 1] that says how much of it replaces the input (Pumarola et al. 2018, arXiv
            1807.09251, section 4.1).
        block_size: 1, as in the paper; or 2, 4 and so on: each block of so many pixels a side is
            one pixel of the maps, with the channels of all of them (Shi et al. 2016, arXiv
            1609.05158, section 3.1). Larger blocks cost less.
        has_skips: whether the maps before each halving are added to those of their size after the
            doubling (Chaurasia and Culurciello 2017, arXiv 1707.03718), so that thin lines need
            not pass the smaller maps; False in the paper.
    """

    width: int = 64
    image_shape: tuple[int, int, int] = (128, 128, 3)
    label_size: int = 5
    num_blocks: int = 6
    num_halvings: int = 2
    end_size: int = 7
    dtype: Any = jnp.float32
    conditioning: str = "planes"
    output: str = "image"
    block_size: int = 1
    has_skips: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, labels: jax.Array) -> jax.Array:
        """Changes images.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].
            labels: float32 [batch, label_size], the numbers of the classes to show.

        Returns:
            float32 [batch, height, width, channels] in [-1, 1].

        Raises:
            AssertionError: images or labels have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        chex.assert_shape(labels, (images.shape[0], self.label_size))
        by_norms = self.conditioning == "norms"

        def normalised(x: jax.Array) -> jax.Array:
            x = nn.InstanceNorm(epsilon=EPSILON, use_fast_variance=False)(x)
            if not by_norms:
                return x
            learnt = dense(
                2 * x.shape[-1], self.dtype, use_bias=False, kernel_init=nn.initializers.zeros
            )
            scale, bias = jnp.split(learnt(labels)[:, None, None], 2, axis=-1)
            return (1 + scale) * x + bias

        options: dict[str, Any] = {"use_bias": False, "kernel_init": _INITIALIZER}
        x = space_to_depth(images, self.block_size)
        if by_norms:
            x = keep_size(self.width, self.end_size, self.dtype, **options)(x)
        else:
            x = _LabelledConvolution(self.width, self.end_size, self.dtype)(x, labels)
        x = nn.relu(normalised(x))
        skipped = []
        for i in range(self.num_halvings):
            skipped.append(x)
            x = downsample(self.width << (i + 1), self.dtype, **options)(x)
            x = nn.relu(normalised(x))
        for _ in range(self.num_blocks):
            y = x
            for i in range(2):
                y = normalised(keep_size(x.shape[-1], 3, self.dtype, **options)(y))
                y = nn.relu(y) if i == 0 else y
            x = x + y
        options["kernel_init"] = _TRANSPOSED_INITIALIZER
        for i in reversed(range(self.num_halvings)):
            x = upsample(self.width << i, self.dtype, **options)(x)
            x = nn.relu(normalised(x))
            if self.has_skips:
                x = x + skipped[i]
        channels = self.image_shape[-1]
        is_masked = self.output == "masked"
        last = keep_size(
            self.block_size**2 * (channels + is_masked),
            self.end_size,
            self.dtype,
            use_bias=is_masked,
            kernel_init=_INITIALIZER,
        )
        x = depth_to_space(last(x), self.block_size)
        if not is_masked:
            return jnp.tanh(x)
        mask = jax.nn.sigmoid(x[..., channels:])
        return (1 - mask) * images + mask * jnp.tanh(x[..., :channels])


class Discriminator(nn.Module):
    """Judges images by patches, and says which classes they show.

    An image is halved by 4x4 convolutions, each followed by a LeakyReLU(0.01), without any
    normalisation. Two heads follow: a convolution of 3x3 gives a logit for each patch, and one over
    the whole map gives the numbers of all classes. A third one, which the paper has not, gives for
    each class the logit of a real image that shows it (Choi et al. 2020, arXiv 1912.01865, section
    2.1: "multiple output branches").

    Attributes:
        width: channels of the first map; twice as many with each halving.
        image_shape: (height, width, channels) of an image.
        class_size: how many numbers the classes of an image are.
        num_halvings: how often an image is halved.
        dtype: the type of the operands of the matrix products. Parameters stay float32.
        init_kernels: the kernels at the start. "uniform", as in the authors' code: each map is much
            smaller than the one before. "he": maps stay as large (He et al. 2015, arXiv
            1502.01852), so the classes are learnt many times sooner.
        num_branches: how many logits of the third kind; 0 for none, as in the paper.
    """

    width: int = 64
    image_shape: tuple[int, int, int] = (128, 128, 3)
    class_size: int = 5
    num_halvings: int = 6
    dtype: Any = jnp.float32
    init_kernels: str = "uniform"
    num_branches: int = 0

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, ...]:
        """Judges images.

        Args:
            images: float32 [batch, height, width, channels] in [-1, 1].

        Returns:
            (the logits of the patches, float32 [batch, height / 2**num_halvings,
            width / 2**num_halvings]; the logits of the classes, float32 [batch, class_size]; with
            branches also their logits, float32 [batch, num_branches]).

        Raises:
            AssertionError: images have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))
        initializer = _INITIALIZERS[self.init_kernels]
        x = images
        fan_in = 16 * self.image_shape[-1]
        for i in range(self.num_halvings):
            layer = downsample(
                self.width << i,
                self.dtype,
                kernel_init=initializer,
                bias_init=_uniform(fan_in**-0.5),
            )
            x = nn.leaky_relu(layer(x), LEAKY_RELU_SLOPE)
            fan_in = 16 * x.shape[-1]
        options: dict[str, Any] = {"use_bias": False, "kernel_init": initializer}
        logits = keep_size(1, 3, self.dtype, **options)(x)
        x = x.reshape(x.shape[0], -1)
        classes = dense(self.class_size, self.dtype, **options)(x)
        if not self.num_branches:
            return logits[..., 0], classes
        return logits[..., 0], classes, dense(self.num_branches, self.dtype, **options)(x)


def check_sizes(
    image_shape: tuple[int, int, int], generator_halvings: int, block_size: int, halvings: int
) -> None:
    """Checks that both networks can take images of a shape.

    Raises:
        ValueError: height or width is no multiple of block_size * 2**generator_halvings, or of
            2**halvings, those of the discriminator.
    """
    height, width, _ = image_shape
    unit = math.lcm(block_size << generator_halvings, 1 << halvings)
    if height % unit or width % unit:
        raise ValueError(
            f"--image-shape {height} {width}: with --halvings {halvings}, --generator-halvings "
            f"{generator_halvings} and --block-size {block_size} both must be multiples of {unit}"
        )


class _LabelledConvolution(nn.Module):
    """A convolution of an image and of the constant planes of its labels.

    The planes are not made: a pixel gets, for each label, the sum of the kernel's numbers that are
    inside the image there. So the cost does not grow with the number of labels.
    """

    width: int
    size: int
    dtype: Any

    @nn.compact
    def __call__(self, images: jax.Array, labels: jax.Array) -> jax.Array:
        channels, size = images.shape[-1], self.size
        shape = (size, size, channels + labels.shape[-1], self.width)
        kernel = self.param("kernel", _INITIALIZER, shape, jnp.float32)
        layer = keep_size(self.width, size, self.dtype, use_bias=False, parent=None)
        x, _ = call(layer, {"params": {"kernel": kernel[:, :, :channels]}}, images, axis_name=None)
        of_labels = kernel[:, :, channels:].transpose(2, 0, 1, 3).reshape(labels.shape[-1], -1)
        taps = product(self.dtype)(labels, of_labels).reshape(-1, size, size, self.width)
        rows, columns = (_inside(side, size) for side in images.shape[1:3])
        taps = jnp.einsum("hi,bijo->bhjo", rows, taps)
        return x + jnp.einsum("wj,bhjo->bhwo", columns, taps)


def _inside(side: int, size: int) -> jax.Array:
    """Whether each of `size` taps around each of `side` pixels is inside: float32 [side, size]."""
    position = jnp.arange(side)[:, None] + jnp.arange(size) - size // 2
    return ((position >= 0) & (position < side)).astype(jnp.float32)


def _uniform(bound: float) -> nn.initializers.Initializer:
    def init(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init
