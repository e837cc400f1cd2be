"""The sets that ship: MNIST and toon faces."""

import hashlib
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxgan import data
from jaxgan.data import embedded

# The MD5 of the IDX files that Yann LeCun and Corinna Cortes published: images, then labels.
IDX_MD5 = {
    "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
}

# The SHA-256 of all pixels of the original faces, and of their table of attributes: a line a face,
# with the classes in the order of the set's attributes and commas between them.
FACES_SHA256 = {
    "train": (
        "e42257223b8a598f776c5255a652b61b56605ada202b5fe942d6b579f4eeb79a",
        "acc590597dcb1c3f89da8d80e7e1b318eee8388924a336703f4d696465542bbc",
    ),
    "test": (
        "8c212f563ea4483b5f6b13b0426de9eca30f0ef636cdd900883ca3772b3d9b0a",
        "465991a33bb21fd2814e44fde157cee772e9615542ebf7afabc86451da570203",
    ),
}
FACES_COUNTS = {"train": 18_000, "test": 2_000}


@pytest.fixture(scope="module")
def mnist():
    return data.load("mnist", split="test")


@pytest.fixture(scope="module")
def faces():
    return {split: data.load("toon_faces", split=split) for split in FACES_COUNTS}


def test_embedded_files_are_small_and_have_their_licence():
    folder = embedded._FOLDER
    assert all(path.stat().st_size < 12e6 for path in folder.iterdir())
    notice = (folder / "NOTICE").read_text()
    for words in ("CC BY-SA 3.0", "Yann LeCun", "Corinna Cortes", "mnist-train.xz"):
        assert words in notice


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _lengthen(path):
    with open(path, "ab") as file:
        file.write(b"\0" * 10)


def _alter_middle(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _alter_end(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


# --- MNIST ---


@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
def test_mnist_is_the_original_to_the_byte(split, count):
    dataset = data.load(split=split)
    assert dataset.images.shape == (count, 28, 28, 1) and dataset.images.dtype == np.uint8
    assert dataset.labels.shape == (count,) and dataset.labels.dtype == np.int32
    assert dataset.name == "mnist" and dataset.notes == ()
    images = struct.pack(">4i", 0x803, count, 28, 28) + dataset.images.tobytes()
    labels = struct.pack(">2i", 0x801, count) + dataset.labels.astype(np.uint8).tobytes()
    assert (hashlib.md5(images).hexdigest(), hashlib.md5(labels).hexdigest()) == IDX_MD5[split]


def test_mnist_can_be_written_to(mnist):
    assert mnist.images.flags.writeable


def test_unknown_split_of_mnist():
    with pytest.raises(ValueError, match="mnist has the splits 'train' and 'test', not 'valid'"):
        data.load(split="valid")


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_cut, ValueError, "damaged: it should have 1,354,940 bytes and has only 1,353,940"),
        (_lengthen, ValueError, "damaged: it should have 1,354,940 bytes and has more"),
        (_alter_middle, ValueError, "damaged: its SHA-256 checksum is wrong"),
        (Path.unlink, FileNotFoundError, "is missing"),
    ],
)
def test_a_spoilt_file_of_mnist_is_told(tmp_path, monkeypatch, spoil, kind, words):
    shutil.copytree(embedded._FOLDER, tmp_path / "embedded")
    monkeypatch.setattr(embedded, "_FOLDER", tmp_path / "embedded")
    spoil(tmp_path / "embedded" / "mnist-test.xz")
    with pytest.raises(kind) as told:
        data.load(split="test")
    line = str(told.value)
    assert "mnist-test.xz" in line and words in line and "reinstall jaxgan" in line
    assert "\n" not in line
    # The other split is a file of its own.
    (tmp_path / "embedded" / "mnist-test.xz").unlink(missing_ok=True)
    assert len(data.load(split="train").images) == 60_000


# --- Toon faces ---


@pytest.mark.parametrize("split", FACES_COUNTS)
def test_faces_are_the_originals_to_the_byte(faces, split):
    dataset, count = faces[split], FACES_COUNTS[split]
    assert dataset.name == "toon_faces" and dataset.notes == ()
    assert dataset.images.shape == (count, 64, 64, 3) and dataset.images.dtype == np.uint8
    rows = zip(
        *(np.take(each.classes, each.codes) for each in dataset.attributes.values()), strict=True
    )
    table = "\n".join(map(",".join, rows)).encode()
    contents = dataset.images.tobytes(), table
    assert tuple(hashlib.sha256(content).hexdigest() for content in contents) == FACES_SHA256[split]


@pytest.mark.parametrize("split", FACES_COUNTS)
def test_classes_are_as_frequent_as_they_were_drawn(faces, split):
    """All classes of an attribute are equally frequent, but most faces have no beard."""
    counts = {}
    for name, attribute in faces[split].attributes.items():
        assert attribute.codes.dtype == np.int32 and attribute.codes.shape == (FACES_COUNTS[split],)
        counts[name] = len(attribute.classes)
        found = np.bincount(attribute.codes, minlength=counts[name])
        assert len(found) == counts[name]
        if name == "beard":
            assert 0.7 < found[0] / FACES_COUNTS[split] < 0.75
            found = found[1:]
        expected = found.sum() / len(found)
        assert np.abs(found - expected).max() < 4 * np.sqrt(expected), name
    assert sum(counts.values()) == 56 and len(counts) == 10


def test_the_licence_names_the_author():
    notice = (embedded._FOLDER / "NOTICE").read_text()
    part = notice[notice.index("Toon faces") :]
    words = ("Johan Melin", "ToonHead", "(CC BY 4.0)", "creativecommons.org/licenses/by/4.0/")
    for word in (*words, "File: toon_faces.xz", "Changes: "):
        assert word in part


def test_faces_can_be_written_to_and_are_not_shared(faces):
    again = data.load("toon_faces", split="test")
    again.images[0] = 0
    again.attributes["skin"].codes[0] = 4
    np.testing.assert_array_equal(
        faces["test"].images[0], data.load("toon_faces", split="test").images[0]
    )


@pytest.mark.parametrize("split", ["valid", "train[:10]", ""])
def test_unknown_split_of_faces(split):
    with pytest.raises(ValueError) as told:
        data.load("toon_faces", split=split)
    assert str(told.value) == f"toon_faces has the splits 'train' and 'test', not {split!r}"


@pytest.mark.parametrize("split", FACES_COUNTS)
@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_cut, ValueError, "damaged: it should have 1,226,420 bytes and has only 1,225,420"),
        (_alter_end, ValueError, "damaged: its SHA-256 checksum is wrong"),
        (Path.unlink, FileNotFoundError, "is missing"),
    ],
)
def test_a_spoilt_file_of_faces_is_told(tmp_path, monkeypatch, split, spoil, kind, words):
    shutil.copy(embedded._FOLDER / "toon_faces.xz", tmp_path)
    monkeypatch.setattr(embedded, "_FOLDER", tmp_path)
    spoil(tmp_path / "toon_faces.xz")
    with pytest.raises(kind) as told:
        data.load("toon_faces", split=split)
    line = str(told.value)
    assert "toon_faces.xz" in line and words in line and "reinstall jaxgan" in line
    assert "\n" not in line
