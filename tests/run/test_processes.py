import signal
import socket
import subprocess
import sys
import threading

import pytest
from small_run import patience

from jaxgan.run import processes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("127.0.0.1:1", None, 0), "wants the number of processes"),
        (("127.0.0.1:1", 2, None), "wants the number of processes"),
        (("127.0.0.1:1", 2, 2), "process id 2 is not in 0..1"),
        (("auto", 2, 0), "counted by JAX"),
        (("host", 2, 0), "must be 'auto' or HOST:PORT, not 'host'"),
        (("host:", 2, 0), "must be 'auto' or HOST:PORT"),
        ((":1234", 2, 0), "must be 'auto' or HOST:PORT"),
        (("host:http", 2, 0), "must be 'auto' or HOST:PORT"),
        (("host:65536", 2, 0), "must be 'auto' or HOST:PORT"),
    ],
)
def test_join_refuses_half_a_cluster(arguments, message):
    with pytest.raises(ValueError, match=message):
        processes.join(*arguments)


def test_within_waits_for_what_ends_and_not_for_what_hangs():
    done = []
    assert processes.within(60, lambda: done.append(True)) and done
    released = threading.Event()
    assert not processes.within(0.01, released.wait)
    released.set()


def test_a_process_alone_agrees_with_itself_and_leaves_by_its_code():
    processes.check_same({"--epochs": 1})
    assert processes.is_any(True) and not processes.is_any(False)
    with pytest.raises(SystemExit) as ended:
        processes.leave(3, together=True)
    assert ended.value.code == 3


JOIN = """
import signal, sys, time
from jaxgan.run import flags, processes
with flags.user_errors():
    processes.join(sys.argv[1], 2, int(sys.argv[2]), wait_seconds=float(sys.argv[3]))
    print("joined", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def join():
    """(port, process id, seconds to wait) -> a process that joins one other, and sleeps."""
    started = []

    def start(port, process_id, wait_seconds):
        arguments = (f"127.0.0.1:{port}", str(process_id), str(wait_seconds))
        process = subprocess.Popen(
            [sys.executable, "-c", JOIN, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("process_id", [0, 1])
def test_a_process_whose_others_do_not_come_says_so(join, process_id):
    port = free_port()
    process = join(port, process_id, 1)
    stdout, stderr = process.communicate(timeout=patience(60))
    assert (process.returncode, stdout) == (2, "")
    assert stderr.count("\n") == 1
    assert f"not all 2 processes at 127.0.0.1:{port} came within 1 seconds" in stderr


def test_a_process_that_computes_nothing_hears_of_the_loss_of_the_coordinator(join):
    port = free_port()
    pair = [join(port, i, 100) for i in range(2)]
    assert [process.stdout.readline() for process in pair] == ["joined\n"] * 2
    pair[0].kill()
    stdout, stderr = pair[1].communicate(timeout=patience(60))
    assert pair[1].returncode == -signal.SIGABRT
    assert stderr.count("\n") == 1
    assert "error: lost another process of this run (UNAVAILABLE: " in stderr
    assert "start all of them again" in stderr


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_process_that_gives_no_sign_of_life_counts_as_lost(join, stopped):
    port = free_port()
    pair = [join(port, i, 100) for i in range(2)]
    assert [process.stdout.readline() for process in pair] == ["joined\n"] * 2
    pair[stopped].send_signal(signal.SIGSTOP)
    stdout, stderr = pair[1 - stopped].communicate(timeout=patience(100))
    assert pair[1 - stopped].returncode == -signal.SIGABRT
    assert stderr.count("\n") == 1
    assert "error: lost another process of this run (" in stderr


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen at port {port}.*another port"):
            processes.join(f"127.0.0.1:{port}", 2, 0)
