"""A user's own images: read once into the cache, whole, whatever is wrong with a file."""

import itertools
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from mutations import assert_one_line
from PIL import Image
from small_run import patience, slow, wait_for

from jaxgan import data
from jaxgan.data import cache

SHAPE = (16, 16, 3)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "faces").mkdir()
    return tmp_path / "faces"


def noise(seed, size=(40, 30), mode="RGB"):
    return Image.effect_noise(size, 90 + seed).convert(mode)


def save(path, picture=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (noise(len(path.name)) if picture is None else picture).save(path, **options)
    return path


def expected(path, shape=SHAPE):
    """What is made of an RGB picture of 40x30, by Pillow and NumPy alone."""
    with Image.open(path) as picture:
        square = np.asarray(picture.convert("RGB"))[:, 5:35]
    return np.asarray(Image.fromarray(square).resize(shape[1::-1], Image.Resampling.BOX))


def entries(tmp_path):
    """The folders of the cache."""
    return [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_pictures_in_sub_folders_are_labelled_and_in_the_order_of_their_paths(
    load, folder, tmp_path
):
    names = ("dog/b.png", "cat/a.jpg", "cat/z.bmp", "dog/deep/er/a.png", "dog/B.PNG")
    paths = [save(folder / name) for name in names]
    (folder / "dog" / "notes.txt").write_text("no picture")
    (folder / "dog" / ".hidden.png").write_text("hidden")
    (folder / ".git").mkdir()
    save(folder / ".git" / "x.png")
    dataset = load(folder)
    ordered = sorted(paths)
    np.testing.assert_array_equal(dataset.images, np.stack([*map(expected, ordered)]))
    assert dataset.images.dtype == np.uint8 and type(dataset.images) is np.ndarray
    assert dataset.attributes["label"].classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 0, 1, 1, 1] and dataset.labels.dtype == np.int32
    assert dataset.notes == (
        f"{folder}: 5 images 30x40x3 brought to 16x16x3 (centre-cropped, area-averaged)",
    )
    assert dataset.name == str(folder) and dataset.inputs is None
    # They are mapped from the disk, not held in memory.
    assert not dataset.images.flags.writeable
    assert isinstance(dataset.images.base, np.memmap)
    (entry,) = entries(tmp_path)
    assert sorted(path.name for path in entry.iterdir()) == ["images", "prepared.json"]


def test_the_second_time_no_picture_is_decoded(load, folder, monkeypatch):
    for i in range(3):
        save(folder / f"{i}.png")
    first = load(folder)
    monkeypatch.setattr(cache, "picture_of", None)
    second = load(folder)
    np.testing.assert_array_equal(first.images, second.images)
    assert first.notes == second.notes and first.digest == second.digest


def test_the_second_time_no_old_file_is_read(load, folder, monkeypatch):
    for i in range(3):
        os.utime(save(folder / f"{i}.png"), (1e9, 1e9))
    first = load(folder)
    monkeypatch.setattr("jaxgan.data.sources.read_bytes", None)
    assert load(folder).digest == first.digest
    monkeypatch.undo()
    # Its size is as before, and its date is not.
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[::-1])
    with pytest.raises(ValueError, match=r"1\.png is not an image"):
        load(folder)


def test_a_changed_folder_is_noticed_and_what_was_made_of_it_is_removed(load, folder, tmp_path):
    for i in range(4):
        save(folder / f"{i}.png", noise(i))
    first = load(folder)
    kept = load(folder, image_shape=(8, 8, 3))
    save(folder / "0.png", noise(50))
    (folder / "1.png").unlink()
    save(folder / "8.png", noise(60))
    save(folder / "9.png", noise(70))
    second = load(folder)
    assert (
        second.notes[0] == f"{folder} has changed since it was last read: 2 new, 1 gone, 1 changed"
    )
    assert second.digest != first.digest and kept.digest == first.digest
    paths = [folder / f"{i}.png" for i in (0, 2, 3, 8, 9)]
    np.testing.assert_array_equal(second.images, np.stack([*map(expected, paths)]))
    assert len(load(folder).notes) == 1
    # Of 16x16 the new ones; of 8x8 the old ones, as nobody has asked for them since.
    assert len(entries(tmp_path)) == 2
    # The old images are still there for a process that has mapped them.
    assert first.images.shape[0] == 4 and first.images.max() > 0


