"""Writing a file whole or not at all; the folder of caches."""

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

PARTIAL = ".partial"
# Version 0.1 wrote no number.
_TEMPORARY = re.compile(
    rf"\.(?P<stem>.+){re.escape(PARTIAL)}(-[0-9a-f]{{8}})?(?P<suffix>(\.[^.]*)?)", re.DOTALL
)


def cache_folder() -> Path | None:
    """The folder of this package in the user's folder of caches; None without a home folder."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # Without a home folder the "~" stays.
    return Path(caches) / "jaxgan" if os.path.isabs(caches) else None


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds the name of a file to an OSError of the block, since the error of a write has none.

    Args:
        path: the file that the block writes.
    """
    try:
        yield
    except OSError as error:
        # Python shows an OSError that has a file but no number as "[Errno None] None".
        if error.errno is not None:
            error.filename = os.fspath(path)
        raise


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives the block a temporary file to write, and renames it to `path` at the block's end.

    The temporary file is in the directory of `path`, and is removed if the block raises. It has the
    suffix of `path`, because some writers choose a format by the suffix, and `PARTIAL` in its name,
    by which `remove_partial` finds it after the process was killed. Its name is new each time, so
    that several processes may write one file: the last rename counts.

    Args:
        path: the file to write. An old file of this name is replaced.

    Yields:
        The path of the temporary file.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
    """
    beside = path.with_name(f".{path.stem}{PARTIAL}-{secrets.token_hex(4)}{path.suffix}")
    try:
        with naming(path):
            yield beside
            # Windows refuses fsync of a file that is open for reading alone.
            with open(beside, "r+b") as written:
                os.fsync(written.fileno())
            os.replace(beside, path)
    finally:
        # After a rename there is nothing to remove. On a full or broken disk removing may fail too,
        # and the error of the write says more than that.
        with contextlib.suppress(OSError):
            beside.unlink()


def remove_partial(directory: Path, is_own: Callable[[str], bool]) -> None:
    """Removes the temporary files that killed processes have left in a directory.

    Args:
        directory: the directory, in which only direct entries are looked at. It may be missing.
        is_own: whether a file of this name is written by nobody else.
    """
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        match = _TEMPORARY.fullmatch(entry.name)
        if match and is_own(match["stem"] + match["suffix"]):
            entry.unlink(missing_ok=True)
