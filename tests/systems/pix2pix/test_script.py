"""experiments/pix2pix.py as a user runs it, on two devices."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from small_run import assert_same_run

import jaxgan
from jaxgan.data import load
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.systems.pix2pix.tasks import grey

# Tiny networks, 18 steps an epoch.
SMALL = (
    *("--task", "grey2colour", "--image-shape", 16, 16, 3, "--width", 4, "--batch-size", 1000),
    *("--epochs", 4, "--generator-learning-rate", 2e-3),
)
STEPS_PER_EPOCH = 18


@pytest.fixture
def workdir(run_once):
    """The work dir of a run on two devices, undisturbed."""
    workdir, printed = run_once("pix2pix", "pix2pix.py", *SMALL)
    assert "batch 1000 over 2 CPU devices; 18 steps an epoch" in printed
    return workdir


@pytest.fixture
def together(run_once):
    """The work dir of the seeds 0 and 1 trained at once on two devices, undisturbed."""
    return run_once("pix2pix_seeds", "pix2pix.py", *SMALL, "--seeds", 2)[0]


@pytest.mark.slow
def test_what_a_run_leaves(workdir):
    config = json.loads((workdir / "config.json").read_text())
    assert config["system"] == "pix2pix" and config["input_channels"] == 1
    assert Checkpoints(workdir / "checkpoints").steps() == [36, 54, 72]
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["step"]) == 4 * STEPS_PER_EPOCH
    measured = {"generator_loss", "discriminator_loss", "l1", "d_real", "d_fake", "d_accuracy"}
    assert rows[0].keys() == measured | {"step", "epoch"}
    # It learns: pixels come nearer to the truth.
    assert 0 < float(rows[-1]["l1"]) < 0.9 * float(rows[0]["l1"])
    assert jaxgan.load_params(workdir).keys() == {"params"}


@pytest.mark.slow
def test_its_picture_is_input_output_and_truth_side_by_side(workdir):
    with Image.open(workdir / "samples" / "epoch_0004.png") as picture:
        drawn = np.asarray(picture, int)[::2, ::2]
    # Twelve of them, two in a row.
    assert drawn.shape == (6 * 18 - 2, 6 * 18 - 2, 3)
    faces = load("toon_faces", image_shape=(16, 16, 3)).images[:12]
    greys = grey(faces)
    for i, (face, its_grey) in enumerate(zip(faces, greys, strict=True)):
        top, left = 18 * (i // 2), 18 * 3 * (i % 2)
        tiles = [drawn[top : top + 16, left + 18 * j : left + 18 * j + 16] for j in range(3)]
        np.testing.assert_array_equal(tiles[0], its_grey.repeat(3, axis=-1))
        np.testing.assert_array_equal(tiles[2], face)
        assert np.abs(tiles[1] - face).max() > 0


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ends_bit_for_bit_as_its_seed_among_several(
    together, killed_and_gone_on_with
):
    workdir = killed_and_gone_on_with("pix2pix.py", *SMALL, "--seed", 1)
    assert_same_run(workdir, together / "seed_1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--task", "pairs", "--dataset", "maps"), "--task pairs wants --input-feature"),
        (("--task", "day2night"), "invalid choice: 'day2night'"),
        (("--image-shape", 28, 28, 1), "powers of two, 16 or more, not 28x28"),
        (("--l1-weight", 0, "--adversarial-weight", 0), "cannot both be 0"),
        (("--input-channels", 3), "--input-channels of edges2face cannot be chosen"),
        (
            ("--task", "pairs", "--input-feature", "edges"),
            "toon_faces has a single image in an example: no feature 'edges'",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, tmp_path, arguments, message):
    done = call_script("pix2pix.py", *arguments, "--workdir", "run")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("pix2pix.py: error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
