"""experiments/evaluate.py as a user runs it, on a run that is only a checkpoint and a config."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

import jaxgan
from jaxgan import data, evaluation, game, training
from jaxgan.checkpoints import Checkpoints
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.scoring import embed, score
from jaxgan.mlp_gan import MLPGANConfig


@pytest.fixture
def trained(tmp_path):
    """A work dir with a checkpoint of small networks, trained on uniform noise for no steps."""
    config = MLPGANConfig(
        workdir=str(tmp_path / "run"),
        noise="uniform",
        latent_size=5,
        generator_widths=(16,),
        discriminator_widths=(16,),
    )
    workdir = tmp_path / "run"
    workdir.mkdir()
    config.save(workdir)
    checkpoints = Checkpoints(workdir / "checkpoints")
    state = training.on_host(game.init(config.gan(), jax.random.key(3)))
    checkpoints.save(state.replace(step=np.int32(12)), config.to_json())
    checkpoints.close()
    return config


@pytest.fixture
def fewer_digits(monkeypatch):
    """Has the script see every 20th image of MNIST, of which it is quick."""
    load = data.load

    def load_some(*args, **kwargs):
        whole = load(*args, **kwargs)
        return dataclasses.replace(whole, images=whole.images[::20], labels=whole.labels[::20])

    monkeypatch.setattr(data, "load", load_some)


def test_it_prints_and_writes_what_the_library_finds(call_script, trained, fewer_digits, tmp_path):
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 40, "--seed", 4)
    assert done.returncode == 0, done.stderr

    drawn = jaxgan.sample(
        jaxgan.load_params(trained.workdir),
        jax.random.key(4),
        num_samples=40,
        noise="uniform",
        generator=trained.generator(),
    )
    digits, held_out = data.load("mnist").images, data.load("mnist", split="test").images
    reference = evaluation.reference(digits, held_out, num_samples=40, seed=4)
    found = evaluation.evaluate(drawn, reference)
    assert done.stdout.splitlines() == [
        "40 samples of run, step 12",
        *evaluation.table(found, reference).splitlines(),
        "evaluation.json and evaluation.png in run",
    ]
    with open(tmp_path / "run" / "evaluation.json") as file:
        values = json.load(file)
    assert values == {
        "evaluator": "evaluator.npz",
        "num_samples": 40,
        "seed": 4,
        "newest_checkpoint": 12,
        **evaluation.to_json(found, reference),
    }
    evaluator = load_evaluator()
    assert values["scores"]["samples"] == score(
        embed(drawn, evaluator), embed(digits, evaluator), seed=4
    )


def test_the_same_command_writes_the_same_bytes(call_script, trained, fewer_digits, tmp_path):
    written = []
    for out in ("a", "new/b"):
        arguments = ("--workdir", "run", "--num-samples", 10, "--out", out)
        done = call_script("evaluate.py", *arguments)
        assert done.returncode == 0, done.stderr
        files = sorted((tmp_path / out).iterdir())
        assert [file.name for file in files] == ["evaluation.json", "evaluation.png"]
        written.append([file.read_bytes() for file in files])
    assert written[0] == written[1]
    with Image.open(tmp_path / "a" / "evaluation.png") as picture:
        assert picture.format == "PNG"
    assert not list((tmp_path / "run").glob("evaluation*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--num-samples", 9), "--num-samples must be 10 or more, not 9"),
        (("--num-samples", "many"), "invalid int value: 'many'"),
        (("--seed", "-1"), "--seed must be from 0"),
        (("--workdir", "elsewhere"), "there is no run in elsewhere"),
        (("--out", "run/config.json"), "config.json"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    call_script, trained, tmp_path, arguments, message
):
    before = sorted(tmp_path.rglob("*"))
    done = call_script("evaluate.py", "--workdir", "run", *arguments)
    assert_refused(done, message)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"dataset": "fashion_mnist"}, "fashion_mnist, 28x28x1"),
        ({"image_shape": (32, 32, 1)}, "mnist, 32x32x1"),
    ],
)
def test_runs_of_anything_but_digits_are_refused(call_script, trained, tmp_path, changed, shown):
    dataclasses.replace(trained, **changed).save(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    done = call_script("evaluate.py", "--workdir", "run")
    assert_refused(done, f"only runs on mnist, 28x28x1, can be judged: run is one on {shown}")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_without_a_checkpoint_is_refused(call_script, tmp_path):
    MLPGANConfig().save(tmp_path)
    assert_refused(call_script("evaluate.py", "--workdir", "."), "there is no checkpoint in")
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_run_that_went_to_nan_is_refused(call_script, trained, fewer_digits, tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    state = training.on_host(game.init(trained.gan(), jax.random.key(3)))
    ema_params = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), state.ema_params)
    checkpoints.save(state.replace(step=np.int32(13), ema_params=ema_params), trained.to_json())
    checkpoints.close()
    before = sorted(tmp_path.rglob("*"))
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 10)
    assert_refused(done, "images must be in [0, 1] or uint8, not nan to nan")
    assert sorted(tmp_path.rglob("*")) == before


def assert_refused(done, message):
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("evaluate.py: error: ")
    assert message in done.stderr
