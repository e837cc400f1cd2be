"""A face recogniser that ships: its features tell faces apart, and know no colour of hair."""

import functools
from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import weights
from jaxgan.layers.convolutions import downsample
from jaxgan.layers.products import dense
from jaxgan.metrics import evaluator

DATASET = "toon_faces"
# The attribute that ages.
AGEING = "hair_colour"
# The attributes that a face keeps when it ages, and how many classes each has.
IDENTITY = {name: n for name, n in evaluator.ATTRIBUTES[DATASET].items() if name != AGEING}
NUM_FEATURES = 128
WEIGHTS = "recogniser-toon_faces.npz"
IMAGE_SHAPE = (64, 64, 3)
# Images of other shapes are no faces that it knows.
_SHAPES = evaluator.EVALUATED[DATASET]
_WIDTHS = (24, 48, 64, 96)


class Recogniser(nn.Module):
    """Classifies what a face keeps when it ages. Identity is compared by its last hidden layer.

    [batch, 64, 64, 3] -> 4x4 convolutions of stride 2 -> Dense 128 = features -> a Dense for each
    attribute = logits. Batch normalisation and a LeakyReLU(0.2) follow each convolution.

    The search for latents computes its gradient at every step, so it has the layers that CPUs are
    fast at (`layers.convolutions`).
    """

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Computes the features of images and the logits of their attributes.

        Args:
            images: float32 [batch, 64, 64, 3] in [0, 1].
            train: whether to normalise by the statistics of this batch, and to update the running
                ones.

        Returns:
            (features float32 [batch, 128], logits float32 [batch, classes] of each attribute of
            `IDENTITY`).

        Raises:
            AssertionError: images have another shape (from chex).
        """
        chex.assert_shape(images, (None, *IMAGE_SHAPE))
        x = 2 * images - 1
        for width in _WIDTHS:
            x = downsample(width, use_bias=False)(x)
            x = nn.BatchNorm(use_running_average=not train, momentum=0.99)(x)
            x = nn.leaky_relu(x, 0.2)
        features = dense(NUM_FEATURES, jnp.float32)(x.reshape(x.shape[0], -1))
        hidden = nn.leaky_relu(features, 0.2)
        return features, tuple(dense(n, jnp.float32)(hidden) for n in IDENTITY.values())


def check_known(dataset: str, image_shape: tuple[int, int, int]) -> None:
    """Makes sure that the recogniser knows the faces of a data set.

    Raises:
        ValueError: it does not.
    """
    if dataset != DATASET or tuple(image_shape) not in _SHAPES:
        shapes = " or ".join("x".join(map(str, shape)) for shape in _SHAPES)
        raise ValueError(
            f"the recogniser that ships knows {DATASET} of {shapes} only, not {dataset} of "
            f"{'x'.join(map(str, image_shape))}"
        )


@functools.cache
def load_recogniser() -> Callable[[jax.Array], jax.Array]:
    """The trained recogniser that ships with the package.

    Returns:
        A pure function: toon faces float32 [n, height, width, 3] in [0, 1], of 64x64 or 32x32 ->
        features, float32 [n, 128]. The same function each time, so that what is compiled for it is
        compiled once.
    """
    module, variables = Recogniser(), weights.read_embedded(WEIGHTS)

    def embed(images: jax.Array) -> jax.Array:
        return module.apply(variables, evaluator.enlarge(images, IMAGE_SHAPE))[0]

    return embed
