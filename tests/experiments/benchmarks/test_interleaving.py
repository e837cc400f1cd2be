"""Processes that take turns, programs that are watched, and the warning of a busy machine."""

import os
import re
import sys
import time
from pathlib import Path

import interleaving
import pytest


def count(report, start, most):
    for i in range(start, most):
        report(i)
    raise ValueError("so many\nturns are too many")


def test_workers_take_their_turns_in_rounds(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3])  # The workers import `count` from here.
    workers = {k: interleaving.Worker(k, tmp_path / k, count, i, 9) for i, k in enumerate("ab")}
    workers["c"] = interleaving.Worker("c", tmp_path / "c", count, 0, 1)
    try:
        found = interleaving.take_turns(workers, 3, "test", optional=["c"])
    finally:
        for worker in workers.values():
            worker.close()
    assert found == {"a": [2, 3, 4], "b": [3, 4, 5]}
    # One that may fail is left out, and said to be; another's end is an error.
    assert "left out: c ended: turns are too many" in capsys.readouterr().err
    worker = interleaving.Worker("d", tmp_path / "d", count, 0, 1)
    with pytest.raises(OSError, match="d ended: turns are too many"):
        interleaving.take_turns({"d": worker}, 1, "test")
    worker.close()


def test_a_turn_is_about_as_long_as_asked_for():
    reported = []

    def report(result):
        reported.append(result)
        if len(reported) == 4:
            raise StopIteration

    with pytest.raises(StopIteration):
        interleaving.run_in_turns(report, lambda units: time.sleep(0.01 * units), 5.0, 0.1)
    assert reported[:2] == [None, None] and 100 < min(reported[2:]) <= max(reported[2:]) <= 500


def test_what_a_program_leaves_is_timed_when_it_appears(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, time\n"
        "for name in ('a', 'b', 'c'):\n"
        "    time.sleep(0.3)\n"
        f"    pathlib.Path({str(tmp_path)!r}, name + '.left').touch()\n"
        "raise SystemExit(3)\n"
    )

    def names():
        return sorted(x.name for x in tmp_path.glob("*.left"))

    command = [sys.executable, str(script)]
    seen = interleaving.watch(command, names, tmp_path, most=2)
    assert list(seen) == ["a.left", "b.left"]
    assert seen["a.left"] >= 0.3 and seen["b.left"] - seen["a.left"] >= 0.2
    with pytest.raises(OSError, match="script.py failed, with exit code 3"):
        interleaving.watch(command, names, tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="Linux counts the cores' time")
def test_a_busy_machine_is_said(monkeypatch):
    monkeypatch.setattr(interleaving, "MOST_FOR_OTHERS", -10)
    (line,) = interleaving.watch_others()()
    assert re.match(r"\*\*Other programs took -?\d+% of this machine's cores", line)
    monkeypatch.setattr(interleaving, "MOST_FOR_OTHERS", 10)
    assert interleaving.watch_others()() == []
