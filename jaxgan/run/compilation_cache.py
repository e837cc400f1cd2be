"""The folder in which JAX keeps compiled programs between runs."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxgan.files.writing import cache_folder

# JAX's ending of an entry's name.
_ENTRY = "-cache"
# The file whose date says when the entries were last checked.
_CHECKED = "checked-by-jaxgan"
# Entries that are so much older than the last check are checked again: the clock of a network disk
# may be another one.
_MARGIN_SECONDS = 60
# JAX's options.
_DIRECTORY = "jax_compilation_cache_dir"
_LEAST_SECONDS = "jax_persistent_cache_min_compile_time_secs"


@contextlib.contextmanager
def in_use() -> Iterator[None]:
    """Lets JAX keep programs that the block compiles on disk, in the user's cache folder.

    What the user has set (JAX's cache directory, or its least compile time) is left as it is. A
    user without a home folder has no such cache. After the block JAX's options are as before.
    """
    chosen: dict[str, Any] = {}
    before = {name: getattr(jax.config, name) for name in (_DIRECTORY, _LEAST_SECONDS)}
    if before[_DIRECTORY] is None and (directory := cache_folder()) is not None:
        remove_broken(directory)
        chosen[_DIRECTORY] = str(directory)
    # By default JAX keeps no program that compiles fast. The small ones take a second together.
    if _LEAST_SECONDS.upper() not in os.environ:
        chosen[_LEAST_SECONDS] = 0
    try:
        for name, value in chosen.items():
            jax.config.update(name, value)
        yield
    finally:
        for name in chosen:
            jax.config.update(name, before[name])
        if _DIRECTORY in chosen:
            # JAX would keep later programs of the process in the folder too.
            compilation_cache.reset_cache()


def remove_broken(directory: Path) -> None:
    """Removes the entries that a process was killed while it wrote.

    JAX writes an entry in place and never replaces one. It would warn of a broken entry, and
    compile the program again, at every start. Only entries since the last check are read.

    Args:
        directory: the folder of the cache; it may be missing, or not be writable.
    """
    decompress = _decompress()
    if decompress is None or not directory.is_dir():
        return
    # A cache that cannot be read or written is JAX's to report.
    with contextlib.suppress(OSError):
        checked, now = directory / _CHECKED, time.time()
        since = checked.stat().st_mtime - _MARGIN_SECONDS if checked.exists() else 0
        for entry in directory.glob(f"*{_ENTRY}"):
            if entry.stat().st_mtime >= since and not _is_whole(entry, decompress):
                entry.unlink(missing_ok=True)
        checked.touch()
        os.utime(checked, (now, now))


def _is_whole(entry: Path, decompress: Callable[[bytes], Any]) -> bool:
    content = entry.read_bytes()
    try:
        decompress(content)
    # The libraries that JAX compresses with have errors of their own.
    except Exception:
        return False
    return True


def _decompress() -> Callable[[bytes], Any] | None:
    """JAX's function that reads an entry. It is not public: None if this JAX has no such one."""
    try:
        from jax._src.compilation_cache import decompress_executable
    except ImportError:
        return None
    return decompress_executable
