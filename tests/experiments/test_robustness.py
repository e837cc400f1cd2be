"""What a run does when it is killed, stopped, or its disk fails: it loses nothing."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from small_run import STEPS_PER_EPOCH, assert_same_run, contents, flags, patience, slow, wait_for
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jaxgan.files.writing import PARTIAL
from jaxgan.run.checkpoints import UNFINISHED, Checkpoints

NO_SPACE = "No space left on device"


def assert_nothing_is_amiss(workdir, undisturbed):
    """It holds what the run that nothing disturbed left: nothing more, nothing less."""
    assert_same_run(workdir, undisturbed)
    for folder in (".", "samples", "checkpoints"):
        assert names(workdir / folder) == names(undisturbed / folder)
    for path in [*(undisturbed / "samples").iterdir(), undisturbed / "training.gif"]:
        again = workdir / path.relative_to(undisturbed)
        assert again.read_bytes() == path.read_bytes(), path.name
    assert not leftovers(workdir)
    # TensorBoard shows every row once.
    rows = (workdir / "metrics.csv").read_text().splitlines()[1:]
    events = EventAccumulator(str(workdir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    shown = [event.step for event in events.Scalars("d_real")]
    assert shown == [int(row.split(",")[0]) for row in rows]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def leftovers(workdir):
    """What is half-written."""
    return [path for path in found(workdir) if UNFINISHED in path.name or PARTIAL in path.name]


def found(workdir):
    """All that is in the work dir, while a process may be writing and removing it."""
    paths = []
    for folder in (workdir, workdir / "samples", workdir / "checkpoints"):
        with contextlib.suppress(FileNotFoundError):
            paths += folder.iterdir()
    return paths


def size(path):
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# (whether a checkpoint has been added since the start, what is being done then)
MOMENTS = [
    (True, "checkpoint"),
    (False, "picture"),
    (False, "rows"),
    (True, "training"),
    (False, "start"),
]


def kill(process, workdir, saved, moment, rng):
    """Kills a process at a moment of this kind. What it was writing then is what it leaves."""
    metrics, checkpoints = workdir / "metrics.csv", Checkpoints(workdir / "checkpoints")
    if saved:
        steps = checkpoints.steps()
        wait_for(lambda: max(checkpoints.steps(), default=0) > max(steps, default=0), process)
    before = size(metrics)
    if moment == "start":
        time.sleep(rng.uniform(0, 6))
    elif moment == "training":
        wait_for(lambda: size(metrics) != before, process)
        time.sleep(rng.uniform(0, 1.5))
    elif moment == "rows":
        wait_for(lambda: size(metrics) != before, process)
        before = size(metrics)
        wait_for(lambda: size(metrics) != before, process, pause=0)
    elif moment == "checkpoint":
        wait_for(
            lambda: any(UNFINISHED in path.name for path in leftovers(workdir)), process, pause=0
        )
        time.sleep(rng.uniform(0, 0.05))
    elif moment == "picture":
        wait_for(lambda: any(PARTIAL in path.name for path in leftovers(workdir)), process, pause=0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it had ended before it was killed"


@pytest.mark.parametrize(("kills", "epochs"), [(1, 3), slow(20, 30)])
def test_a_run_that_is_killed_goes_on_and_ends_bit_for_bit_the_same(
    undisturbed, start_script, run_script, tmp_path, kills, epochs
):
    workdir = tmp_path / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", epochs))
    rng = np.random.default_rng(0)
    cut = []
    for saved, moment in itertools.islice(itertools.cycle(MOMENTS), kills):
        kill(start_script(*command, devices=2), workdir, saved, moment, rng)
        cut += leftovers(workdir)
    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    if epochs > 3:
        assert sum(UNFINISHED in path.name for path in cut) >= 3, cut
        assert sum(PARTIAL in path.name for path in cut) >= 1, cut
        undisturbed = tmp_path / "straight"
        straight = flags(undisturbed, "--epochs", epochs)
        assert run_script("mnist_gan.py", *straight, devices=2).returncode == 0
    assert_nothing_is_amiss(workdir, undisturbed)


def test_a_run_that_is_killed_after_its_last_save_still_gets_its_pictures(
    undisturbed, run_script, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(undisturbed, workdir)
    (workdir / "losses.png").unlink()
    (workdir / "training.gif").rename(workdir / f".training{PARTIAL}.gif")
    done = run_script("mnist_gan.py", *flags(workdir, "--epochs", 3), devices=2)
    assert done.returncode == 0, done.stderr
    assert "trained for 3 epochs already" in done.stdout
    assert_nothing_is_amiss(workdir, undisturbed)


def test_a_second_command_on_a_work_dir_in_use_is_refused(
    start_script, call_script, run_script, undisturbed, tmp_path
):
    workdir = tmp_path / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3))
    process = start_script(*command, devices=2)
    wait_for(lambda: size(workdir / "metrics.csv"), process)
    process.send_signal(signal.SIGSTOP)  # So that it neither ends nor writes meanwhile.
    before = contents(workdir)
    for more in ((), ("--no-resume",), ("--epochs", 9)):
        done = call_script(*command, *more)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert f"{workdir} is in use by process {process.pid} on " in done.stderr
    assert contents(workdir) == before
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=patience(60))
    assert process.returncode == 0
    assert_nothing_is_amiss(workdir, undisturbed)


def read_until(process, text):
    """Reads what a process writes to stderr until this is in it."""
    said = ""
    while text not in said:
        piece = os.read(process.stderr.fileno(), 1 << 16).decode()
        assert piece, said
        said += piece
    return said


@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGINT)])
def test_a_second_signal_ends_it_at_once(undisturbed, start_script, run_script, tmp_path, number):
    workdir = tmp_path / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3))
    process = start_script(*command, devices=2)
    wait_for(lambda: size(workdir / "metrics.csv"), process)
    process.send_signal(signal.SIGTERM)
    read_until(process, "stopping: saving first; once more to leave at once\n")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=patience(60))
    assert process.returncode == -number
    assert "Traceback" not in stderr and "Stopped by" not in stdout
    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    assert_nothing_is_amiss(workdir, undisturbed)


@pytest.mark.parametrize("number", [slow(signal.SIGTERM), slow(signal.SIGINT)])
def test_a_signal_before_training_ends_it_without_a_traceback(
    undisturbed, start_script, run_script, tmp_path, number
):
    workdir = tmp_path / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3))
    for seconds in (0.3, 1, 2):
        process = start_script(*command, devices=2)
        time.sleep(seconds)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=patience(60))
        assert process.returncode in (-number, 128 + number)
        assert "Traceback" not in stderr
    # Once it is the run's to say what a signal does.
    process = start_script(*command, devices=2)
    read_until(process, "compiling")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=patience(60))
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr and "goes on from here" in stdout
    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    assert_same_run(workdir, undisturbed)


@pytest.fixture
def mount(tmp_path):
    """(directory, *options) -> None: mounts there, until unmounted or the test ends."""
    mounted = []

    def call(directory, *options):
        done = subprocess.run(["mount", *options, directory], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        mounted.append(directory)

    yield call
    for directory in mounted:
        subprocess.run(["umount", "--lazy", directory], capture_output=True)


def fill(directory, free):
    """Leaves this many bytes of a disk. Whoever writes meanwhile may take them first."""
    with open(directory / "ballast", "wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    os.truncate(directory / "ballast", size(directory / "ballast") - free)


def assert_one_line(process, message):
    """It has ended as a run does that cannot write; the line is not the progress bar's."""
    _, stderr = process.communicate(timeout=patience(60))
    assert process.returncode == 1, stderr
    lines = [line for line in stderr.splitlines() if line and "images/s" not in line]
    lines = [line for line in lines if not line.startswith("compiling")]
    assert len(lines) == 1, stderr
    (line,) = lines
    assert line.startswith("mnist_gan.py: error: ")
    assert message in line
    assert "epoch 1" in line or "epoch 2" in line
    assert line.endswith("and the same command goes on from there")


