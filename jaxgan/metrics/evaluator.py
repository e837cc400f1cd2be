"""The evaluators of digits and toon faces: small convolutional classifiers in the package."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import weights
from jaxgan.metrics.scoring import Embedding

NUM_FEATURES = 128


class Evaluator(nn.Module):
    """Classifies the attributes of images. Scores compare images by its last hidden layer.

    images -> each block of 2x2 pixels becomes one pixel of four times the channels -> stages of
    convolutions, with a max pooling of 2x2 between two stages -> Dense 128 = features -> a Dense
    for each attribute = logits. Convolutions are 3x3. Batch normalisation and a ReLU follow each
    convolution and the Dense layer of the features.

    Attributes:
        image_shape: height, width and channels of the images.
        widths: for each stage the channels of each of its convolutions.
        num_classes: for each attribute the number of its classes.
    """

    image_shape: tuple[int, int, int]
    widths: tuple[tuple[int, ...], ...]
    num_classes: tuple[int, ...]

    @nn.compact
    def __call__(
        self, images: jax.Array, train: bool = False
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Computes the features of images and the logits of their attributes.

        Args:
            images: float32 [batch, *image_shape] in [0, 1].
            train: whether to normalise by the statistics of this batch, and to update the running
                ones.

        Returns:
            (features float32 [batch, 128] at least 0, logits float32 [batch, classes] of each
            attribute).

        Raises:
            AssertionError: images have another shape (from chex).
        """
        chex.assert_shape(images, (None, *self.image_shape))

        def activate(x: jax.Array) -> jax.Array:
            return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.99)(x))

        # Written as reshapes: on CPUs their gradients are much faster than those of strided
        # convolutions and of `nn.max_pool`.
        x = _blocks(2 * images - 1)
        x = x.reshape(*x.shape[:3], -1)
        for number, stage in enumerate(self.widths):
            x = _blocks(x).max(axis=3) if number else x
            for width in stage:
                x = activate(nn.Conv(width, (3, 3), use_bias=False)(x))
        features = activate(nn.Dense(NUM_FEATURES, use_bias=False)(x.reshape(x.shape[0], -1)))
        return features, tuple(nn.Dense(count)(features) for count in self.num_classes)


