"""Trained weights in one file of named arrays, without pickle; some ship with the package."""

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import flax.traverse_util
import numpy as np

from jaxgan.files import written_whole

PyTree = Any
# Each is in jaxgan/embedded/: NAME.npz, and NAME.json with its scores and the command it is from.
PRETRAINED = ("mnist_gan",)


def write(path: Path, variables: PyTree, dtype: Any = np.float32) -> None:
    """Writes nested variables as an .npz, with names such as "params/Dense_0/kernel".

    Args:
        path: the file, replaced if it is there.
        variables: nested dict of float arrays, what `Module.apply` takes.
        dtype: what they are rounded to on disk.

    Raises:
        OSError: it cannot be written; whatever was at `path` is as it was.
    """
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    with written_whole(path) as beside:
        np.savez(beside, **{name: np.asarray(value, dtype) for name, value in flat.items()})


def read_embedded(name: str) -> PyTree:
    """Reads a file of `write` that ships in `jaxgan/embedded/`: float32 NumPy leaves."""
    with (
        resources.files("jaxgan").joinpath("embedded", name).open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        flat = {key: stored[key].astype(np.float32) for key in stored}
    return flax.traverse_util.unflatten_dict(flat, sep="/")


def pretrained(
    name: str = "mnist_gan", *, player: Literal["generator", "discriminator"] = "generator"
) -> PyTree:
    """A trained network, without training: good digits in the first minute.

    Args:
        name: "mnist_gan", the chapter's pair as the default recipe trains it.
        player: "generator", whose weights are the moving average, or the "discriminator" that it
            had in the end (`networks.mlp.Discriminator()`, which takes pixels in [-1, 1]).

    Returns:
        What the network's `apply` (and, of a generator, `jaxgan.sample`) takes, {"params": ...}:
        NumPy arrays, float32, rounded to float16 on disk.

    Raises:
        ValueError: an unknown name or player.
    """
    if name not in PRETRAINED:
        raise ValueError(f"there is no pretrained {name!r}: one of {', '.join(PRETRAINED)}")
    players = read_embedded(f"{name}.npz")
    if player not in players:
        raise ValueError(f"player must be one of {', '.join(players)}, not {player!r}")
    return players[player]
