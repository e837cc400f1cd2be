"""What happens to the standard streams of a script does not end it."""

import os
import pty
import subprocess
import sys

import pytest

BEGIN = "import os, sys; from jaxgan.run import streams; streams.make_lasting(); "
# Prints until the reader must have ended, and then writes a file.
MANY_LINES = BEGIN + (
    "[print('line', i, flush=True) for i in range(20000)]; "
    "print('x' * 100000, file=sys.stderr); os.write(1, b'of C++'); open('made', 'w').write('whole')"
)


def python(code, folder, shell="{}", **environment):
    """Runs code by a shell command, in which {} is the process."""
    command = f'"{sys.executable}" -c "$CODE"'
    return subprocess.run(
        shell.format(command),
        shell=True,
        cwd=folder,
        env={**os.environ, "CODE": code, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("shell", ["{} | head -n 1", "{} 2>&1 | head -n 1"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_ends_stops_nothing(shell, unbuffered, tmp_path):
    done = python(MANY_LINES, tmp_path, shell, PYTHONUNBUFFERED=unbuffered)
    assert done.stdout == "line 0\n"
    assert set(done.stderr) <= set("x\n")
    assert (tmp_path / "made").read_text() == "whole"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_silent_and_no_file_takes_its_place(closed, tmp_path):
    code = BEGIN + (
        "file = open('made', 'w'); print('told'); print('warned', file=sys.stderr); "
        "os.write(1, b''); os.write(2, b'C++'); file.write('whole')"
    )
    done = python(code, tmp_path, f"{{}} {closed}")
    assert done.returncode == 0
    assert done.stdout == ("" if closed.startswith(">") else "told\n")
    assert done.stderr == ("" if "2>" in closed else "warned\nC++")
    assert (tmp_path / "made").read_text() == "whole"


def test_letters_that_the_encoding_lacks_are_escaped(tmp_path):
    code = BEGIN + "print('chữ.png', flush=True); print('chữ', file=sys.stderr)"
    done = python(code, tmp_path, PYTHONIOENCODING="ascii")
    assert (done.stdout, done.stderr) == ("ch\\u1eef.png\n", "ch\\u1eef\n")
    assert python(code, tmp_path, PYTHONIOENCODING="utf-8").stdout == "chữ.png\n"


def test_a_terminal_that_is_closed_stops_nothing(tmp_path):
    terminal, theirs = pty.openpty()
    code = BEGIN + (
        "print('begun', flush=True); sys.stdin.read(); print('more', flush=True); "
        "print('more', file=sys.stderr); open('made', 'w').write('whole')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    assert os.read(terminal, 100).startswith(b"begun")
    os.close(terminal)
    process.communicate(b"")
    assert process.returncode == 0
    assert (tmp_path / "made").read_text() == "whole"


def test_other_errors_of_a_write_are_raised(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no full device")
    done = python(BEGIN + "print('told', flush=True)", tmp_path, "{} > /dev/full")
    assert "No space left" in done.stderr


def test_streams_that_a_notebook_has_replaced_stay(capsys):
    from jaxgan.run import streams

    before = sys.stdout, sys.stderr
    streams.make_lasting()
    assert (sys.stdout, sys.stderr) == before
