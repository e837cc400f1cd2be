"""What Orbax, TensorStore and asyncio say about an error: kept off the screen, or made an OSError.

Orbax logs an error with its traceback and then raises it, and the caller reports it in one line.
After the first error in a tree Orbax waits for none of the tree's other arrays, and asyncio and
Python then complain about the errors of these arrays, which nobody retrieved.
"""

import logging
import re
import sys
from typing import Any

# TensorStore names the store of an item's arrays so in all its messages.
_KEY_VALUE_STORE = "OCDBT database"

_usual_hook = sys.unraisablehook


def quieten() -> None:
    """Hides these messages for the rest of this process. May be called any number of times."""
    logging.getLogger("absl").addFilter(_has_no_traceback)
    logging.getLogger("asyncio").addFilter(_is_not_about_an_array)
    if sys.unraisablehook is not _pass_on_unraisable:
        global _usual_hook
        _usual_hook, sys.unraisablehook = sys.unraisablehook, _pass_on_unraisable


def error_number(error: Exception) -> int | None:
    """The operating system's error number behind an error that Orbax or TensorStore raised.

    Args:
        error: the error. Its causes are searched too, and TensorStore's messages name the number.

    Returns:
        The number, such as `errno.ENOSPC`; None if the operating system is not the cause.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return cause.errno
        if number := re.search(r"os_error_code='(\d+)'", str(cause)):
            return int(number[1])
        cause = cause.__cause__ or cause.__context__
    return None


def _has_no_traceback(record: logging.LogRecord) -> bool:
    return not record.exc_info


def _is_not_about_an_array(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not ("exception was never retrieved" in message and _KEY_VALUE_STORE in message)


def _pass_on_unraisable(unraisable: Any) -> None:
    if "Event loop is closed" not in str(unraisable.exc_value):
        _usual_hook(unraisable)
