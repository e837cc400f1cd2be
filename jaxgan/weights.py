"""Trained weights in one .npz file, written and read without pickle; some ship with the package."""

from importlib import resources
from pathlib import Path
from typing import IO, Any, Literal

import flax.traverse_util
import numpy as np

from jaxgan.files.reading import check_claim, held_bytes, open_regular
from jaxgan.files.weight_guards import read_arrays
from jaxgan.files.writing import written_whole

PyTree = Any
# The trained networks in jaxgan/embedded/. Each name has two files there: NAME.npz with the
# weights, and NAME.json with their scores and the command that made them.
PRETRAINED = ("mnist_gan", "stargan_faces")
SUFFIX = ".npz"
# The one of them that edits faces.
EDITOR = "stargan_faces"


def write(path: Path, variables: PyTree, dtype: Any = np.float32) -> None:
    """Writes nested variables as an .npz file.

    Args:
        path: the file. An old file of this name is replaced.
        variables: nested dict of float arrays, what `Module.apply` takes. An array's name in the
            file is its path in the dict, such as "params/Dense_0/kernel".
        dtype: the type that the file has and that the arrays are rounded to.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
    """
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    arrays: dict[str, Any] = {name: np.asarray(value, dtype) for name, value in flat.items()}
    with written_whole(path) as beside:
        np.savez(beside, **arrays)


def read(path: str | Path) -> PyTree:
    """Reads a file that `write` wrote. The file may come from anybody (see `weight_guards`).

    Args:
        path: the .npz file.

    Returns:
        Nested dict of float32 NumPy arrays: the variables that `write` was given, rounded to the
        file's dtype.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: `write` did not write this file; the message says what is wrong.
        OSError: the file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    if not path.is_file():
        raise ValueError(f"{path} is no file of weights: it is a folder or a device")
    try:
        check_claim(path.stat().st_size, held_bytes(path))
    except ValueError as error:
        raise ValueError(f"{path} is no file of weights: {error}") from error
    with open_regular(path) as file:
        return _read(file, str(path))


def read_embedded(name: str) -> PyTree:
    """Reads a file of `write` in the package's folder `jaxgan/embedded/`.

    Args:
        name: the file's name, such as "evaluator.npz".

    Returns:
        Nested dict of float32 NumPy arrays.
    """
    with resources.files("jaxgan").joinpath("embedded", name).open("rb") as file:
        return _read(file, name)


def pretrained(
    name: str = "mnist_gan", *, player: Literal["generator", "discriminator"] = "generator"
) -> PyTree:
    """A trained network that ships with the package, so that images can be drawn at once.

    Args:
        name: "mnist_gan", the GAN of fully connected networks that the default recipe of
            experiments/mnist_gan.py trains on MNIST; "stargan_faces", the generator that the
            default recipe of experiments/stargan.py trains, which `jaxgan.edit` takes.
        player: "generator", whose weights are the moving average of those in training, or, of
            mnist_gan only, "discriminator", whose weights are those of the last step
            (`jaxgan.systems.mlp_gan.networks.Discriminator()`, which takes pixels in [-1, 1]).

    Returns:
        What the network's `apply` takes, {"params": ...}; `jaxgan.sample` takes mnist_gan's
        generator. The leaves are float32 NumPy arrays, whose values were rounded to float16 on
        disk.

    Raises:
        ValueError: an unknown name or player.
    """
    check_pretrained(name)
    players = read_embedded(f"{name}.npz")
    if player not in players:
        raise ValueError(f"player must be one of {', '.join(players)}, not {player!r}")
    return players[player]


def check_pretrained(name: str) -> None:
    """Makes sure that a trained network ships with the package.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PRETRAINED:
        raise ValueError(f"there is no pretrained {name!r}: one of {', '.join(PRETRAINED)}")


def _read(file: IO[bytes], shown: str) -> PyTree:
    try:
        arrays = read_arrays(file)
    # zipfile raises many types of errors for damaged files.
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        raise ValueError(f"{shown} is no file of weights: {lines[0][:200]}") from error
    return flax.traverse_util.unflatten_dict(arrays)