def test_crops(load, folder):
    path = save(folder / "a.png")
    pixels = np.asarray(Image.open(path))
    box = load(folder, crop="3,4,20,10", image_shape=(10, 20, 3))
    np.testing.assert_array_equal(box.images[0], pixels[4:14, 3:23])
    assert "(the box 3,4,20,10 cut out)" in box.notes[0]
    own = load(folder, crop="3,4,20,10", image_shape=None)
    np.testing.assert_array_equal(own.images, box.images)
    # A box of other proportions is then cropped about its centre.
    square = load(folder, crop="3,4,20,10", image_shape=(10, 10, 3))
    np.testing.assert_array_equal(square.images[0], pixels[4:14, 8:18])
    whole = load(folder, crop="none", image_shape=(15, 10, 3))
    means = pixels.reshape(15, 2, 10, 4, 3).mean(axis=(1, 3))
    assert np.abs(whole.images[0] - means).max() <= 1
    assert "centre-cropped" not in whole.notes[0]
    with pytest.raises(ValueError) as told:
        load(folder, crop="30,0,11,5")
    assert_one_line(
        told.value, "a.png is 40 wide and 30 high, and the crop 30,0,11,5 is not inside"
    )


def test_crops_of_a_set_that_ships():
    faces = data.load("toon_faces", split="test")
    cut = data.load("toon_faces", split="test", crop="10,20,30,40")
    np.testing.assert_array_equal(cut.images, faces.images[:, 20:60, 10:40])
    with pytest.raises(ValueError, match="image 0 of mnist is 28 wide and 28 high"):
        data.load(split="test", crop="10,20,30,40")


@pytest.mark.parametrize(
    "crop", ["center", "", "1,2,3", "1,2,0,4", "-1,2,3,4", "1,2,3,4,5", "٣,1,1,1"]
)
def test_no_crop(crop):
    with pytest.raises(ValueError) as told:
        data.load(crop=crop)
    assert_one_line(told.value, "crop must be centre, none, or X,Y,W,H")


def test_the_own_shape_of_images_that_have_one(load, folder):
    for name in ("a.png", "b.png"):
        save(folder / name, noise(len(name)))
    own = load(folder, image_shape=None)
    np.testing.assert_array_equal(own.images[1], np.asarray(Image.open(folder / "b.png")))
    assert own.notes == ()
    save(folder / "c.png", noise(1, (40, 31)))
    with pytest.raises(ValueError) as told:
        load(folder, image_shape=None)
    assert_one_line(told.value, "are of various shapes, 30x40x3 and 31x40x3 among them")


def test_train_and_test_are_splits(load, folder):
    for name in ("train/cat/a.png", "train/dog/b.png", "test/dog/c.png"):
        save(folder / name)
    train, test = load(folder), load(folder, split="test")
    np.testing.assert_array_equal(train.images[0], expected(folder / "train/cat/a.png"))
    np.testing.assert_array_equal(test.images, expected(folder / "test/dog/c.png")[None])
    # A class has one number in both.
    assert train.attributes["label"].classes == test.attributes["label"].classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 1] and test.labels.tolist() == [1]
    with pytest.raises(ValueError) as told:
        load(folder, split="val")
    assert_one_line(told.value, f"{folder} has no sub-folder val, only test, train")


def test_val_is_held_out_where_there_is_no_test(load, folder):
    save(folder / "train/a.png")
    save(folder / "val/b.png")
    np.testing.assert_array_equal(
        load(folder, split="test").images, expected(folder / "val/b.png")[None]
    )


