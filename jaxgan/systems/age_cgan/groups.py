"""Groups of age: which classes of a data set's attributes are which age."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxgan.data import Dataset

# The attribute that the networks are told, whose classes are the groups.
AGE = "age"
# The groups of data sets whose attributes are known here.
DEFAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "toon_faces": (
            "natural=hair_colour:black/brown/auburn/blond",
            "grey=hair_colour:grey",
            "white=hair_colour:white",
        ),
        "celeb_a": (
            "young=Young:yes",
            "middle=Young:no,Gray_Hair:no",
            "old=Young:no,Gray_Hair:yes",
        ),
    }
)
_GROUP = re.compile(r"(?P<name>[^=]+)=(?P<conditions>.+)")
_CONDITION = re.compile(r"(?P<attribute>[^:]+):(?P<classes>.+)")


class Group(NamedTuple):
    """A group of age.

    Attributes:
        name: of the group.
        conditions: (attribute, classes) pairs. An image is in the group if each of the attributes
            has one of its classes.
    """

    name: str
    conditions: tuple[tuple[str, tuple[str, ...]], ...]


def parse(words: Sequence[str]) -> tuple[Group, ...]:
    """Reads groups as a user types them.

    Args:
        words: each "NAME=ATTRIBUTE:CLASS", with slashes between several classes, any of which will
            do, and commas between several ATTRIBUTE:CLASS, all of which are wanted.

    Raises:
        ValueError: a word has another form, there are fewer than two groups, or two have one name.
    """
    groups = []
    for word in words:
        found = _GROUP.fullmatch(word)
        conditions = found["conditions"].split(",") if found else []
        parts = [_CONDITION.fullmatch(each) for each in conditions]
        if found is None or not all(parts):
            raise ValueError(
                f"--groups must be NAME=ATTRIBUTE:CLASS each, such as grey=hair_colour:grey or "
                f"old=Young:no,Gray_Hair:yes, not {word!r}"
            )
        pairs = tuple(
            (part["attribute"], tuple(part["classes"].split("/"))) for part in parts if part
        )
        groups.append(Group(found["name"], pairs))
    names = [group.name for group in groups]
    if len(groups) < 2:
        raise ValueError(f"--groups must be two or more, not {len(groups)}")
    if len(set(names)) < len(names):
        raise ValueError(f"--groups has one twice: {' '.join(names)}")
    return tuple(groups)


def ages(dataset: Dataset, groups: Sequence[Group]) -> np.ndarray:
    """Finds the group of each image.

    Args:
        dataset: the images and their attributes.
        groups: of `parse`.

    Returns:
        int32 [n], the index of the group of each image.

    Raises:
        ValueError: the data set lacks an attribute or a class of a group, or an image is in no
            group or in two.
    """
    found = members(dataset, groups)
    counts = found.sum(axis=0)
    for wrong, where in ((counts == 0, "no group"), (counts > 1, "two groups")):
        if wrong.any():
            raise ValueError(
                f"--groups: {wrong.sum():,} of {len(wrong):,} images of {dataset.name} are in "
                f"{where}, such as {_described(dataset, groups, int(wrong.argmax()))}"
            )
    return found.argmax(axis=0).astype(np.int32)


def members(dataset: Dataset, groups: Sequence[Group]) -> np.ndarray:
    """Whether each image is in each group, bool [groups, n].

    Raises:
        ValueError: the data set lacks an attribute or a class of a group.
    """
    return np.stack([_members(dataset, group) for group in groups])


def check_used(dataset: Dataset, groups: Sequence[Group]) -> None:
    """Makes sure that each group has images.

    Raises:
        ValueError: a group has none; or as `ages`.
    """
    found = ages(dataset, groups)
    for i, group in enumerate(groups):
        if not (found == i).any():
            raise ValueError(f"--groups: no image of {dataset.name} is in the group {group.name}")


def _members(dataset: Dataset, group: Group) -> np.ndarray:
    """Whether each image is in a group, bool [n]."""
    is_member = np.ones(len(dataset.images), bool)
    for attribute, wanted in group.conditions:
        try:
            codes = dataset.codes((attribute,))[:, 0]
        except ValueError as error:
            raise ValueError(f"--groups {group.name}: {error}") from None
        classes = dataset.attributes[attribute].classes
        if unknown := [each for each in wanted if each not in classes]:
            raise ValueError(
                f"--groups {group.name}: {attribute} cannot be {unknown[0]!r}: it is one of "
                f"{', '.join(classes)}"
            )
        is_member &= np.isin(codes, [classes.index(each) for each in wanted])
    return is_member


def _described(dataset: Dataset, groups: Sequence[Group], index: int) -> str:
    """The classes of an image in the attributes that groups are made by."""
    names = dict.fromkeys(name for group in groups for name, _ in group.conditions)
    its = {name: dataset.attributes[name] for name in names}
    return " ".join(f"{name}:{each.classes[each.codes[index]]}" for name, each in its.items())
