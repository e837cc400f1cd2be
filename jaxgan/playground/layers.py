"""A pair's networks as the page reckons them: one layer after another, nothing else.

Batch normalisation by running statistics is a linear map, so it is folded into the layer before it.
Labels enter the generator as more numbers beside the latent; what the discriminator adds to its
logit for a class is one more output of its last layer.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.layers.convolutions import convolution, transposed_convolution
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.dcgan.networks import BATCH_NORM_EPSILON, num_halvings
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.mlp_gan.networks import LEAKY_RELU_SLOPE

PyTree = Any

_ACTIVATIONS = {
    "leaky": lambda x: nn.leaky_relu(x, LEAKY_RELU_SLOPE),
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "none": lambda x: x,
}


class Layer(NamedTuple):
    """One layer.

    Attributes:
        kind: dense; halve, a `layers.convolutions.downsample`; or double, an `upsample`.
        activation: what comes after it.
        kernel: float32 [inputs, outputs], or [4, 4, inputs, outputs] of a convolution.
        bias: float32 [outputs].
    """

    kind: Literal["dense", "double", "halve"]
    activation: Literal["leaky", "relu", "tanh", "none"]
    kernel: np.ndarray
    bias: np.ndarray


def layers_of_generator(config: LatentGANConfig, variables: PyTree) -> list[Layer]:
    """What takes a latent, and one-hot labels after it, to an image.

    Args:
        config: of an MLPGANConfig or a DCGANConfig run.
        variables: what the generator's `apply` takes.
    """
    if not isinstance(config, DCGANConfig):
        return _dense_layers(variables, last="tanh")
    layers = [Layer("dense", "relu", *_normalised(variables, "Dense_0", "BatchNorm_0"))]
    last = num_halvings(config.image_shape) - 1
    for i in range(last):
        folded = _normalised(variables, f"Conv_{i}", f"BatchNorm_{i + 1}")
        layers.append(Layer("double", "relu", *folded))
    return [*layers, Layer("double", "tanh", **_float32(variables["params"][f"Conv_{last}"]))]


def layers_of_discriminator(config: LatentGANConfig, variables: PyTree) -> list[Layer]:
    """What takes an image to its logit without labels, and to what each class adds to it.

    Args:
        config: of an MLPGANConfig or a DCGANConfig run.
        variables: what the discriminator's `apply` takes.
    """
    if not isinstance(config, DCGANConfig):
        return _dense_layers(variables, last="none")
    params = variables["params"]
    layers = [Layer("halve", "leaky", **_float32(params["Conv_0"]))]
    for i in range(1, num_halvings(config.image_shape)):
        folded = _normalised(variables, f"Conv_{i}", f"BatchNorm_{i - 1}")
        layers.append(Layer("halve", "leaky", *folded))
    kernel, bias = params["Dense_0"]["kernel"], params["Dense_0"]["bias"]
    if config.num_classes:
        of_classes = np.asarray(params["Dense_1"]["kernel"]).T
        kernel = np.concatenate([kernel, of_classes], axis=1)
        bias = np.concatenate([bias, np.zeros(of_classes.shape[1])])
    return [*layers, Layer("dense", "none", **_float32({"kernel": kernel, "bias": bias}))]


def fold(
    kernel: np.ndarray, normalisation: PyTree, statistics: PyTree
) -> tuple[np.ndarray, np.ndarray]:
    """What a layer without a bias and batch normalisation after it are together.

    Args:
        kernel: [..., outputs]; of a normalisation of fewer channels, [..., k * channels].
        normalisation: scale and bias, [channels] each.
        statistics: the running mean and var, [channels] each.

    Returns:
        The kernel and the bias of a layer that does the same, float64.
    """
    channels = {
        name: np.asarray(values, np.float64)
        for name, values in {**normalisation, **statistics}.items()
    }
    factor = channels["scale"] / np.sqrt(channels["var"] + BATCH_NORM_EPSILON)
    bias = channels["bias"] - channels["mean"] * factor
    repeats = kernel.shape[-1] // len(factor)
    return np.asarray(kernel, np.float64) * np.tile(factor, repeats), np.tile(bias, repeats)


def apply(layers: Sequence[Layer], x: jax.Array) -> jax.Array:
    """Sends vectors through layers: float32 [n, inputs] -> float32 [n, outputs]."""
    for kind, activation, kernel, bias in layers:
        if kind == "dense":
            x = x.reshape(len(x), -1) @ kernel
        else:
            side = math.isqrt(x.size // (len(x) * kernel.shape[2]))
            x = x.reshape(len(x), side, side, -1)
            if kind == "double":
                x = transposed_convolution(x, kernel, jnp.float32)
            else:
                x = convolution(x, kernel, 2, jnp.float32)
        x = _ACTIVATIONS[activation](x + bias)
    return x.reshape(len(x), -1)


def as_matrix(kind: str, kernel: np.ndarray) -> np.ndarray:
    """A kernel as the page multiplies by it: [inputs, outputs].

    Of `halve`, inputs are those of the 4x4 pixels that go together; of `double`, outputs are those
    for the 4x4 pixels that one reaches.
    """
    if kind == "double":
        kernel = kernel[::-1, ::-1].transpose(2, 0, 1, 3)
        return kernel.reshape(len(kernel), -1)
    return kernel.reshape(-1, kernel.shape[-1])


def _dense_layers(variables: PyTree, last: str) -> list[Layer]:
    params = variables["params"]
    return [
        Layer("dense", "leaky" if i < len(params) - 1 else last, **_float32(params[f"Dense_{i}"]))
        for i in range(len(params))
    ]


def _normalised(variables: PyTree, layer: str, norm: str) -> tuple[np.ndarray, np.ndarray]:
    params, statistics = variables["params"], variables["batch_stats"]
    folded = fold(params[layer]["kernel"], params[norm], statistics[norm])
    return tuple(x.astype(np.float32) for x in folded)


def _float32(layer: PyTree) -> dict[str, np.ndarray]:
    return {name: np.asarray(layer[name], np.float32) for name in ("kernel", "bias")}
