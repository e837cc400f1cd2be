"""Every system trains on a folder of the user's own images, and says what is wrong with one."""

import json

import numpy as np
import pytest
from mutations import assert_one_line
from PIL import Image
from small_run import slow

from jaxgan.run.config import RunConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.trained import load_run

TINY = ("--image-shape", 16, 16, 3, "--batch-size", 16, "--epochs", 1, "--workdir", "run")
# For each script what makes its networks small, and what it must be told of the attributes.
SCRIPTS = {
    "mnist_gan.py": ("--generator-widths", 8, "--discriminator-widths", 8),
    "dcgan.py": ("--conditional", "--width", 4),
    "stargan.py": ("--attributes", "label", "--width", 4, "--halvings", 4),
    "age_cgan.py": (
        *("--groups", "young=label:a", "old=label:b"),
        *("--epochs", 2, "--gan-epochs", 1),
    ),
    "stylegan2.py": ("--conditional",),
    "biggan.py": (),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pictures(folder, count=16, size=(20, 24)):
    rng = np.random.default_rng(len(str(folder)))
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_a_run_of_own_images_notices_that_they_have_changed(call_script, tmp_path):
    pictures(tmp_path / "faces" / "a")
    pictures(tmp_path / "faces" / "b")
    command = ("mnist_gan.py", *TINY, *SCRIPTS["mnist_gan.py"], "--dataset", "./faces")
    done = call_script(*command)
    assert done.returncode == 0, done.stderr
    assert "./faces: 32 images 20x24x3 brought to 16x16x3 (centre-cropped, area-averaged)" in (
        done.stdout.splitlines()
    )
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["dataset"] == "./faces" and len(config["data_digest"]) == 64
    before = sorted((tmp_path / "run").rglob("*"))
    # It goes on with the same images ...
    assert call_script(*command, "--epochs", 2).returncode == 0
    pictures(tmp_path / "faces" / "c", 1)
    # ... and not with others.
    done = call_script(*command, "--epochs", 3)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "run holds a run with ./faces as it was, not as it is now: give the same" in done.stderr
    assert before
    done = call_script(*command, "--no-resume")
    assert done.returncode == 0
    assert "./faces has changed since it was last read" not in done.stderr
    # --config repeats the settings, not the images.
    pictures(tmp_path / "faces" / "d", 1)
    done = call_script("mnist_gan.py", "--config", "run/config.json", "--workdir", "again")
    assert done.returncode == 0, done.stderr
    assert load_run(tmp_path / "again").config.data_digest != config["data_digest"]


@pytest.mark.parametrize(
    "script", ["mnist_gan.py", *(slow(each) for each in SCRIPTS if each != "mnist_gan.py")]
)
def test_each_system_trains_on_a_folder(call_script, tmp_path, script):
    for name in "ab":
        pictures(tmp_path / "faces" / name, 24)
    done = call_script(script, *TINY, *SCRIPTS[script], "--dataset", "./faces")
    assert done.returncode == 0, done.stderr
    assert "48 images" in done.stdout


def test_pairs_of_two_folders_and_pairs_side_by_side(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs, targets = (
        pictures(tmp_path / "two" / "train" / side, size=(16, 16)) for side in ("inputs", "targets")
    )
    (tmp_path / "one" / "train").mkdir(parents=True)
    for path in inputs.iterdir():
        both = [np.asarray(Image.open(each / path.name)) for each in (inputs, targets)]
        Image.fromarray(np.concatenate(both, axis=1)).save(tmp_path / "one/train" / path.name)
        # A target may be in another format.
        Image.open(targets / path.name).save((targets / path.name).with_suffix(".bmp"))
        (targets / path.name).unlink()
    options = {"task": "pairs", "image_shape": (16, 16, 3)}
    two = Pix2PixConfig(dataset="./two", **options).load_dataset()
    one = Pix2PixConfig(dataset="./one", input_feature="left", **options).load_dataset()
    names = sorted(path.name for path in inputs.iterdir())
    for dataset in (two, one):
        for i, name in enumerate(names):
            target = Image.open(targets / name.replace("png", "bmp"))
            np.testing.assert_array_equal(dataset.images[i], np.asarray(target))
            np.testing.assert_array_equal(dataset.inputs[i], np.asarray(Image.open(inputs / name)))
    turned = Pix2PixConfig(dataset="./one", output_feature="left", **options).load_dataset()
    np.testing.assert_array_equal(turned.images, one.inputs)
    np.testing.assert_array_equal(turned.inputs, one.images)
    grey = Pix2PixConfig(dataset="./two", input_channels=1, **options).load_dataset()
    assert grey.inputs.shape == (16, 16, 16, 1)
    with pytest.raises(ValueError) as told:
        Pix2PixConfig(dataset="./one", **options).load_dataset()
    assert_one_line(told.value, "./one has no pairs: ", "--input-feature left --output-feature")


def test_a_pair_is_left_out_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inputs, targets = (
        pictures(tmp_path / "two" / side, 6, size=(16, 16)) for side in ("inputs", "targets")
    )
    (inputs / "0.png").unlink()
    (targets / "1.png").unlink()
    (inputs / "2.png").write_bytes(b"damaged")
    (targets / "3.png").write_bytes(b"damaged")
    options = {"dataset": "./two", "task": "pairs", "image_shape": (16, 16, 3)}
    with pytest.raises(ValueError) as told:
        Pix2PixConfig(**options).load_dataset()
    assert_one_line(told.value, "inputs/1.png has no partner in targets")
    assert_one_line(told.value, "targets/0.png has no partner in inputs")
    dataset = Pix2PixConfig(skip_unusable=True, **options).load_dataset()
    for folder, images in ((inputs, dataset.inputs), (targets, dataset.images)):
        kept = [np.asarray(Image.open(folder / f"{i}.png")) for i in (4, 5)]
        np.testing.assert_array_equal(images, np.stack(kept))
    (inputs / "1.png").unlink()
    (targets / "0.png").unlink()
    with pytest.raises(ValueError) as told:
        Pix2PixConfig(**options).load_dataset()
    assert_one_line(told.value, "targets/2.png has a partner that is not an image")
    Image.new("RGB", (16, 16)).save(inputs / "4.jpg")
    with pytest.raises(ValueError, match="inputs/4.png has the name of inputs/4.jpg"):
        Pix2PixConfig(**options).load_dataset()


def test_a_run_notices_changed_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for side in ("inputs", "targets"):
        pictures(tmp_path / "two" / side, 3)
    config = Pix2PixConfig(dataset="./two", task="pairs", image_shape=(16, 16, 3))
    before = config.load_dataset().digest
    Image.new("RGB", (16, 16)).save(tmp_path / "two" / "inputs" / "1.png")
    assert config.load_dataset().digest != before


@pytest.mark.slow
def test_pix2pix_trains_on_a_folder_of_pairs(call_script, tmp_path):
    for side in ("inputs", "targets"):
        pictures(tmp_path / "two" / "train" / side)
        pictures(tmp_path / "two" / "test" / side, 4)
    done = call_script("pix2pix.py", *TINY, "--task", "pairs", "--dataset", "./two", "--width", 4)
    assert done.returncode == 0, done.stderr
    assert load_run(tmp_path / "run").config.load_dataset("test").inputs.shape == (4, 16, 16, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "./none"), "./none is not there: give a folder or a .zip of images"),
        (("--dataset", "./empty"), "./empty has no pictures (.png, .jpg and so on)"),
        (("--dataset", "./single"), "the data set has 1"),
        (("--dataset", "./damaged"), "1 cannot be used beside 1 images: b.png is not an image"),
        (("--dataset", "./single", "--crop", "0,0,100,100"), "the crop 0,0,100,100 is not inside"),
        (("--crop", "middle"), "--crop must be centre, none, or X,Y,W,H"),
        (("--crop", "1,2,3,0"), "--crop must be centre, none, or X,Y,W,H"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    pictures(tmp_path / "single", 1)
    pictures(tmp_path / "damaged", 1)
    (tmp_path / "damaged" / "b.png").write_bytes(b"x")
    there = sorted(tmp_path.iterdir())
    done = call_script("mnist_gan.py", *TINY, *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("mnist_gan.py: error: ")
    assert message in done.stderr
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "cache"] == there


def test_crop_and_digest_of_an_old_run_are_those_of_all_runs_then():
    values = RunConfig().to_json()
    for name in ("crop", "skip_unusable", "data_digest"):
        del values[name]
    assert RunConfig.from_json(values) == RunConfig()
