"""Groups of age: how they are typed, and which images are in them."""

import numpy as np
import pytest

from jaxgan.data import Attribute, Dataset
from jaxgan.systems.age_cgan.groups import DEFAULTS, Group, ages, check_used, members, parse

HAIR = np.array([0, 1, 2, 3, 2, 0], np.int32)
YOUNG = np.array([1, 1, 0, 0, 0, 1], np.int32)
FACES = Dataset(
    "faces",
    np.zeros((6, 8, 8, 1), np.uint8),
    {
        "hair": Attribute(("black", "blond", "grey", "white"), HAIR),
        "Young": Attribute(("no", "yes"), YOUNG),
    },
    (),
)
AGES = ("natural=hair:black/blond", "grey=hair:grey", "white=hair:white")


def test_slashes_are_any_and_commas_are_all():
    assert parse(("young=Young:yes", "old=Young:no,hair:grey/white")) == (
        Group("young", (("Young", ("yes",)),)),
        Group("old", (("Young", ("no",)), ("hair", ("grey", "white")))),
    )
    old = ("young=Young:yes", "middle=Young:no,hair:grey", "old=Young:no,hair:white")
    np.testing.assert_array_equal(ages(FACES, parse(old)), [0, 0, 1, 2, 1, 0])


def test_the_group_of_each_image():
    found = ages(FACES, parse(AGES))
    np.testing.assert_array_equal(found, [0, 0, 1, 2, 1, 0])
    assert found.dtype == np.int32
    expected = np.array([[1, 1, 0, 0, 0, 1], [0, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]], bool)
    np.testing.assert_array_equal(members(FACES, parse(AGES)), expected)
    check_used(FACES, parse(AGES))


def test_the_groups_that_are_known():
    assert [group.name for group in parse(DEFAULTS["toon_faces"])] == ["natural", "grey", "white"]
    assert [group.name for group in parse(DEFAULTS["celeb_a"])] == ["young", "middle", "old"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("grey", "white=hair:white"),
            "--groups must be NAME=ATTRIBUTE:CLASS each, .* 'grey'",
        ),
        (("grey=hair", "white=hair:white"), "not 'grey=hair'"),
        (("=hair:grey", "white=hair:white"), "not '=hair:grey'"),
        (("a=hair:grey,", "white=hair:white"), "not 'a=hair:grey,'"),
        (("grey=hair:grey",), "--groups must be two or more, not 1"),
        (("a=hair:grey", "a=hair:white"), "--groups has one twice: a a"),
    ],
)
def test_groups_that_cannot_be_read(words, message):
    with pytest.raises(ValueError, match=message) as error:
        parse(words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a=hat:red", "b=hair:grey"), r"--groups a: faces has no attribute 'hat' \(it has hair,"),
        (("a=hair:red", "b=hair:grey"), "--groups a: hair cannot be 'red': it is one of black, "),
        (AGES[1:], "--groups: 3 of 6 images of faces are in no group, such as hair:black"),
        (
            (*AGES, "old=hair:white/grey"),
            "--groups: 3 of 6 images of faces are in two groups, such as hair:grey",
        ),
        (
            ("a=hair:black,Young:no", "b=hair:black,Young:yes", "c=hair:blond/grey/white"),
            "--groups: no image of faces is in the group a",
        ),
    ],
)
def test_groups_that_do_not_divide_the_images(words, message):
    with pytest.raises(ValueError, match=message) as error:
        check_used(FACES, parse(words))
    assert "\n" not in str(error.value)
