"""A hundred and more kills over all systems and scripts, each at a moment that chance chooses."""

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from small_run import SMALL, assert_same_run, contents

from jaxgan.files.writing import PARTIAL
from jaxgan.run.checkpoints import UNFINISHED

CONVOLUTIONAL = ("--image-shape", 16, 16, 3, "--width", 4, "--batch-size", 1000)
STYLED = (
    *("--image-shape", 8, 8, 3, "--channel-max", 4, "--channel-base", 64, "--latent-size", 4),
    *("--style-size", 4, "--mapping-layers", 1, "--batch-size", 1000, "--group-size", 4),
)
SMALL_BIGGAN = (
    *("--image-shape", 16, 16, 3, "--width", 1, "--discriminator-width", 1, "--latent-size", 6),
    *("--shared-size", 2, "--batch-size", 1000),
)
# The script and its flags, and how often its run is killed.
RUNS = {
    "mnist_gan": (("mnist_gan.py", *SMALL, "--epochs", 6), 25),
    "seeds": (("mnist_gan.py", *SMALL, "--epochs", 4, "--seeds", 2), 15),
    "dcgan": (("dcgan.py", "--dataset", "toon_faces", *CONVOLUTIONAL, "--epochs", 3), 15),
    "pix2pix": (("pix2pix.py", "--task", "grey2colour", *CONVOLUTIONAL, "--epochs", 3), 15),
    "stargan": (("stargan.py", *CONVOLUTIONAL, "--halvings", 3, "--epochs", 3), 15),
    "stylegan2": (("stylegan2.py", *STYLED, "--epochs", 3), 15),
    "biggan": (("biggan.py", *SMALL_BIGGAN, "--epochs", 3), 15),
    # The second of three epochs is the last of the GAN's stage.
    "age_cgan": (("age_cgan.py", *CONVOLUTIONAL, "--gan-epochs", 2, "--epochs", 3), 15),
}
TOOLS = {
    "report.py": ("mnist_gan", ()),
    "evaluate.py": ("mnist_gan", ("--num-samples", 100)),
    "playground.py": ("mnist_gan", ()),
    "sample.py": ("mnist_gan", ("--out", "run/digits.png")),
    "edit.py": ("stargan", ("--in", "run/samples/epoch_0000.png", "--out", "run/face.png")),
    "translate.py": ("pix2pix", ("--in", "run/samples/epoch_0000.png", "--out", "run/face.png")),
}
KILLS_OF_A_TOOL = 4
KILLS_WHILE_CLEARING = 12
pytestmark = pytest.mark.slow


def duration(run, *command):
    began = time.monotonic()
    done = run(*command, devices=2)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def kill_after(start_script, seconds, *command):
    """Whether the process was killed; otherwise it ended by itself before."""
    process = start_script(*command, devices=2)
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, stderr = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), stderr
    return process.returncode != 0


def assert_ends_as(workdir, straight):
    for run in [straight, *straight.glob("seed_*")]:
        if not (run / "config.json").exists():
            continue
        own = workdir / run.relative_to(straight)
        assert_same_run(own, run)
        for path in [*(run / "samples").iterdir(), run / "training.gif", run / "losses.png"]:
            assert (own / path.relative_to(run)).read_bytes() == path.read_bytes(), path
        left = {path.name for path in own.iterdir()}
        assert left == {path.name for path in run.iterdir()}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_killed_anywhere_ends_bit_for_bit_the_same(
    start_script, run_script, tmp_path, name
):
    command, kills = RUNS[name]
    straight, workdir = tmp_path / "straight", tmp_path / "run"
    duration(run_script, *command, "--workdir", straight)
    # The first run has compiled, which those that are killed need not.
    seconds = duration(run_script, *command, "--workdir", tmp_path / "again")
    rng = np.random.default_rng(sum(map(ord, name)))
    killed = ended = 0
    while killed < kills:
        at = rng.uniform(0.2, 1.1) * seconds
        if kill_after(start_script, at, *command, "--workdir", workdir):
            killed += 1
            print(f"{name}: kill {killed} after {at:.1f} s of {seconds:.1f}", flush=True)
        else:
            assert_ends_as(workdir, straight)
            shutil.rmtree(workdir)
            ended += 1
    duration(run_script, *command, "--workdir", workdir)
    assert_ends_as(workdir, straight)
    print(f"{name}: {killed} kills, ended {ended + 1} times")


def test_a_run_that_is_killed_while_it_clears_another_begins_anew(
    start_script, run_script, tmp_path
):
    command, _ = RUNS["mnist_gan"]
    straight, workdir = tmp_path / "straight", tmp_path / "run"
    duration(run_script, *command, "--workdir", straight)
    rng = np.random.default_rng(1)
    for _ in range(KILLS_WHILE_CLEARING):
        shutil.rmtree(workdir, ignore_errors=True)
        shutil.copytree(straight, workdir)
        process = start_script(*command, "--no-resume", "--workdir", workdir, devices=2)
        while (workdir / "checkpoints" / "360").exists():
            assert process.poll() is None, process.communicate()
        time.sleep(rng.exponential(0.002))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = run_script(*command, "--workdir", workdir, devices=2)
        assert done.returncode == 0, done.stderr
        assert "already" not in done.stdout
        assert_ends_as(workdir, straight)


@pytest.mark.parametrize("script", TOOLS)
def test_a_tool_that_is_killed_leaves_whole_files(start_script, run_script, tmp_path, script):
    name, flags = TOOLS[script]
    workdir = tmp_path / "run"
    duration(run_script, *RUNS[name][0], "--workdir", workdir)
    before = contents(workdir)
    command = (script, "--workdir", workdir, *flags)
    duration(run_script, *command)
    after = contents(workdir)
    # The first time it has compiled, which takes longer than all the rest.
    seconds = duration(run_script, *command)
    rng = np.random.default_rng(2)
    killed = 0
    while killed < KILLS_OF_A_TOOL:
        shutil.rmtree(workdir)
        restore(before)
        if kill_after(start_script, rng.uniform(0.4, 0.9) * seconds, *command):
            killed += 1
            print(f"{script}: kill {killed}", flush=True)
        for path, content in contents(workdir).items():
            if PARTIAL not in path.name and UNFINISHED not in str(path):
                assert content in (before.get(path), after.get(path)), path
        duration(run_script, *command)
        left = {p: x for p, x in contents(workdir).items() if PARTIAL not in p.name}
        assert left == after


def restore(files: dict[Path, bytes]):
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
