"""A network as a chain of layers: each is a product, a bias and an activation, and nothing else.

A chain is made of plain arrays, so code without JAX can compute it too; the playground's page does.
A system that wants this turns its trained variables into chains. Batch normalisation by running
statistics is a linear map: `fold` puts it into the layer before it.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.layers.convolutions import convolution, transposed_convolution

PyTree = Any
Kind = Literal["dense", "upsample", "downsample"]
Activation = Literal["leaky", "relu", "tanh", "none"]

_LEAKY_RELU_SLOPE = 0.2
_ACTIVATIONS = {
    "leaky": lambda x: nn.leaky_relu(x, _LEAKY_RELU_SLOPE),
    "relu": nn.relu,
    "tanh": jnp.tanh,
    "none": lambda x: x,
}


class Layer(NamedTuple):
    """One layer of a chain: activation(product(x, kernel) + bias).

    Attributes:
        kind: which product: `dense` is the matrix product of the flattened inputs, `upsample` the
            product of `layers.convolutions.upsample`, `downsample` that of `downsample`.
        activation: `leaky` is LeakyReLU(0.2), `none` the identity.
        kernel: float32 [inputs, outputs] if dense, else [4, 4, inputs, outputs].
        bias: float32 [outputs].
    """

    kind: Kind
    activation: Activation
    kernel: np.ndarray
    bias: np.ndarray


def layer(kind: Kind, activation: Activation, kernel: ArrayLike, bias: ArrayLike) -> Layer:
    """A `Layer` of arrays of any float type, which become float32."""
    return Layer(kind, activation, np.asarray(kernel, np.float32), np.asarray(bias, np.float32))


def fold(
    kernel: np.ndarray, normalisation: PyTree, statistics: PyTree, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Merges a layer without a bias and the batch normalisation after it into one layer.

    Args:
        kernel: float [..., outputs], of the layer. `outputs` is `channels` or a multiple of it: a
            dense layer's outputs are then read as pixels of that many channels.
        normalisation: scale and bias, float [channels] each.
        statistics: the running mean and var, float [channels] each.
        epsilon: what the normalisation adds to the variance.

    Returns:
        The kernel [..., outputs] and the bias [outputs] of the merged layer, float64.
    """
    channels = {
        name: np.asarray(values, np.float64)
        for name, values in {**normalisation, **statistics}.items()
    }
    factor = channels["scale"] / np.sqrt(channels["var"] + epsilon)
    bias = channels["bias"] - channels["mean"] * factor
    repeats = kernel.shape[-1] // len(factor)
    return np.asarray(kernel, np.float64) * np.tile(factor, repeats), np.tile(bias, repeats)


def apply(layers: Sequence[Layer], x: jax.Array) -> jax.Array:
    """Sends a batch through a chain.

    Args:
        layers: the chain, the first layer first.
        x: float32 [n, ...]. Images are square, [n, side, side, channels]; they may be flattened.

    Returns:
        float32 [n, outputs]; images come out flattened.
    """
    for kind, activation, kernel, bias in layers:
        if kind == "dense":
            x = x.reshape(x.shape[0], -1) @ kernel
        else:
            side = math.isqrt(x.size // (x.shape[0] * kernel.shape[2]))
            x = x.reshape(x.shape[0], side, side, -1)
            if kind == "upsample":
                x = transposed_convolution(x, kernel, jnp.float32)
            else:
                x = convolution(x, kernel, 2, jnp.float32)
        x = _ACTIVATIONS[activation](x + bias)
    return x.reshape(x.shape[0], -1)


def as_matrix(kind: Kind, kernel: np.ndarray) -> np.ndarray:
    """The matrix that a layer's product multiplies vectors by.

    Args:
        kind: of the layer.
        kernel: of the layer, of any type.

    Returns:
        Of `dense` the kernel itself. Of `downsample` [16 * inputs, outputs]: a vector is the 4x4
        pixels that one output pixel depends on. Of `upsample` [inputs, 16 * outputs]: a product is
        what one input pixel adds to the 4x4 output pixels that it reaches. Pixels go row by row,
        the channels of a pixel beside each other.
    """
    if kind == "upsample":
        kernel = kernel[::-1, ::-1].transpose(2, 0, 1, 3)
        return kernel.reshape(len(kernel), -1)
    return kernel.reshape(-1, kernel.shape[-1])
