"""The trained networks of the fully connected GAN as chains of layers (`layers.chain`)."""

from typing import Any

from jaxgan.layers.chain import Activation, Layer, layer

PyTree = Any


def generator_chain(variables: PyTree) -> list[Layer]:
    """The chain from latents to images.

    Args:
        variables: what the generator's `apply` takes.

    Returns:
        float32 [n, latent_size] -> float32 [n, H * W * C] in [-1, 1].
    """
    return _chain(variables, last="tanh")


def discriminator_chain(variables: PyTree) -> list[Layer]:
    """The chain from images to logits.

    Args:
        variables: what the discriminator's `apply` takes.

    Returns:
        float32 [n, H, W, C] in [-1, 1] -> float32 [n, 1].
    """
    return _chain(variables, last="none")


def _chain(variables: PyTree, last: Activation) -> list[Layer]:
    params = variables["params"]
    return [
        layer("dense", "leaky" if i < len(params) - 1 else last, **params[f"Dense_{i}"])
        for i in range(len(params))
    ]
