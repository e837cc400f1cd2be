import numpy as np
import pytest

from jaxgan import data
from jaxgan.metrics.edits import change, distance


def certain(*codes, classes=3):
    return np.eye(classes)[list(codes)]


# Of four images: what the judge sees before and after the hair was changed.
BEFORE = {"hair": certain(0, 1, 2, 0), "eyes": certain(0, 0, 1, 1), "hat": certain(2, 2, 2, 2)}
AFTER = {"hair": certain(1, 2, 0, 0), "eyes": certain(0, 0, 1, 0), "hat": certain(2, 0, 1, 2)}


def test_what_is_shown_and_what_is_kept():
    found = change(BEFORE, AFTER, "hair", np.array([1, 2, 1, 1]))
    assert found.shown == 0.5
    assert found.kept_of == {"eyes": 0.75, "hat": 0.5}
    assert found.kept == (0.75 + 0.5) / 2


def test_the_likeliest_class_counts_and_a_mistake_that_stays_is_kept():
    before = {"hair": [[0.2, 0.8]], "eyes": [[0.4, 0.6]]}
    after = {"hair": [[0.9, 0.1]], "eyes": [[0.1, 0.9]]}
    assert change(before, after, "hair", [0]) == (1.0, 1.0, {"eyes": 1.0})


def test_a_single_attribute_has_no_others_to_keep():
    found = change({"hair": certain(0)}, {"hair": certain(1)}, "hair", [1])
    assert found.shown == 1 and np.isnan(found.kept) and found.kept_of == {}


@pytest.mark.parametrize(
    ("before", "after", "attribute", "message"),
    [
        (BEFORE, AFTER, "shoes", "no probabilities of 'shoes'"),
        ({"hair": BEFORE["hair"]}, AFTER, "hair", "the same attributes, not hair and hair, eyes"),
        (BEFORE | {"hat": certain(2)}, AFTER, "hair", "hat must have one shape before and after"),
        (BEFORE | {"hat": -certain(2, 2, 2, 2)}, AFTER, "hair", "must be 0 or more and sum to 1"),
    ],
)
def test_what_cannot_be_compared_is_told(before, after, attribute, message):
    with pytest.raises(ValueError, match=message):
        change(before, after, attribute, [0, 0, 0, 0])


# Two images of 1x2 grey pixels, of which the true edit changes the first.
IMAGES = np.float32([[0.2, 0.5], [0.4, 0.5]]).reshape(2, 1, 2, 1)
TRUTH = np.float32([[0.6, 0.5], [0.6, 0.5]]).reshape(2, 1, 2, 1)


def test_distances_are_fractions_of_the_error_of_doing_nothing():
    edited = np.float32([[0.5, 0.4], [0.8, 0.5]]).reshape(2, 1, 2, 1)
    # Doing nothing: 0.4 + 0.2. Inside 0.1 + 0.2, outside 0.1 + 0.
    assert distance(IMAGES, edited, TRUTH) == pytest.approx((4 / 6, 3 / 6, 1 / 6), abs=1e-6)


def test_a_pixel_is_changed_if_any_of_its_channels_is():
    images = np.zeros((1, 1, 2, 3), np.float32)
    truth = images.copy()
    truth[0, 0, 0] = (0.5, 0, 0)
    edited = images.copy()
    edited[0, 0, 0] = (0.5, 0.25, 0)
    edited[0, 0, 1] = (0, 0, 0.1)
    assert distance(images, edited, truth) == pytest.approx((0.7, 0.5, 0.2), abs=1e-6)


@pytest.mark.parametrize("name", ["hair_colour", "beard"])
def test_the_true_edits_have_0_and_doing_nothing_has_1(name):
    each = data.true_edits()[name]
    faces = each.images[np.arange(20), each.own[:20]]
    truth = each.images[np.arange(20), (each.own[:20] + 1) % 6]
    assert distance(faces, truth / np.float32(255), truth) == (0, 0, 0)
    assert distance(faces, faces, truth) == (1, 1, 0)


@pytest.mark.parametrize(
    ("images", "edited", "truth", "message"),
    [
        (IMAGES, IMAGES[:1], TRUTH, "one shape"),
        (IMAGES, IMAGES, TRUTH[..., 0], "one shape"),
        (IMAGES[0], IMAGES[0], TRUTH[0], "one shape"),
        (IMAGES, TRUTH, IMAGES, "no true edit differs from its image"),
        (IMAGES[:0], IMAGES[:0], TRUTH[:0], "no true edit differs from its image"),
    ],
)
def test_images_that_cannot_be_compared(images, edited, truth, message):
    with pytest.raises(ValueError, match=message):
        distance(images, edited, truth)
