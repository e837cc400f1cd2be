import json

import numpy as np
import pytest

from jaxgan import data
from jaxgan.metrics import evaluation
from jaxgan.metrics.agreement import Agreement
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.memorisation import memorisation
from jaxgan.metrics.scoring import Embedding, embed, score

NUM_SAMPLES = 1000


@pytest.fixture(scope="module")
def training():
    return data.load("mnist").images[:6000]


@pytest.fixture(scope="module")
def test_images():
    """In random order, since the first half of the test set is the tidier one."""
    return np.random.default_rng(0).permutation(data.load("mnist", split="test").images)


@pytest.fixture(scope="module")
def reference(training, test_images):
    return evaluation.reference(training, test_images[:2000], num_samples=NUM_SAMPLES, seed=3)


@pytest.fixture(scope="module")
def of_real(reference, test_images):
    """Of real digits that are neither trained on nor the held-out ones."""
    return evaluation.evaluate(test_images[2000:3000], reference)


def noise(count):
    return np.random.default_rng(1).random((count, 28, 28, 1), np.float32)


def test_other_real_digits_score_as_the_floor_and_noise_as_the_ceiling(reference, of_real):
    floor, ceiling = reference.floor.scores, reference.ceiling.scores
    of_noise = evaluation.evaluate(noise(NUM_SAMPLES), reference).scores
    for name in ("precision", "recall", "density", "coverage"):
        assert of_real.scores[name] == pytest.approx(floor[name], abs=0.1), name
        assert of_noise[name] == pytest.approx(ceiling[name], abs=0.01), name
        assert ceiling[name] < 0.05 < 0.7 < floor[name], name
    assert of_real.scores["fid"] == pytest.approx(floor["fid"], rel=0.3)
    assert of_noise["fid"] == pytest.approx(ceiling["fid"], rel=0.03)
    assert ceiling["fid"] > 100 * floor["fid"]
    assert of_real.scores["modes"] == floor["modes"] == 10
    assert ceiling["inception_score"] < 1.5 < 6 < floor["inception_score"]


def test_the_scores_are_those_of_the_metrics(reference, of_real, training, test_images):
    evaluator = load_evaluator()
    seen, known = embed(test_images[2000:3000], evaluator), embed(training, evaluator)
    assert of_real.scores == score(seen, known, seed=3)
    np.testing.assert_array_equal(of_real.embedding.features, seen.features)
    shares = np.bincount(seen.probabilities.argmax(axis=1), minlength=10) / 1000
    np.testing.assert_allclose(of_real.class_shares, shares)
    shares = np.bincount(known.probabilities.argmax(axis=1), minlength=10) / 6000
    np.testing.assert_allclose(reference.class_shares, shares)
    held_out = embed(test_images[:2000], evaluator)
    expected = memorisation(seen.features, held_out.features, known.features)
    assert of_real.in_features[2:] == expected[2:]
    expected = memorisation(
        *(
            images.reshape(len(images), 784).astype(np.float32) / 255
            for images in (test_images[2000:3000], test_images[:2000], training)
        )
    )
    assert of_real.in_pixels[2:] == expected[2:]


def test_as_many_held_out_images_are_scored_as_samples(reference, test_images):
    seen = embed(test_images[:2000], load_evaluator())
    chosen = np.random.default_rng(3).permutation(2000)[:NUM_SAMPLES]
    some = Embedding(seen.features[chosen], seen.probabilities[chosen])
    assert reference.floor.scores == score(some, reference.training, seed=3)
    assert len(reference.held_out.features) == 2000


def test_bytes_and_numbers_to_1_are_judged_alike(reference, of_real, test_images):
    floats = test_images[2000:3000].astype(np.float32) / np.float32(255)
    found = evaluation.evaluate(floats, reference)
    assert found.scores == of_real.scores
    assert found.in_pixels[2:] == of_real.in_pixels[2:]


