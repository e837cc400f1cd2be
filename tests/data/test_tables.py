"""Attributes of a user's images from a CSV, from StyleGAN's JSON and from CelebA's list."""

import json
import zipfile

import numpy as np
import pytest
from mutations import assert_one_line
from PIL import Image

from jaxgan.data.tables import read_table

SHAPE = (8, 8, 3)


@pytest.fixture
def folder(tmp_path):
    """Pictures whose shade is their number."""
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        save(tmp_path / "faces" / name, i)
    return tmp_path / "faces"


def save(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade,) * 3).save(path)


def shades(dataset):
    return dataset.images[:, 0, 0, 0].tolist()


CSV = "file,hair,age,glasses,wild\nb.png,red,30,1,-1\nc.png,blond,9,0,1\na.png,red,100,1,-1\n"


@pytest.mark.parametrize(
    "text",
    [CSV, CSV.replace(",", ";"), CSV.replace("\n", "\r\n"), "\ufeff" + CSV, CSV.replace(",", "\t")],
)
def test_a_csv(load, folder, text):
    (folder / "attributes.csv").write_bytes(text.encode())
    dataset = load(folder)
    assert shades(dataset) == [0, 1, 2]
    its = {name: (x.classes, x.codes.tolist()) for name, x in dataset.attributes.items()}
    assert its == {
        "hair": (("blond", "red"), [1, 1, 0]),
        "age": (("9", "30", "100"), [2, 1, 0]),  # in the order of the numbers
        "glasses": (("no", "yes"), [1, 1, 0]),
        "wild": (("no", "yes"), [0, 0, 1]),
    }
    assert dataset.codes(("hair", "age")).dtype == np.int32


def test_celebas_list(load, folder, tmp_path):
    text = "3\nBald Young\na.png -1  1\nb.png  1 -1\nc.png -1 -1\n"
    (folder / "list_attr_celeba.txt").write_text(text)
    inside = load(folder)
    its = {name: (x.classes, x.codes.tolist()) for name, x in inside.attributes.items()}
    assert its == {"Bald": (("no", "yes"), [0, 1, 0]), "Young": (("no", "yes"), [1, 0, 0])}
    # As people have it: a .zip of one folder, and the list beside it.
    (folder / "list_attr_celeba.txt").rename(tmp_path / "list_attr_celeba.txt")
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"img_align_celeba/{path.name}")
    for beside in (load(tmp_path / "img_align_celeba.zip"), load(folder)):
        np.testing.assert_array_equal(beside.images, inside.images)
        assert beside.codes(("Bald", "Young")).tolist() == inside.codes(("Bald", "Young")).tolist()


def test_stylegans_json(load, folder, tmp_path):
    (folder / "00000").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).rename(folder / "00000" / name)
    labels = [["00000/c.png", 10], ["00000/a.png", 9], ["00000/b.png", 0]]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    dataset = load(folder)
    assert dataset.attributes["label"].classes == ("0", "9", "10")
    assert shades(dataset) == [0, 1, 2] and dataset.labels.tolist() == [1, 0, 2]
    (folder / "dataset.json").write_text(json.dumps({"labels": None}))
    assert load(folder).attributes == {}


def test_the_classes_of_a_split_are_those_of_the_whole_file(load, tmp_path):
    for i, name in enumerate(("train/a.png", "train/b.png", "test/c.png")):
        save(tmp_path / "faces" / name, i)
    (tmp_path / "faces" / "attributes.csv").write_text("file,kind\na.png,x\nb.png,y\nc.png,z\n")
    train, test = (load(tmp_path / "faces", split=split) for split in ("train", "test"))
    assert train.attributes["kind"].classes == test.attributes["kind"].classes == ("x", "y", "z")
    assert train.attributes["kind"].codes.tolist() == [0, 1]
    assert test.attributes["kind"].codes.tolist() == [2]


def test_a_changed_attribute_is_noticed_and_no_picture_is_prepared_again(load, folder, tmp_path):
    (folder / "attributes.csv").write_text(CSV)
    first = load(folder)
    before = sorted((tmp_path / "cache").iterdir())
    (folder / "attributes.csv").write_text(CSV.replace("blond", "black"))
    assert load(folder).digest != first.digest
    assert sorted((tmp_path / "cache").iterdir()) == before


def test_names_of_files_in_two_spellings_of_an_accent(load, tmp_path):
    save(tmp_path / "faces" / "e\u0301.png", 7)
    (tmp_path / "faces" / "attributes.csv").write_text("file,kind\n\u00e9.png,x\n", "utf-8")
    assert load(tmp_path / "faces").attributes["kind"].classes == ("x",)


