"""Labels of a data set, and the codes of its attributes."""

import numpy as np
import pytest

from jaxgan import data


@pytest.fixture(scope="module")
def faces():
    return data.load("toon_faces", split="test")


def test_codes_stand_beside_each_other_as_they_are_asked_for(faces):
    codes = faces.codes(("skin", "hair_colour", "skin"))
    assert codes.dtype == np.int32 and codes.shape == (2000, 3)
    for column, name in enumerate(("skin", "hair_colour", "skin")):
        np.testing.assert_array_equal(codes[:, column], faces.attributes[name].codes)


@pytest.mark.parametrize(
    ("set_name", "name", "message"),
    [
        (
            "toon_faces",
            "hair_color",
            "toon_faces has no attribute 'hair_color': did you mean hair_colour? (it has "
            "hair_colour, hair, rear_hair, beard, skin, eyes, mouth, eyebrows, clothes, "
            "clothes_colour)",
        ),
        ("mnist", "zzz", "mnist has no attribute 'zzz' (it has label)"),
    ],
)
def test_an_attribute_that_is_not_there_is_told_with_those_that_are(set_name, name, message):
    dataset = data.load(set_name, split="test")
    with pytest.raises(ValueError) as told:
        dataset.codes((*dataset.attributes, name))
    assert str(told.value) == message


def test_the_label_is_an_attribute_too(faces):
    digits = data.load(split="test")
    assert list(digits.attributes) == ["label"]
    assert digits.attributes["label"].classes == tuple("0123456789")
    np.testing.assert_array_equal(digits.labels, digits.attributes["label"].codes)
    assert digits.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # Faces have no label.
    np.testing.assert_array_equal(faces.labels, np.zeros(2000, np.int32))
