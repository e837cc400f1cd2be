"""Bringing images to one shape."""

import numpy as np
import pytest
from PIL import Image

from jaxgan import data
from jaxgan.data.fitting import gather


@pytest.fixture(scope="module")
def mnist():
    return data.load("mnist", split="test")


@pytest.mark.parametrize(
    "shape",
    [(28, 28), (28, 28, 2), (28, 28, 4), (0, 28, 1), (28, -1, 3), (28.0, 28, 1), (28, 28, 1, 1)],
)
def test_impossible_shapes(shape):
    with pytest.raises(ValueError, match="image_shape must be a positive height"):
        data.load(image_shape=shape)


@pytest.mark.parametrize("shape", [None, (28, 28, 1), [28, 28, 1]])
def test_own_shape_is_left_alone(mnist, shape):
    dataset = data.load(split="test", image_shape=shape)
    np.testing.assert_array_equal(dataset.images, mnist.images)
    assert dataset.notes == ()


def test_shrinking_averages_areas(mnist):
    dataset = data.load(split="test", image_shape=(14, 14, 1))
    means = mnist.images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    # Pillow rounds after each of the two directions.
    assert np.abs(dataset.images[..., 0] - means).max() <= 1
    assert dataset.notes == ("mnist: 10,000 images 28x28x1 brought to 14x14x1 (area-averaged)",)
    np.testing.assert_array_equal(dataset.labels, mnist.labels)


def test_half_the_size_of_colour_averages_areas():
    faces = data.load("toon_faces", split="test")
    small = data.load("toon_faces", split="test", image_shape=(32, 32, 3))
    assert small.images.shape == (2000, 32, 32, 3) and small.images.dtype == np.uint8
    means = faces.images.reshape(2000, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    # Pillow rounds after each of the two directions.
    assert np.abs(small.images - means).max() <= 1
    assert small.notes == ("toon_faces: 2,000 images 64x64x3 brought to 32x32x3 (area-averaged)",)
    for name, attribute in faces.attributes.items():
        np.testing.assert_array_equal(small.attributes[name].codes, attribute.codes)


def test_growing_is_bicubic_and_grey_is_repeated(mnist):
    dataset = data.load(split="test", image_shape=(32, 32, 3))
    assert dataset.images.shape == (10_000, 32, 32, 3)
    for index in (0, 1234, 9999):
        picture = Image.fromarray(mnist.images[index, ..., 0])
        grown = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC))
        for channel in range(3):
            np.testing.assert_array_equal(dataset.images[index, ..., channel], grown)
    assert dataset.notes == (
        "mnist: 10,000 images 28x28x1 brought to 32x32x3 (enlarged bicubically, grey repeated)",
    )


def test_other_proportions_are_cropped_about_the_centre(mnist):
    wide = data.load(split="test", image_shape=(20, 28, 1))
    np.testing.assert_array_equal(wide.images, mnist.images[:, 4:24])
    tall = data.load(split="test", image_shape=(28, 14, 3))
    np.testing.assert_array_equal(tall.images, np.repeat(mnist.images[:, :, 7:21], 3, axis=3))
    assert "(centre-cropped, grey repeated)" in tall.notes[0]
    both = data.load(split="test", image_shape=(14, 7, 1))
    means = mnist.images[:, :, 7:21].reshape(-1, 14, 2, 7, 2).mean(axis=(2, 4))
    assert np.abs(both.images[..., 0] - means).max() <= 1
    assert "(centre-cropped, area-averaged)" in both.notes[0]


def test_extreme_proportions(mnist):
    dataset = data.load(split="test", image_shape=(1, 100, 1))
    assert dataset.images.shape == (10_000, 1, 100, 1)


def test_a_set_that_memory_does_not_hold(monkeypatch):
    monkeypatch.setattr("jaxgan.memory._SMALL", 0)
    pictures = [Image.new("RGB", (8, 8))] * 3
    monkeypatch.setattr("jaxgan.memory.available", lambda device=None: 3 * 4 * 5 * 3)
    gather("some", iter(pictures), 3, (4, 5, 3))
    monkeypatch.setattr("jaxgan.memory.available", lambda device=None: 3 * 4 * 5 * 3 - 1)
    with pytest.raises(ValueError, match="some of 3 images of 4x5x3 needs at least"):
        gather("some", iter(pictures), 3, (4, 5, 3))
    monkeypatch.setattr("jaxgan.memory.available", lambda device=None: 3 * 8 * 8 * 3 - 1)
    with pytest.raises(ValueError, match="some of 3 images of 8x8x3 needs at least"):
        gather("some", iter(pictures), 3, None)
