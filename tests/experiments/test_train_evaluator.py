"""The script that trains the evaluator, on a part of the data."""

import dataclasses
import runpy
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from jaxgan import data, weights
from jaxgan.metrics.agreement import agreement, classify
from jaxgan.metrics.evaluator import EVALUATED, WEIGHTS, load_attribute_classifier

SCRIPT = Path(__file__).parents[2] / "experiments" / "train_evaluator.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def some(dataset, count):
    """The first images of a data set."""
    attributes = {
        name: each._replace(codes=each.codes[:count]) for name, each in dataset.attributes.items()
    }
    return dataclasses.replace(dataset, images=dataset.images[:count], attributes=attributes)


@pytest.mark.slow
def test_a_little_training_tells_most_digits(script):
    training, test = data.load(), data.load(split="test")
    # The average is of few steps; chance is 0.1.
    config = script["EvaluatorConfig"](epochs=6, batch_size=50)
    script["train"].__globals__["EMA_DECAY"] = 0.9
    variables = script["train"](config, some(training, 1000))
    assert script["accuracy"](variables, some(test, 2000))["label"] > 0.5


@pytest.mark.slow
def test_a_little_training_tells_the_colour_of_most_clothes(script):
    config = script["EvaluatorConfig"](dataset="toon_faces", epochs=4, batch_size=32)
    script["train"].__globals__["EMA_DECAY"] = 0.9
    variables = script["train"](config, some(data.load("toon_faces"), 1000))
    for shape in EVALUATED["toon_faces"]:
        test = some(data.load("toon_faces", split="test", image_shape=shape), 1000)
        right = script["accuracy"](variables, test)
        assert list(right) == list(test.attributes)
        # By chance 0.1.
        assert right["clothes_colour"] > 0.4


@pytest.mark.parametrize("dataset", ["mnist", "toon_faces"])
def test_accuracy_is_that_of_what_ships(script, dataset):
    test = some(data.load(dataset, split="test"), 1000)
    told = classify(test.images, load_attribute_classifier(dataset))
    codes = {name: each.codes for name, each in test.attributes.items()}
    right = script["accuracy"](weights.read_embedded(WEIGHTS[dataset]), test)
    assert right == pytest.approx(agreement(told, codes).shares)


def test_the_same_seed_trains_the_same_evaluator(script):
    training = some(data.load(), 200)
    runs = [
        script["train"](script["EvaluatorConfig"](epochs=1, batch_size=50, seed=seed), training)
        for seed in (0, 0, 1)
    ]
    chex.assert_trees_all_equal(runs[0], runs[1])
    kernels = [run["params"]["Conv_0"]["kernel"] for run in runs]
    assert not np.array_equal(kernels[0], kernels[2])


def test_distorted_digits_are_moved_but_not_much(script):
    images = data.load().images[:200].astype(np.float32) / 255
    distorted = script["distort_digits"](jax.random.key(0), images)
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


def test_distorted_faces_are_a_little_moved_and_every_second_is_a_small_one(script):
    images = data.load("toon_faces").images[:200].astype(np.float32) / 255
    distorted = np.asarray(script["distort_faces"](jax.random.key(0), images))
    assert distorted.shape == images.shape
    assert 0 <= distorted.min() and distorted.max() <= 1
    quarters = distorted.reshape(200, 32, 2, 32, 2, 3)
    is_small = np.all(quarters == quarters[:, :, :1, :, :1], axis=(1, 2, 3, 4, 5))
    assert 70 < is_small.sum() < 130
    # All in place: what is left between them are edges and noise.
    errors = np.abs(distorted - images).mean(axis=(1, 2, 3))
    assert errors.min() > 0.001 and errors.max() < 0.06
    np.testing.assert_allclose(
        distorted.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=0.02
    )


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--epochs", 0), "--epochs"),
        (("--batch-size", 70_000), "--batch-size"),
        (("--dataset", "toon_faces", "--batch-size", 18_001), "must be 18000 or less"),
        (("--dataset", "fashion_mnist"), "--dataset"),
    ],
)
def test_bad_flags_end_in_one_line_and_write_nothing(call_script, tmp_path, flags, named):
    done = call_script("train_evaluator.py", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("train_evaluator.py: error: ") and done.stderr.count("\n") == 1
    assert named in done.stderr
    assert list(tmp_path.iterdir()) == []