def test_without_a_sub_folder_train_all_is_trained_on(load, folder):
    save(folder / "test/a.png")
    save(folder / "other/b.png")
    assert load(folder).attributes["label"].classes == ("other", "test")
    with pytest.raises(ValueError) as told:
        load(folder, split="test")
    assert_one_line(told.value, "has no held-out images: put some into a sub-folder test")


def test_one_folder_of_all_images_is_no_class(load, folder):
    save(folder / "all/of/them/a.png")
    save(folder / "all/of/them/b.png")
    assert load(folder).attributes == {}


NAMES = (
    "ảnh số 1.png",
    "写真.png",
    "צילום.png",
    "😀.png",
    "a\nb.png",
    "  .png",
    "'\"$(x).png",
    "%s{0}.png",
)


def test_names_in_any_script(load, folder, subtests):
    for name in NAMES:
        save(folder / "lớp" / name, noise(len(name)))
        save(folder / "класс" / name, noise(len(name)))
    dataset = load(folder)
    assert dataset.attributes["label"].classes == ("lớp", "класс")
    ordered = sorted(path for path in folder.rglob("*.png"))
    np.testing.assert_array_equal(dataset.images, np.stack([*map(expected, ordered)]))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text(load, folder):
    save(folder / "a.png")
    os.rename(os.fsencode(folder) + b"/a.png", os.fsencode(folder) + b"/\xff\xfe.png")
    assert len(load(folder).images) == 1
    (folder / os.fsdecode(b"\xfd.png")).write_bytes(b"nothing")
    with pytest.raises(ValueError) as told:
        load(folder)
    assert_one_line(told.value, "1 cannot be used beside 1 images: \ufffd.png is not an image")
    str(told.value).encode()


def bomb(path):
    """A PNG that claims 20,000x20,000 pixels."""
    save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 20_000, 20_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def test_each_mode_is_brought_to_one(load, folder):
    grey = 128
    kinds = {
        "16.png": Image.fromarray(np.full((20, 20), grey * 257, np.uint16)),
        "1.png": Image.fromarray(np.indices((20, 20)).sum(0) % 2 == 1),
        "cmyk.jpg": Image.new("RGB", (20, 20), (grey,) * 3).convert("CMYK"),
        "grey.jpg": Image.new("L", (20, 20), grey),
        "palette.gif": Image.new("L", (20, 20), grey).convert("P"),
        "rgba.png": Image.new("RGBA", (20, 20), (grey, grey, grey, 255)),
    }
    for name, picture in kinds.items():
        save(folder / name, picture)
    images = load(folder, image_shape=(20, 20, 3)).images.astype(int)
    assert images.shape == (6, 20, 20, 3)
    solid = images[[i for i, name in enumerate(sorted(kinds)) if name != "1.png"]]
    assert np.abs(solid - grey).max() <= 2
    assert {*np.unique(images[sorted(kinds).index("1.png")])} == {0, 255}
    assert load(folder, image_shape=(20, 20, 1)).images.shape == (6, 20, 20, 1)


def test_a_turned_photo_and_an_animation(load, folder):
    pixels = np.asarray(noise(0, (30, 40)))
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was turned by 90 degrees, to the left.
    save(folder / "a.png", Image.fromarray(pixels), exif=exif)
    frames = [Image.new("L", (40, 30), shade) for shade in (10, 200)]
    frames[0].save(folder / "b.gif", save_all=True, append_images=frames[1:])
    dataset = load(folder, image_shape=(30, 40, 3))
    np.testing.assert_array_equal(dataset.images[0], np.rot90(pixels, -1))
    assert (dataset.images[1] == 10).all()
    assert "turned as the camera was" in dataset.notes[0] and "its first frame" in dataset.notes[0]


