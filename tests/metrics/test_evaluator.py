from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import data
from jaxgan.metrics.evaluator import WEIGHTS, Evaluator, load_evaluator
from jaxgan.metrics.scoring import embed


def in_float64(images):
    """The shipped network written out in NumPy: features and logits."""
    with resources.files("jaxgan").joinpath("embedded", WEIGHTS).open("rb") as file:
        stored = dict(np.load(file, allow_pickle=False))
    weights = {name: value.astype(np.float64) for name, value in stored.items()}

    def normalised(x, which):
        mean, var = (weights[f"batch_stats/BatchNorm_{which}/{name}"] for name in ("mean", "var"))
        scale, bias = (weights[f"params/BatchNorm_{which}/{name}"] for name in ("scale", "bias"))
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * scale + bias, 0)

    def convolved(x, which):
        kernel = weights[f"params/Conv_{which}/kernel"]
        size = x.shape[1]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifted = (
            padded[:, i : i + size, j : j + size] @ kernel[i, j] for i in range(3) for j in range(3)
        )
        return normalised(sum(shifted), which)

    def blocks(x):
        return [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]

    x = np.concatenate(blocks(2 * images - 1), axis=-1)
    x = convolved(convolved(x, 0), 1)
    x = convolved(np.max(blocks(x), axis=0), 2)
    features = normalised(x.reshape(len(x), -1) @ weights["params/Dense_0/kernel"], 3)
    dense = (weights[f"params/Dense_1/{name}"] for name in ("kernel", "bias"))
    kernel, bias = dense
    return features, features @ kernel + bias


def test_what_ships_is_the_network_that_is_described():
    images = data.load("mnist", split="test").images[:20] / np.float64(255)
    features, logits = in_float64(images)
    seen = load_evaluator()(images.astype(np.float32))
    assert seen.features.shape == (20, 128)
    np.testing.assert_allclose(seen.features, features, rtol=1e-4, atol=1e-4)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = odds / odds.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(seen.probabilities, expected, rtol=1e-3, atol=1e-6)


def test_it_tells_the_test_set_as_well_as_is_claimed():
    test = data.load("mnist", split="test")
    seen = embed(test.images, load_evaluator())
    right = np.mean(seen.probabilities.argmax(axis=1) == test.labels)
    assert right == pytest.approx(0.9964, abs=1e-4)


def test_its_weights_are_small():
    assert len(resources.files("jaxgan").joinpath("embedded", WEIGHTS).read_bytes()) < 2e6


def test_images_do_not_depend_on_each_other_unless_in_training():
    images = jax.random.uniform(jax.random.key(0), (6, 28, 28, 1))
    model = Evaluator()
    variables = model.init(jax.random.key(1), images)
    alone = model.apply(variables, images[:1])
    together = model.apply(variables, images)
    np.testing.assert_allclose(together[0][:1], alone[0], rtol=1e-5, atol=1e-6)
    (features, _), changed = model.apply(variables, images, train=True, mutable=["batch_stats"])
    assert not np.allclose(features[:1], alone[0])
    moved = changed["batch_stats"]["BatchNorm_0"]["mean"]
    assert not np.allclose(moved, variables["batch_stats"]["BatchNorm_0"]["mean"])


def test_other_images_are_refused():
    with pytest.raises(AssertionError):
        load_evaluator()(jnp.zeros((3, 32, 32, 1)))
