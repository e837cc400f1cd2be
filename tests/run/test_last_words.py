import io

import pytest

from jaxgan.run import last_words

# What JAX 0.10.2 says when the coordinator is gone.
PAGE = b"""\
E1124 23:15:07.133995   31557 coordination_service_agent.cc:289] Polled an error.
F1124 23:15:07.134049   31557 client.h:80] Terminating process because the JAX distributed service \
detected fatal errors. This most likely indicates that another task died. absl::Status: \
UNAVAILABLE: Socket closed
Additional GRPC error information:
*** Check failure stack trace: ***
    @     0x7fefc4240634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
"""


def said(text):
    out = io.BytesIO()
    last_words.main(io.BytesIO(text), out, "lost ({})")
    return out.getvalue()


def test_a_page_of_last_words_becomes_a_line():
    assert said(PAGE) == b"lost (UNAVAILABLE: Socket closed)\n"
    assert said(b"W1124 other\n" + PAGE) == b"W1124 other\nlost (UNAVAILABLE: Socket closed)\n"


@pytest.mark.parametrize("text", [b"", b"W1124 1 7 cpu.cc:1] slow\nhalf", PAGE.splitlines(True)[0]])
def test_all_else_is_passed_on(text):
    assert said(text) == text


def test_a_process_that_has_told_its_end_is_not_talked_over():
    assert said(b"note\n" + last_words.TOLD + PAGE) == b"note\n"
    assert said(PAGE + last_words.TOLD) == b""
