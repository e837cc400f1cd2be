from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from small_run import slow

from jaxgan import data
from jaxgan.metrics.agreement import agreement, classify
from jaxgan.metrics.evaluator import (
    ATTRIBUTES,
    EVALUATED,
    WEIGHTS,
    check_evaluated,
    enlarge,
    evaluator,
    load_attribute_classifier,
    load_evaluator,
)
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.modes import mode_coverage
from jaxgan.metrics.scoring import embed

SHAPES = EVALUATED["toon_faces"]
STACKED = "stacked_mnist"
NETWORKS = [name for name in EVALUATED if name != STACKED]
# The share of the test set that each attribute is told right of. Mouths are a few pixels, and of
# little contrast where the skin is dark.
RIGHT = {
    (32, 32, 3): (1.0, 1.0, 1.0, 0.983, 1.0, 0.9925, 0.871, 0.986, 0.999, 1.0),
    (64, 64, 3): (1.0, 1.0, 1.0, 0.994, 1.0, 0.9945, 0.888, 0.997, 0.999, 1.0),
}
# A thousand faces from a thousand others.
NEAR = 4
# How many convolutions each stage has.
STAGES = {"mnist": (2, 1), "toon_faces": (1, 1, 1, 1)}


def in_float64(dataset, images):
    """The shipped network written out in NumPy: features, and logits of each attribute."""
    with resources.files("jaxgan").joinpath("embedded", WEIGHTS[dataset]).open("rb") as file:
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

    x, which = np.concatenate(blocks(2 * images - 1), axis=-1), 0
    for stage, count in enumerate(STAGES[dataset]):
        x = np.max(blocks(x), axis=0) if stage else x
        for _ in range(count):
            x, which = convolved(x, which), which + 1
    features = normalised(x.reshape(len(x), -1) @ weights["params/Dense_0/kernel"], which)
    heads = range(1, 1 + len(ATTRIBUTES[dataset]))
    kernels, biases = (
        [weights[f"params/Dense_{head}/{name}"] for head in heads] for name in ("kernel", "bias")
    )
    return features, [features @ a + b for a, b in zip(kernels, biases, strict=True)]


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dataset", NETWORKS)
def test_what_ships_is_the_network_that_is_described(dataset):
    images = data.load(dataset, split="test").images[:20] / np.float64(255)
    features, logits = in_float64(dataset, images)
    seen = load_evaluator(dataset)(images.astype(np.float32))
    assert seen.features.shape == (20, 128)
    np.testing.assert_allclose(seen.features, features, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen.probabilities, softmax(logits[0]), rtol=1e-3, atol=1e-6)
    told = load_attribute_classifier(dataset)(images.astype(np.float32))
    assert list(told) == list(ATTRIBUTES[dataset])
    for each, its_logits in zip(told.values(), logits, strict=True):
        np.testing.assert_allclose(each, softmax(its_logits), rtol=1e-3, atol=1e-6)


def test_stacked_digits_are_judged_a_channel_at_a_time():
    images = data.load(STACKED, split="test").images[:20] / np.float32(255)
    evaluate = load_evaluator()
    alone = [evaluate(images[..., i : i + 1]) for i in range(3)]
    seen = load_evaluator(STACKED)(images)
    np.testing.assert_allclose(seen.features, np.hstack([x.features for x in alone]), rtol=1e-6)
    red, green, blue = (np.float64(x.probabilities) for x in alone)
    joint = np.einsum("na,nb,nc->nabc", red, green, blue).reshape(20, 1000)
    np.testing.assert_allclose(seen.probabilities, joint, rtol=1e-5, atol=1e-8)
    told = load_attribute_classifier(STACKED)(images)
    for each, its in zip(told.values(), (red, green, blue), strict=True):
        np.testing.assert_allclose(each, its, rtol=1e-6)
    with pytest.raises(ValueError, match="no evaluator of its own"):
        evaluator(STACKED)


def test_the_floor_of_stacked_digits_is_the_one_that_is_known():
    test = data.load(STACKED, split="test")
    found = embed(test.images, load_evaluator(STACKED)).probabilities.argmax(axis=1)
    codes = [test.attributes[name].codes for name in ("red", "green", "blue")]
    assert np.mean(found == np.ravel_multi_index(codes, (10, 10, 10))) > 0.98
    modes = mode_coverage(found, np.full(1000, 1 / 1000))
    assert modes.num_classes_hit == 1000
    # Of triples of test digits 0.0248 in the mean, with a standard deviation of 0.0010.
    assert modes.kl_divergence == pytest.approx(0.0248, abs=0.003)


def test_digits_are_what_is_judged_unless_told_otherwise():
    images = data.load(split="test").images[:20] / np.float32(255)
    ours, theirs = load_evaluator()(images), load_evaluator("mnist")(images)
    np.testing.assert_array_equal(ours.features, theirs.features)


