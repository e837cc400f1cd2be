"""A system and the reference code of its paper: weights carried over, and numbers compared.

A system that has a reference has a module `reference.py` in its folder with

- `imported(state) -> Imported`: a state dict of the reference's generator -> settings and weights,
- `compared(case) -> Iterator[Compared]`: what the reference computed -> what jaxgan computes,
- `why_not_compared(name) -> str | None`: why an array of a case is not compared; None if it is.

and may have

- `imported_file(path) -> Imported`: a file of the reference that is more than a state dict, ->
  settings and weights,
- `exported(config, players) -> Exported`: settings and weights -> state dicts of the reference;
- `imported_discriminator(state, config) -> (config, variables)`: a state dict of the reference's
  discriminator, and the settings of the generator of its run -> the settings of both, its weights.

A state dict is {key: NumPy array}, with the keys and the shapes of the reference.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxgan import game
from jaxgan.game import GAN, TrainState, Turn
from jaxgan.run.config import RunConfig

PyTree = Any
StateDict = Mapping[str, np.ndarray]
Shape = tuple[int, ...]
# Newer versions of PyTorch count the batches that a batch normalisation has seen. The reference
# codes use the number for nothing.
_COUNTER = "num_batches_tracked"


class Imported(NamedTuple):
    """What a file of the reference has become.

    Attributes:
        config: the settings that the weights belong to. `config.generator()` is their module.
        generator: the generator's variables, {"params": ..., other collections}, float32.
        discriminator: the discriminator's; None if there is none, or none that `config` describes.
    """

    config: RunConfig
    generator: PyTree
    discriminator: PyTree = None


class Exported(NamedTuple):
    """Networks in the reference's form.

    Attributes:
        states: by the reference's name of a network, its state dict.
        arguments: by the same names, what the constructors of these networks are given; as in JSON.
    """

    states: Mapping[str, StateDict]
    arguments: Mapping[str, Any]


class Case(NamedTuple):
    """What the reference computed, read from a folder.

    Attributes:
        arrays: the arrays of case.npz by name. Those of another STEM.npz have the name STEM/NAME,
            and those of a STEM.pt other than weights.pt the name STEM/KEY, with a KEY/KEY of nested
            dicts.
        states: by the stem of each .pt, what it holds: nested dicts of NumPy arrays, such as
            states["weights"]["G"], a state dict.
        settings: by the stem of each .json, what it holds.
    """

    arrays: Mapping[str, np.ndarray]
    states: Mapping[str, Any]
    settings: Mapping[str, Any]


class Compared(NamedTuple):
    """An array that jaxgan computes too.

    Attributes:
        name: the array's name in the case.
        ours: what jaxgan computes, in the reference's layout.
        absolute: the tolerance. An element agrees if it differs from the reference's by at most
            absolute + relative * the reference's magnitude.
        relative: as above.
        exceptions: the share of the elements that need not agree; one element need not, if the
            share is above 0. It is for weights after steps of Adam, which takes full steps on the
            rounding errors of gradients that are nearly 0.
    """

    name: str
    ours: ArrayLike
    absolute: float = 0.0
    relative: float = 0.0
    exceptions: float = 0.0


class Entry(NamedTuple):
    """Where an array of a state dict goes.

    Attributes:
        shape: its shape in the reference.
        path: its place in the variables, such as ("params", "Conv_0", "kernel"); () for an array
            that has no effect, and is left out.
        convert: reference's array -> jaxgan's.
    """

    shape: Shape
    path: tuple[str, ...]
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray


Table = Mapping[str, Entry]


def carried_over(state: StateDict, table: Table) -> PyTree:
    """The variables of a state dict.

    Args:
        state: the state dict.
        table: an entry for each key.

    Returns:
        Nested dict of float32 NumPy arrays.

    Raises:
        ValueError: a key is missing, extra, or has another shape; or its numbers are not finite.
    """
    state = {key: value for key, value in state.items() if not key.endswith(_COUNTER)}
    for key, entry in table.items():
        if key not in state:
            raise ValueError(f"{key} of shape {entry.shape} is missing")
        if np.shape(state[key]) != entry.shape:
            raise ValueError(f"{key} has the shape {np.shape(state[key])}, not {entry.shape}")
        if not np.isfinite(state[key]).all():
            raise ValueError(f"{key} has numbers that are NaN or infinite")
    if extra := sorted(state.keys() - table.keys()):
        raise ValueError(f"{extra[0]} belongs to no network of these settings")
    flat = {
        entry.path: np.asarray(entry.convert(state[key]), np.float32, order="C")
        for key, entry in table.items()
        if entry.path
    }
    return flax.traverse_util.unflatten_dict(flat)


def state_dict(variables: PyTree, table: Table) -> dict[str, np.ndarray]:
    """The state dict that `carried_over` would make these variables of.

    Args:
        variables: nested dict of arrays, {"params": ..., other collections}.
        table: an entry for each key. Its conversions only move numbers.

    Returns:
        The arrays by key, without those that have no effect.
    """
    flat = flax.traverse_util.flatten_dict(variables)
    state = {}
    for key, entry in table.items():
        if entry.path:
            # Where each number of the reference's array goes.
            places = entry.convert(np.arange(np.prod(entry.shape, dtype=int)).reshape(entry.shape))
            held = np.asarray(flat[entry.path])
            array = np.empty(entry.shape, held.dtype)
            array.ravel()[places.ravel()] = held.ravel()
            state[key] = array
    return state


def gradient_norms(slopes: PyTree, table: Table) -> dict[str, np.floating]:
    """The L2 norm of the gradient of each of the reference's parameters.

    Args:
        slopes: the gradients of jaxgan's params, a nested dict of arrays.
        table: an entry for each key. Its conversions keep the norm.

    Returns:
        Float64 scalars by key. That of a parameter without effect is 0.
    """
    flat = flax.traverse_util.flatten_dict({"params": slopes})
    return {
        key: np.linalg.norm(np.float64(flat[entry.path]).ravel()) if entry.path else np.float64(0)
        for key, entry in table.items()
        if entry.path[:1] in (("params",), ())
    }


def first_state(gan: GAN, variables: Mapping[str, PyTree]) -> TrainState:
    """The state before the first step of networks that have the reference's weights.

    Args:
        gan: the system.
        variables: each player's variables by name.
    """
    return game.init(dataclasses.replace(gan, init=lambda key: variables), jax.random.key(0))


def gradients(turn: Turn, state: TrainState, batch: PyTree, noise: PyTree) -> PyTree:
    """The gradient of a turn's loss with respect to the params of its player."""

    def loss(params: PyTree) -> jax.Array:
        return turn.loss(state.with_player(turn.player, params=params), batch, noise, None)[0]

    return jax.grad(loss)(state.players[turn.player].params)


