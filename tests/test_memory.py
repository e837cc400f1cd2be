"""What needs more memory than there is, is refused before it is allocated."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from jaxgan import memory


def test_the_memory_of_this_machine():
    assert 2**28 < memory.available() <= float("inf")


def test_a_machine_that_tells_nothing(monkeypatch):
    pytest.importorskip("resource")
    monkeypatch.delattr(memory.os, "sysconf")
    monkeypatch.setattr("resource.getrlimit", lambda name: (-1, -1))
    monkeypatch.setattr(memory, "_LIMITS", ())
    monkeypatch.setattr(memory, "_own_limits", list)
    assert memory.available() == float("inf")
    memory.check(10**30, "a", "b")


def test_the_limit_of_a_control_group(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_own_limits", list)
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(memory, "_LIMITS", (str(tmp_path / "memory.max"), "/nowhere"))
    assert memory.available() > 2**28
    (tmp_path / "memory.max").write_text("300000000\n")
    assert memory.available() == 300_000_000


def test_the_limit_of_a_process():
    pytest.importorskip("resource")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33));"
        "from jaxgan import memory; print(memory.available() <= 2**33)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_memory_of_an_accelerator():
    def device(platform, stats):
        return SimpleNamespace(platform=platform, memory_stats=lambda: stats)

    assert memory.available(device("gpu", {"bytes_limit": 5})) == 5
    assert memory.available(device("tpu", None)) == float("inf")
    assert memory.available(device("cpu", None)) == memory.available()


def test_the_line_has_both_numbers(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device=None: 12e9)
    memory.check(12e9, "this", "take less")
    with pytest.raises(ValueError) as error:
        memory.check(64e9, "--num 20000000", "draw fewer")
    assert str(error.value) == (
        "--num 20000000 needs at least 64.0 GB of memory, and there are 12.0 GB: draw fewer"
    )
