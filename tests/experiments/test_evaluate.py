"""experiments/evaluate.py as a user runs it, on a run that is only a checkpoint and a config."""

import dataclasses
import io
import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import first_state, save_run, slow

import jaxgan
from jaxgan import data
from jaxgan.metrics import evaluation
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.scoring import embed, score
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.systems.mlp_gan.config import MLPGANConfig

SCRIPT = Path(__file__).parents[2] / "experiments" / "evaluate.py"


@pytest.fixture
def make_run(tmp_path):
    """(**settings) -> the configuration of a work dir with a checkpoint of small networks, trained
    on uniform noise for no steps."""

    def make(**settings):
        config = MLPGANConfig(
            workdir=str(tmp_path / "run"),
            noise="uniform",
            latent_size=5,
            generator_widths=(16,),
            discriminator_widths=(16,),
            **settings,
        )
        save_run(config, tmp_path / "run", first_state(config).replace(step=np.int32(12)))
        return config

    return make


@pytest.fixture
def trained(make_run):
    return make_run()


@pytest.fixture
def fewer_images(monkeypatch):
    """Has the script see every 20th image of a set, of which it is quick."""
    load = data.load

    def load_some(*args, **kwargs):
        whole = load(*args, **kwargs)
        attributes = {
            name: each._replace(codes=each.codes[::20]) for name, each in whole.attributes.items()
        }
        return dataclasses.replace(whole, images=whole.images[::20], attributes=attributes)

    monkeypatch.setattr(data, "load", load_some)


def samples_of(run, num_samples, seed=0):
    """What the library draws of a run of `make_run`."""
    return jaxgan.sample(
        jaxgan.load_params(run.workdir),
        jax.random.key(seed),
        num_samples=num_samples,
        noise="uniform",
        generator=run.generator(),
    )


def test_it_prints_and_writes_what_the_library_finds(call_script, trained, fewer_images, tmp_path):
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 40, "--seed", 4)
    # No terminal, no progress bar.
    assert done.returncode == 0 and done.stderr == ""

    drawn = samples_of(trained, 40, seed=4)
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
    assert jaxgan.load_run(trained.workdir).evaluate(40, seed=4) == values


@pytest.mark.parametrize("size", [32, slow(64)])
def test_a_run_of_faces_is_judged_beside_as_many_held_out_ones(
    call_script, make_run, fewer_images, tmp_path, size
):
    shape = (size, size, 3)
    run = make_run(dataset="toon_faces", image_shape=shape)
    done = call_script("evaluate.py", "--workdir", "run")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "100 samples of run, step 12"
    assert lines[2].split()[-3:] == ["100", "100", "100"]
    assert lines[-1] == "evaluation.json and evaluation.png in run"

    faces, held_out = (
        data.load("toon_faces", split=split, image_shape=shape).images
        for split in ("train", "test")
    )
    drawn = samples_of(run, 100)
    evaluator = load_evaluator("toon_faces")
    reference = evaluation.reference(faces, held_out, num_samples=100, evaluator=evaluator)
    values = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert values == {
        "evaluator": "evaluator-toon_faces.npz",
        "num_samples": 100,
        "seed": 0,
        "newest_checkpoint": 12,
        **evaluation.to_json(evaluation.evaluate(drawn, reference), reference),
    }


def test_a_run_of_stacked_digits_is_judged_by_its_triples(
    call_script, make_run, fewer_images, tmp_path
):
    run = make_run(dataset="stacked_mnist", image_shape=(28, 28, 3))
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 200)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    drawn = samples_of(run, 200)
    # Each channel by itself, by the evaluator of digits.
    digits = [
        np.asarray(load_evaluator()(drawn[..., i : i + 1]).probabilities).argmax(axis=1)
        for i in range(3)
    ]
    counts = np.bincount(np.ravel_multi_index(digits, (10, 10, 10)), minlength=1000)
    shares = counts[counts > 0] / 200
    scores = values["scores"]["samples"]
    assert scores["modes"] == len(shares)
    # Against equal shares of all triples.
    assert scores["mode_kl"] == pytest.approx(np.sum(shares * np.log(shares * 1000)), rel=1e-6)
    assert values["evaluator"] == "evaluator.npz"
    assert values["class_shares"]["samples"] == pytest.approx(list(counts / 200))
    assert (tmp_path / "run" / "evaluation.png").is_file()


def test_more_samples_than_are_held_out_are_told(call_script, make_run, fewer_images):
    make_run(dataset="toon_faces", image_shape=(64, 64, 3))
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].split()[-3:] == ["120", "100", "100"]
    assert lines[-2].endswith("for scores to compare with those, --num-samples 100")