def test_copies_of_training_images_are_found_out(reference, of_real, training, test_images):
    assert not of_real.in_features.copies and not of_real.in_pixels.copies
    some = np.concatenate([training[50:100], test_images[2000:2150]])
    found = evaluation.evaluate(some, reference)
    for space in (found.in_features, found.in_pixels):
        assert space.copies
        assert space.near_share == pytest.approx(50 / 200, abs=0.05)
    suspects = evaluation.most_suspect(found, 20)
    assert len(set(suspects)) == 20 and max(suspects) < 50


def test_samples_of_one_class_hit_one_mode(reference, training):
    sevens = training[reference.training.probabilities.argmax(axis=1) == 7][:200]
    found = evaluation.evaluate(sevens, reference)
    assert found.scores["modes"] == 1
    assert found.scores["recall"] < 0.3
    np.testing.assert_array_equal(found.class_shares, np.eye(10)[7])


def test_samples_stand_beside_the_training_images_nearest_to_them(reference, training):
    samples = training[100:120]
    found = evaluation.evaluate(samples, reference)
    shown = evaluation.beside_training(samples, found, reference, np.array([4, 7]), k=2)
    assert shown.dtype == np.float32 and shown.shape == (2, 3, 28, 28, 1)
    for row, (sample, nearest, second) in zip((104, 107), shown, strict=True):
        np.testing.assert_array_equal(sample, training[row] / np.float32(255))
        np.testing.assert_array_equal(nearest, sample)
        features = reference.training.features
        distances = np.linalg.norm(features - features[row], axis=1)
        expected = training[np.argsort(distances)[1]]
        np.testing.assert_array_equal(second, expected / np.float32(255))


def test_any_evaluator_of_any_images():
    """Small images, two classes: which half is brighter."""

    def halves(images):
        sides = images.reshape(len(images), 2, -1).mean(axis=-1) + 0.1
        return Embedding(sides, sides / sides.sum(axis=1, keepdims=True))

    rng = np.random.default_rng(0)
    images = [rng.random((300, 4, 3, 1), np.float32) for _ in range(3)]
    reference = evaluation.reference(images[0], images[1], evaluator=halves)
    found = evaluation.evaluate(images[2], reference)
    assert found.class_shares.shape == (2,) and found.scores["modes"] == 2
    assert found.scores["fid"] < 0.01


def test_json_holds_every_number(reference, of_real):
    values = json.loads(json.dumps(evaluation.to_json(of_real, reference), allow_nan=False))
    assert values["num_images"] == {"samples": 1000, "held_out": 1000, "noise": 1000}
    assert values["scores"] == {
        "samples": of_real.scores,
        "held_out": reference.floor.scores,
        "noise": reference.ceiling.scores,
    }
    assert values["class_shares"] == {
        "samples": of_real.class_shares.tolist(),
        "held_out": reference.floor.class_shares.tolist(),
        "noise": reference.ceiling.class_shares.tolist(),
        "training": reference.class_shares.tolist(),
    }
    assert values["memorisation"]["pixels"] == {
        "median_distance": of_real.in_pixels.median_distance,
        "held_out_median_distance": of_real.in_pixels.held_out_median_distance,
        "near_share": of_real.in_pixels.near_share,
        "copies": False,
    }
    assert values["memorisation"]["features"]["near_share"] == of_real.in_features.near_share


def test_the_table_has_a_line_for_each_score_within_80_columns(reference, of_real):
    lines = evaluation.table(of_real, reference).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["samples", "held-out", "noise"]
    ends = [lines[0].index(name) + len(name) for name in ("samples", "held-out", "noise")]
    columns = (of_real.scores, reference.floor.scores, reference.ceiling.scores)

    def cells(label):
        (line,) = (line for line in lines if line.startswith(label))
        starts = (44, *ends)
        return [line[a:b].strip() for a, b in zip(starts, ends, strict=False)]

    assert cells("FID") == [f"{scores['fid']:.3f}" for scores in columns]
    assert cells("recall") == [f"{scores['recall']:.3f}" for scores in columns]
    shares = (of_real, reference.floor, reference.ceiling)
    assert cells("largest") == [f"{max(column.class_shares):.2%}" for column in shares]
    assert cells("near-copies by pixels") == [f"{of_real.in_pixels.near_share:.2%}", "", ""]
    assert cells("images") == ["1,000", "1,000", "1,000"]
    assert cells("inception score, 1 to 10,")[0] == f"{of_real.scores['inception_score']:.2f}"
    # Besides heading and number, a line for each score, two of class shares, four of memorisation.
    assert len(lines) == 2 + len(of_real.scores) + 2 + 4


