"""The trained networks of the convolutional GAN as chains of layers (`layers.chain`)."""

from typing import Any

import numpy as np

from jaxgan.layers.chain import Activation, Kind, Layer, fold, layer
from jaxgan.systems.dcgan.networks import BATCH_NORM_EPSILON

PyTree = Any


def generator_chain(variables: PyTree) -> list[Layer]:
    """The chain from latents, each followed by the one-hot vectors of its labels, to images.

    Args:
        variables: what the generator's `apply` takes.

    Returns:
        float32 [n, latent_size + sum(num_classes)] -> float32 [n, H * W * C] in [-1, 1].
    """
    last = _num_convolutions(variables) - 1
    return [
        _normalised(variables, "dense", "relu", "Dense_0", "BatchNorm_0"),
        *(
            _normalised(variables, "upsample", "relu", f"Conv_{i}", f"BatchNorm_{i + 1}")
            for i in range(last)
        ),
        layer("upsample", "tanh", *_plain(variables, f"Conv_{last}")),
    ]


def discriminator_chain(variables: PyTree) -> list[Layer]:
    """The chain from images to logits without labels, and to what each class adds to the logit.

    Args:
        variables: what the discriminator's `apply` takes.

    Returns:
        float32 [n, H, W, C] in [-1, 1] -> float32 [n, 1 + sum(num_classes)].
    """
    params = variables["params"]
    kernel, bias = _plain(variables, "Dense_0")
    if "Dense_1" in params:
        # The inner product with a class's vector is one more output of the last layer.
        of_classes = np.asarray(params["Dense_1"]["kernel"]).T
        kernel = np.concatenate([kernel, of_classes], axis=1)
        bias = np.concatenate([bias, np.zeros(of_classes.shape[1])])
    return [
        layer("downsample", "leaky", *_plain(variables, "Conv_0")),
        *(
            _normalised(variables, "downsample", "leaky", f"Conv_{i}", f"BatchNorm_{i - 1}")
            for i in range(1, _num_convolutions(variables))
        ),
        layer("dense", "none", kernel, bias),
    ]


def _plain(variables: PyTree, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The kernel and the bias of a layer that no normalisation follows, and that may have none."""
    its = variables["params"][name]
    kernel = np.asarray(its["kernel"])
    return kernel, its.get("bias", np.zeros(kernel.shape[-1], kernel.dtype))


def _num_convolutions(variables: PyTree) -> int:
    return sum(name.startswith("Conv_") for name in variables["params"])


def _normalised(
    variables: PyTree, kind: Kind, activation: Activation, name: str, norm: str
) -> Layer:
    params, statistics = variables["params"], variables["batch_stats"]
    folded = fold(params[name]["kernel"], params[norm], statistics[norm], BATCH_NORM_EPSILON)
    return layer(kind, activation, *folded)
