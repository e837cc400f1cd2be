"""The script that makes the pair that ships, on a run that is only a checkpoint and its scores."""

import json

import chex
import jax
import numpy as np
import pytest
from small_run import save_run

from jaxgan import weights
from jaxgan.systems.mlp_gan.config import MLPGANConfig

EVALUATION = {"scores": {"samples": {"fid": 1.5}}}


def make_run(path, **settings):
    config = MLPGANConfig(workdir=str(path), seed=3, **settings)
    state = save_run(config, path)
    (path / "evaluation.json").write_text(json.dumps(EVALUATION))
    return state


def test_both_networks_and_their_scores(call_script, tmp_path):
    state = make_run(tmp_path / "run")
    done = call_script("export_pretrained.py", "--workdir", "run", "--out", "pair.npz")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "pair.npz").stat().st_size < 6e6
    pair = weights.read(tmp_path / "pair.npz")
    trained = {
        "generator": state.averages["generator"],
        "discriminator": state.variables("discriminator"),
    }
    rounded = jax.tree.map(lambda x: x.astype(np.float16).astype(np.float32), trained)
    chex.assert_trees_all_equal(pair, rounded)
    card = json.loads((tmp_path / "pair.json").read_text())
    assert card["command"] == "python experiments/mnist_gan.py --recipe default --seed 3"
    assert card["evaluation"] == EVALUATION
    assert MLPGANConfig.from_json(card["settings"]) == MLPGANConfig(seed=3)
    assert str(tmp_path) not in json.dumps(card)


def assert_refused(done, tmp_path, message):
    assert done.returncode == 2
    assert done.stderr.startswith("export_pretrained.py: error: ")
    assert done.stderr.count("\n") == 1 and message in done.stderr
    assert not list(tmp_path.glob("*.npz")) and not list(tmp_path.glob("*.json"))


def test_a_run_that_is_no_recipe(call_script, tmp_path):
    make_run(tmp_path / "run", r1=0.5)
    done = call_script("export_pretrained.py", "--workdir", "run")
    assert_refused(done, tmp_path, "--r1")


def test_a_run_of_fewer_epochs(call_script, tmp_path):
    make_run(tmp_path / "run", epochs=1)
    done = call_script("export_pretrained.py", "--workdir", "run")
    assert_refused(done, tmp_path, "--epochs 1")


def test_a_run_that_is_not_evaluated(call_script, tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").unlink()
    done = call_script("export_pretrained.py", "--workdir", "run")
    assert_refused(done, tmp_path, "python experiments/evaluate.py --workdir run")


@pytest.mark.parametrize(
    ("flags", "message"),
    [(("--workdir", "none"), "there is no run in none"), (("--out", "pair.pkl"), "--out must end")],
)
def test_bad_flags(call_script, tmp_path, flags, message):
    assert_refused(call_script("export_pretrained.py", *flags), tmp_path, message)
