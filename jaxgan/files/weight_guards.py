"""Checks of a file of weights that may be hostile or damaged.

Nothing in the file is run. Every size that the file claims is compared with the bytes that it has
before memory is allocated, so memory and time are bounded by the real size of the file.
"""

import math
import os
import zipfile
from collections.abc import Iterable, Sequence
from typing import IO

import numpy as np

# NumPy parses the header of an array as a Python literal. The headers that `weights.write` writes
# have 118 bytes.
_MOST_HEADER_BYTES = 1024
# A network's variables are nested less deeply, and Python can still recurse over a tree this deep.
_MOST_LEVELS = 64


def check_names(names: Iterable[Sequence[str]]) -> None:
    """Checks that the names of variables cannot lead out of a folder and make one tree.

    Args:
        names: the path of each variable in the tree, such as ("params", "Dense_0", "kernel").

    Raises:
        ValueError: a part of a name is empty, "." or "..", or has a backslash or a control
            character in it; a name is given twice; a name is also the beginning of another name;
            or a name has more than 64 parts.
    """
    seen = set()
    for name in map(tuple, names):
        shown = f"the name {'/'.join(name)[:100]!r}"
        if name in seen:
            raise ValueError(f"{shown} is there twice")
        seen.add(name)
        # Flax itself puts slashes into one part of a name: the names of spectral norms.
        parts = "/".join(name).split("/")
        if any(part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in parts):
            raise ValueError(f"{shown} is no name of a variable")
        if len(parts) > _MOST_LEVELS:
            raise ValueError(f"{shown} has more than {_MOST_LEVELS} levels")
    for name in seen:
        if any(name[:length] in seen for length in range(1, len(name))):
            shown = "/".join(name)[:100]
            raise ValueError(f"the name {shown!r} is below that of another variable")


def read_arrays(file: IO[bytes]) -> dict[tuple[str, ...], np.ndarray]:
    """Reads the arrays of an .npz file that `weights.write` wrote, or refuses the file.

    Args:
        file: the open file, which can seek.

    Returns:
        float32 arrays by the parts of their names. The caller may change them.

    Raises:
        ValueError: the file is not as `weights.write` writes it; the message says what is wrong.
        Exception: `zipfile` raises many other types for a damaged archive.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    # zipfile accepts a file that has an archive only at its end.
    if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
        raise ValueError("it does not begin as an .npz does")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            shown = repr(member.filename[:100])
            if not member.filename.endswith(".npy"):
                raise ValueError(f"{shown} in it is no .npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{shown} is compressed, which they never are")
        names = [tuple(member.filename.removesuffix(".npy").split("/")) for member in members]
        check_names(names)
        # Members may overlap in the file, and each one of them would still be read in full.
        if sum(max(member.file_size, member.compress_size) for member in members) > size:
            raise ValueError(f"it claims more than the {size:,} bytes that it has")
        return {
            name: _read_array(archive, member) for name, member in zip(names, members, strict=True)
        }


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version")
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(
                stream, max_header_size=_MOST_HEADER_BYTES
            )
        # NumPy evaluates the header as a Python literal, which raises many types of errors.
        except Exception as error:
            raise ValueError(f"{member.filename!r} has no header of NumPy's format 1.0") from error
        # Only real floats have the kind "f": void and record types have the kind "V".
        if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
            raise ValueError(f"{member.filename!r} is {dtype}, not float16, float32 or float64")
        claimed = math.prod(shape) * dtype.itemsize
        held = member.file_size - stream.tell()
        if any(length < 0 for length in shape) or claimed != held:
            raise ValueError(
                f"{member.filename!r} has {held:,} bytes, which is not {dtype} {shape}"
            )
        # zipfile compares the checksum only when a member is read to its end.
        content = stream.read()
    stored = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    with np.errstate(over="ignore"):
        values = stored.astype(np.float32, order="C")
    if dtype.itemsize == 8 and np.any(np.isinf(values) & np.isfinite(stored)):
        raise ValueError(f"{member.filename!r} has numbers that are too large for float32")
    return values
