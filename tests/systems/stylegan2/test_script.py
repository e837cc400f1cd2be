"""experiments/stylegan2.py as a user runs it."""

import csv

import pytest
from PIL import Image
from small_run import assert_same_run

import jaxgan
from jaxgan.run.checkpoints import Checkpoints

# Tiny networks, 18 steps an epoch.
SMALL = (
    *("--image-shape", 16, 16, 3, "--channel-max", 4, "--channel-base", 64, "--latent-size", 4),
    *("--style-size", 4, "--mapping-layers", 1, "--batch-size", 1000, "--group-size", 4),
    *("--conditional", "--attributes", "hair_colour", "beard", "--epochs", 3),
)
STEPS_PER_EPOCH = 18


@pytest.mark.slow
def test_what_a_run_leaves(run_once):
    workdir, printed = run_once("stylegan2", "stylegan2.py", *SMALL)
    assert Checkpoints(workdir / "checkpoints").steps() == [18, 36, 54]
    assert "--truncation 0.7" in printed and "style_mix.py" in printed
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["step"]) == 3 * STEPS_PER_EPOCH
    measured = {"generator_loss", "discriminator_loss", "d_real", "d_fake", "d_accuracy"}
    measured |= {"path_length", "r1", "augment_probability"}
    assert rows[0].keys() == measured | {"step", "epoch"}
    with Image.open(workdir / "samples" / "epoch_0003.png") as picture:
        # A row for each of six colours of hair, of ten faces.
        assert picture.size == (2 * (10 * 18 - 2), 2 * (6 * 18 - 2))
    run = jaxgan.load_run(workdir)
    images = run.sample(run.key(0), 2, labels=[[0, 0], [5, 3]])
    assert images.shape == (2, 16, 16, 3)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ends_bit_for_bit_as_its_seed_among_several(
    run_once, killed_and_gone_on_with
):
    together = run_once("stylegan2_seeds", "stylegan2.py", *SMALL, "--seeds", 2)[0]
    workdir = killed_and_gone_on_with("stylegan2.py", *SMALL, "--seed", 1)
    assert_same_run(workdir, together / "seed_1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--recipe", "best"), "unknown recipe 'best': one of default, auto"),
        (("--image-shape", 30, 30, 3), "height and width must be 4 to 7 times a power of two"),
        (("--batch-size", 30), "--batch-size 30 must be a multiple of --group-size 4"),
        (("--conditional", "--attributes", "hats"), "toon_faces has no attribute 'hats'"),
        (("--attributes", "beard"), "--attributes wants --conditional too"),
        (("--augmentations", "flip"), "--augmentations must be one of none, blit"),
        (("--truncation", -1), "--truncation must be 0 or more"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, tmp_path, arguments, message):
    done = call_script("stylegan2.py", *arguments, "--workdir", "run", "--devices", 1)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("stylegan2.py: error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