def _blocks(x: jax.Array) -> jax.Array:
    """[batch, 2h, 2w, channels] -> [batch, h, w, 4, channels], the pixels of each 2x2 block."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).swapaxes(2, 3)
    return x.reshape(batch, height // 2, width // 2, 4, channels)


# For each data set the shapes of the images that its evaluator takes. The last is the shape of the
# network's input; images half as high and wide are enlarged to it.
EVALUATED: Mapping[str, tuple[tuple[int, int, int], ...]] = MappingProxyType(
    {
        "mnist": ((28, 28, 1),),
        "toon_faces": ((32, 32, 3), (64, 64, 3)),
        "stacked_mnist": ((28, 28, 3),),
    }
)
# For each data set how many classes each attribute has. Scores by classes take the first attribute:
# every image shows it, and its classes are equally frequent. Those of `JOINT` sets take all
# attributes together: a class of the first, one of the second and so on are one class.
ATTRIBUTES: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "mnist": MappingProxyType({"label": 10}),
        "stacked_mnist": MappingProxyType({"red": 10, "green": 10, "blue": 10}),
        "toon_faces": MappingProxyType(
            {
                "hair_colour": 6,
                "hair": 4,
                "rear_hair": 5,
                "beard": 6,
                "skin": 5,
                "eyes": 5,
                "mouth": 5,
                "eyebrows": 5,
                "clothes": 5,
                "clothes_colour": 10,
            }
        ),
    }
)
JOINT = frozenset({"stacked_mnist"})
WEIGHTS: Mapping[str, str] = MappingProxyType(
    {
        "mnist": "evaluator.npz",
        "toon_faces": "evaluator-toon_faces.npz",
        # The evaluator of digits looks at one channel after the other.
        "stacked_mnist": "evaluator.npz",
    }
)
_WIDTHS = {"mnist": ((32, 64), (64,)), "toon_faces": ((32,), (48,), (64,), (64,))}

# Images -> (features, probabilities of the classes of each attribute).
_Look = Callable[[jax.Array], tuple[jax.Array, tuple[jax.Array, ...]]]


def check_evaluated(dataset: str, image_shape: tuple[int, int, int] | None = None) -> None:
    """Makes sure that there is an evaluator of a data set, for images of a shape if it is given.

    Raises:
        ValueError: there is no evaluator of this data set, or not for images of this shape.
    """
    if dataset not in EVALUATED:
        raise ValueError(f"there is no evaluator of {dataset}, only of {', '.join(EVALUATED)}")
    if image_shape is not None and tuple(image_shape) not in EVALUATED[dataset]:
        shapes = " or ".join("x".join(map(str, shape)) for shape in EVALUATED[dataset])
        raise ValueError(
            f"the evaluator of {dataset} knows images of {shapes} only, not of "
            f"{'x'.join(map(str, image_shape))}"
        )


def evaluator(dataset: str) -> Evaluator:
    """The untrained module of a data set's evaluator.

    Raises:
        ValueError: there is no evaluator of this data set, or it is that of another set.
    """
    check_evaluated(dataset)
    if dataset not in _WIDTHS:
        raise ValueError(f"{dataset} has no evaluator of its own: {WEIGHTS[dataset]} judges it")
    return Evaluator(EVALUATED[dataset][-1], _WIDTHS[dataset], tuple(ATTRIBUTES[dataset].values()))


def enlarge(images: jax.Array, image_shape: tuple[int, int, int]) -> jax.Array:
    """Brings images to the shape that an evaluator takes.

    Args:
        images: [batch, height, width, channels].
        image_shape: of the images, or twice as high and wide; then each pixel becomes 2x2 pixels.

    Returns:
        [batch, *image_shape].
    """
    if images.shape[1:] != image_shape:
        images = jnp.repeat(jnp.repeat(images, 2, axis=1), 2, axis=2)
    return images


def load_evaluator(dataset: str = "mnist") -> Callable[[jax.Array], Embedding]:
    """The trained evaluator of a data set that ships with the package, jitted.

    Args:
        dataset: "mnist", "toon_faces" or "stacked_mnist".

    Returns:
        A function for `scoring.embed`: images float32 [n, *shape] in [0, 1] -> `Embedding` of
        features [n, 128] and probabilities [n, classes], of the digits 0 to 9 or of the six colours
        of hair. Of "stacked_mnist" the features are those of red, green and blue, [n, 384], and the
        classes are the triples of digits from 000 to 999. It is compiled for each n and shape.
        Images of a shape that `EVALUATED` does not have raise an AssertionError (from chex).

    Raises:
        ValueError: there is no evaluator of this data set.
    """
    return _load(dataset)[0]


def load_attribute_classifier(
    dataset: str = "toon_faces",
) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """The trained evaluator of a data set as a classifier of all its attributes, jitted.

    Args:
        dataset: as in `load_evaluator`.

    Returns:
        A function: images as in `load_evaluator` -> for each attribute, in the order of
        `ATTRIBUTES`, the probabilities of its classes, float32 [n, classes]. Digits have the
        attribute "label" only.

    Raises:
        ValueError: there is no evaluator of this data set.
    """
    return _load(dataset)[1]


@functools.cache
def _load(dataset: str) -> tuple[Callable, Callable]:
    if dataset in JOINT:
        look = _by_channels(EVALUATED[dataset][-1], _by_network("mnist"))
    else:
        look = _by_network(dataset)

    def evaluate(images: jax.Array) -> Embedding:
        features, probabilities = look(images)
        if dataset in JOINT:
            return Embedding(features, _together(probabilities))
        return Embedding(features, probabilities[0])

    # Outside of `look`: a jitted function returns a dict with its keys sorted.
    def classify(images: jax.Array) -> dict[str, jax.Array]:
        return dict(zip(ATTRIBUTES[dataset], look(images)[1], strict=True))

    return evaluate, classify


def _by_network(dataset: str) -> _Look:
    module = evaluator(dataset)
    variables = weights.read_embedded(WEIGHTS[dataset])

    @jax.jit
    def look(images: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        if images.shape[1:] in EVALUATED[dataset]:
            images = enlarge(images, module.image_shape)
        features, logits = module.apply(variables, images)
        return features, tuple(map(jax.nn.softmax, logits))

    return look


def _by_channels(image_shape: tuple[int, int, int], look_at: _Look) -> _Look:
    """Looks at each channel as at a grey image."""

    def look(images: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        chex.assert_shape(images, (None, *image_shape))
        seen = [look_at(images[..., i : i + 1]) for i in range(image_shape[-1])]
        features, probabilities = zip(*seen, strict=True)
        return jnp.concatenate(features, axis=1), tuple(each for (each,) in probabilities)

    return look


def _together(probabilities: tuple[jax.Array, ...]) -> jax.Array:
    """[n, a], [n, b] ... -> [n, a * b * ...], of attributes that do not depend on each other."""
    joint = jnp.ones((len(probabilities[0]), 1))
    for each in probabilities:
        joint = (joint[:, :, None] * each[:, None, :]).reshape(len(each), -1)
    return joint
