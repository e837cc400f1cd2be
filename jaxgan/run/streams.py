"""Standard output and standard error of a script: what happens to them never ends the program."""

import errno
import io
import os
import sys
from typing import Any, TextIO

STDOUT, STDERR = 1, 2
# The errors of a write that nobody reads any more: the reader of the pipe has ended (as `head`
# does), or the terminal was closed.
_UNREAD = frozenset({errno.EPIPE, errno.EIO})


def make_lasting() -> None:
    """Replaces the standard streams of this process by streams that outlast their readers.

    A letter that the stream's encoding lacks is written as an escape sequence. Once nobody reads a
    stream any more, or if it was closed from the beginning, its text is dropped. Streams that a
    notebook or a test has put in the place of the process's own stay as they are.
    """
    for name, number in (("stdout", STDOUT), ("stderr", STDERR)):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue
        if stream is None:
            _open_if_closed(number)
            stream = open(os.devnull, "w")
        elif os.name == "nt":  # A console of Windows takes no bytes.
            stream.reconfigure(errors="backslashreplace")
        elif not isinstance(stream, _LastingText):
            stream.flush()
            stream = lasting(number, stream)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def lasting(number: int, like: Any) -> TextIO:
    """A text stream to an open file, as `make_lasting` describes.

    Args:
        number: the file's descriptor, which stays open when the stream is closed.
        like: the text stream that it replaces, with the same encoding and buffering.
    """
    raw = _Lasting(number, "wb", closefd=False)
    return _LastingText(
        raw if like.write_through else io.BufferedWriter(raw),
        like.encoding,
        errors="backslashreplace",
        line_buffering=like.line_buffering,
        write_through=like.write_through,
    )


class _LastingText(io.TextIOWrapper):
    pass


class _Lasting(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _UNREAD:
                raise
            # Libraries in C++ write to the same descriptor.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return len(data)


def _open_if_closed(number: int) -> None:
    """Opens a standard descriptor that is closed; otherwise a later file would get its number."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