@pytest.fixture
def mixed(folder, tmp_path):
    """A folder with three sound pictures and one of each kind that cannot be used."""
    for name in ("a.png", "m.png", "z.png"):
        save(folder / name, noise(ord(name[0])))
    whole = save(folder / "b-truncated.jpg").read_bytes()
    (folder / "b-truncated.jpg").write_bytes(whole[: len(whole) // 2])
    bomb(folder / "c-bomb.png")
    (folder / "d-empty.png").touch()
    (folder / "e-text.png").write_text("no picture")
    (folder / "f-broken.png").symlink_to(folder / "not there")
    (folder / "g-outside.png").symlink_to(save(tmp_path / "outside.png"))
    save(tmp_path / "elsewhere" / "x.png")
    (folder / "h-folder").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "i-pipe.png")
    with open(folder / "j-sparse.png", "wb") as file:
        file.truncate(2**40)
    return folder


BAD = {
    "b-truncated.jpg": "cannot be read as an image",
    "c-bomb.png": "is too large",
    "d-empty.png": "is not an image",
    "e-text.png": "is not an image that Pillow reads",
    "f-broken.png": "cannot be read: No such file",
    "g-outside.png": "is a link out of the folder",
    "h-folder": "is a link to a folder",
    "i-pipe.png": "is no regular file",
    "j-sparse.png": "has more than 268,435,456 bytes",
}


@pytest.mark.parametrize("name", BAD)
def test_each_fault_is_told_in_one_line(load, mixed, name, tmp_path):
    for other in BAD:
        if other != name:
            (mixed / other).unlink()
    for _ in range(2):  # Also where it is in the cache.
        with pytest.raises(ValueError) as told:
            load(mixed)
        assert_one_line(told.value, f"{name} {BAD[name]}", "skip_unusable (--skip-unusable)")
        assert f"{mixed}: 1 cannot be used beside 3 images: " in str(told.value)


def test_what_cannot_be_used_is_left_out_if_the_user_says_so(load, mixed):
    with pytest.raises(ValueError) as told:
        load(mixed)
    assert_one_line(told.value, "cannot be used beside")
    dataset = load(mixed, skip_unusable=True)
    sound = [mixed / name for name in ("a.png", "m.png", "z.png")]
    np.testing.assert_array_equal(dataset.images, np.stack([*map(expected, sound)]))
    assert dataset.notes[-1] == f"{mixed}: 9 left out that cannot be used"


def test_many_faults_are_counted(load, folder):
    save(folder / "a.png")
    for i in range(20):
        (folder / f"{i}.png").touch()
    with pytest.raises(ValueError) as told:
        load(folder)
    assert_one_line(told.value, "20 cannot be used beside 1 images: 0.png is", "and 15 more")


def test_a_link_inside_the_folder_is_followed(load, folder):
    (folder / "b.png").symlink_to(save(folder / "a.png"))
    images = load(folder).images
    np.testing.assert_array_equal(images[0], images[1])


def test_no_images(load, folder, tmp_path):
    def message(name, **options):
        with pytest.raises((ValueError, OSError)) as told:
            load(name, **options)
        assert "\n" not in str(told.value)
        return str(told.value)

    assert message(folder) == f"{folder} has no pictures (.png, .jpg and so on)"
    (folder / "notes.txt").write_text("x")
    assert message(folder) == f"{folder} has no pictures (.png, .jpg and so on)"
    assert message(folder / "no") == f"{folder}/no is not there: give a folder or a .zip of images"
    assert "neither a folder of images nor a .zip" in message(folder / "notes.txt")
    assert not (tmp_path / "cache").exists()
    (folder / "a.png").touch()
    for skip in (False, True):
        assert "none of the 1 images" in message(folder, skip_unusable=skip)
        assert entries(tmp_path) == []


def test_loose_images_beside_classes(load, folder):
    save(folder / "a.png")
    save(folder / "cat/b.png")
    with pytest.raises(ValueError) as told:
        load(folder)
    assert_one_line(told.value, "has 1 images, such as a.png, beside sub-folders of images")


def test_a_single_image(load, folder):
    save(folder / "a.png")
    assert load(folder).images.shape == (1, *SHAPE)


def test_what_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "cifar10" / "a.png")
    options = {"data_dir": tmp_path / "cache", "image_shape": SHAPE}
    for name in ("./cifar10", f"{tmp_path}/cifar10", "cifar10/", "../" + tmp_path.name):
        assert len(data.load(name, **options).images) == 1
    # A path of Python's is a path, whatever its name.
    assert len(data.load(Path("cifar10"), **options).images) == 1
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(data.load("~/cifar10", **options).images) == 1
    pytest.importorskip("tensorflow_datasets")
    # A single word is a name.
    with pytest.raises(FileNotFoundError, match="cifar10 is not in"):
        data.load("cifar10", **options)
    save(tmp_path / "own" / "a.png")
    with pytest.raises(ValueError, match=r"no data set 'own': the folder of this name is \./own$"):
        data.load("own", **options)
    with pytest.raises(ValueError, match="nor is it a folder or a .zip that is there"):
        data.load("not/there/at all", **options)


