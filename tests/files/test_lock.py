"""The lock of a work dir, with real processes."""

import errno
import os
import signal
import socket
import subprocess
import sys

import pytest
from mutations import assert_one_line

from jaxgan.files.lock import Lock

HOLD = """
import sys, time
from pathlib import Path
from jaxgan.files.lock import Lock
lock = Lock(Path(sys.argv[1]))
lock.acquire()
print("locked", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_folder_that_another_process_holds_is_refused_by_its_name(holder, tmp_path):
    lock = Lock(tmp_path)
    with pytest.raises(ValueError) as raised:
        lock.acquire()
    who = f"{tmp_path} is in use by process {holder.pid} on {socket.gethostname()}: wait"
    assert_one_line(raised.value, who, "take another --workdir")
    lock.release()  # It has nothing to release.
    assert (tmp_path / ".lock").exists()


def test_a_process_that_is_killed_leaves_no_lock_behind(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lock = Lock(tmp_path)
    assert lock.acquire() is None
    assert (tmp_path / ".lock").read_text().split()[1] == str(os.getpid())
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_one_process_locks_a_folder_once(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    assert first.acquire() is None
    with pytest.raises(ValueError, match=f"in use by process {os.getpid()} "):
        second.acquire()
    first.release()
    assert second.acquire() is None
    second.release()


def test_a_lock_that_was_removed_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    before = Lock(tmp_path)
    before.acquire()
    lock_file = fcntl.flock

    def flock(file, how):
        monkeypatch.setattr(fcntl, "flock", lock_file)
        before.release()  # After the file was opened, and before it is locked.
        lock_file(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = Lock(tmp_path)
    assert lock.acquire() is None
    with pytest.raises(ValueError, match="in use"):
        Lock(tmp_path).acquire()
    lock.release()


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = Lock(tmp_path)
    line = lock.acquire()
    assert line.startswith(f"{tmp_path} cannot be locked (No locks available): start no second")
    lock.release()
