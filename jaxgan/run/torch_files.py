"""Reading files of PyTorch, with PyTorch as an optional package that nothing else needs."""

import importlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from jaxgan.files.reading import open_regular

_MOST_LEVELS = 8


def read(path: str | Path) -> Any:
    """Reads a file that `torch.save` wrote, of tensors alone. Nothing in the file is run.

    Args:
        path: the file, such as a .pt or a .pth.

    Returns:
        What the file holds, with NumPy arrays in the place of tensors, and dicts in the place of
        other mappings.

    Raises:
        ImportError: PyTorch is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is none of PyTorch, or holds more than tensors, numbers and texts.
        OSError: the file cannot be read.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(
            f"reading {path} wants PyTorch, which is not installed: pip install torch"
        ) from error
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} is not there")
    with open_regular(path) as file:
        try:
            check_archive(file)
            held = torch.load(file, map_location="cpu", weights_only=True)
        # PyTorch raises many types of errors for other files.
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            # PyTorch advises to run what the file holds.
            why = "" if "weights_only" in why else f": {why[:200]}"
            raise ValueError(
                f"{path} is no file of PyTorch that holds tensors alone{why}"
            ) from error
    return _as_arrays(torch, held)


def check_archive(file: IO[bytes]) -> None:
    """Refuses an archive that is larger unpacked than as a file. PyTorch compresses nothing.

    Args:
        file: the file, which need not be an archive. It is left at its beginning.

    Raises:
        ValueError: the archive claims more bytes than the file has. The message lacks its name.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        if claimed > file.seek(0, os.SEEK_END):
            raise ValueError(f"it claims {claimed:,} bytes, more than it has")
    file.seek(0)


def _as_arrays(torch: Any, held: Any, level: int = 0) -> Any:
    if isinstance(held, torch.Tensor):
        held = held.detach()
        return (held.float() if held.is_floating_point() else held).numpy()
    if isinstance(held, Mapping) and level < _MOST_LEVELS:
        return {str(key): _as_arrays(torch, value, level + 1) for key, value in held.items()}
    return held