def test_it_tells_the_test_set_as_well_as_is_claimed():
    test = data.load("mnist", split="test")
    seen = embed(test.images, load_evaluator())
    right = np.mean(seen.probabilities.argmax(axis=1) == test.labels)
    assert right == pytest.approx(0.9964, abs=1e-4)


@pytest.mark.parametrize("dataset", EVALUATED)
def test_its_attributes_are_those_of_the_data(dataset):
    attributes = data.load(dataset, split="test").attributes
    counts = {name: len(attribute.classes) for name, attribute in attributes.items()}
    assert list(ATTRIBUTES[dataset].items()) == list(counts.items())


@pytest.mark.parametrize(("dataset", "size"), [("mnist", 2e6), ("toon_faces", 1e6)])
def test_its_weights_are_small(dataset, size):
    assert len(resources.files("jaxgan").joinpath("embedded", WEIGHTS[dataset]).read_bytes()) < size


@pytest.mark.parametrize("dataset", NETWORKS)
def test_images_do_not_depend_on_each_other_unless_in_training(dataset):
    images = jax.random.uniform(jax.random.key(0), (6, *EVALUATED[dataset][-1]))
    model = evaluator(dataset)
    variables = model.init(jax.random.key(1), images)
    alone = model.apply(variables, images[:1])
    together = model.apply(variables, images)
    np.testing.assert_allclose(together[0][:1], alone[0], rtol=1e-5, atol=1e-6)
    (features, _), changed = model.apply(variables, images, train=True, mutable=["batch_stats"])
    assert not np.allclose(features[:1], alone[0])
    moved = changed["batch_stats"]["BatchNorm_0"]["mean"]
    assert not np.allclose(moved, variables["batch_stats"]["BatchNorm_0"]["mean"])


@pytest.mark.parametrize(
    ("dataset", "shape"),
    [("mnist", (32, 32, 1)), ("mnist", (14, 14, 1)), ("toon_faces", (16, 16, 3))],
)
def test_other_images_are_refused(dataset, shape):
    with pytest.raises(AssertionError):
        load_evaluator(dataset)(jnp.zeros((3, *shape)))
    with pytest.raises(ValueError, match=f"the evaluator of {dataset} knows images of"):
        check_evaluated(dataset, shape)


def test_a_data_set_without_an_evaluator_is_told():
    for load in (load_evaluator, load_attribute_classifier, evaluator, check_evaluated):
        with pytest.raises(ValueError, match="no evaluator of cifar10, only of mnist, toon_f"):
            load("cifar10")


# --- Toon faces ---


@pytest.fixture(scope="module")
def faces():
    """The test set, by shape."""
    return {shape: data.load("toon_faces", split="test", image_shape=shape) for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_tells_the_attributes_of_faces_as_well_as_is_claimed(faces, shape):
    test = faces[shape]
    told = classify(test.images, load_attribute_classifier())
    found = agreement(told, {name: each.codes for name, each in test.attributes.items()})
    expected = dict(zip(ATTRIBUTES["toon_faces"], RIGHT[shape], strict=True))
    assert found.shares == pytest.approx(expected, abs=2e-3)


def test_small_faces_are_seen_with_each_pixel_four_times(faces):
    small = faces[SHAPES[0]].images[:8] / np.float32(255)
    large = np.kron(small, np.ones((1, 2, 2, 1), np.float32))
    np.testing.assert_array_equal(enlarge(jnp.asarray(small), SHAPES[1]), large)
    ours, theirs = (load_evaluator("toon_faces")(images) for images in (small, large))
    np.testing.assert_allclose(ours.features, theirs.features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [SHAPES[0], slow(SHAPES[1])])
def test_the_distance_of_faces_grows_with_what_is_done_to_them(faces, shape):
    images = faces[shape].images / np.float32(255)
    known, held_out = np.split(images[np.random.default_rng(0).permutation(len(images))], 2)

    def distance(images):
        seen = [embed(x, load_evaluator("toon_faces")).features for x in (known, images)]
        return frechet_distance(*map(moments, seen))

    def blurred(deviation):
        return scipy.ndimage.gaussian_filter(held_out, (0, deviation, deviation, 0))

    pixels = np.random.default_rng(1).permuted(held_out.reshape(len(held_out), -1, 3), axis=1)
    scale = shape[0] / 64
    distances = [
        distance(held_out),
        *(distance(blurred(scale * deviation)) for deviation in (1, 2, 4)),
        distance(pixels.reshape(held_out.shape)),
    ]
    steps = np.array(distances[1:]) / distances[:-1]
    assert distances[0] < NEAR and steps.min() > 1.5, distances
