"""A run of two processes, as on two hosts: what one does that loses the other, and what both do."""

import shutil
import signal
import socket

import pytest
from small_run import SMALL, STEPS_PER_EPOCH, assert_same_run, flags, patience, slow, wait_for

from jaxgan.run.checkpoints import Checkpoints

TOO_LONG = 60


@pytest.fixture
def start_pair(start_script, tmp_path):
    """(workdir, *flags, more=((), ()), devices=(1, 1)) -> two processes of one run."""

    def start(workdir, *arguments, more=((), ()), devices=(1, 1)):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            coordinator = f"127.0.0.1:{free.getsockname()[1]}"
        return [
            start_script(
                "mnist_gan.py",
                *(*SMALL, *arguments, "--workdir", (workdir, tmp_path / "unused")[i]),
                *("--coordinator", coordinator, "--num-processes", 2, "--process-id", i),
                *more[i],
                devices=devices[i],
            )
            for i in range(2)
        ]

    return start


def ended(process, seconds=TOO_LONG):
    """The exit code, and what it said on the two streams."""
    stdout, stderr = process.communicate(timeout=patience(seconds))
    return process.returncode, stdout, stderr


def assert_one_line(stderr, message):
    # The first process draws its progress bar on the screen too.
    last = stderr.splitlines()[-1]
    assert last.startswith("mnist_gan.py: error: ") and message in last, stderr
    assert stderr.count("error: ") == 1 and "Traceback" not in stderr, stderr
    assert ".cc:" not in stderr.replace("pair.cc:", "") and "@ " not in stderr, stderr


def finish(pair):
    for process in pair:
        code, stdout, stderr = ended(process, 300)
        assert code == 0, stdout + stderr


@pytest.mark.slow
def test_a_pair_of_which_one_is_told_to_stop_saves_and_goes_on(undisturbed, start_pair, tmp_path):
    workdir = tmp_path / "run"
    pair = start_pair(workdir, "--epochs", 3)
    wait_for(lambda: (workdir / "metrics.csv").exists(), pair[0])
    pair[1].send_signal(signal.SIGTERM)
    for process, name in zip(pair, ("a signal to another process", "SIGTERM"), strict=True):
        code, stdout, stderr = ended(process)
        assert code == 128 + signal.SIGTERM, stderr
        assert f"Stopped by {name} after" in stdout and "goes on from here" in stdout
    (step,) = Checkpoints(workdir / "checkpoints").steps()
    assert 0 < step < 3 * STEPS_PER_EPOCH and step % 5 == 0
    finish(start_pair(workdir, "--epochs", 3))
    assert_same_run(workdir, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_pair_of_which_one_is_killed_stops_and_ends_bit_for_bit_the_same(
    undisturbed, start_pair, run_script, tmp_path, victim
):
    workdir = tmp_path / "run"
    pair = start_pair(workdir, "--epochs", 3)
    wait_for(lambda: Checkpoints(workdir / "checkpoints").steps(), pair[0])
    pair[victim].kill()
    code, _, stderr = ended(pair[1 - victim])
    assert code not in (0, 2)
    assert_one_line(stderr, "lost another process of this run")
    assert not (tmp_path / "unused").exists(), "only process 0 writes"
    if victim == 0:
        finish(start_pair(workdir, "--epochs", 3))
    else:
        # What two saved, one goes on with.
        done = run_script("mnist_gan.py", *flags(workdir, "--epochs", 3), devices=2)
        assert done.returncode == 0 and "going on after" in done.stdout, done.stderr
    assert_same_run(workdir, undisturbed)


# Of streamed images each process gathers its own part.
@pytest.mark.parametrize("data", ["streamed", slow("resident")])
def test_two_processes_go_on_with_what_one_saved(undisturbed, start_pair, tmp_path, data):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed, workdir)
    shutil.rmtree(workdir / "checkpoints" / str(3 * STEPS_PER_EPOCH))
    finish(start_pair(workdir, "--epochs", 3, "--data", data))
    assert_same_run(workdir, undisturbed)


@pytest.mark.parametrize(
    ("more", "devices", "message"),
    [
        (
            (("--batch-size", 500), ("--seeds", 2)),
            (1, 1),
            "--batch-size is 500 in process 0 and 1000 in process 1",
        ),
        (((), ()), (1, 2), "as many devices, but there are 1 in process 0, 2 in process 1"),
    ],
)
def test_processes_that_are_not_given_the_same_all_say_so(
    start_pair, tmp_path, more, devices, message
):
    for process in start_pair(tmp_path / "run", "--epochs", 3, more=more, devices=devices):
        code, _, stderr = ended(process)
        assert code == 2, stderr
        assert_one_line(stderr, message)
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_with_one_process_ends_the_other_too(start_pair, tmp_path):
    (tmp_path / "run").write_text("mine")
    first, second = start_pair(tmp_path / "run", "--epochs", 3)
    code, _, stderr = ended(first)
    assert code == 2
    assert_one_line(stderr, "is a file: name a folder")
    code, _, stderr = ended(second)
    assert code not in (0, 2)
    assert_one_line(stderr, "lost another process of this run")
