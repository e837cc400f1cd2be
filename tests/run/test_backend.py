"""A platform that JAX cannot use is one line, from every script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import save_run, slow

from jaxgan.run import backend
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def call(script, *arguments, platform, folder):
    return subprocess.run(
        [sys.executable, str(EXPERIMENTS / script), *arguments],
        cwd=folder,
        env={**os.environ, "JAX_PLATFORMS": platform},
        capture_output=True,
        text=True,
    )


def assert_one_line(done, script, platform):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if "error: " in line]
    assert line.startswith(f"{Path(script).name}: error: ")
    assert f"the platform '{platform}'" in line
    assert "the devices that are there: 1 cpu" in line
    assert "JAX_PLATFORMS=cpu" in line and "Colab" in line
    assert "Traceback" not in done.stderr


def test_a_process_with_devices_has_no_fault():
    assert backend.fault() is None


@pytest.mark.parametrize("platform", [slow("tpu"), slow("CPU"), "cuda"])
def test_what_jax_said_is_in_the_line(platform, tmp_path):
    done = call("mnist_gan.py", "--workdir", "run", platform=platform, folder=tmp_path)
    assert_one_line(done, "mnist_gan.py", platform)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", [slow("dcgan.py"), slow("pix2pix.py"), "train_evaluator.py"])
def test_every_script_that_trains(script, tmp_path):
    done = call(script, platform="nothing", folder=tmp_path)
    assert_one_line(done, script, "nothing")
    assert "not in the list of known backends" in done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = MLPGANConfig(generator_widths=(8,), discriminator_widths=(8,))
    save_run(config, folder / "digits")
    save_run(Pix2PixConfig(width=4, image_shape=(32, 32, 3)), folder / "pairs")
    (folder / "digits" / "evaluation.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("sample.py", ("--workdir", "digits")),
        slow("evaluate.py", ("--workdir", "digits")),
        slow("playground.py", ("--workdir", "digits")),
        slow("evaluate_pairs.py", ("--workdirs", "pairs")),
        slow("benchmarks/benchmark.py", ("--quick",)),
    ],
)
def test_every_script_that_reads_a_run(script, arguments, runs):
    before = sorted(runs.rglob("*"))
    assert_one_line(call(script, *arguments, platform="cuda", folder=runs), script, "cuda")
    assert sorted(runs.rglob("*")) == before


def test_a_report_needs_no_device(runs):
    done = call("report.py", "--workdir", "digits", platform="cuda", folder=runs)
    assert done.returncode == 0, done.stderr
    (runs / "digits" / "report.html").unlink()
