"""experiments/tradeoff.py on runs that are only a checkpoint and a config."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import first_state, save_run
from small_style_gan import save_random_run

import jaxgan
from jaxgan import data
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.scoring import embed, score
from jaxgan.run import config as run_config
from jaxgan.run.images import to_uint8
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run with styles on digits, whose own truncation must not be heeded."""
    workdir = tmp_path_factory.mktemp("saved") / "run"
    save_random_run(workdir, image_shape=(28, 28, 1), dataset="mnist", truncation=0.1)
    return workdir


@pytest.fixture
def run(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def fewer_images(monkeypatch):
    """Has the script see the first 500 images of a set, of which it is quick."""

    def load_some(*args, **kwargs):
        whole = data.load(*args, **kwargs)
        attributes = {
            name: each._replace(codes=each.codes[:500]) for name, each in whole.attributes.items()
        }
        return type(whole)(whole.name, whole.images[:500], attributes, whole.notes)

    monkeypatch.setattr(run_config, "load", load_some)


def test_each_truncation_is_scored_from_the_same_latents(call_script, run, tmp_path):
    done = call_script(
        *("tradeoff.py", "--workdir", "run", "--truncations", 1, 0.25, "--num-samples", 60),
        *("--seed", 3),
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "60 samples of each, run, step 0",
        "| truncation | FID | precision | recall |",
    ]
    assert [line.split(" | ")[0] for line in lines[3:-1]] == [
        *("| 0.25", "| 1.0", "| none", "| held-out images")
    ]
    assert lines[-1] == "tradeoff.json and tradeoff.png in run"
    values = json.loads((run / "tradeoff.json").read_text())
    assert (values["num_samples"], values["seed"]) == (60, 3)
    found = {row["name"]: row["scores"] for row in values["rows"]}
    assert list(found) == ["0.25", "1.0", "none"]
    # A psi of 1 is no truncation.
    assert found["1.0"] == found["none"] != found["0.25"]
    trained, evaluator = jaxgan.load_run(run), load_evaluator()
    drawn = trained.sample(jax.random.key(3), 60, truncation=0.25)
    digits = embed(data.load("mnist").images[:500], evaluator)
    expected = score(embed(to_uint8(np.asarray(drawn)), evaluator), digits, seed=3)
    assert found["0.25"] == pytest.approx(expected, rel=1e-4)
    assert values["held_out"]["fid"] < found["none"]["fid"]
    with Image.open(run / "tradeoff.png") as picture:
        assert picture.format == "PNG"
    page = (run / "report.html").read_text()
    assert "60 samples of each truncation" in page and "Quality against variety" in page


@pytest.mark.slow
def test_latents_are_truncated_class_by_class(call_script, tmp_path):
    config = BigGANConfig(
        dataset="mnist",
        attributes=("label",),
        width=1,
        discriminator_width=1,
        latent_size=6,
        shared_size=2,
        standing=1,
        truncation=0.5,
    )
    config = config.for_dataset(data.load("mnist", split="test"))
    save_run(config, tmp_path / "run", first_state(config))
    done = call_script(
        *("tradeoff.py", "--workdir", "run", "--truncations", 0.2, "--num-samples", 60)
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "run" / "tradeoff.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["0.2", "none"]
    assert rows[0]["scores"]["fid"] != rows[1]["scores"]["fid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--truncations", -1), "--truncations must be one or more numbers, 0 or more each"),
        (("--truncations", "nan"), "--truncations must be one or more numbers, 0 or more each"),
        (("--truncations", 1, 1), "--truncations has one twice"),
        (("--num-samples", 9), "--num-samples must be 10 or more"),
        (("--workdir", "none"), "there is no run in none"),
    ],
)
def test_mistakes_end_in_one_line(call_script, run, arguments, message):
    before = sorted(run.rglob("*"))
    done = call_script("tradeoff.py", "--workdir", "run", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("tradeoff.py: error: ")
    assert message in done.stderr
    assert sorted(run.rglob("*")) == before


def test_a_system_without_truncation(call_script, tmp_path):
    config = MLPGANConfig(generator_widths=(4,), discriminator_widths=(4,))
    save_run(config, tmp_path / "run")
    done = call_script("tradeoff.py", "--workdir", "run")
    assert done.returncode == 2
    assert "a run of mlp_gan has no truncation, of styles or of latents" in done.stderr
