"""Hostile and damaged files, made by mutation, and how they must be refused."""

import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def examples(count):
    """As many tries, the same on every machine."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def assert_one_line(error, *named):
    message = str(error)
    assert message and len(message.splitlines()) == 1 and len(message) < 1000
    for name in named:
        assert str(name) in message


@st.composite
def mutated(draw, originals):
    """Bytes of one of the originals with some of them changed, cut out, repeated or put in."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 4, 8, 30, 200])))
        match draw(st.sampled_from(["change", "cut", "repeat", "number", "end"])):
            case "change":
                content[start:end] = draw(st.binary(min_size=0, max_size=8))
            case "cut":
                del content[start:end]
            case "repeat":
                content[start:start] = content[start:end]
            case "number":
                number = draw(st.sampled_from([0, 1, 2**15, 2**16 - 1, 2**31, 2**32 - 1]))
                content[start : start + 4] = struct.pack("<I", number)
            case "end":
                del content[start:]
    return bytes(content)


def deep(levels, opening="[", closing="]"):
    return opening * levels + "1" + closing * levels
