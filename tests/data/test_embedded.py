"""The embedded MNIST, and bringing images to a shape."""

import hashlib
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import data

# Of the files that Yann LeCun and Corinna Cortes published, unpacked.
IDX_MD5 = {
    "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
}


@pytest.fixture(scope="module")
def mnist():
    return data.load("mnist", split="test")


@pytest.mark.parametrize(("split", "count"), [("train", 60_000), ("test", 10_000)])
def test_mnist_is_the_original_to_the_byte(split, count):
    dataset = data.load(split=split)
    assert dataset.images.shape == (count, 28, 28, 1) and dataset.images.dtype == np.uint8
    assert dataset.labels.shape == (count,) and dataset.labels.dtype == np.int32
    assert dataset.name == "mnist" and dataset.notes == ()
    images = struct.pack(">4i", 0x803, count, 28, 28) + dataset.images.tobytes()
    labels = struct.pack(">2i", 0x801, count) + dataset.labels.astype(np.uint8).tobytes()
    assert (hashlib.md5(images).hexdigest(), hashlib.md5(labels).hexdigest()) == IDX_MD5[split]


def test_importing_and_loading_mnist_needs_no_tensorflow_and_no_jax():
    script = (
        "import sys; from jaxgan import data; data.load(split='test', image_shape=(32, 32, 3)); "
        "print([m for m in ('jax', 'tensorflow', 'tensorflow_datasets') if m in sys.modules])"
    )
    root = Path(data.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]", done.stderr


def test_embedded_files_are_small_and_have_their_licence():
    folder = Path(data.__file__).parents[1].joinpath("embedded")
    assert all(path.stat().st_size < 12e6 for path in folder.iterdir())
    notice = (folder / "NOTICE").read_text()
    for words in ("CC BY-SA 3.0", "Yann LeCun", "Corinna Cortes", "mnist-train.xz"):
        assert words in notice


def test_images_can_be_written_to(mnist):
    assert mnist.images.flags.writeable


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _lengthen(path):
    with open(path, "ab") as file:
        file.write(b"\0" * 10)


def _alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_cut, ValueError, "damaged: it should have 1,354,940 bytes and has only 1,353,940"),
        (_lengthen, ValueError, "damaged: it should have 1,354,940 bytes and has more"),
        (_alter, ValueError, "damaged: its SHA-256 checksum is wrong"),
        (Path.unlink, FileNotFoundError, "is missing"),
    ],
)
def test_a_spoilt_file_is_told(tmp_path, monkeypatch, spoil, kind, words):
    shutil.copytree(data._EMBEDDED, tmp_path / "embedded")
    monkeypatch.setattr(data, "_EMBEDDED", tmp_path / "embedded")
    spoil(tmp_path / "embedded" / "mnist-test.xz")
    with pytest.raises(kind) as told:
        data.load(split="test")
    line = str(told.value)
    assert "mnist-test.xz" in line and words in line and "reinstall jaxgan" in line
    assert "\n" not in line
    # The other split is a file of its own.
    (tmp_path / "embedded" / "mnist-test.xz").unlink(missing_ok=True)
    assert len(data.load(split="train").images) == 60_000


def test_unknown_split():
    with pytest.raises(ValueError, match="mnist has the splits 'train' and 'test', not 'valid'"):
        data.load(split="valid")


@pytest.mark.parametrize(
    "shape",
    [(28, 28), (28, 28, 2), (28, 28, 4), (0, 28, 1), (28, -1, 3), (28.0, 28, 1), (28, 28, 1, 1)],
)
def test_impossible_shapes(shape):
    with pytest.raises(ValueError, match="image_shape must be a positive height"):
        data.load(image_shape=shape)


@pytest.mark.parametrize("shape", [None, (28, 28, 1), [28, 28, 1]])
def test_own_shape_is_left_alone(mnist, shape):
    dataset = data.load(split="test", image_shape=shape)
    np.testing.assert_array_equal(dataset.images, mnist.images)
    assert dataset.notes == ()


def test_shrinking_averages_areas(mnist):
    dataset = data.load(split="test", image_shape=(14, 14, 1))
    means = mnist.images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    # Pillow rounds after each of the two directions.
    assert np.abs(dataset.images[..., 0] - means).max() <= 1
    assert dataset.notes == ("mnist: 10,000 images 28x28x1 brought to 14x14x1 (area-averaged)",)
    np.testing.assert_array_equal(dataset.labels, mnist.labels)


def test_growing_is_bicubic_and_grey_is_repeated(mnist):
    dataset = data.load(split="test", image_shape=(32, 32, 3))
    assert dataset.images.shape == (10_000, 32, 32, 3)
    for index in (0, 1234, 9999):
        picture = Image.fromarray(mnist.images[index, ..., 0])
        grown = np.asarray(picture.resize((32, 32), Image.Resampling.BICUBIC))
        for channel in range(3):
            np.testing.assert_array_equal(dataset.images[index, ..., channel], grown)
    assert dataset.notes == (
        "mnist: 10,000 images 28x28x1 brought to 32x32x3 (enlarged bicubically, grey repeated)",
    )


def test_other_proportions_are_cropped_about_the_centre(mnist):
    wide = data.load(split="test", image_shape=(20, 28, 1))
    np.testing.assert_array_equal(wide.images, mnist.images[:, 4:24])
    tall = data.load(split="test", image_shape=(28, 14, 3))
    np.testing.assert_array_equal(tall.images, np.repeat(mnist.images[:, :, 7:21], 3, axis=3))
    assert "(centre-cropped, grey repeated)" in tall.notes[0]
    both = data.load(split="test", image_shape=(14, 7, 1))
    means = mnist.images[:, :, 7:21].reshape(-1, 14, 2, 7, 2).mean(axis=(2, 4))
    assert np.abs(both.images[..., 0] - means).max() <= 1
    assert "(centre-cropped, area-averaged)" in both.notes[0]


def test_extreme_proportions(mnist):
    dataset = data.load(split="test", image_shape=(1, 100, 1))
    assert dataset.images.shape == (10_000, 1, 100, 1)
