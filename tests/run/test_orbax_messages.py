import asyncio
import errno
import gc
import logging
import sys
from types import SimpleNamespace

import pytest

from jaxgan.run import orbax_messages


# Orbax leaves the tasks of the other arrays so when one array has failed. Which of them fail too
# by then depends on threads, so the tasks are made here.
def test_asyncio_is_quiet_about_the_arrays_of_a_checkpoint_and_nothing_else(caplog):
    orbax_messages.quieten()

    async def fail(error):
        raise error

    async def leave(error):
        asyncio.ensure_future(fail(error))
        await asyncio.sleep(0)

    for line in (
        'RESOURCE_EXHAUSTED: Error writing "params.bias/0" in OCDBT database at local file "x"',
        "somebody else's",
    ):
        asyncio.run(leave(ValueError(line)))
    gc.collect()
    (record,) = [record for record in caplog.records if record.name == "asyncio"]
    assert "somebody else's" in record.getMessage()


def test_orbax_logs_no_traceback_and_all_else(caplog):
    orbax_messages.quieten()
    logger = logging.getLogger("absl")
    try:
        raise ValueError("damaged")
    except ValueError:
        logger.exception("raised here as well")
    logger.warning("somebody else's")
    assert [record.getMessage() for record in caplog.records] == ["somebody else's"]


def test_the_hook_of_errors_that_nobody_can_catch_is_passed_all_but_a_closed_loop(monkeypatch):
    passed = []
    monkeypatch.setattr(sys, "unraisablehook", passed.append)
    monkeypatch.setattr(orbax_messages, "_usual_hook", None)
    for _ in range(2):
        orbax_messages.quieten()
    closed, other = (
        SimpleNamespace(exc_value=RuntimeError(line)) for line in ("Event loop is closed", "other")
    )
    sys.unraisablehook(closed)
    sys.unraisablehook(other)
    assert passed == [other]


def caused_by(cause, *, explicitly):
    """A ValueError that was raised because of another error, or while that was handled."""
    try:
        try:
            raise cause
        except Exception as error:
            if explicitly:
                raise ValueError("cannot write") from error
            raise ValueError("cannot write")  # noqa: B904
    except ValueError as error:
        return error


@pytest.mark.parametrize("explicitly", [True, False])
def test_the_number_of_an_oserror_behind_an_error(explicitly):
    full = OSError(errno.ENOSPC, "No space left on device")
    assert orbax_messages.error_number(full) == errno.ENOSPC
    assert orbax_messages.error_number(caused_by(full, explicitly=explicitly)) == errno.ENOSPC
    said = ValueError("RESOURCE_EXHAUSTED: Failed to open: \"x\" [os_error_code='28']")
    assert orbax_messages.error_number(caused_by(said, explicitly=explicitly)) == 28


@pytest.mark.parametrize("error", [ValueError("28"), OSError("without a number")])
def test_an_error_that_the_operating_system_did_not_cause_has_no_number(error):
    assert orbax_messages.error_number(error) is None
