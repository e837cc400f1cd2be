"""Folders and .zips of images give the same; a hostile .zip gives nothing."""

import functools
import io
import os
import struct
import zipfile

import numpy as np
import pytest
from mutations import assert_one_line
from PIL import Image

SHAPE = (16, 16, 3)


@functools.cache
def png(seed=0):
    """The bytes of a picture, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def packed(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


NAMES = ("train/cat/a.png", "train/dog/ảnh.png", "test/cat/写真.png")


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_zip_gives_what_its_folder_gives(load, tmp_path, compression, split):
    members = [(name, png(i)) for i, name in enumerate(NAMES)]
    for name, content in members:
        path = tmp_path / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    # A .zip has its files in any order, and folders and files of macOS among them.
    members = [("faces/" + name, content) for name, content in reversed(members)]
    members += [
        ("faces/train/", b""),
        ("__MACOSX/faces/train/._a.png", b"x"),
        ("faces/.x.png", b""),
    ]
    zipped = load(packed(tmp_path / "faces.ZIP", members, compression), split=split)
    folder = load(tmp_path / "faces", split=split)
    np.testing.assert_array_equal(zipped.images, folder.images)
    assert zipped.attributes["label"].classes == folder.attributes["label"].classes
    np.testing.assert_array_equal(zipped.labels, folder.labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "faces", "faces.ZIP"]


def test_a_name_in_utf8_that_does_not_say_so(load, tmp_path):
    path = packed(tmp_path / "a.zip", [("ả/a.png", png(1)), ("b/a.png", png(2))])
    content = path.read_bytes()
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        parts = content.split(signature)
        flags = [part[: at - 4] + b"\0\0" + part[at - 2 :] for part in parts[1:]]
        content = signature.join([parts[0], *flags])
    path.write_bytes(content)
    assert zipfile.ZipFile(path).namelist()[0] != "ả/a.png"
    assert load(path).attributes["label"].classes == ("b", "ả")


@pytest.mark.parametrize(
    "name",
    ["../a.png", "x/../../a.png", "/a.png", "C:/a.png", "x\\..\\..\\a.png", "//server/a.png"],
)
def test_a_path_that_leads_out_is_refused(load, tmp_path, name):
    # zipfile itself would mend some of the names.
    stand_in = "x" * len(name)
    path = packed(tmp_path / "a.zip", [("b.png", png()), (stand_in, png(1))])
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), name.encode()))
    before = sorted(tmp_path.parent.iterdir())
    with pytest.raises(ValueError) as told:
        load(path)
    assert_one_line(told.value, "1 cannot be used beside 1 images", "leads out of the .zip")
    assert len(load(path, skip_unusable=True).images) == 1
    assert sorted(tmp_path.parent.iterdir()) == before


def bytes_of_zeros(count):
    return b"\0" * count


def test_a_bomb_of_one_file(load, tmp_path):
    members = [("a.png", bytes_of_zeros(300 << 20)), ("b.png", png())]
    with pytest.raises(ValueError) as told:
        load(packed(tmp_path / "a.zip", members))
    assert_one_line(told.value, "neither a folder of images nor a .zip", "bytes claim to be")


def test_a_bomb_that_claims_little(load, tmp_path):
    path = packed(tmp_path / "a.zip", [("a.png", bytes_of_zeros(90 << 20)), ("b.png", png())])
    content = bytearray(path.read_bytes())
    size = struct.pack("<I", 90 << 20)
    for _ in range(2):
        at = content.index(size)
        content[at : at + 4] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(ValueError) as told:
        load(path)
    assert_one_line(told.value, "1 cannot be used beside 1 images: a.png")


def test_files_that_lie_over_each_other(load, tmp_path):
    """As in the bombs of David Fifield: many members are one and the same bytes."""
    path = packed(tmp_path / "a.zip", [(f"{i:04d}.png", png()) for i in range(2)])
    content = path.read_bytes()
    start = content.index(b"PK\1\2")
    end = content.index(b"PK\5\6")
    first = content[start : content.index(b"PK\1\2", start + 4)]
    many = b"".join(first.replace(b"0000.png", b"%04d.png" % i) for i in range(5000))
    big = struct.pack("<I", 1 << 27)
    many = many.replace(first[24:28], big)
    tail = bytearray(content[end:])
    tail[8:20] = struct.pack("<HHII", 5000, 5000, len(many), start)
    path.write_bytes(content[:start] + many + tail)
    with pytest.raises(ValueError) as told:
        load(path)
    assert_one_line(told.value, "bytes claim to be")


@pytest.mark.parametrize("where", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_damaged_zip(load, tmp_path, where):
    path = packed(tmp_path / "a.zip", [(f"{i}.png", png(i)) for i in range(9)])
    content = path.read_bytes()
    images = load(path).images
    at = int(len(content) * where)
    for damaged in (content[:at], content[:at] + b"\xff" * 8 + content[at + 8 :]):
        path.write_bytes(damaged)
        try:
            # What is damaged may be the date of a file.
            np.testing.assert_array_equal(load(path).images, images)
            assert damaged[at:] and where > 0.9
        except (ValueError, OSError) as error:
            assert_one_line(error, path)


def test_an_encrypted_member(load, tmp_path):
    path = packed(tmp_path / "a.zip", [("a.png", png()), ("b.png", png(1))])
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError) as told:
        load(path)
    assert_one_line(told.value, "a.png cannot be read from the .zip", "encrypted")


def test_a_name_that_is_there_twice(load, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = packed(tmp_path / "a.zip", [("a.png", png()), ("a.png", png(1)), ("b.png", png())])
    with pytest.raises(ValueError) as told:
        load(path)
    assert_one_line(told.value, "a.png is in the .zip twice")


def test_no_zip(load, tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "empty.zip").touch()
    packed(tmp_path / "none.zip", [("a.txt", b"x")])
    for name, said in (
        ("pipe.zip", "is no regular file"),
        ("empty.zip", "is neither a folder of images nor a .zip"),
        ("none.zip", "has no pictures"),
        ("missing.zip", "is not there"),
    ):
        with pytest.raises((ValueError, OSError)) as told:
            load(tmp_path / name)
        assert_one_line(told.value, tmp_path / name, said)
    assert not (tmp_path / "cache").exists()


def test_a_changed_zip_is_noticed(load, tmp_path):
    path = packed(tmp_path / "a.zip", [("a.png", png()), ("b.png", png(1))])
    first = load(path)
    packed(path, [("a.png", png()), ("b.png", png(2)), ("c.png", png(3))])
    second = load(path)
    assert second.notes == (f"{path} has changed since it was last read: 1 new, 1 changed",)
    assert first.digest != second.digest and len(second.images) == 3
