"""True edits of toon faces."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxgan import data
from jaxgan.data import embedded

# The SHA-256 of all pixels as they were drawn: a face's hair colours, then its beards.
PIXELS_SHA256 = "6ce0ce698369c84abe3b030fdbca469904a5a800539a1b0c8a8615ba51192513"


@pytest.fixture(scope="module")
def faces():
    return data.load("toon_faces", split="test")


@pytest.fixture(scope="module")
def edits():
    return data.true_edits()


def test_they_are_the_pixels_that_were_drawn(edits):
    assert list(edits) == ["hair_colour", "beard"]
    for each in edits.values():
        assert each.images.shape == (500, 6, 64, 64, 3) and each.images.dtype == np.uint8
        assert each.own.shape == (500,) and each.own.dtype == np.int32
        assert each.images.flags.writeable and each.own.flags.writeable
    pixels = np.concatenate([each.images for each in edits.values()], axis=1)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == PIXELS_SHA256


@pytest.mark.parametrize("name", ["hair_colour", "beard"])
def test_with_its_own_class_a_face_is_itself_byte_for_byte_and_with_no_other(faces, edits, name):
    each = edits[name]
    assert each.classes == faces.attributes[name].classes
    np.testing.assert_array_equal(each.own, faces.attributes[name].codes[:500])
    is_face = (each.images == faces.images[:500, None]).all(axis=(2, 3, 4))
    np.testing.assert_array_equal(is_face, np.arange(6) == each.own[:, None])


# Of 255, and the share of pixels that change, as whoever drew the images counted them.
@pytest.mark.parametrize(
    ("name", "error", "share", "least"),
    [("hair_colour", 14.82, 0.19, 0.09), ("beard", 1.86, 0.04, 0.004)],
)
def test_what_changes(faces, edits, name, error, share, least):
    differs = np.abs(edits[name].images.astype(np.int16) - faces.images[:500, None])
    is_change = np.arange(6) != edits[name].own[:, None]
    assert is_change.sum() == 2500
    assert differs[is_change].mean() == pytest.approx(error, abs=0.005)
    changed = (differs[is_change] > 0).any(axis=-1).mean(axis=(1, 2))
    assert changed.mean() == pytest.approx(share, abs=0.005)
    assert changed.min() == pytest.approx(least, rel=0.15)


@pytest.mark.parametrize("image_shape", [(32, 32, 3), (64, 64, 1)])
def test_another_shape_is_that_of_the_data_set(image_shape):
    faces = data.load("toon_faces", split="test", image_shape=image_shape)
    for each in data.true_edits(image_shape).values():
        assert each.images.shape == (500, 6, *image_shape)
        np.testing.assert_array_equal(each.images[np.arange(500), each.own], faces.images[:500])


def test_an_impossible_shape():
    with pytest.raises(ValueError, match="image_shape must be"):
        data.true_edits((64, 64, 2))


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _alter(path):
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_cut, ValueError, "bytes and has only"),
        (_alter, ValueError, "damaged: its SHA-256 checksum is wrong"),
        (Path.unlink, FileNotFoundError, "is missing"),
    ],
)
def test_a_spoilt_file_is_told(tmp_path, monkeypatch, spoil, kind, words):
    for name in ("toon_edits.xz", "toon_faces.xz"):
        shutil.copy(embedded._FOLDER / name, tmp_path)
    monkeypatch.setattr(embedded, "_FOLDER", tmp_path)
    spoil(tmp_path / "toon_edits.xz")
    with pytest.raises(kind) as told:
        data.true_edits()
    line = str(told.value)
    assert "toon_edits.xz" in line and words in line and "reinstall jaxgan" in line
    assert "\n" not in line


def test_the_licence_names_the_author_and_what_was_changed():
    notice = (embedded._FOLDER / "NOTICE").read_text()
    part = notice[notice.index("Edits of toon faces") :]
    words = ("Johan Melin", "ToonHead", "(CC BY 4.0)", "creativecommons.org/licenses/by/4.0/")
    for word in (*words, "File: toon_edits.xz", "Changes: "):
        assert word in part
