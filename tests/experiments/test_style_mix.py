"""experiments/style_mix.py on a run that is only a checkpoint and a config."""

import shutil

import numpy as np
import pytest
from PIL import Image
from small_run import save_run
from small_style_gan import save_random_run

import jaxgan
from jaxgan.run.images import CAPTION_HEIGHT
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.stylegan2.styles import crossed


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_random_run(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def run(saved, tmp_path):
    shutil.copytree(saved.workdir, tmp_path / "run")
    return saved


def test_a_table_of_rows_and_columns(call_script, run, tmp_path):
    done = call_script(
        *("style_mix.py", "--workdir", "run", "--rows", 1, 2, "--columns", 3, 4, 5),
        *("--layers", "0-1", "--truncation", 0.5, "--out", "new/mixed.png"),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 rows, 3 columns, layers 0-1 of 4: new/mixed.png\n"
    with Image.open(tmp_path / "new" / "mixed.png") as picture:
        table = np.asarray(picture)
    cell, margin = 2 * 8 + 4, table.shape[1] - 4 * (2 * 8 + 4)
    assert margin > 0 and table.shape[0] == 2 * CAPTION_HEIGHT + 3 * cell
    cells = table[2 * CAPTION_HEIGHT :, margin:].reshape(3, cell, 4, cell, 3)[:, :16:2, :, :16:2]
    cells = cells.swapaxes(1, 2)
    assert (cells[0, 0] == 255).all()
    settings, params = run.truncated(0.5), jaxgan.load_run(tmp_path / "run").params
    styles = settings.styles(params, settings.latents_of_seeds([1, 2, 3, 4, 5]))
    expected = 255 * np.asarray(settings.render(params, styles))
    assert np.abs(cells[1:, 0] - expected[:2]).max() < 1
    assert np.abs(cells[0, 1:] - expected[2:]).max() < 1
    inner = settings.render(params, crossed(styles[:2], styles[2:], (0, 1)).reshape(6, 4, 4))
    assert np.abs(cells[1:, 1:] - 255 * inner.reshape(2, 3, 8, 8, 3)).max() < 1
    assert np.ptp(cells[1:, 1:].reshape(6, -1), axis=0).max() > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layers", "3-9"), "there are no layers 3-9: they are from 0 to 3"),
        (("--layers", "all"), "layers are numbers, or FIRST-LAST such as 0-3, not 'all'"),
        (("--rows", -1), "a seed must be from 0 to below 2**32, not -1"),
        (("--truncation", -1), "the truncation must be 0 or more"),
        (("--out", "mixed.jpg"), "--out must end in .png, not 'mixed.jpg'"),
        (("--labels", "beard=none"), "this run is not conditional"),
        (("--workdir", "nowhere"), "there is no run in nowhere"),
        (("--workdir", "other"), "other is a run of mlp_gan, which has no styles: give one of"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, run, tmp_path, arguments, message):
    if "other" in arguments:
        small = {"generator_widths": (2,), "discriminator_widths": (2,)}
        save_run(MLPGANConfig(**small), tmp_path / "other")
    done = call_script("style_mix.py", "--workdir", "run", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("style_mix.py: error: ")
    assert message in done.stderr
    assert not (tmp_path / "mixed.png").exists()


def test_truncated_images_and_films(call_script, run, tmp_path):
    command = ("sample.py", "--workdir", "run", "--num", 3, "--truncation", 0.5, "--out")
    done = call_script(*command, "a.npz", "--cutoff", 2)
    assert done.returncode == 0, done.stderr
    trained = jaxgan.load_run(tmp_path / "run")
    expected = run.truncated(0.5, 2).sample(trained.params, trained.key(0), 3)
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_allclose(arrays["images"], expected, atol=1e-6)
    done = call_script(*command, "walk.gif", "--steps", 2)
    assert done.returncode == 0 and done.stdout == "3 images in walk.gif\n", done.stderr
    stops = 255 * np.asarray(run.truncated(0.5).sample(trained.params, trained.key(0), 3))
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.size == (32, 32) and film.info["duration"] == 50
        assert film.n_frames == 6
        film.seek(2)
        # A GIF has 256 colours.
        frame = np.asarray(film.convert("RGB"))[::4, ::4]
    assert np.abs(frame - stops[1]).mean() < 8