def test_the_default_folder_of_the_cache(folder, tmp_path, monkeypatch):
    save(folder / "a.png")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    data.load(str(folder), image_shape=SHAPE)
    assert [*(tmp_path / "xdg" / "jaxgan" / "images").glob("*/images")]


def test_a_damaged_cache_is_made_anew(load, folder, tmp_path):
    for i in range(3):
        save(folder / f"{i}.png", noise(i))
    images = load(folder).images.copy()
    (entry,) = entries(tmp_path)
    for name, content in (
        ("images", b"short"),
        ("prepared.json", b"{}"),
        ("prepared.json", b"\xff"),
        ("prepared.json", b'{"shape": [Infinity]}'),
        ("prepared.json", b'{"shape": [1e99], "faults": [], "shapes": 3, "changes": 1}'),
    ):
        (entry / name).write_bytes(content)
        np.testing.assert_array_equal(load(folder).images, images)
    (index,) = (tmp_path / "cache").glob("files-*")
    for files in ([], {"0.png": 3}, {"0.png": []}, {"0.png": [3, 3]}):
        index.write_text(json.dumps({"root": os.path.realpath(folder), "files": files}))
        np.testing.assert_array_equal(load(folder).images, images)


def test_a_full_disk_leaves_nothing_half_done(load, folder, tmp_path, no_file_above):
    for i in range(3):
        save(folder / f"{i}.png", noise(i))
    with no_file_above(2000), pytest.raises(OSError, match="File too large"):
        load(folder, image_shape=(32, 32, 3))
    assert entries(tmp_path) == []


def test_a_disk_without_room(load, folder, tmp_path, monkeypatch):
    save(folder / "a.png")
    usage = type(shutil.disk_usage(tmp_path))(10, 10, 0)
    save(folder / "b.png")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError) as told:
        load(folder)
    assert_one_line(told.value, "needs 0.0 GB, and the disk of", "--data-dir")
    assert entries(tmp_path) == []


def test_a_file_that_changes_meanwhile(load, folder, tmp_path, monkeypatch):
    save(folder / "a.png")
    prepare = cache.prepare

    def change_first(*args, **options):
        save(folder / "a.png", noise(99))
        return prepare(*args, **options)

    monkeypatch.setattr(cache, "prepare", change_first)
    with pytest.raises(ValueError) as told:
        load(folder)
    assert_one_line(told.value, "a.png of", "has changed while it was prepared: start again")
    assert entries(tmp_path) == []


PREPARE = """
import sys
from jaxgan import data
from jaxgan.data import cache
cache._MOST_IMAGES = int(sys.argv[3])
print(data.load(sys.argv[1], image_shape=(64, 64, 3), data_dir=sys.argv[2]).digest)
"""