def shape_of(state: StateDict, key: str, rank: int, network: str) -> Shape:
    """The shape of an array from which settings are found.

    Args:
        state: the state dict.
        key: the array's key.
        rank: the number of its axes.
        network: what the state dict should be, for the error.

    Raises:
        ValueError: there is no such array, or it has another rank.
    """
    shape = np.shape(state[key]) if key in state else None
    if shape is None or len(shape) != rank or 0 in shape:
        found = "is missing" if shape is None else f"has the shape {shape}"
        raise ValueError(f"this is not {network}: {key} {found}")
    return shape


def convolution(kernel: np.ndarray) -> np.ndarray:
    """PyTorch's kernel of a convolution, [out, in, h, w] -> [h, w, in, out]."""
    return kernel.transpose(2, 3, 1, 0)


def transposed_convolution(kernel: np.ndarray) -> np.ndarray:
    """PyTorch's kernel of a transposed convolution, [in, out, h, w] -> [h, w, in, out].

    jaxgan convolves the spread map with the kernel, PyTorch with the mirrored one.
    """
    return kernel.transpose(2, 3, 0, 1)[::-1, ::-1]


def batch_norm(key: str, channels: int, name: str) -> dict[str, Entry]:
    """The entries of a batch normalisation.

    Args:
        key: the beginning of the reference's keys, such as "main.1".
        channels: its channels.
        name: the name of jaxgan's layer, such as "BatchNorm_0".
    """
    its = {
        "weight": ("params", name, "scale"),
        "bias": ("params", name, "bias"),
        "running_mean": ("batch_stats", name, "mean"),
        "running_var": ("batch_stats", name, "var"),
    }
    return {f"{key}.{end}": Entry((channels,), path) for end, path in its.items()}


def channels_first(images: Any, stride: int = 1) -> np.ndarray:
    """[batch, h, w, c] -> [batch, c, h, w], at every stride-th pixel."""
    return np.asarray(images).transpose(0, 3, 1, 2)[:, :, ::stride, ::stride]


def channels_last(images: np.ndarray) -> np.ndarray:
    """uint8 [batch, c, h, w] -> float32 [batch, h, w, c] in [-1, 1]."""
    return images.transpose(0, 2, 3, 1).astype(np.float32) / 127.5 - 1
