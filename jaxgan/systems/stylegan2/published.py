"""Files of trained StyleGAN2 networks that other code has written, read without running them.

NVIDIA's network pickles (NVlabs/stylegan2-ada-pytorch) carry the source code of their networks,
which the official code runs. Here it is a text that nobody looks at. Checkpoints of the usual port
(rosinality/stylegan2-pytorch) become state dicts with NVIDIA's names.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.run import pickles
from jaxgan.run.pickles import Tensor

# A network's layers are nested less deeply, and it has fewer layers and tensors.
_MOST_LEVELS, _MOST_PARTS = 8, 10_000
# The networks of a snapshot and of a checkpoint of the port, by the names of the official code.
GENERATOR, DISCRIMINATOR = "G_ema", "D"
MEAN_STYLE = "mapping.w_avg"


class Network(NamedTuple):
    """A network of a file.

    Attributes:
        state: its state dict, with the keys and the shapes of NVIDIA's code.
        arguments: what its constructor was given, those of its parts too, such as
            {"z_dim": 512, "conv_clamp": 256}; empty if the file does not say.
    """

    state: Mapping[str, np.ndarray]
    arguments: Mapping[str, Any]


class _Module(NamedTuple):
    """A module of a snapshot: its attributes."""

    attributes: Mapping[str, Any]


def read(path: str | Path) -> Mapping[str, Network]:
    """Reads the networks of a file. Nothing in it is run, and PyTorch is not wanted.

    Args:
        path: a network pickle of NVIDIA's PyTorch code (.pkl), a checkpoint of the port (.pt), or
            the state dict of a generator of NVIDIA's code (.pt).

    Returns:
        The averaged generator as "G_ema", and the discriminator as "D" if the file has it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of these, is damaged or hostile. The message is one line, which
            names the file.
        OSError: the file cannot be read.
    """
    held, size = pickles.read(path, _MAKERS), Path(path).stat().st_size
    made: Callable[[Any, int], Network]
    try:
        if not isinstance(held, dict):
            raise ValueError(f"it holds no networks, but a {type(held).__name__}")
        if isinstance(held.get(GENERATOR), _Module):
            keys, made = (GENERATOR, DISCRIMINATOR), _of_snapshot
        elif isinstance(held.get("g_ema"), dict):
            keys, made = ("g_ema", "d"), _of_port(held.get("latent_avg"))
        elif any(isinstance(value, Tensor) for value in held.values()):
            return {GENERATOR: Network(_arrays(held, size), {})}
        else:
            raise ValueError("it has no network G_ema, as NVIDIA's code, or g_ema, as the port")
        given = zip((GENERATOR, DISCRIMINATOR), keys, strict=True)
        return {name: made(held[key], size) for name, key in given if held.get(key) is not None}
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _module(meta: Any) -> _Module:
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise ValueError("it has an object without attributes")
    return _Module(meta["state"])


def _of_tensorflow(*arguments: Any) -> Any:
    del arguments
    raise ValueError(
        "it is of NVIDIA's TensorFlow code. The PyTorch code of stylegan2-ada makes a file of it "
        "that can be: python legacy.py --source=FILE.pkl --dest=NEW.pkl"
    )


# What snapshots call beside what tensors need.
_MAKERS: Mapping[str, Callable[..., Any]] = {
    "torch_utils.persistence._reconstruct_persistent_obj": _module,
    "dnnlib.util.EasyDict": lambda: {},
    "dnnlib.tflib.network.Network": _of_tensorflow,
}


def _of_snapshot(module: Any, size: int) -> Network:
    if not isinstance(module, _Module):
        raise ValueError("one of its networks is no module")
    tensors: dict[str, Any] = {}
    waiting, count = [("", 0, module)], 0
    while waiting:
        prefix, level, each = waiting.pop()
        count += 1
        if level > _MOST_LEVELS or count + len(waiting) + len(tensors) > _MOST_PARTS:
            raise ValueError("it has more layers than any network of StyleGAN2")
        for kind in ("_parameters", "_buffers"):
            tensors |= {f"{prefix}{key}": value for key, value in _dict(each, kind).items()}
        for name, inner in _dict(each, "_modules").items():
            if isinstance(inner, _Module):
                waiting.append((f"{prefix}{name}.", level + 1, inner))
    return Network(_arrays(tensors, size), dict(_leaves(_dict(module, "_init_kwargs"))))


def _dict(module: _Module, name: str) -> Mapping[str, Any]:
    found = module.attributes.get(name, {})
    if not isinstance(found, dict):
        raise ValueError(f"it has a module whose {name} are no dict")
    return found


def _arrays(held: Mapping[Any, Any], size: int) -> dict[str, np.ndarray]:
    """The arrays of a network's tensors, float32.

    Args:
        held: the tensors by key, or None for what there is not.
        size: the bytes of the file, of which the arrays cannot have more.

    Raises:
        ValueError: something in the dict is no tensor; or tensors share numbers.
    """
    arrays = {}
    for key, value in held.items():
        if isinstance(value, Tensor):
            arrays[str(key)] = value.array()
            size -= arrays[str(key)].nbytes
        elif value is not None:
            raise ValueError(f"{str(key)[:100]!r} in it is a {type(value).__name__}, no tensor")
    if size < 0:
        raise ValueError("it claims more numbers than it has")
    # What is too large becomes infinite, and is refused as such.
    with np.errstate(over="ignore"):
        return {key: np.asarray(array, np.float32) for key, array in arrays.items()}


def _leaves(arguments: Mapping[str, Any], level: int = 0) -> Iterator[tuple[str, Any]]:
    # The official arguments are dicts in a dict.
    for name, value in arguments.items():
        if isinstance(value, dict):
            if level < 2:
                yield from _leaves(value, level + 1)
        else:
            yield name, value


def _of_port(mean: Any) -> Callable[[Any, int], Network]:
    """Makes networks of state dicts of the port, whose mean style is beside them or None."""

    def made(held: Any, size: int) -> Network:
        if not isinstance(held, dict):
            raise ValueError("one of its networks is no state dict")
        given = _arrays(held, size)
        is_generator = "input.input" in given
        names = _port_generator(given) if is_generator else _port_discriminator(given)
        if extra := sorted(given.keys() - names.keys()):
            raise ValueError(f"{extra[0][:100]!r} in it is no part of the port's networks")
        state = {}
        for key, array in given.items():
            name, convert = names[key]
            state[name] = convert(array)
        if is_generator and isinstance(mean, Tensor):
            state[MEAN_STYLE] = _flat(mean.array())
        return Network(state, {})

    return made


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1)


def _one(array: np.ndarray) -> np.ndarray:
    """[1, ...] -> [...]: the port has an axis for the batch."""
    if array.shape[:1] != (1,):
        raise ValueError(f"an array in it has the shape {array.shape}, whose first axis is not 1")
    return array[0]


def _map(array: np.ndarray) -> np.ndarray:
    """[1, 1, height, width] -> [height, width]."""
    return _one(_one(array))


def _scaled(array: np.ndarray) -> np.ndarray:
    """[1, out, in, k, k] -> [out, in, k, k]. The port divides by the root of the fan-in, NVIDIA
    does not: it would cancel, but for the epsilon of the demodulation."""
    kernel = _one(array)
    return kernel / np.float32(math.sqrt(math.prod(kernel.shape[1:])))


def _quarter(array: np.ndarray) -> np.ndarray:
    """The port's filters that upsample have the gain of 4 in them."""
    return array / 4