# The rows of an epoch and its pictures fit into the latter, a checkpoint does not.
@pytest.mark.parametrize("free", [slow(0), 400_000])
def test_a_full_disk_ends_it_in_one_line_and_once_there_is_room_it_goes_on(
    undisturbed, start_script, run_script, tmp_path, mount, free
):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount(disk, "-t", "tmpfs", "-o", "size=20m", "tmpfs")
    workdir = disk / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3))
    process = start_script(*command, devices=2)
    wait_for(Checkpoints(workdir / "checkpoints").steps, process)
    fill(disk, free)
    assert_one_line(process, f"could not be written: {NO_SPACE}; the newest whole checkpoint is")
    (disk / "ballast").unlink()
    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    assert_nothing_is_amiss(workdir, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "checkpoints"])
def test_a_folder_that_becomes_read_only_ends_it_in_one_line(
    undisturbed, start_script, run_script, tmp_path, mount, folder
):
    workdir = tmp_path / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3))
    process = start_script(*command, devices=2)
    wait_for(Checkpoints(workdir / "checkpoints").steps, process)
    mount(workdir / folder, "--bind", workdir / folder)
    mount(workdir / folder, "-o", "remount,bind,ro")
    assert_one_line(process, "could not be written: Read-only file system; the newest whole")
    subprocess.run(["umount", "--lazy", workdir / folder], check=True)
    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    assert_nothing_is_amiss(workdir, undisturbed)


@pytest.mark.slow
def test_a_work_dir_that_is_taken_away_ends_it_in_one_line(
    undisturbed, start_script, run_script, tmp_path
):
    workdir, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3))
    process = start_script(*command, devices=2)
    wait_for(lambda: STEPS_PER_EPOCH in Checkpoints(workdir / "checkpoints").steps(), process)
    workdir.rename(elsewhere)
    _, stderr = process.communicate(timeout=patience(60))
    assert process.returncode == 1
    line = stderr.splitlines()[-1]
    assert "could not be written: No such file or directory; there is no checkpoint in" in line
    assert "Traceback" not in stderr
    assert not workdir.exists()
    elsewhere.rename(workdir)
    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    assert_nothing_is_amiss(workdir, undisturbed)
