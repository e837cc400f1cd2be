"""The data sets that ship with the package: MNIST (LeCun et al., 1998) and toon faces (Melin).

`jaxgan/embedded/` has their files and, in `NOTICE`, their licences. Each file is an ordinary .xz
file. Unpacked, it holds the pixels of all images, then the class codes of all images, one byte
each. Pixels are stored image after image, row by row; codes image after image, one for each
attribute. An MNIST file thus holds what the original IDX files hold after their headers. To pack a
file:

    lzma.compress(
        images.tobytes() + codes.tobytes(),
        filters=[{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME,
                  "lc": 4, "lp": 0, "pb": 0}],
    )

and put its size and SHA-256 into `_SETS`. `toon_edits.xz` holds pixels alone: true edits of faces,
for measuring editors.
"""

import dataclasses
import hashlib
import lzma
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxgan.data.dataset import LABEL, Attribute

_FOLDER = Path(__file__).parents[1] / "embedded"


@dataclasses.dataclass(frozen=True)
class _Packed:
    """A file of `jaxgan/embedded/`.

    Attributes:
        file: its name.
        images: the number of its images.
        size: its size in bytes.
        sha256: its checksum, in hexadecimal digits.
    """

    file: str
    images: int
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class _EmbeddedSet:
    """A set that ships.

    Attributes:
        image_shape: height, width and channels of its images.
        classes: the classes of each attribute, by the attribute's name.
        splits: by the split's name, the file that has the split, and the split's images in it.
    """

    image_shape: tuple[int, int, int]
    classes: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, tuple[_Packed, slice]]


_TOON_FACES = _Packed(
    file="toon_faces.xz",
    images=20_000,
    size=1_226_420,
    sha256="255664dad1b024f9aedccc61c6086ba8a4e56b7ba7fca7aa2689ee817cb6ced7",
)
# Faces of the test split, drawn again with other classes of an attribute and all else the same.
_TOON_EDITS = _Packed(
    file="toon_edits.xz",
    images=6_000,
    size=408_892,
    sha256="88c29bf5379c97b3a60b9784fdc495f565d5e03d711bbd2f03e443599f5bf872",
)
# The attributes that were changed; a face is drawn with each class of the first, then of the next.
_EDITED = ("hair_colour", "beard")
_ALL = slice(None)
_SETS = {
    "mnist": _EmbeddedSet(
        image_shape=(28, 28, 1),
        classes={LABEL: tuple("0123456789")},
        splits={
            "train": (
                _Packed(
                    file="mnist-train.xz",
                    images=60_000,
                    size=7_831_836,
                    sha256="5c3510bfb700e8cfc005c7274ab379d486f0ad0535846378cbe6d35102769c19",
                ),
                _ALL,
            ),
            "test": (
                _Packed(
                    file="mnist-test.xz",
                    images=10_000,
                    size=1_354_940,
                    sha256="3845359146c3b66aafb92e0202571226f441093268949efecd81998eac875159",
                ),
                _ALL,
            ),
        },
    ),
    # Faces put together at random from the parts of Johan Melin's "ToonHead".
    "toon_faces": _EmbeddedSet(
        image_shape=(64, 64, 3),
        classes={
            "hair_colour": ("black", "brown", "auburn", "blond", "grey", "white"),
            "hair": ("bun", "sideComed", "spiky", "undercut"),
            "rear_hair": ("none", "longStraight", "longWavy", "neckHigh", "shoulderHigh"),
            "beard": (
                *("none", "chin", "chinMoustache", "fullBeard", "longBeard", "moustacheTwirl"),
            ),
            "skin": tuple("01234"),  # light to dark
            "eyes": ("bow", "happy", "humble", "wide", "wink"),
            "mouth": ("agape", "angry", "laugh", "sad", "smile"),
            "eyebrows": ("angry", "happy", "neutral", "raised", "sad"),
            "clothes": ("dress", "openJacket", "shirt", "tShirt", "turtleNeck"),
            "clothes_colour": tuple("0123456789"),
        },
        splits={
            "train": (_TOON_FACES, slice(18_000)),
            "test": (_TOON_FACES, slice(18_000, None)),
        },
    ),
}
EMBEDDED_SETS = tuple(_SETS)


def read_embedded(name: str, split: str) -> tuple[np.ndarray, dict[str, Attribute]]:
    """Unpacks a split of a set that ships.

    Args:
        name: one of `EMBEDDED_SETS`.
        split: 'train' or 'test'.

    Returns:
        (uint8 [n, height, width, channels] in [0, 255], the attributes by name), in the order in
        which the images are stored. Both are copies that the caller may write to.

    Raises:
        ValueError: an unknown split, or a damaged file.
        FileNotFoundError: the file is missing.
    """
    its = _SETS[name]
    if split not in its.splits:
        raise ValueError(f"{name} has the splits 'train' and 'test', not {split!r}")
    packed, part = its.splits[split]
    content = np.frombuffer(lzma.decompress(_read_undamaged(packed)), np.uint8)
    images, codes = np.split(content, [packed.images * math.prod(its.image_shape)])
    # Copied, as the array that `frombuffer` gives cannot be written to.
    images = images.reshape(-1, *its.image_shape)[part].copy()
    codes = codes.reshape(-1, len(its.classes))[part].astype(np.int32)
    attributes = {
        attribute: Attribute(classes, codes[:, i].copy())
        for i, (attribute, classes) in enumerate(its.classes.items())
    }
    return images, attributes


def read_true_edits() -> dict[str, tuple[np.ndarray, Attribute]]:
    """Unpacks the faces that were drawn again with one attribute changed.

    Returns:
        For each attribute that was changed (uint8 [500, classes, 64, 64, 3], the first 500 test
        faces of toon_faces with each class of the attribute; the attribute of the faces as they
        are, with codes int32 [500]). The arrays are copies that the caller may write to.

    Raises:
        ValueError: a damaged file.
        FileNotFoundError: a file is missing.
    """
    its = _SETS["toon_faces"]
    content = np.frombuffer(lzma.decompress(_read_undamaged(_TOON_EDITS)), np.uint8)
    counts = [len(its.classes[name]) for name in _EDITED]
    faces = _TOON_EDITS.images // sum(counts)
    drawn = content.reshape(faces, sum(counts), *its.image_shape)
    parts = np.split(drawn, np.cumsum(counts)[:-1], axis=1)
    attributes = read_embedded("toon_faces", "test")[1]
    return {
        name: (part.copy(), Attribute(its.classes[name], attributes[name].codes[:faces].copy()))
        for name, part in zip(_EDITED, parts, strict=True)
    }


def _read_undamaged(packed: _Packed) -> bytes:
    """Reads a file and checks it before it is unpacked: a damaged file could fill the memory."""
    path = _FOLDER / packed.file
    try:
        with open(path, "rb") as file:
            content = file.read(packed.size + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: reinstall jaxgan") from None
    if len(content) != packed.size:
        is_size = f"only {len(content):,}" if len(content) < packed.size else "more"
        raise ValueError(
            f"{path} is damaged: it should have {packed.size:,} bytes and has {is_size}: "
            "reinstall jaxgan"
        )
    if hashlib.sha256(content).hexdigest() != packed.sha256:
        raise ValueError(f"{path} is damaged: its SHA-256 checksum is wrong: reinstall jaxgan")
    return content
