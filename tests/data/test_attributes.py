"""Toon faces, and the named attributes of data sets."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxgan import data

# Of all pixels of the original, and of its table of attributes: a line a face, the classes in the
# order of the set's attributes with commas between them.
SHA256 = {
    "train": (
        "e42257223b8a598f776c5255a652b61b56605ada202b5fe942d6b579f4eeb79a",
        "acc590597dcb1c3f89da8d80e7e1b318eee8388924a336703f4d696465542bbc",
    ),
    "test": (
        "8c212f563ea4483b5f6b13b0426de9eca30f0ef636cdd900883ca3772b3d9b0a",
        "465991a33bb21fd2814e44fde157cee772e9615542ebf7afabc86451da570203",
    ),
}
COUNTS = {"train": 18_000, "test": 2_000}


@pytest.fixture(scope="module")
def faces():
    return {split: data.load("toon_faces", split=split) for split in COUNTS}


# --- Toon faces ---


@pytest.mark.parametrize("split", COUNTS)
def test_faces_are_the_originals_to_the_byte(faces, split):
    dataset, count = faces[split], COUNTS[split]
    assert dataset.name == "toon_faces" and dataset.notes == ()
    assert dataset.images.shape == (count, 64, 64, 3) and dataset.images.dtype == np.uint8
    rows = zip(
        *(np.take(each.classes, each.codes) for each in dataset.attributes.values()), strict=True
    )
    table = "\n".join(map(",".join, rows)).encode()
    contents = dataset.images.tobytes(), table
    assert tuple(hashlib.sha256(content).hexdigest() for content in contents) == SHA256[split]


@pytest.mark.parametrize("split", COUNTS)
def test_classes_are_as_frequent_as_they_were_drawn(faces, split):
    """All evenly, but for beards, which most have none of."""
    counts = {}
    for name, attribute in faces[split].attributes.items():
        assert attribute.codes.dtype == np.int32 and attribute.codes.shape == (COUNTS[split],)
        counts[name] = len(attribute.classes)
        found = np.bincount(attribute.codes, minlength=counts[name])
        assert len(found) == counts[name]
        if name == "beard":
            assert 0.7 < found[0] / COUNTS[split] < 0.75
            found = found[1:]
        expected = found.sum() / len(found)
        assert np.abs(found - expected).max() < 4 * np.sqrt(expected), name
    assert sum(counts.values()) == 56 and len(counts) == 10


def test_half_the_size_averages_areas(faces):
    small = data.load("toon_faces", split="test", image_shape=(32, 32, 3))
    assert small.images.shape == (2000, 32, 32, 3) and small.images.dtype == np.uint8
    means = faces["test"].images.reshape(2000, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    # Pillow rounds after each of the two directions.
    assert np.abs(small.images - means).max() <= 1
    assert small.notes == ("toon_faces: 2,000 images 64x64x3 brought to 32x32x3 (area-averaged)",)
    for name, attribute in faces["test"].attributes.items():
        np.testing.assert_array_equal(small.attributes[name].codes, attribute.codes)


def test_the_licence_names_the_author():
    notice = Path(data.__file__).parents[1].joinpath("embedded").joinpath("NOTICE").read_text()
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
def test_unknown_split(split):
    with pytest.raises(ValueError) as told:
        data.load("toon_faces", split=split)
    assert str(told.value) == f"toon_faces has the splits 'train' and 'test', not {split!r}"


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def _alter(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("split", COUNTS)
@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        (_cut, ValueError, "damaged: it should have 1,226,420 bytes and has only 1,225,420"),
        (_alter, ValueError, "damaged: its SHA-256 checksum is wrong"),
        (Path.unlink, FileNotFoundError, "is missing"),
    ],
)
def test_a_spoilt_file_is_told(tmp_path, monkeypatch, split, spoil, kind, words):
    shutil.copy(data._EMBEDDED / "toon_faces.xz", tmp_path)
    monkeypatch.setattr(data, "_EMBEDDED", tmp_path)
    spoil(tmp_path / "toon_faces.xz")
    with pytest.raises(kind) as told:
        data.load("toon_faces", split=split)
    line = str(told.value)
    assert "toon_faces.xz" in line and words in line and "reinstall jaxgan" in line
    assert "\n" not in line


# --- Codes of some attributes ---


def test_codes_stand_beside_each_other_as_they_are_asked_for(faces):
    dataset = faces["test"]
    codes = dataset.codes(("skin", "hair_colour", "skin"))
    assert codes.dtype == np.int32 and codes.shape == (2000, 3)
    for column, name in enumerate(("skin", "hair_colour", "skin")):
        np.testing.assert_array_equal(codes[:, column], dataset.attributes[name].codes)


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
    # Faces have none.
    np.testing.assert_array_equal(faces["test"].labels, np.zeros(2000, np.int32))


# --- A set of TensorFlow Datasets with attributes as celeb_a has them ---

COUNT = 6
EYEGLASSES = [True, False, False, True, True, False]
YOUNG = [False, False, True, True, False, True]
FRAMES = [2, 0, 1, 1, 0, 2]


def _picture(number):
    return np.random.default_rng(number).integers(0, 256, (20, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """A folder with portraits that have yes or no attributes, landmarks and a class."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("tensorflow")

    class Portraits(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(20, 16, 3)),
                "landmarks": tfds.features.FeaturesDict({"nose_x": np.int64}),
                "attributes": {"Eyeglasses": np.bool_, "Young": np.bool_},
                "frame": tfds.features.ClassLabel(names=["wood", "steel", "gold"]),
                "weight": np.float32,
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number in range(COUNT):
                yield (
                    number,
                    {
                        "image": _picture(number),
                        "landmarks": {"nose_x": number},
                        "attributes": {"Eyeglasses": EYEGLASSES[number], "Young": YOUNG[number]},
                        "frame": FRAMES[number],
                        "weight": 0.5,
                    },
                )

    folder = tmp_path_factory.mktemp("portraits")
    Portraits(data_dir=folder).download_and_prepare(file_format="array_record")
    return folder


def test_nested_yes_or_no_attributes_are_found_by_name(portraits):
    dataset = data.load("portraits", data_dir=portraits)
    classes = {name: attribute.classes for name, attribute in dataset.attributes.items()}
    assert classes == {
        "Eyeglasses": ("no", "yes"),
        "Young": ("no", "yes"),
        "frame": ("wood", "steel", "gold"),
    }
    # Stored in an order of their own.
    numbers = [
        next(n for n in range(COUNT) if np.array_equal(image, _picture(n)))
        for image in dataset.images
    ]
    assert sorted(numbers) == list(range(COUNT))
    codes = dataset.codes(("Young", "frame", "Eyeglasses"))
    assert codes.tolist() == [[int(YOUNG[n]), FRAMES[n], int(EYEGLASSES[n])] for n in numbers]
    np.testing.assert_array_equal(dataset.labels, np.zeros(COUNT, np.int32))


def test_a_slice_of_it_has_its_own_codes(portraits):
    whole = data.load("portraits", data_dir=portraits)
    part = data.load("portraits", data_dir=portraits, split="train[2:5]")
    np.testing.assert_array_equal(part.images, whole.images[2:5])
    for name, attribute in part.attributes.items():
        np.testing.assert_array_equal(attribute.codes, whole.attributes[name].codes[2:5])


def test_an_attribute_of_another_case_is_suggested(portraits):
    dataset = data.load("portraits", data_dir=portraits)
    with pytest.raises(ValueError, match=r"no attribute 'Yung': did you mean Young\?"):
        dataset.codes(["Yung"])
