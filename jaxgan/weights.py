"""Trained weights in one file of named arrays, without pickle; some ship with the package."""

import math
import os
import zipfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, Literal

import flax.traverse_util
import numpy as np

from jaxgan.files import written_whole

PyTree = Any
# Each is in jaxgan/embedded/: NAME.npz, and NAME.json with its scores and the command it is from.
PRETRAINED = ("mnist_gan",)

# NumPy's header of an array of `write` has 118 bytes; it is read as a Python literal.
_MOST_HEADER_BYTES = 1024
# Deeper than any network's variables, and so little that whatever walks the tree may recurse.
_MOST_LEVELS = 64


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


def read(path: str | Path) -> PyTree:
    """Reads a file of `write`, from wherever it comes.

    Nothing in it is run, and what it says of itself is compared with its size before it is
    believed: memory and time are bounded by the bytes that it has, not by those that it claims.

    Args:
        path: the .npz.

    Returns:
        Nested dict of float32 NumPy arrays, what `write` was given up to rounding.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no file of `write`; the message says what is wrong.
        OSError: it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    if not path.is_file():
        raise ValueError(f"{path} is no file of weights: it is a folder or a device")
    with open(path, "rb") as file:
        return _read(file, str(path))


def read_embedded(name: str) -> PyTree:
    """Reads a file of `write` that ships in `jaxgan/embedded/`: float32 NumPy leaves."""
    with resources.files("jaxgan").joinpath("embedded", name).open("rb") as file:
        return _read(file, name)


def check_names(names: Iterable[Sequence[str]]) -> None:
    """Makes sure that the names of a file's variables are names, and not ways out of a folder.

    Args:
        names: of each variable, those that lead to it: ("params", "Dense_0", "kernel").

    Raises:
        ValueError: one is empty, "." or "..", or has a backslash or a control character in it; one
            is given twice, or stands for a variable and for what holds others; one is too deep.
    """
    seen = set()
    for name in map(tuple, names):
        shown = f"the name {'/'.join(name)[:100]!r}"
        if name in seen:
            raise ValueError(f"{shown} is there twice")
        seen.add(name)
        # Flax itself has names with slashes: those of spectral norms.
        parts = "/".join(name).split("/")
        if any(part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in parts):
            raise ValueError(f"{shown} is no name of a variable")
        if len(parts) > _MOST_LEVELS:
            raise ValueError(f"{shown} has more than {_MOST_LEVELS} levels")
    for name in seen:
        if any(name[:length] in seen for length in range(1, len(name))):
            shown = "/".join(name)[:100]
            raise ValueError(f"the name {shown!r} is below that of another variable")


def _read(file: BinaryIO, shown: str) -> PyTree:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        # zipfile looks for an archive at the end of anything.
        if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
            raise ValueError("it does not begin as an .npz does")
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            for member in members:
                named = repr(member.filename[:100])
                if not member.filename.endswith(".npy"):
                    raise ValueError(f"{named} in it is no .npy")
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{named} is compressed, which they never are")
            names = [tuple(member.filename.removesuffix(".npy").split("/")) for member in members]
            check_names(names)
            # Also where members lie over each other, each of them is read for itself.
            if sum(max(member.file_size, member.compress_size) for member in members) > size:
                raise ValueError(f"it claims more than the {size:,} bytes that it has")
            flat = {
                name: _read_member(archive, member)
                for name, member in zip(names, members, strict=True)
            }
    except Exception as error:  # zipfile raises all kinds for damaged files.
        lines = (str(error).strip() or type(error).__name__).splitlines()
        raise ValueError(f"{shown} is no file of weights: {lines[0][:200]}") from error
    return flax.traverse_util.unflatten_dict(flat)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(
                stream, max_header_size=_MOST_HEADER_BYTES
            )
        except Exception as error:  # A literal is evaluated, which raises all kinds.
            raise ValueError(f"{member.filename!r} has no header of NumPy's format 1.0") from error
        # dtype.kind is also that of a void or a record; "f" are the real floats alone.
        if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
            raise ValueError(f"{member.filename!r} is {dtype}, not float16, float32 or float64")
        claimed = math.prod(shape) * dtype.itemsize
        held = member.file_size - stream.tell()
        if any(length < 0 for length in shape) or claimed != held:
            raise ValueError(
                f"{member.filename!r} has {held:,} bytes, which is not {dtype} {shape}"
            )
        # To the end, where the checksum is compared.
        content = stream.read()
    stored = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    with np.errstate(over="ignore"):
        values = stored.astype(np.float32, order="C")
    if dtype.itemsize == 8 and np.any(np.isinf(values) & np.isfinite(stored)):
        raise ValueError(f"{member.filename!r} has numbers that are too large for float32")
    return values


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
