"""experiments/project.py on a run that is only a checkpoint and a config."""

import shutil

import numpy as np
import pytest
from PIL import Image
from small_style_gan import save_random_run

import jaxgan
from jaxgan import weights

CLASSES = (("hair", ("black", "grey")), ("eyes", ("wide", "bow")))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_random_run(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def run(saved, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    shutil.copytree(saved.workdir, tmp_path / "run")
    return saved


def test_a_picture_its_projection_the_film_and_the_styles(call_script, run, tmp_path):
    done = call_script(
        *("project.py", "--workdir", "run", "--in", "face.png", "--steps", 4, "--out", "new/p.png"),
        *("--film", "new/p.gif", "--styles", "new/p.npz"),
    )
    assert done.returncode == 0, done.stderr
    about, said, files = done.stdout.splitlines()
    assert about == "face.png: PNG, 10x8, RGB, centre-cropped"
    # The evaluator of faces does not know images of 8x8.
    assert said.startswith("w, 4 steps, by pixels: mean absolute difference 0.")
    assert files == "new/p.png: the picture, then its projection; new/p.gif; new/p.npz"
    with Image.open(tmp_path / "new" / "p.png") as picture:
        shown = np.asarray(picture)[::4, ::4]
    with Image.open(tmp_path / "face.png") as picture:
        np.testing.assert_array_equal(shown[:, :8], np.asarray(picture)[:, 1:9])
    with Image.open(tmp_path / "new" / "p.gif") as film:
        assert film.n_frames == 4 and film.size == (4 * 18, 4 * 8)
    held = weights.read(tmp_path / "new" / "p.npz")
    noise = {name: {k: v for k, v in each.items()} for name, each in held["noise"].items()}
    params = jaxgan.load_run(tmp_path / "run").params
    made = run.render(params, held["styles"][None], noise=with_a_batch(noise))
    assert np.abs(shown[:, 10:] - 255 * np.asarray(made[0])).max() < 1


def with_a_batch(noise):
    return {k: with_a_batch(v) if isinstance(v, dict) else v[None] for k, v in noise.items()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--in", "none.png"), "--in none.png is not there"),
        (("--in", "run/config.json"), "--in run/config.json"),
        (("--space", "z"), "--space must be one of w, w+, not 'z'"),
        (("--steps", 0), "--steps must be 1 or more, not 0"),
        (("--film", "film.mp4"), "--film must end in .gif, not 'film.mp4'"),
        (("--styles", "found.json"), "--styles must end in .npz, not 'found.json'"),
        (("--out", "p.jpg"), "--out must end in .png, not 'p.jpg'"),
        (("--labels", "beard=none"), "this run is not conditional"),
        (("--workdir", "told"), "name what the picture shows, such as --labels hair=black eyes="),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, run, tmp_path, arguments, message):
    if "told" in arguments:
        save_random_run(tmp_path / "told", conditional=True, classes=CLASSES)
    done = call_script("project.py", "--workdir", "run", "--in", "face.png", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("project.py: error: ")
    assert message in done.stderr
    assert not (tmp_path / "projected.png").exists()
