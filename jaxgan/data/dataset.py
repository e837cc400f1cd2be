"""A data set: images, and what is known of each image."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxgan.data.names import suggestion

# The name of the attribute that is the single label of a set.
LABEL = "label"


class Attribute(NamedTuple):
    """Something that is known of every image of a set, such as its digit or its hair colour.

    Attributes:
        classes: the names of the classes that the images are divided into.
        codes: int32 [n], the class of each image as an index into `classes`.
    """

    classes: tuple[str, ...]
    codes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images of one shape, with their attributes, in memory or mapped into it.

    Attributes:
        name: the name that `load` was given.
        images: uint8 [n, height, width, channels] in [0, 255], 1 or 3 channels. Those of a folder
            or a .zip are mapped from the disk, and read-only.
        attributes: the attributes by name; {} if the set has none. The single label of a set is
            the attribute "label".
        notes: sentences that say how the images were changed to fit a shape; () if they were not.
        inputs: uint8 [n, height, width, 1 or 3] in [0, 255], the images that a translation starts
            from, where `images` are the results it should have. None if the set has no such pairs.
        digest: SHA-256 of the files and attributes of a folder or a .zip of images, in hexadecimal
            digits; None of other sets, which do not change.
    """

    name: str
    images: np.ndarray
    attributes: Mapping[str, Attribute]
    notes: tuple[str, ...]
    inputs: np.ndarray | None = None
    digest: str | None = None

    @property
    def labels(self) -> np.ndarray:
        """int32 [n]: the codes of the attribute "label"; zeros if the set has no label."""
        if LABEL in self.attributes:
            return self.attributes[LABEL].codes
        return np.zeros(len(self.images), np.int32)

    def codes(self, names: Sequence[str]) -> np.ndarray:
        """Puts the codes of attributes beside each other, a column for each.

        Args:
            names: the names of the attributes, at least one.

        Returns:
            int32 [n, len(names)].

        Raises:
            ValueError: the set has no attribute of one of the names; the message lists the
                attributes that it has.
        """
        for name in names:
            if name not in self.attributes:
                known = ", ".join(self.attributes) or "none"
                raise ValueError(
                    f"{self.name} has no attribute {name!r}{suggestion(name, self.attributes)} "
                    f"(it has {known})"
                )
        return np.stack([self.attributes[name].codes for name in names], axis=1)
