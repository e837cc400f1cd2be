"""The script that trains the evaluator, on a part of the data."""

import runpy
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from jaxgan import data

SCRIPT = Path(__file__).parents[2] / "experiments" / "train_evaluator.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_a_little_training_tells_most_digits(script):
    training, test = data.load(), data.load(split="test")
    # The average is of few steps; chance is 0.1.
    config = script["EvaluatorConfig"](epochs=6, batch_size=50)
    script["train"].__globals__["EMA_DECAY"] = 0.9
    variables = script["train"](config, training.images[:1000], training.labels[:1000])
    assert script["accuracy"](variables, test.images[:2000], test.labels[:2000]) > 0.5


def test_the_same_seed_trains_the_same_evaluator(script):
    training = data.load()
    runs = [
        script["train"](
            script["EvaluatorConfig"](epochs=1, batch_size=50, seed=seed),
            training.images[:200],
            training.labels[:200],
        )
        for seed in (0, 0, 1)
    ]
    chex.assert_trees_all_equal(runs[0], runs[1])
    kernels = [run["params"]["Conv_0"]["kernel"] for run in runs]
    assert not np.array_equal(kernels[0], kernels[2])


def test_distorted_digits_are_moved_but_not_much(script):
    images = data.load().images[:200].astype(np.float32) / 255
    distorted = script["distort"](jax.random.key(0), images)
    assert distorted.shape == images.shape
    assert 0 <= distorted.min() and distorted.max() <= 1
    assert not np.allclose(distorted[0], images[0])
    # Twice the bounds of scale in each direction, and what leaves the picture.
    ink = np.sum(distorted, axis=(1, 2, 3)) / np.sum(images, axis=(1, 2, 3))
    assert 0.75 < ink.min() and ink.max() < 1.3
    rows = np.arange(28)[None, :, None, None]
    centre = [
        np.sum(rows * x, axis=(1, 2, 3)) / np.sum(x, axis=(1, 2, 3)) for x in (distorted, images)
    ]
    moved = centre[0] - centre[1]
    assert np.abs(moved).max() < 4 and np.abs(moved.mean()) < 0.5 and moved.std() > 0.5


@pytest.mark.parametrize(
    ("flags", "named"), [(("--epochs", 0), "--epochs"), (("--batch-size", 70_000), "--batch-size")]
)
def test_bad_flags_end_in_one_line_and_write_nothing(call_script, tmp_path, flags, named):
    done = call_script("train_evaluator.py", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("train_evaluator.py: error: ") and done.stderr.count("\n") == 1
    assert named in done.stderr
    assert list(tmp_path.iterdir()) == []
