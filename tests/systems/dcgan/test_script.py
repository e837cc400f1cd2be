"""experiments/dcgan.py as a user runs it: conditional, on two devices."""

import csv
import json

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import assert_same_run

import jaxgan
from jaxgan import game
from jaxgan.data import load
from jaxgan.run.checkpoints import Checkpoints

# Tiny networks, 18 steps an epoch.
SMALL = (
    *("--dataset", "toon_faces", "--image-shape", 16, 16, 3, "--width", 4, "--batch-size", 1000),
    *("--conditional", "--attributes", "hair_colour", "beard", "--epochs", 3),
)
STEPS_PER_EPOCH = 18


@pytest.fixture
def workdir(run_once):
    """The work dir of a run on two devices, undisturbed."""
    workdir, printed = run_once("dcgan", "dcgan.py", *SMALL)
    assert "toon_faces: 18,000 images 64x64x3 brought to 16x16x3" in printed
    assert "batch 1000 over 2 CPU devices; 18 steps an epoch" in printed
    return workdir


@pytest.fixture
def together(run_once):
    """The work dir of the seeds 0 and 1 trained at once on two devices, undisturbed."""
    return run_once("dcgan_seeds", "dcgan.py", *SMALL, "--seeds", 2)[0]


def test_what_a_conditional_run_leaves(workdir):
    config = json.loads((workdir / "config.json").read_text())
    assert config["system"] == "dcgan"
    assert [name for name, _ in config["classes"]] == ["hair_colour", "beard"]
    assert config["classes"][0][1] == ["black", "brown", "auburn", "blond", "grey", "white"]
    assert Checkpoints(workdir / "checkpoints").steps() == [18, 36, 54]
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["step"]) == 3 * STEPS_PER_EPOCH and float(rows[-1]["epoch"]) == 3
    measured = {"generator_loss", "discriminator_loss", "d_real", "d_fake", "d_accuracy"}
    assert rows[0].keys() == measured | {"step", "epoch"}
    # Its statistics are not those that a new network has.
    params = jaxgan.load_params(workdir)
    assert params.keys() == {"params", "batch_stats"}
    assert not np.allclose(params["batch_stats"]["BatchNorm_0"]["mean"], 0)


def test_its_picture_has_a_row_for_each_colour_of_hair(workdir):
    run = jaxgan.load_run(workdir)
    dataset = load("toon_faces", image_shape=(16, 16, 3))
    key = jax.random.fold_in(jax.random.key(run.config.seed), game.DRAWING)
    images, _ = run.config.picture(run.params, key, dataset)
    images = np.rint(np.asarray(images).reshape(6, 10, 16, 16, 3) * 255)
    with Image.open(workdir / "samples" / "epoch_0003.png") as picture:
        drawn = np.asarray(picture, int)[::2, ::2]
    assert drawn.shape == (6 * 18 - 2, 10 * 18 - 2, 3)
    for row, column in ((0, 0), (2, 9), (5, 3)):
        tile = drawn[18 * row : 18 * row + 16, 18 * column : 18 * column + 16]
        assert np.abs(tile - images[row, column]).max() <= 1


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ends_bit_for_bit_as_its_seed_among_several(
    together, killed_and_gone_on_with
):
    workdir = killed_and_gone_on_with("dcgan.py", *SMALL, "--seed", 1)
    assert_same_run(workdir, together / "seed_1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--dataset", "toon_faces", "--conditional", "--attributes", "hair_color"),
            "toon_faces has no attribute 'hair_color'",
        ),
        (("--attributes", "label"), "--attributes wants --conditional too"),
        (("--conditional", "--attributes", "label", "label"), "--attributes has one twice"),
        (("--image-shape", 30, 30, 1), "such as 28, 32 or 64, not 30x30"),
        (("--classes", "a"), "unrecognized arguments: --classes"),
        (("--width", "wide"), "invalid int value: 'wide'"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, tmp_path, arguments, message):
    done = call_script("dcgan.py", *arguments, "--workdir", "run")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("dcgan.py: error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_other_attributes_are_not_gone_on_with(workdir, call_script):
    more = ("--attributes", "hair_colour", "--workdir", workdir, "--seed", 0)
    done = call_script("dcgan.py", *SMALL, *more)
    assert done.returncode == 2
    assert "holds a run with --attributes hair_colour beard, not hair_colour" in done.stderr
