"""experiments/biggan.py as a user runs it, on two devices; and files of the authors' code."""

import csv
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from small_run import assert_same_run

import jaxgan
from jaxgan.run import torch_files
from jaxgan.run.checkpoints import Checkpoints

# Tiny networks, 9 steps an epoch of two batches each.
SMALL = (
    *("--image-shape", 8, 8, 3, "--width", 1, "--discriminator-width", 1, "--latent-size", 4),
    *("--shared-size", 2, "--batch-size", 1000, "--discriminator-steps", 2, "--accumulate", 2),
    *("--attributes", "hair_colour", "beard", "--epochs", 3, "--ema-start", 5),
)
CASE = Path(__file__).parent / "cases" / "res32.npz"


@pytest.mark.slow
def test_what_a_run_leaves(run_once):
    workdir, printed = run_once("biggan", "biggan.py", *SMALL)
    assert "9 steps an epoch" in printed
    assert Checkpoints(workdir / "checkpoints").steps() == [9, 18, 27]
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    measured = {"generator_loss", "discriminator_loss", "d_real", "d_fake", "d_accuracy"}
    measured |= {"g_spectral_norm", "d_spectral_norm"}
    assert rows[0].keys() == measured | {"step", "epoch"}
    run = jaxgan.load_run(workdir)
    assert run.params.keys() == {"params", "batch_stats", "spectral"}
    assert run.player("discriminator").keys() == {"params", "spectral"}
    labels = np.array([[0, 1], [5, 3]])
    images = run.sample(run.key(0), 2, labels=labels)
    truncated = run.sample(run.key(0), 2, labels=labels, truncation=0.5)
    assert images.shape == truncated.shape == (2, 8, 8, 3)
    assert not np.array_equal(images, truncated)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ends_bit_for_bit_as_its_seed_among_several(
    run_once, killed_and_gone_on_with
):
    together = run_once("biggan_seeds", "biggan.py", *SMALL, "--seeds", 2)[0]
    workdir = killed_and_gone_on_with("biggan.py", *SMALL, "--seed", 1)
    assert_same_run(workdir, together / "seed_1")


# 120 steps an epoch.
OF_ONE_CLASS = (
    *("--image-shape", 8, 8, 3, "--width", 1, "--discriminator-width", 1, "--latent-size", 4),
    *("--shared-size", 2, "--batch-size", 150, "--no-conditional", "--devices", 1),
)


@pytest.mark.slow
def test_a_run_that_is_made_to_collapse_says_so_and_keeps_what_was_before(run_script, tmp_path):
    done = run_script("biggan.py", *OF_ONE_CLASS, "--epochs", 2, "--workdir", "run")
    assert done.returncode == 0 and "collapsed" not in done.stderr, done.stderr
    before = jaxgan.load_params(tmp_path / "run")
    # It goes on with rates that are 50 times too high, as if it had been begun with them.
    held = tmp_path / "run" / "config.json"
    settings = json.loads(held.read_text())
    rates = {}
    for name in ("generator_learning_rate", "discriminator_learning_rate"):
        settings[name] = rates[name] = 50 * settings[name]
    held.write_text(json.dumps(settings))
    flags = [x for name, rate in rates.items() for x in (f"--{name.replace('_', '-')}", rate)]
    done = run_script(
        *("biggan.py", *OF_ONE_CLASS, *flags, "--epochs", 9, "--keep-checkpoints", 9),
        *("--stop-collapsed", "--workdir", "run"),
    )
    assert done.returncode == 1, done.stderr
    said = [line for line in done.stderr.splitlines() if "may have collapsed" in line]
    assert len(said) == 1 and re.match(r"step [0-9]+, epoch [0-9.]+: this run may have", said[0])
    assert "Stopped by --stop-collapsed after" in done.stdout
    kept = re.search(r"best.npz has the networks of epoch ([0-9]+), from before it", said[0])
    run = jaxgan.load_run(tmp_path / "run" / "best.npz")
    assert np.isfinite(run.sample(jax.random.key(0), 2)).all()
    if kept[1] == "2":
        jax.tree.map(np.testing.assert_array_equal, run.params, before)


@pytest.mark.slow
def test_bfloat16(run_script):
    done = run_script("biggan.py", *SMALL, "--precision", "bfloat16", "--workdir", "run")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attributes", "wings"), "toon_faces has no attribute 'wings'"),
        (("--image-shape", 36, 36, 3), "height and width are 4 to 7 times a power of two"),
        (("--generator-attention", 64), "the generator has no map of the height 64"),
        (("--accumulate", 5), "--batch-size 32 must be a multiple of --accumulate 5"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, tmp_path, arguments, message):
    done = call_script("biggan.py", *arguments, "--workdir", "run")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("biggan.py: error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def held(monkeypatch):
    """What files hold, in the place of PyTorch, which need not be installed."""
    files = {"G_ema.pth": {}, "D.pth": {}}
    with np.load(CASE) as arrays:
        for key in arrays.files:
            if key.startswith("weights/"):
                _, net, own = key.split("/", 2)
                files["D.pth" if net == "D" else "G_ema.pth"][own] = arrays[key]
    monkeypatch.setattr(torch_files, "read", lambda path: files[path])
    return files


def test_both_networks_of_the_authors_code_become_a_run(call_script, held, tmp_path):
    words = ("import_weights.py", "--from", "biggan", "G_ema.pth", "--discriminator")
    done = call_script(*words, "D.pth", "--out", "faces.npz")
    assert done.returncode == 0, done.stderr
    run = jaxgan.load_run(tmp_path / "faces.npz")
    assert run.config.system_name() == "biggan" and run.config.num_classes == (5,)
    assert (run.config.width, run.config.discriminator_width) == (4, 2)
    kernel = run.player("discriminator")["params"]["block_0"]["conv1"]["kernel"]
    np.testing.assert_array_equal(
        kernel, held["D.pth"]["blocks.0.0.conv1.weight"].transpose(2, 3, 1, 0)
    )
    done = call_script(*words, "G_ema.pth", "--out", "other.npz")
    assert done.returncode == 2 and "G_ema.pth cannot be imported: " in done.stderr
    assert not (tmp_path / "other.npz").exists()
