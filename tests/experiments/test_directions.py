"""experiments/directions.py on a run that is only a checkpoint and a config."""

import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from small_style_gan import save_random_run

import jaxgan
from jaxgan import weights


def save_projected(path, params):
    held = {"styles": np.zeros((8, 4)), "noise": params["buffers"]["synthesis"]}
    weights.write(path, held)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The work dirs of two runs: the classifier of faces knows the images of one of them."""
    folder = tmp_path_factory.mktemp("saved")
    save_random_run(folder / "run")
    save_random_run(folder / "faces", image_shape=(32, 32, 3), channel_base=128)
    return folder


@pytest.mark.slow
def test_a_strip_for_each_class_that_is_seen(call_script, tmp_path):
    run = save_random_run(tmp_path / "run", image_shape=(32, 32, 3), channel_base=128)
    command = (
        *("directions.py", "--workdir", "run", "--attributes", "hair_colour", "beard"),
        *("--num", 200, "--steps", 3, "--strength", 2),
    )
    done = call_script(*command, "--out", "new/sliders.png")
    assert done.returncode == 0, done.stderr
    said, hair, beard, files = done.stdout.splitlines()
    assert said == "200 samples show, by the package's classifier:"
    assert hair.startswith("hair_colour: black ") and beard.startswith("beard: ")
    assert files == "new/sliders.png: a strip for each class, from -2 to 2"
    with Image.open(tmp_path / "new" / "sliders.png") as picture:
        assert picture.width > 3 * (2 * 32 + 4) and picture.height > 2 * (2 * 32 + 4)
    params = jaxgan.load_run(tmp_path / "run").params
    save_projected(tmp_path / "found.npz", params)
    again = call_script(*command, "--styles", "found.npz", "--layers", "2-5")
    assert again.returncode == 0, again.stderr
    other = jax.tree.map(lambda x: x[:2], params["buffers"]["synthesis"])
    weights.write(tmp_path / "found.npz", {"styles": np.zeros((8, 4)), "noise": other})
    wrong = call_script(*command, "--styles", "found.npz")
    assert wrong.returncode == 2 and "the noise is of another generator" in wrong.stderr
    assert run.generator().num_styles == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the evaluator of toon_faces knows images of 32x32x3 or 64x64x3 only, not of 8x8x3"),
        (("--workdir", "faces", "--attributes", "hat"), "--attributes hat: the classifier of toon"),
        (("--workdir", "faces", "--layers", "9"), "there are no layers 9: they are from 0 to 7"),
        (("--workdir", "faces", "--styles", "none.npz"), "none.npz is not there"),
        (("--strength", 0), "--strength must be above 0 and finite, not 0.0"),
        (("--steps", 1), "--steps must be 2 or more, not 1"),
        (("--out", "sliders.gif"), "--out must end in .png, not 'sliders.gif'"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    call_script, saved, tmp_path, arguments, message
):
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    done = call_script("directions.py", "--workdir", "run", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("directions.py: error: ")
    assert message in done.stderr
    assert not (tmp_path / "sliders.png").exists()