@pytest.mark.parametrize(
    ("text", "said", "left"),
    [
        (CSV + "d.png,red,1,1,1\n", "1 cannot be used beside 3 images: d.png of attributes.csv", 3),
        (CSV.replace("c.png,blond,9,0,1\n", ""), "c.png has no attributes in attributes.csv", 2),
    ],
)
def test_labels_without_images_and_images_without_labels(load, folder, text, said, left, tmp_path):
    (folder / "attributes.csv").write_text(text)
    with pytest.raises(ValueError) as told:
        load(folder)
    assert_one_line(told.value, said, "skip_unusable")
    assert not (tmp_path / "cache").exists()
    dataset = load(folder, skip_unusable=True)
    assert shades(dataset) == [0, 1, 2][:left]
    hair = dataset.attributes["hair"]
    named = [hair.classes[code] for code in hair.codes]
    assert named == ["red", "red", "blond"][:left]


def test_a_damaged_picture_is_left_out_with_its_attributes(load, folder):
    (folder / "attributes.csv").write_text(CSV)
    (folder / "b.png").write_bytes(b"damaged")
    with pytest.raises(
        ValueError, match=r"1 cannot be used beside 2 images: b\.png is not an image"
    ):
        load(folder)
    dataset = load(folder, skip_unusable=True)
    assert shades(dataset) == [0, 2]
    assert dataset.attributes["age"].codes.tolist() == [2, 0]


def test_a_name_that_may_be_two_pictures(load, tmp_path):
    for name in ("x/a.png", "y/a.png"):
        save(tmp_path / "faces" / name, 1)
    (tmp_path / "faces" / "attributes.csv").write_text("file,kind\na.png,x\n")
    with pytest.raises(ValueError) as told:
        load(tmp_path / "faces")
    assert_one_line(told.value, "attributes.csv says a.png, which may be x/a.png or y/a.png")
    (tmp_path / "faces" / "attributes.csv").write_text("file,kind\nx\\a.png,x\n./y/a.png,y\n")
    assert load(tmp_path / "faces").attributes["kind"].codes.tolist() == [0, 1]


def test_two_files_of_attributes(load, folder):
    (folder / "attributes.csv").write_text(CSV)
    (folder / "dataset.json").write_text("{}")
    with pytest.raises(ValueError) as told:
        load(folder)
    assert_one_line(told.value, "several files of attributes", "attributes.csv, dataset.json")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("attributes.csv", b"", "it is empty"),
        ("attributes.csv", b"file,a\n", "it has no rows"),
        ("attributes.csv", b"file\na.png\n", "no column beside the names"),
        ("attributes.csv", b"file,a\na.png,1,2\n", "line 2 has 3 values, not 2"),
        ("attributes.csv", b"file,a\na.png\n", "line 2 has 1 values, not 2"),
        ("attributes.csv", b"file,a\na.png,\n", "line 2 lacks a"),
        ("attributes.csv", b"file,a\n,1\n", "line 2 lacks the name"),
        ("attributes.csv", b"file,a,a\na.png,1,2\n", "a name of its own"),
        ("attributes.csv", b"file,a,\na.png,1,2\n", "a name of its own"),
        ("attributes.csv", b"file,a\na.png,1\n./a.png,2\n", "line 3 names a.png a second time"),
        ("attributes.csv", b'file,a\n"a.png,1\n', "unexpected end of data"),
        ("attributes.csv", b"\xff\xfe", "can't decode byte"),
        ("attributes.csv", b"file,a\n" + b"x" * 200_000 + b",1\n", "field larger than"),
        ("dataset.json", b"{", "Expecting property name"),
        ("dataset.json", b'{"labels": 3}', 'it has no list "labels"'),
        ("dataset.json", b"[" * 100_000, "recursion"),
        ("dataset.json", b'{"labels": []}', "it has no rows"),
        ("dataset.json", b'{"labels": [["a.png", true]]}', 'entry 0 of "labels" is not'),
        ("dataset.json", b'{"labels": [["a.png", -1]]}', 'entry 0 of "labels" is not'),
        ("dataset.json", b'{"labels": [["a.png", [0, 1]]]}', 'entry 0 of "labels" is not'),
        ("dataset.json", b'{"labels": ["ab"]}', 'entry 0 of "labels" is not'),
        ("list_attr_celeba.txt", b"", "it begins with the number of images"),
        ("list_attr_celeba.txt", b"two\nBald\na.png 1", "it begins with the number of images"),
        ("list_attr_celeba.txt", b"2\nBald\na.png 1", "it says 2 images and has 1"),
        ("list_attr_celeba.txt", b"1\nBald\na.png 0", "line 3 has '0', not 1 or -1"),
        ("list_attr_celeba.txt", b"1\nBald\na.png", "line 3 has 1 values, not 2"),
    ],
)
def test_a_file_of_another_form(load, folder, name, content, said):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError) as told:
        load(folder)
    assert_one_line(told.value, f"{name} gives no attributes: ")
    assert said.lower() in str(told.value).lower()


def test_a_label_may_be_0_and_1():
    table = read_table("attributes.csv", b"file,label\na.png,1\nb.png,0\n")
    assert table.classes == {"label": ("0", "1")}
    assert table.codes == {"a.png": (1,), "b.png": (0,)}
