"""Classes by their names."""

import pytest

from jaxgan.data.classes import classes_named, with_excluded

CLASSES = {"hair": ("black", "blond", "grey"), "smile": ("no", "yes")}
COLOURS = {
    name: ("no", "yes") for name in ("Black_Hair", "Male", "Blond_Hair", "Gray_Hair", "Young")
}


def test_names_become_numbers():
    assert classes_named(["smile=yes", "hair=grey"], CLASSES) == {"smile": 1, "hair": 2}
    assert classes_named([], CLASSES) == {}
    assert classes_named(["7"], {"label": tuple("0123456789")}) == {"label": 7}
    assert classes_named(["hair=grey", "hair=black"], CLASSES) == {"hair": 0}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("beard=none", "'beard=none' names no attribute that this run was told: .* of hair, smile"),
        ("grey", "'grey' names no attribute"),
        ("hair=green", "hair cannot be 'green': it is one of black, blond, grey"),
        ("hair=", "hair cannot be ''"),
    ],
)
def test_names_that_are_none(word, message):
    with pytest.raises(ValueError, match=message):
        classes_named([word], CLASSES)


@pytest.mark.parametrize(
    ("wanted", "added"),
    [
        ({"Blond_Hair": 1}, {"Black_Hair": 0, "Gray_Hair": 0}),
        ({"Blond_Hair": 1, "Male": 1}, {"Black_Hair": 0, "Gray_Hair": 0}),
        # What is asked for is never taken away.
        ({"Blond_Hair": 1, "Gray_Hair": 1}, {"Black_Hair": 0}),
        ({"Blond_Hair": 0, "Young": 1}, {}),
        ({}, {}),
    ],
)
def test_a_face_has_one_colour_of_hair(wanted, added):
    assert with_excluded(wanted, COLOURS) == wanted | added


def test_attributes_of_other_classes_exclude_nothing():
    assert with_excluded({"hair": 1, "smile": 1}, CLASSES) == {"hair": 1, "smile": 1}
    colours = COLOURS | {"Black_Hair": ("dark", "light")}
    assert with_excluded({"Black_Hair": 1}, colours) == {"Black_Hair": 1}
