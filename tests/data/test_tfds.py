"""Reading sets that TensorFlow Datasets has prepared."""

import numpy as np
import pytest

from jaxgan import data

tfds = pytest.importorskip("tensorflow_datasets")


# --- A set that somebody else prepared, in the format that TFDS chooses by itself ---

SIZES = [(40, 30), (20, 20), (16, 24), (60, 20)]


def _colours():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder with colour images of various sizes and no labels, as tfrecords."""
    pytest.importorskip("tensorflow")

    class ForeignColours(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"number": np.int64, "image": tfds.features.Image()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, picture in enumerate(_colours()):
                yield number, {"number": number, "image": picture}

    folder = tmp_path_factory.mktemp("foreign")
    ForeignColours(data_dir=folder).download_and_prepare(file_format="tfrecord")
    return folder


def _grey(image):
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[..., None]


def test_tfrecords_of_various_sizes(foreign):
    dataset = data.load("foreign_colours", data_dir=foreign, image_shape=(10, 10, 1))
    assert dataset.images.shape == (4, 10, 10, 1) and dataset.images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.labels, np.zeros(4, np.int32))
    assert dataset.notes[0].startswith(
        "foreign_colours: 4 images of various shapes brought to 10x10x1 (grey by luminance, "
    )
    tall, square, _, slender = _colours()
    expected = [
        _grey(tall[5:35]).reshape(10, 3, 10, 3, 1).mean(axis=(1, 3)),
        _grey(square).reshape(10, 2, 10, 2, 1).mean(axis=(1, 3)),
        _grey(slender[20:40]).reshape(10, 2, 10, 2, 1).mean(axis=(1, 3)),
    ]
    for image in expected:
        # Pillow rounds the grey values, and the means after each of the two directions.
        nearest = np.abs(dataset.images - image).max(axis=(1, 2, 3)).min()
        assert nearest <= 1.5


def test_colour_stays_colour(foreign):
    dataset = data.load("foreign_colours", data_dir=foreign, image_shape=(16, 24, 3))
    assert any((image == _colours()[2]).all() for image in dataset.images)


def test_various_sizes_have_no_shape_of_their_own(foreign):
    with pytest.raises(ValueError, match="foreign_colours are of various shapes") as told:
        data.load("foreign_colours", data_dir=foreign, image_shape=None)
    assert "\n" not in str(told.value)


def test_an_empty_slice(foreign):
    with pytest.raises(ValueError, match=r"'train\[4:\]' of foreign_colours is empty"):
        data.load("foreign_colours", split="train[4:]", data_dir=foreign)


def test_tfrecords_without_tensorflow_are_told(foreign, without_tensorflow):
    done = without_tensorflow(
        "from jaxgan import data\n"
        "try:\n"
        f"    data.load('foreign_colours', data_dir={str(foreign)!r})\n"
        "except ImportError as error:\n"
        "    print(error)\n",
    )
    line = "reading foreign_colours, which is prepared as tfrecord, needs TensorFlow"
    assert done.stdout.startswith(line) and done.stdout.count("\n") == 1, done.stderr
    assert done.stdout.endswith(": pip install tensorflow\n")


# --- A set with attributes, as celeb_a has them ---

COUNT = 6
EYEGLASSES = [True, False, False, True, True, False]
YOUNG = [False, False, True, True, False, True]
FRAMES = [2, 0, 1, 1, 0, 2]


def _portrait(number):
    return np.random.default_rng(number).integers(0, 256, (20, 16, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def portraits(tmp_path_factory):
    """A folder with portraits that have attributes of yes or no, landmarks and a class."""
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
                        "image": _portrait(number),
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
    # TFDS stores the examples in an order of its own.
    numbers = [
        next(n for n in range(COUNT) if np.array_equal(image, _portrait(n)))
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