def test_what_a_conditional_run_was_asked_for_is_compared(
    monkeypatch, capsys, fewer_images, tmp_path
):
    """Of a run whose samples are held-out faces, for some of which something else was asked."""
    script = runpy.run_path(str(SCRIPT))
    test = data.load("toon_faces", split="test")
    asked = {name: test.attributes[name].codes.copy() for name in ("hair_colour", "clothes")}
    asked["hair_colour"][:10] = (asked["hair_colour"][:10] + 1) % 6
    asked["clothes"][5:25] = (asked["clothes"][5:25] + 1) % 5
    config = SimpleNamespace(
        dataset="toon_faces",
        image_shape=(64, 64, 3),
        crop="centre",
        judged_samples=lambda params, key, num_samples, dataset: (test.images, asked),
    )
    run = SimpleNamespace(config=config, params={}, step=7, key=jax.random.key)
    monkeypatch.setitem(script["main"].__globals__, "load_run", lambda workdir: run)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--workdir", "it", "--out", str(tmp_path)])
    script["main"]()
    agreement = json.loads((tmp_path / "evaluation.json").read_text())["agreement"]
    held_out = agreement["held_out"]
    assert min(*held_out["shares"].values(), held_out["together"]) >= 0.96
    samples = agreement["samples"]
    assert samples["shares"]["hair_colour"] == pytest.approx(0.9, abs=0.03)
    assert samples["shares"]["clothes"] == pytest.approx(0.8, abs=0.03)
    assert samples["together"] == pytest.approx(0.75, abs=0.04)
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if "hair_colour" in line)
    shares = (x["shares"]["hair_colour"] for x in (samples, held_out))
    assert line.split()[-2:] == [f"{share:.2%}" for share in shares]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_it_shows_what_it_does(call_script, trained, fewer_images, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 10)
    assert done.returncode == 0
    shown = terminal.getvalue()
    parts = ("reading the data", "drawing samples", "judging real images", "judging samples")
    places = [re.search(rf"{part} .* {i}/4", shown) for i, part in enumerate(parts)]
    assert all(places) and "done" in shown and "4/4" in shown
    assert shown.endswith("\n")


def test_on_a_terminal_an_error_has_a_line_of_its_own(
    call_script, trained, fewer_images, monkeypatch
):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(evaluation, "reference", raising(ValueError("no such digit")))
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 10)
    assert done.returncode == 2
    before, line, after = terminal.getvalue().rsplit("\n", 2)
    assert "judging real images" in before
    assert (line, after) == ("evaluate.py: error: no such digit", "")


def raising(error):
    def call(*args, **kwargs):
        raise error

    return call


def test_the_same_command_writes_the_same_bytes(call_script, trained, fewer_images, tmp_path):
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
        (("--num-samples", 10**12), "--num-samples 1000000000000 needs at least"),
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
    ("changed", "why"),
    [
        ({"dataset": "fashion_mnist"}, "no evaluator of fashion_mnist, only of mnist, toon_"),
        ({"image_shape": (32, 32, 1)}, "of mnist knows images of 28x28x1 only, not of 32x32x1"),
        ({"dataset": "toon_faces"}, "32x32x3 or 64x64x3 only, not of 28x28x1"),
    ],
)
def test_runs_that_no_evaluator_knows_are_refused(call_script, trained, tmp_path, changed, why):
    dataclasses.replace(trained, **changed).save(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    done = call_script("evaluate.py", "--workdir", "run")
    assert_refused(done, "run cannot be judged: ")
    assert why in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_without_a_checkpoint_is_refused(call_script, tmp_path):
    MLPGANConfig().save(tmp_path)
    assert_refused(call_script("evaluate.py", "--workdir", "."), "there is no checkpoint in")
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_a_run_that_went_to_nan_is_refused(call_script, trained, fewer_images, tmp_path):
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    state = first_state(trained)
    averages = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), state.averages)
    checkpoints.save(state.replace(step=np.int32(13), averages=averages), trained.to_json())
    checkpoints.close()
    before = sorted(tmp_path.rglob("*"))
    done = call_script("evaluate.py", "--workdir", "run", "--num-samples", 10)
    assert_refused(done, "images must be in [0, 1] or uint8, not nan to nan")
    assert sorted(tmp_path.rglob("*")) == before


def assert_refused(done, message):
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("evaluate.py: error: ")
    assert message in done.stderr
