"""experiments/evaluate.py --inception: folders of pictures, statistics, and runs of any data set.

A small function is in the place of the network, whose weights nobody may ship.
"""

import csv
import dataclasses
import io
import json
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import first_state, save_run

import jaxgan
from jaxgan import weights
from jaxgan.data import Dataset
from jaxgan.metrics import evaluation, inception_v3
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.scoring import Embedding, embed
from jaxgan.run import config as run_config
from jaxgan.run import experiment, inception_files
from jaxgan.run.images import to_uint8
from jaxgan.systems.mlp_gan.config import MLPGANConfig

WIDTH = 6
PICTURES = 30


def small_network(variables, how, devices):
    """Twelve rows and columns of the 299 by a fixed matrix, for what the network sees."""
    project = np.random.default_rng(7).normal(size=(12 * 12 * 3, WIDTH)).astype(np.float32)
    assert variables == {"params": {}}

    def look(images):
        x = inception_v3.as_inputs(np.asarray(images), how)[:, 5::25, 5::25]
        features = 0.1 * x.reshape(len(x), -1) @ project
        return Embedding(features, np.asarray(jax.nn.softmax(features)))

    return look


@pytest.fixture(autouse=True)
def network(monkeypatch):
    monkeypatch.setattr(inception_files, "NUM_FEATURES", WIDTH)
    monkeypatch.setattr(inception_files, "read_weights", lambda path: {"params": {}})
    monkeypatch.setattr(inception_files, "evaluator", small_network)


