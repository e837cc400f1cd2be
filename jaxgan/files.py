"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial"


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Has an OSError of the block say which file it is about: one of a write does not by itself."""
    try:
        yield
    except OSError as error:
        # One without a number is shown as its message alone, or, with a file, not at all.
        if error.errno is not None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; renames it to `path` if the block ends well.

    The temporary has the same ending as `path`, for writers that go by it, and `PARTIAL` in its
    name, so that one left by a killed process is known for what it is.

    Args:
        path: the file to be; replaced if it is there.

    Raises:
        OSError: it cannot be written; whatever was at `path` is as it was.
    """
    beside = path.with_name(f".{path.stem}{PARTIAL}{path.suffix}")
    try:
        with naming(path):
            yield beside
            with open(beside, "rb") as written:
                os.fsync(written.fileno())
            os.replace(beside, path)
    finally:
        # On a disk that takes nothing any more, removing fails too; why writing did says more.
        with contextlib.suppress(OSError):
            beside.unlink()


def remove_partial(directory: Path) -> None:
    """Removes what writers killed half-way left anywhere below a directory."""
    for leftover in directory.rglob(f".*{PARTIAL}*"):
        leftover.unlink(missing_ok=True)