def start(folder, where, part=512):
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, folder, where, str(part)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def many(folder, count):
    """JPEGs of 178x218."""
    rng = np.random.default_rng(0)
    for i in range(count):
        blocks = rng.integers(0, 256, (14, 11, 3), dtype=np.uint8)
        save(folder / f"{i:06d}.jpg", Image.fromarray(blocks).resize((178, 218)), quality=90)


def contents(entry):
    return {path.name: path.read_bytes() for path in entry.iterdir()}


@pytest.mark.parametrize(("count", "part", "kills"), [(600, 32, 1), slow(5000, 512, 2)])
def test_killed_in_the_middle_it_goes_on_and_ends_with_the_same_cache(
    load, folder, tmp_path, monkeypatch, count, part, kills
):
    many(folder, count)
    patience(0)  # Its first call takes longer than all the work.
    other = tmp_path / "other"

    def parts():
        return sum(path.read_text().count("\n") for path in other.glob("*/progress"))

    for _ in range(kills):
        before = parts()
        process = start(folder, other, part)
        wait_for(lambda before=before: parts() > before + 1, process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it had ended before it was killed"
        assert not [*other.glob("*/prepared.json")]
    (entry,) = (path for path in other.iterdir() if path.is_dir())
    (entry / ".lock").unlink(missing_ok=True)
    decoded = []
    picture_of = cache.picture_of
    monkeypatch.setattr(
        cache, "picture_of", lambda *args: (decoded.append(args[1]), picture_of(*args))[1]
    )
    went_on = load(folder, data_dir=other, image_shape=(64, 64, 3))
    # What was done before the kills is not done again.
    assert 0 < len(decoded) < count
    straight = load(folder, image_shape=(64, 64, 3))
    assert went_on.digest == straight.digest
    np.testing.assert_array_equal(went_on.images, straight.images)
    assert contents(entry) == contents(entries(tmp_path)[0])


def test_lines_of_a_torn_progress_are_done_again(load, folder, tmp_path, monkeypatch):
    for i in range(9):
        save(folder / f"{i}.png", noise(i))
    (folder / "5.png").write_bytes(b"")
    straight = load(folder, skip_unusable=True)
    (entry,) = entries(tmp_path)
    whole = contents(entry)
    monkeypatch.setattr(cache, "_MOST_IMAGES", 2)
    calls = itertools.count()

    class Killed(BaseException):
        pass

    def fail(descriptor):
        if next(calls) == 7:
            raise Killed

    shutil.rmtree(entry)
    with monkeypatch.context() as patch:
        patch.setattr(cache.os, "fsync", fail)
        with pytest.raises(Killed):
            load(folder, skip_unusable=True)
    progress = (entry / "progress").read_bytes()
    assert progress.count(b"\n") == 4
    for keep in (len(progress), len(progress) - 1, len(progress) - 30, 10, 0):
        (entry / "progress").write_bytes(progress[:keep])
        (entry / "images").write_bytes(whole["images"] + b"too much")
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_remove_others", lambda *args: None)
            again = load(folder, skip_unusable=True)
        np.testing.assert_array_equal(again.images, straight.images)
        assert contents(entry) == whole
        (entry / "prepared.json").unlink()
    # Less is there than was told.
    (entry / "progress").write_bytes(progress)
    (entry / "images").write_bytes(b"")
    np.testing.assert_array_equal(load(folder, skip_unusable=True).images, straight.images)
    assert contents(entry) == whole


def test_two_processes_prepare_once(folder, tmp_path):
    many(folder, 200)
    processes = [start(folder, tmp_path / "cache") for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert outputs[0][0] == outputs[1][0] and len(outputs[0][0]) == 65
    assert len(entries(tmp_path)) == 1
    assert sorted(contents(entries(tmp_path)[0])) == ["images", "prepared.json"]