def write_folder(path, seed, count=PICTURES, size=(20, 16, 3)):
    """Pictures of 8 bits in a folder; gives them as an array."""
    path.mkdir()
    images = np.random.default_rng(seed).integers(0, 200 + seed, (count, *size), np.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(path / f"{i:03}.png")
    return images


@pytest.fixture
def folders(tmp_path):
    return write_folder(tmp_path / "a", 0), write_folder(tmp_path / "b", 50, PICTURES + 5)


def embedded(images, how="bilinear"):
    return embed(images, small_network({"params": {}}, how, None), batch_size=32)


@pytest.mark.parametrize("how", ["bilinear", "antialiased"])
def test_a_folder_against_a_folder(call_script, folders, tmp_path, how):
    arguments = ("--inception", "w.npz", "--images", "a", "--reference", "b", "--resize", how)
    done = call_script("evaluate.py", *arguments, "--out", "new/out", "--seed", 3)
    assert done.returncode == 0 and done.stderr == ""
    expected = inception_v3.scores(*(embedded(x, how) for x in folders), seed=3)
    assert done.stdout.splitlines()[0] == "30 pictures of a against 35 pictures of b"
    assert done.stdout.splitlines()[-1] == "inception.json in new/out"
    assert evaluation.table_of(expected, 1008) in done.stdout
    assert [path.name for path in (tmp_path / "new/out").iterdir()] == ["inception.json"]
    values = json.loads((tmp_path / "new/out/inception.json").read_text())
    scores = values.pop("scores")
    assert scores == pytest.approx(expected, rel=1e-4)
    assert values == {
        "inception": "w.npz",
        "resize": how,
        "seed": 3,
        "images": {"name": "pictures of a", "count": 30},
        "reference": {"name": "pictures of b", "count": 35},
    }


def test_statistics_take_the_place_of_a_folder(call_script, folders, tmp_path):
    done = call_script(
        "evaluate.py", "--inception", "w", "--images", "b", "--save-statistics", "b.npz"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the statistics of 35 images are in b.npz\n"
    fid = frechet_distance(*(moments(embedded(x).features) for x in folders))
    with np.load(tmp_path / "b.npz") as arrays:
        np.testing.assert_allclose(arrays["mu"], embedded(folders[1]).features.mean(0), rtol=1e-4)
    arguments = ("--inception", "w", "--images", "a", "--reference", "b.npz", "--out", ".")
    done = call_script("evaluate.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "30 pictures of a against b.npz",
        evaluation.table_of({"fid": fid}, 1008),
        "KID, precision and recall want the images of the reference, not its statistics",
        "inception.json in .",
    ]
    values = json.loads((tmp_path / "inception.json").read_text())
    assert values["scores"] == {"fid": pytest.approx(fid, rel=1e-4)}
    assert values["reference"] == {"name": "b.npz", "count": None}


def test_statistics_of_the_reference_are_kept_beside_the_scores(call_script, folders, tmp_path):
    arguments = ("--inception", "w", "--images", "a", "--reference", "b")
    done = call_script("evaluate.py", *arguments, "--save-statistics", "new/b.npz")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nnothing is written: --out FOLDER gets inception.json\n")
    found = inception_files.read_statistics(tmp_path / "new/b.npz")
    np.testing.assert_allclose(found.mean, embedded(folders[1]).features.mean(0), rtol=1e-4)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A run of a data set that the package has no evaluator of, and its training images."""
    images = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 1), np.uint8)
    dataset = Dataset("shells", images, {}, notes=())
    monkeypatch.setattr(run_config, "load", lambda name, **options: dataset)
    config = MLPGANConfig(
        workdir=str(tmp_path / "run"),
        dataset="shells",
        image_shape=(8, 8, 1),
        latent_size=5,
        generator_widths=(16,),
        discriminator_widths=(16,),
    )
    save_run(config, tmp_path / "run", first_state(config).replace(step=np.int32(12)))
    return config, images


def test_a_run_of_any_data_set_against_its_training_images(call_script, run, tmp_path):
    config, images = run
    arguments = ("--workdir", "run", "--inception", "w", "--num-samples", 20, "--out", "out")
    done = call_script("evaluate.py", *arguments)
    assert done.returncode == 0 and done.stderr == ""
    first = "20 samples of run, step 12 against 40 training images of shells"
    assert done.stdout.splitlines()[0] == first
    held = jaxgan.load_run(str(tmp_path / "run"))
    drawn = to_uint8(np.asarray(held.sample(held.key(0), num_samples=20)))
    expected = inception_v3.scores(embedded(drawn), embedded(images))
    values = json.loads((tmp_path / "out/inception.json").read_text())
    assert values["scores"] == pytest.approx(expected, rel=1e-4)
    assert (
        not (tmp_path / "run/inception.json").exists()
        and not (tmp_path / "run/evaluation.json").exists()
    )


def test_a_run_against_a_folder(call_script, run, folders):
    arguments = ("--workdir", "run", "--inception", "w", "--num-samples", 20, "--reference", "a")
    done = call_script("evaluate.py", *arguments)
    assert done.returncode == 0, done.stderr
    first = "20 samples of run, step 12 against 30 pictures of a"
    assert done.stdout.splitlines()[0] == first


def test_weights_are_converted_once(call_script, tmp_path, monkeypatch):
    variables = {"params": {"fc": {"kernel": np.ones((2, 3), np.float32)}}}
    monkeypatch.setattr(inception_files, "read_weights", lambda path: variables)
    done = call_script("evaluate.py", "--inception", "w.pth", "--save-inception", "w.npz")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the weights are in w.npz, to be read without PyTorch\n"
    assert weights.read(tmp_path / "w.npz")["params"]["fc"]["kernel"].shape == (2, 3)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_on_a_terminal(call_script, folders, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    done = call_script("evaluate.py", "--inception", "w", "--images", "a", "--reference", "b")
    assert done.returncode == 0
    assert "pictures of b" in terminal.getvalue() and "65/65" in terminal.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", "a", "--reference", "b"), "--images wants --inception FILE, the weights of"),
        (("--save-inception", "w.npz"), "--save-inception wants --inception FILE"),
        (("--resize", "antialiased"), "--resize wants --inception FILE"),
        (("--inception", "w"), "there is no run in runs/mnist_gan"),
        (("--inception", "w", "--images", "a"), "--images wants --reference, a folder of pictures"),
        (("--inception", "w", "--images", "c", "--reference", "a"), "c is no folder of pictures"),
        (("--inception", "w", "--images", "a", "--reference", "c.npz"), "c.npz is not there"),
        (("--inception", "w", "--save-statistics", "s.txt"), "must end in .npz, not 's.txt'"),
        (
            ("--inception", "w", "--images", "a", "--reference", "b", "--num-samples", 20),
            "--num-samples is of a run",
        ),
        (
            ("--inception", "w", "--reference", "b.npz", "--save-statistics", "s.npz"),
            "--save-statistics wants pictures: b.npz is statistics",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    call_script, folders, tmp_path, arguments, message
):
    assert_refused(call_script, tmp_path, arguments, message)


def test_a_picture_that_is_none_ends_it(call_script, folders, tmp_path):
    (tmp_path / "a" / "007.png").write_bytes(b"no picture")
    arguments = ("--inception", "w", "--images", "a", "--reference", "b", "--out", "out")
    assert_refused(call_script, tmp_path, arguments, "007.png is not an image that Pillow reads")


def assert_refused(call_script, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    done = call_script("evaluate.py", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("evaluate.py: error: ")
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_training_finds_the_fid_of_any_data_set(call_script, run, tmp_path, monkeypatch):
    config, images = run
    monkeypatch.setattr(experiment, "EVALUATED_IMAGES", 25)
    config = dataclasses.replace(
        config,
        workdir=str(tmp_path / "new"),
        epochs=1,
        batch_size=8,
        eval_every=1,
        inception="w",
        devices="1",
    )
    training = experiment.Experiment(config)
    fid = training._fid(training._runs[0])
    state = training._runs[0].state
    key = jax.random.fold_in(jax.random.key(config.seed), experiment.game.EVALUATION)
    drawn = training._stage.draw(state, key, 25)
    expected = [moments(embedded(x).features) for x in (images, to_uint8(np.asarray(drawn)))]
    assert fid == pytest.approx(frechet_distance(*expected), rel=1e-3)
    training.run()
    with open(tmp_path / "new" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # FIDs of other features are in another column.
    assert float(rows[-1]["inception_fid"]) > 0 and "fid" not in rows[-1]


def test_training_without_the_weights_is_refused_at_its_beginning(run, monkeypatch, tmp_path):
    monkeypatch.undo()
    config, images = run
    dataset = Dataset("shells", images, {}, notes=())
    monkeypatch.setattr(run_config, "load", lambda name, **options: dataset)
    config = dataclasses.replace(
        config, workdir=str(tmp_path / "new"), batch_size=8, eval_every=2, inception="gone.npz"
    )
    with pytest.raises(FileNotFoundError, match="gone.npz is not there"):
        experiment.Experiment(config)
    assert not (tmp_path / "new").exists()
