"""experiments/stargan.py as a user runs it, on two devices."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from small_run import assert_same_run

import jaxgan
from jaxgan.run.checkpoints import Checkpoints

# Tiny networks, 18 steps an epoch.
SMALL = (
    *("--attributes", "hair_colour", "beard", "--image-shape", 16, 16, 3, "--width", 2),
    *("--discriminator-width", 4, "--blocks", 1, "--halvings", 3, "--batch-size", 1000),
    *("--epochs", 3, "--discriminator-learning-rate", 2e-3),
)
STEPS_PER_EPOCH = 18

pytestmark = pytest.mark.slow


@pytest.fixture
def workdir(run_once):
    """The work dir of a run on two devices, undisturbed."""
    workdir, printed = run_once("stargan", "stargan.py", *SMALL)
    assert "batch 1000 over 2 CPU devices; 18 steps an epoch" in printed
    return workdir


@pytest.fixture
def together(run_once):
    """The work dir of the seeds 0 and 1 trained at once on two devices, undisturbed."""
    return run_once("stargan_seeds", "stargan.py", *SMALL, "--seeds", 2)[0]


def test_what_a_run_leaves(workdir):
    config = json.loads((workdir / "config.json").read_text())
    assert config["system"] == "stargan"
    assert [name for name, _ in config["classes"]] == ["hair_colour", "beard"]
    assert Checkpoints(workdir / "checkpoints").steps() == [18, 36, 54]
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["step"]) == 3 * STEPS_PER_EPOCH
    measured = {"generator_loss", "discriminator_loss", "d_real", "d_fake", "d_accuracy"}
    measured |= {"classes_told", "edits_shown", "reconstruction", "change"}
    assert rows[0].keys() == measured | {"step", "epoch"}
    # The discriminator learns to tell colours of hair.
    assert float(rows[-1]["classes_told"]) > float(rows[0]["classes_told"])
    with Image.open(workdir / "samples" / "epoch_0003.png") as picture:
        # Six faces; each itself, six colours of hair and six beards.
        assert picture.size == (2 * (13 * 18 - 2), 2 * (6 * 18 - 2))
    run = jaxgan.load_run(workdir)
    faces = jaxgan.load("toon_faces", split="test", image_shape=(16, 16, 3)).images[:2]
    edited = run.edit(faces, np.array([[0, 0], [5, 3]]))
    assert edited.shape == faces.shape and run.recognise(faces).shape == (2, 2)


def test_a_run_that_is_killed_goes_on_and_ends_bit_for_bit_as_its_seed_among_several(
    together, killed_and_gone_on_with
):
    workdir = killed_and_gone_on_with("stargan.py", *SMALL, "--seed", 1)
    assert_same_run(workdir, together / "seed_1")