# By the port's key, NVIDIA's key and what becomes of the array.
_Names = dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]]
_DENSE: _Names = {"weight": ("weight", np.asarray), "bias": ("bias", np.asarray)}
_STYLED: _Names = {
    "conv.weight": ("weight", _scaled),
    "conv.modulation.weight": ("affine.weight", np.asarray),
    "conv.modulation.bias": ("affine.bias", np.asarray),
    "conv.blur.kernel": ("resample_filter", _quarter),
    "noise.weight": ("noise_strength", _one),
    "activate.bias": ("bias", np.asarray),
}
_TO_IMAGE: _Names = {
    # Neither demodulates here, and both divide by the root of the fan-in.
    "conv.weight": ("weight", _one),
    "conv.modulation.weight": ("affine.weight", np.asarray),
    "conv.modulation.bias": ("affine.bias", np.asarray),
    "upsample.kernel": ("resample_filter", _quarter),
    "bias": ("bias", _flat),
}
_BLOCK: _Names = {
    "conv1.0.weight": ("conv0.weight", np.asarray),
    "conv1.1.bias": ("conv0.bias", np.asarray),
    "conv2.0.kernel": ("conv1.resample_filter", np.asarray),
    "conv2.1.weight": ("conv1.weight", np.asarray),
    "conv2.2.bias": ("conv1.bias", np.asarray),
    "skip.0.kernel": ("skip.resample_filter", np.asarray),
    "skip.1.weight": ("skip.weight", np.asarray),
}
_CONVOLUTION: _Names = {"0.weight": ("weight", np.asarray), "1.bias": ("bias", np.asarray)}


def _port_generator(given: Mapping[str, np.ndarray]) -> _Names:
    names: _Names = {"input.input": ("synthesis.b4.const", _one)}
    for i in range(_count(given, "style.{}.weight", 1)):
        _add(names, f"style.{i + 1}", f"mapping.fc{i}", _DENSE)
    doublings = _count(given, "to_rgbs.{}.conv.weight")
    for i in range(doublings + 1):
        theirs = f"to_rgbs.{i - 1}" if i else "to_rgb1"
        _add(names, theirs, f"synthesis.b{4 << i}.torgb", _TO_IMAGE)
    # The convolutions are numbered, as their noise is, from the one of the smallest map on.
    for i in range(2 * doublings + 1):
        ours = f"synthesis.b{4 << (i + 1) // 2}.conv{(i + 1) % 2}"
        _add(names, f"convs.{i - 1}" if i else "conv1", ours, _STYLED)
        names[f"noises.noise_{i}"] = f"{ours}.noise_const", _map
    return names


def _port_discriminator(given: Mapping[str, np.ndarray]) -> _Names:
    names: _Names = {}
    halvings = _count(given, "convs.{}.skip.1.weight", 1)
    _add(names, "convs.0", f"b{4 << halvings}.fromrgb", _CONVOLUTION)
    for i in range(halvings):
        _add(names, f"convs.{i + 1}", f"b{4 << (halvings - i)}", _BLOCK)
    _add(names, "final_conv", "b4.conv", _CONVOLUTION)
    _add(names, "final_linear.0", "b4.fc", _DENSE)
    _add(names, "final_linear.1", "b4.out", _DENSE)
    return names


def _add(names: _Names, theirs: str, ours: str, parts: _Names) -> None:
    for part, (name, convert) in parts.items():
        names[f"{theirs}.{part}"] = f"{ours}.{name}", convert


def _count(given: Mapping[str, np.ndarray], key: str, first: int = 0) -> int:
    """How many keys there are of this form, numbered one after another."""
    count = 0
    while key.format(first + count) in given:
        count += 1
    return count
