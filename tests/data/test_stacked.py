import hashlib

import numpy as np
import pytest

from jaxgan import data


@pytest.mark.parametrize(("split", "count"), [("train", 128_000), ("test", 26_000)])
def test_each_channel_is_a_digit_of_the_split(split, count):
    stacked, digits = (data.load(name, split=split) for name in ("stacked_mnist", "mnist"))
    assert stacked.images.shape == (count, 28, 28, 3) and stacked.images.dtype == np.uint8
    assert list(stacked.attributes) == ["red", "green", "blue"]
    known = {}
    for image, label in zip(digits.images, digits.labels, strict=True):
        known.setdefault(image.tobytes(), set()).add(int(label))
    for i, attribute in enumerate(stacked.attributes.values()):
        assert attribute.classes == tuple("0123456789")
        for image, code in zip(stacked.images[:500, ..., i], attribute.codes[:500], strict=True):
            assert code in known[image.tobytes()]


def test_channels_are_drawn_independently_and_evenly():
    attributes = data.load("stacked_mnist").attributes
    red, green, blue = (attributes[name].codes for name in ("red", "green", "blue"))
    counts = np.bincount(np.ravel_multi_index((red, green, blue), (10, 10, 10)), minlength=1000)
    assert counts.min() > 0
    shares = [np.bincount(codes, minlength=10) / len(codes) for codes in (red, green, blue)]
    expected = len(red) * np.einsum("a,b,c->abc", *shares).ravel()
    # Of 1000 cells, chi squared has the mean 972 and the standard deviation 44.
    assert np.sum((counts - expected) ** 2 / expected) < 972 + 4 * 44


def test_the_images_are_always_the_same():
    images = data.load("stacked_mnist", split="test").images
    digest = hashlib.sha256(images.tobytes()).hexdigest()
    assert digest == "9e27b4905358236a640de1be41adc1f223ca8e493c5030f0cb8fa730c29538c8"


def test_there_are_two_splits():
    with pytest.raises(ValueError, match="stacked_mnist has the splits 'train' and 'test'"):
        data.load("stacked_mnist", split="validation")