def test_the_number_of_images_is_told_where_there_are_fewer_held_out(reference, training):
    few = evaluation.reference(training[:1000], training[1000:1200], num_samples=500)
    found = evaluation.evaluate(noise(500), few)
    assert (found.num_images, few.floor.num_images, few.ceiling.num_images) == (500, 200, 200)
    (line,) = (x for x in evaluation.table(found, few).splitlines() if x.startswith("images"))
    assert line.split()[-3:] == ["500", "200", "200"]


def test_what_was_asked_for_has_a_line_each():
    columns = (
        Agreement({"beard": 0.5, "clothes_colour": 0.25}, together=0.125),
        Agreement({"beard": 1.0, "clothes_colour": 0.75}, together=0.75),
    )
    lines = evaluation.agreement_table(*columns).splitlines()
    assert [line.split()[-2:] for line in lines] == [
        ["50.00%", "100.00%"],
        ["25.00%", "75.00%"],
        ["12.50%", "75.00%"],
    ]
    assert "beard" in lines[0] and "clothes_colour" in lines[1] and "all" in lines[2]
    # Under the columns of the table.
    assert {len(line) for line in lines} == {44 + 12 + 12}
    (line,) = evaluation.agreement_table(*[Agreement({"label": 0.5}, 0.5)] * 2).splitlines()
    assert "label" in line


def test_faces_are_judged_as_digits_are():
    shape = (32, 32, 3)
    faces = [data.load("toon_faces", split=x, image_shape=shape).images for x in ("train", "test")]
    training, held_out, others = faces[0][:3000], faces[1][:1000], faces[1][1000:]
    reference = evaluation.reference(
        training, held_out, num_samples=1000, evaluator=load_evaluator("toon_faces")
    )
    found = evaluation.evaluate(others, reference)
    floor, ceiling = reference.floor.scores, reference.ceiling.scores
    for name in ("precision", "recall", "density", "coverage"):
        assert found.scores[name] == pytest.approx(floor[name], abs=0.1), name
        assert ceiling[name] < 0.1 < 0.7 < floor[name], name
    assert found.scores["fid"] == pytest.approx(floor["fid"], rel=0.3)
    assert ceiling["fid"] > 50 * floor["fid"]
    assert found.scores["modes"] == floor["modes"] == 6
    assert ceiling["inception_score"] < 1.5 < 4 < floor["inception_score"]
    assert not found.in_features.copies and not found.in_pixels.copies
    copied = evaluation.evaluate(np.concatenate([training[:50], others[:150]]), reference)
    assert copied.in_features.copies and copied.in_pixels.copies


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((20, 28, 28, 3)), r"shape \(n, 28, 28, 1\), not \(20, 28, 28, 3\)"),
        (np.zeros((20, 784)), r"not \(20, 784\)"),
        (np.full((20, 28, 28, 1), 2.0), r"images must be in \[0, 1\]"),
        (np.full((20, 28, 28, 1), np.nan), r"not nan to nan"),
        (noise(9), "num_splits must be between 1 and the 9 samples"),
    ],
)
def test_images_that_cannot_be_judged(reference, images, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(images, reference)


def test_training_and_held_out_images_must_be_alike(training):
    with pytest.raises(ValueError, match=r"\(28, 28, 1\), held-out images \(28, 28, 3\)"):
        evaluation.reference(training, np.zeros((200, 28, 28, 3)))
