"""The judge of digits: a small convolutional classifier, trained on MNIST, that ships with us."""

import functools
from collections.abc import Callable

import chex
import flax.linen as nn
import jax

from jaxgan import weights
from jaxgan.metrics.scoring import Embedding

NUM_CLASSES = 10
NUM_FEATURES = 128
WEIGHTS = "evaluator.npz"


class Evaluator(nn.Module):
    """Tells digits apart; what it sees just before it decides is what samples are compared by.

    images [batch, 28, 28, 1] -> each 2x2 pixels to 4 channels -> conv 32 -> conv 64 -> largest of
    2x2 -> conv 64 -> Dense 128 = features -> Dense 10 = logits. Convolutions are 3x3; each of them,
    and the features, are batch-normalised and go through a ReLU.
    """

    @nn.compact
    def __call__(self, images: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Looks at images.

        Args:
            images: float32 [batch, 28, 28, 1] in [0, 1].
            train: normalise by this batch's statistics, and update the running ones.

        Returns:
            (features float32 [batch, 128] at least 0, logits float32 [batch, 10]).

        Raises:
            AssertionError: images have another shape (from chex).
        """
        chex.assert_shape(images, (None, 28, 28, 1))

        def activate(x: jax.Array) -> jax.Array:
            return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.99)(x))

        def convolve(x: jax.Array, channels: int) -> jax.Array:
            return activate(nn.Conv(channels, (3, 3), use_bias=False)(x))

        # Written as reshapes, which a CPU takes back much faster than strided convolutions and
        # `nn.max_pool`.
        x = _blocks(2 * images - 1).reshape(-1, 14, 14, 4)
        x = convolve(convolve(x, 32), 64)
        x = convolve(_blocks(x).max(axis=3), 64)
        features = activate(nn.Dense(NUM_FEATURES, use_bias=False)(x.reshape(len(x), -1)))
        return features, nn.Dense(NUM_CLASSES)(features)


def _blocks(x: jax.Array) -> jax.Array:
    """[batch, 2h, 2w, channels] -> [batch, h, w, 4, channels], the four of each 2x2."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).swapaxes(2, 3)
    return x.reshape(batch, height // 2, width // 2, 4, channels)


@functools.cache
def load_evaluator() -> Callable[[jax.Array], Embedding]:
    """The trained evaluator that ships with the package, jitted.

    Returns:
        images float32 [n, 28, 28, 1] in [0, 1] -> `Embedding`: features [n, 128], probabilities
        [n, 10] of the digits 0 to 9. What `scoring.embed` takes. Compiled anew for each n.
    """
    variables = weights.read_embedded(WEIGHTS)

    @jax.jit
    def evaluate(images: jax.Array) -> Embedding:
        features, logits = Evaluator().apply(variables, images)
        return Embedding(features, jax.nn.softmax(logits))

    return evaluate
