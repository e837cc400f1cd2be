"""experiments/age_cgan.py as a user runs it, on two devices."""

import csv

import numpy as np
import pytest
from small_run import assert_same_run

import jaxgan
from jaxgan.run.checkpoints import Checkpoints

# Tiny networks, 18 steps an epoch.
SMALL = (
    *("--image-shape", 16, 16, 3, "--width", 1, "--latent-size", 4, "--batch-size", 1000),
    *("--gan-epochs", 1, "--epochs", 3),
)


@pytest.fixture
def workdir(run_once):
    """The work dir of a run on two devices, undisturbed."""
    return run_once("age_cgan", "age_cgan.py", *SMALL)[0]


@pytest.mark.slow
def test_what_a_run_leaves(workdir):
    assert Checkpoints(workdir / "checkpoints").steps() == [18, 36, 54]
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"encoder_loss", "encoder_baseline", "generator_loss"} <= rows[0].keys()
    assert rows[-1]["generator_loss"] == "" != rows[-1]["encoder_loss"]
    run = jaxgan.load_run(workdir)
    assert run.player("encoder").keys() == {"params", "batch_stats"}
    images = run.sample(run.key(0), 3, labels=np.arange(3))
    assert images.shape == (3, 16, 16, 3)


@pytest.mark.slow
def test_a_run_that_is_killed_after_the_gans_stage_goes_on_bit_for_bit(
    run_once, killed_and_gone_on_with
):
    together = run_once("age_cgan_seeds", "age_cgan.py", *SMALL, "--seeds", 2)[0]
    workdir = killed_and_gone_on_with("age_cgan.py", *SMALL, "--seed", 1)
    assert_same_run(workdir, together / "seed_1")


@pytest.mark.slow
def test_bfloat16(run_script):
    done = run_script("age_cgan.py", *SMALL, "--precision", "bfloat16", "--workdir", "run")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "mnist"), "--dataset mnist wants --groups too"),
        (("--groups", "a=hats:red", "b=hair:bun"), "toon_faces has no attribute 'hats'"),
        (("--groups", "a=hair:red", "b=hair:bun"), "--groups a: hair cannot be 'red'"),
        (("--groups", "a=hair:bun", "b=hair:spiky"), "images of toon_faces are in no group"),
        (("--epochs", 2, "--gan-epochs", 2), "--epochs must be more than --gan-epochs 2"),
        (("--conditional",), "--conditional"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, tmp_path, arguments, message):
    done = call_script("age_cgan.py", *arguments, "--workdir", "run")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("age_cgan.py: error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
