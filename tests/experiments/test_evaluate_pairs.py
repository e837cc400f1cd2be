"""The table of runs of pix2pix, from checkpoints of networks that have learnt nothing yet."""

import dataclasses
import json
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import save_run

from jaxgan.metrics.pairs import similarity
from jaxgan.run import report
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.pix2pix.translation import translate

CONFIG = Pix2PixConfig(task="grey2colour", image_shape=(32, 32, 3), width=2, l1_weight=0.0)


def a_run(workdir, config):
    config = dataclasses.replace(config, workdir=str(workdir))
    return workdir, save_run(config, workdir)


@pytest.fixture
def fewer_images(monkeypatch):
    """Has the script see every 20th image of a set, of which it is quick."""
    whole = Pix2PixConfig.load_dataset

    def load_some(self, split="train"):
        dataset = whole(self, split)
        return dataclasses.replace(
            dataset, images=dataset.images[::20], inputs=dataset.inputs[::20]
        )

    monkeypatch.setattr(Pix2PixConfig, "load_dataset", load_some)


def test_the_table_the_file_and_the_picture(call_script, fewer_images, tmp_path):
    workdir, state = a_run(tmp_path / "cgan", CONFIG)
    other, _ = a_run(
        tmp_path / "l1", dataclasses.replace(CONFIG, adversarial_weight=0.0, l1_weight=1.0)
    )
    done = call_script("evaluate_pairs.py", "--workdirs", workdir, other)
    assert done.returncode == 0, done.stderr
    table = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line[0] == "|"]
    assert [row[0] for row in table[2:]] == ["cGAN", "L1", "the true images"]
    values = json.loads((workdir / "pairs.json").read_text())
    held_out = CONFIG.load_dataset("test")
    made = translate(
        state.averages["generator"],
        held_out.inputs,
        jax.random.key(0),
        generator=CONFIG.generator(),
    )
    expected = similarity(np.asarray(made), held_out.images / np.float32(255))
    scores = values["runs"][str(workdir)]
    for name, value in expected.items():
        np.testing.assert_allclose(scores[name], value, rtol=1e-5)
    assert table[2][1] == f"{expected['l1']:.4f}"
    # Nothing learnt: far from the faces. The true images are near them, as far as 100 can tell.
    assert scores["fid"] > 5 * values["fid_of_true_images"] > 0
    with Image.open(workdir / "pairs.png") as picture:
        shown = np.asarray(picture)[::2, ::2]
    assert shown.shape == (4 * 34 - 2, 8 * 34 - 2, 3)
    grey = held_out.inputs[0]
    np.testing.assert_array_equal(shown[:32, :32], np.broadcast_to(grey, (32, 32, 3)))
    np.testing.assert_array_equal(shown[-32:, :32], held_out.images[0])


def test_runs_that_cannot_be_compared(call_script, tmp_path):
    workdir, _ = a_run(tmp_path / "grey", CONFIG)
    other, _ = a_run(
        tmp_path / "edges", dataclasses.replace(CONFIG, task="edges2face", input_channels=None)
    )
    done = call_script("evaluate_pairs.py", "--workdirs", workdir, other)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "task edges2face" in done.stderr and "not alike" in done.stderr
    done = call_script("evaluate_pairs.py", "--workdirs", tmp_path / "none")
    assert done.returncode == 2 and "there is no run in" in done.stderr
    assert not list(workdir.glob("pairs*"))


def test_scikit_image_not_installed_is_told(call_script, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    monkeypatch.delitem(sys.modules, "jaxgan.metrics.pairs")
    done = call_script("evaluate_pairs.py")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "structural similarity needs scikit-image" in done.stderr
    assert done.stderr.endswith(": pip install scikit-image\n")
    assert call_script("evaluate_pairs.py", "--help").returncode == 0


@pytest.mark.parametrize("flags", [("--workdirs",), ("--seed", "-1")])
def test_bad_flags(call_script, flags):
    done = call_script("evaluate_pairs.py", *flags)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_the_report_has_the_table_and_what_to_do_without(call_script, fewer_images, tmp_path):
    workdir, _ = a_run(tmp_path / "a run", CONFIG)
    report.write(workdir, CONFIG)
    page = (workdir / "report.html").read_text()
    assert f"evaluate_pairs.py --workdirs &#x27;{workdir}&#x27;" in page
    assert call_script("evaluate_pairs.py", "--workdirs", workdir).returncode == 0
    page = (workdir / "report.html").read_text()
    score = json.loads((workdir / "pairs.json").read_text())["runs"][str(workdir)]["psnr"]
    assert f"{score:.4g}" in page and "Rows: input, cGAN, truth." in page
    (workdir / "pairs.json").write_text("[1]")
    report.write(workdir, CONFIG)
    assert "pairs.json is no table" in (workdir / "report.html").read_text()
