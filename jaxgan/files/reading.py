"""Reading files that may be hostile or damaged: regular files alone, and at most so many bytes."""

import json
import os
import stat
from pathlib import Path
from typing import IO, Any

# What files hold may be this many times as large as the files. Trained weights hardly compress, but
# moments that are all zeros and weights that are all NaN compress by thousands. The spare bytes are
# for such arrays; every machine has memory for them.
_MOST_RATIO, _SPARE_BYTES = 64, 64 << 20
# The most holes of a file that are looked for. A file of a run has none.
_MOST_HOLES = 1000


def open_regular(path: str | Path) -> IO[bytes]:
    """Opens a regular file for reading. Another kind of file could block or have no end.

    Args:
        path: the file, or a link to it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe, a socket or a device.
        OSError: it cannot be opened.
    """
    # Opening a pipe without this flag waits for a writer.
    flags = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        # Windows refuses to open a folder, and every system to open a socket, in other words.
        check_regular(path)
        number = os.open(path, os.O_RDONLY | flags)
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    file = os.fdopen(number, "rb")
    # Between the check and the opening another file may have taken the path.
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise ValueError(f"{path} is no regular file, but a folder, a pipe or a device")
    return file


def check_regular(path: str | Path) -> os.stat_result:
    """Checks that a path is a regular file, or a link to one.

    Returns:
        The file's status.

    Raises:
        ValueError: it is a folder, a pipe, a socket or a device.
        OSError: there is no such file, or its status cannot be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is no regular file, but a folder, a pipe or a device")
    return status


def read_bytes(path: str | Path, most: int) -> bytes:
    """Reads a whole file, unless it is too long.

    Args:
        path: the file.
        most: the largest number of bytes that is read.

    Raises:
        ValueError: the file has more bytes, or is no regular file.
        OSError: the file does not exist or cannot be read.
    """
    with open_regular(path) as file:
        content = b""
        # The size of the file is looked at first: a sparse file has gigabytes and no data.
        if os.fstat(file.fileno()).st_size <= most:
            content = file.read(most + 1)
            if len(content) <= most:
                return content
    raise ValueError(f"{path} has more than {most:,} bytes")


def read_json(path: str | Path, kind: type, most: int = 1 << 20) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        kind: the type of its outermost value, dict or list.
        most: the largest number of bytes that is read.

    Raises:
        ValueError: the file is too long, no regular file, no JSON, or JSON of another type. The
            message is one line, which names the file.
        OSError: the file does not exist or cannot be read.
    """
    try:
        values = json.loads(read_bytes(path, most).decode())
        if not isinstance(values, kind):
            raise ValueError(f"not a JSON {'object' if kind is dict else 'list'}")
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).removeprefix(f"{path} ").split())
        why = f"it {why}" if why.startswith(("has ", "is ")) else why
        raise ValueError(f"{path} cannot be used: {why[:300]}") from error
    return values


def held_bytes(path: str | Path) -> int:
    """The bytes of a file that are on disk. A sparse file has fewer than its size.

    Raises:
        ValueError: it is no regular file.
        OSError: its status cannot be read.
    """
    status = check_regular(path)
    size = status.st_size
    blocks = getattr(status, "st_blocks", None)  # Windows counts none.
    if blocks is None or 512 * blocks >= size:
        return size
    # A disk that compresses counts fewer blocks, and some disks count none until they have written
    # them. Such a file has no holes.
    return max(512 * blocks, _outside_holes(path, size))


def check_claim(claimed: int, held: int) -> None:
    """Checks that files do not claim to hold much more than they have on disk.

    Args:
        claimed: the bytes that they claim.
        held: the bytes that they have (`held_bytes`).

    Raises:
        ValueError: they do. The message lacks the name of the files.
    """
    if claimed > _MOST_RATIO * held + _SPARE_BYTES:
        raise ValueError(f"its {held:,} bytes claim to be {claimed:,}")


def _outside_holes(path: str | Path, size: int) -> int:
    if not hasattr(os, "SEEK_DATA"):
        return 0
    found = end = 0
    with open_regular(path) as file:
        try:
            for _ in range(_MOST_HOLES):
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                found += end - start
                if end >= size:
                    break
        except OSError:
            # There are no data after `end`, or the file system cannot say.
            pass
    return min(found, size)
