"""A run whose numbers go bad, as a user sees it."""

import csv
import dataclasses
import re

import jax
import jax.numpy as jnp
import pytest

import jaxgan
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.systems.mlp_gan.config import MLPGANConfig

SMALL = (
    *("--recipe", "textbook", "--batch-size", 1000, "--devices", 2),
    *("--generator-widths", 32, "--discriminator-widths", 32),
)
STEPS_PER_EPOCH = 60
BAD_STEP = 71


@pytest.fixture
def spoilt(monkeypatch):
    """The discriminator's loss has no logarithm in step 71."""
    whole = MLPGANConfig.gan

    def gan(self):
        gan = whole(self)
        turn, *others = gan.turns

        def discriminator_loss(state, batch, noise, axis_name):
            value, outcome = turn.loss(state, batch, noise, axis_name)
            value = jax.lax.cond(
                state.step == BAD_STEP - 1,
                lambda value: jnp.log(-1 - value),
                lambda value: value,
                value,
            )
            metrics = {**outcome.metrics, "discriminator_loss": value}
            return value, outcome._replace(metrics=metrics)

        spoilt = dataclasses.replace(turn, loss=discriminator_loss)
        return dataclasses.replace(gan, turns=(spoilt, *others))

    monkeypatch.setattr(MLPGANConfig, "gan", gan)


def test_a_run_stops_says_what_went_bad_and_keeps_the_last_good_checkpoint(
    spoilt, call_script, tmp_path
):
    command = (*SMALL, "--epochs", 3, "--workdir", "run")
    done = call_script("mnist_gan.py", *command)
    assert done.returncode == 1
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("mnist_gan.py: error: ")]
    assert f"discriminator_loss is nan at step {BAD_STEP}" in line
    assert "newest checkpoint: of epoch 1" in line
    assert "lower learning rates" in line and "--debug-nans" in line
    assert "Traceback" not in done.stderr
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [STEPS_PER_EPOCH]
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["step"]) == 70 and "nan" not in str(rows)
    jaxgan.load_params(tmp_path / "run")

    # It goes on from there, comes to the same, and says which operation it was.
    again = call_script("mnist_gan.py", *command, "--debug-nans")
    assert again.returncode == 1 and "going on after 1 epochs" in again.stdout
    found = rf"nan at step {BAD_STEP}: .*\blog\b.* at test_numbers_gone_bad.py:\d+: "
    assert re.search(found, again.stderr)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [STEPS_PER_EPOCH]


def test_before_the_first_checkpoint_it_says_that_there_is_none(call_script, tmp_path):
    done = call_script(
        "mnist_gan.py",
        *(*SMALL, "--epochs", 1, "--workdir", "run", "--loss", "wasserstein"),
        *("--gradient-penalty", 0, "--generator-learning-rate", "1e38"),
    )
    assert done.returncode == 1, done.stderr
    assert "newest checkpoint: none yet" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "run" / "checkpoints").glob("*"))
