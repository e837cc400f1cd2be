"""A lock on a folder: one process at a time trains, or prepares images, in it."""

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import BinaryIO

FILE_NAME = ".lock"
# On Windows a locked byte cannot be read, so the lock is on a byte far behind the holder's name.
_LOCKED_BYTE = 1 << 20
_MOST_HOLDER_BYTES = 1000


class InUseError(ValueError):
    """Another process holds the lock. The argument `holder` names it and its host."""

    def __init__(self, message: str, holder: str):
        super().__init__(message)
        self.holder = holder


class Lock:
    """The lock of a folder. The operating system releases the lock of a process that is killed.

    The file `.lock` in the folder names the holder. `release` removes the file. A killed process
    leaves the file, and the next holder takes it over.
    """

    def __init__(self, directory: Path):
        """Names the folder; nothing is locked before `acquire`."""
        self.path = directory / FILE_NAME
        # An object that is thrown away closes its file, which releases the lock.
        self._file: BinaryIO | None = None

    def acquire(self) -> str | None:
        """Locks the folder.

        Returns:
            None; or a line of warning, if the file system of the folder knows no locks.

        Raises:
            InUseError: a process holds the lock. The message names the process and its host.
            OSError: the folder is not there, or cannot be written to.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        with contextlib.ExitStack() as closing:
            file = closing.enter_context(open(descriptor, "r+b", buffering=0))
            try:
                is_locked = _lock(file)
            except OSError as error:
                return (
                    f"{self.path.parent} cannot be locked ({error.strerror or error}): start no "
                    "second command on this folder while the first one runs"
                )
            if not is_locked:
                holder = file.read(_MOST_HOLDER_BYTES).decode(errors="replace").strip()
                holder = holder or "another process"
                raise InUseError(
                    f"{self.path.parent} is in use by {holder}: wait for its end, stop it, or take "
                    "another --workdir",
                    holder,
                )
            if self._is_at_path(file):
                file.truncate(0)
                file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                self._file = file
                closing.pop_all()
                return None
        # The holder before removed the file after it was opened here.
        return self.acquire()

    def release(self) -> None:
        """Unlocks the folder and removes the file, if this object has locked the folder."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with file:
            # The file is removed before the lock is released: whoever opens it until then cannot
            # lock it, and whoever comes later makes a new one. Windows removes no open file.
            if sys.platform != "win32" and self._is_at_path(file):
                self.path.unlink(missing_ok=True)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _is_at_path(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False


def _lock(file: BinaryIO) -> bool:
    """Locks an open file without waiting; whether no other process has locked it.

    Raises:
        OSError: the file system knows no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            file.seek(0)
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
