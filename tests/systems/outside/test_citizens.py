"""Systems that users wrote, in modules of their own, are trained, resumed and read as ours are."""

import csv
import dataclasses
import functools
import os
import shutil
import signal
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from encoder_gan import EncoderGANConfig
from growing_gan import GrowingGANConfig
from jax.flatten_util import ravel_pytree
from lazy_gan import LazyGANConfig
from PIL import Image
from small_run import assert_same_run, saved_item, slow

from jaxgan import game, training
from jaxgan.data import load
from jaxgan.run import config as run_config
from jaxgan.run.checkpoints import Checkpoints, load_params
from jaxgan.run.experiment import Experiment, RunFailed
from jaxgan.run.workdir import Workdir
from jaxgan.training import stages

HERE = Path(__file__).parent
SYSTEMS = {
    "encoder_gan": EncoderGANConfig,
    "lazy_gan": LazyGANConfig,
    "growing_gan": GrowingGANConfig,
}
EPOCHS = 4
# The step at the end of each epoch: the seam, if there is one, is after the second.
ENDS = {
    "encoder_gan": [16, 32, 42, 52],
    "lazy_gan": [22, 44, 66, 88],
    "growing_gan": [10, 20, 40, 60],
}
OTHERS = ("encoder_gan", "lazy_gan")
NAMES = pytest.mark.parametrize("name", SYSTEMS)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The data set is read once for all tests."""
    monkeypatch.setattr(run_config, "load", read_once)
    # A run sets it for the whole process.
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))


@functools.cache
def read_once(name, **options):
    return load(name, **options)


def settings(system, **changes):
    return system(**{"devices": "2", "epochs": EPOCHS, "keep_checkpoints": 10, **changes})


def system_of(name):
    config = settings(SYSTEMS[name])
    return config.system(config.load_dataset())


def run(config):
    Experiment(config).run()
    return Path(config.workdir)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("straight")


@pytest.fixture
def straight(kept):
    """name -> the work dir of a run that nothing disturbed; none may change it."""

    def made(name):
        workdir = kept / name
        return workdir if workdir.exists() else run(settings(SYSTEMS[name], workdir=str(workdir)))

    return made


def rows_of(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


# --- Any number of devices ---


def trained(system, num_devices):
    """The states at the end of each stage, and the metrics of every step."""
    schedules = stages.plan(system.stages, "cpu")
    state, ends, metrics = None, [], []
    for stage, schedule in zip(system.stages, schedules, strict=True):
        key = jax.random.key(0)
        state = stages.next_state(stage, state) if ends else stages.first_state(stage, key)
        rows = []
        for replicated, measured in training.train(
            stage.gan,
            training.on_host(state),
            stage.data,
            schedule,
            devices=jax.devices()[:num_devices],
            batch_size=stage.batch_size,
            last_step=schedule.first_step + schedule.steps_per_epoch,
        ):
            rows.append(measured)
            state = training.unreplicate(replicated)
        # The next stage begins where its schedule says.
        state = state.replace(step=np.int32(stages.last_step(stage, schedule)))
        ends.append(state)
        metrics.append(jax.tree.map(lambda *x: np.concatenate(x), *rows))
    return ends, metrics


@pytest.mark.parametrize("name", ["lazy_gan", slow("encoder_gan"), slow("growing_gan")])
def test_any_number_of_devices_trains_the_same(name):
    system = system_of(name)
    one, metrics_of_one = trained(system, 1)
    many, metrics_of_many = trained(system, 4)
    for a, b in zip(many, one, strict=True):
        assert a.players.keys() == b.players.keys()
        learnt = [
            ravel_pytree([state.players[name].params, state.players[name].collections])[0]
            for name in b.players
            for state in (a, b)
        ]
        for x, y in zip(learnt[::2], learnt[1::2], strict=True):
            assert np.linalg.norm(x - y) < 1e-4 * np.linalg.norm(y)
        chex.assert_trees_all_close(a.averages, b.averages, rtol=1e-3, atol=1e-4)
        chex.assert_trees_all_close(a.numbers, b.numbers, rtol=1e-4)
    chex.assert_trees_all_close(metrics_of_many, metrics_of_one, rtol=1e-3, atol=1e-4)


def test_both_players_turns_move_the_norms_of_the_discriminator():
    (stage,) = system_of("lazy_gan").stages
    gan = stage.gan
    state = stages.first_state(stage, jax.random.key(0))

    @functools.partial(jax.jit, static_argnums=0)
    def taken(turn, state):
        batch = {"images": jnp.zeros((4, 4, 4, 1))}
        return game.take_turn(gan, turn, state, batch, jnp.ones((4, 3)))[0]

    for turn in (gan.turns[0], gan.turns[2]):
        after = taken(turn, state)
        before, now = (each.players["discriminator"].collections for each in (state, after))
        assert any(
            np.any(x != y) for x, y in zip(*map(jax.tree.leaves, (before, now)), strict=True)
        )
        others = {"generator", "discriminator"} - {turn.player}
        chex.assert_trees_all_equal(
            *({name: each.players[name].params for name in others} for each in (state, after))
        )


def test_a_turn_is_due_at_every_so_many_steps_of_the_run_wherever_it_is_gone_on_with():
    (stage,) = system_of("lazy_gan").stages
    schedule = training.Schedule(22, 2, 2)
    state = training.on_host(stages.first_state(stage, jax.random.key(0)))
    options = {"devices": jax.devices()[:1], "batch_size": 32}
    due = []
    for last_step in (6, 10, 22):  # Each begins anew, from the state on the host.
        calls = training.train(
            stage.gan, state, stage.data, schedule, last_step=last_step, **options
        )
        for replicated, metrics in calls:
            due += list(~np.isnan(metrics["r1"]))
            state = training.unreplicate(replicated)
    assert np.flatnonzero(due).tolist() == list(range(0, 22, 4))


# --- Going on ---


class Killed(Exception):
    pass


@NAMES
@pytest.mark.slow
def test_a_run_that_ends_after_every_epoch_goes_on_bit_for_bit(
    name, straight, tmp_path, monkeypatch
):
    whole = Experiment._end_epoch

    def end_epoch(self, *, save):
        whole(self, save=save)
        self._wait_for_saves()
        raise Killed

    config = settings(SYSTEMS[name], workdir=str(tmp_path / "run"))
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints")
    with monkeypatch.context() as patches:
        patches.setattr(Experiment, "_end_epoch", end_epoch)
        for epoch in range(1, EPOCHS + 1):
            with pytest.raises(Killed):
                run(config)
            assert checkpoints.steps() == ENDS[name][:epoch]
    run(config)  # There is nothing left to train.
    assert_same_run(tmp_path / "run", straight(name))
    grids = [sorted(Workdir(x, 1).grids()) for x in (tmp_path / "run", straight(name))]
    assert grids[0] == grids[1] == (list(range(EPOCHS + 1)) if name == "growing_gan" else [])
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("name", "epoch"),
    [("growing_gan", 2), *(slow(name, 0) for name in SYSTEMS), *(slow(name, 2) for name in OTHERS)],
)
def test_a_run_that_is_stopped_in_the_middle_of_an_epoch_goes_on_bit_for_bit(
    name, epoch, straight, tmp_path, monkeypatch
):
    begin = [0, *ENDS[name]][epoch]
    whole = Experiment._log

    def log(self, step, metrics, bar):
        if step > begin and int(self._schedule.epochs(step - 1)) == epoch and not sent:
            sent.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        whole(self, step, metrics, bar)

    sent = []
    config = settings(SYSTEMS[name], workdir=str(tmp_path / "run"))
    with monkeypatch.context() as patches:
        patches.setattr(Experiment, "_log", log)
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            run(config)
    newest = Checkpoints(tmp_path / "run" / "checkpoints").steps()[-1]
    assert begin < newest < ENDS[name][epoch]
    run(config)
    assert_same_run(tmp_path / "run", straight(name))


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_bit_for_bit(
    killed_and_gone_on_with, run_script, tmp_path
):
    command = (HERE / "growing_gan.py", "--epochs", 9, "--small-epochs", 2)
    undisturbed = tmp_path / "undisturbed"
    done = run_script(*command, "--workdir", undisturbed, devices=2)
    assert done.returncode == 0, done.stderr
    assert_same_run(killed_and_gone_on_with(*command), undisturbed)


@pytest.mark.parametrize("name", ["encoder_gan", slow("growing_gan")])
def test_more_epochs_are_more_of_the_last_stage(name, straight, tmp_path, capsys):
    config = settings(SYSTEMS[name], workdir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="--epochs 1 is too few: a stage would have -1 of them"):
        run(dataclasses.replace(config, epochs=1))
    # At first the last stage has none, and the run ends at the seam.
    for epochs in (2, 2, 3, EPOCHS):
        run(dataclasses.replace(config, epochs=epochs))
    assert_same_run(tmp_path / "run", straight(name))
    assert capsys.readouterr().out.count("Nothing to do") == 1


@pytest.mark.parametrize("name", ["lazy_gan", slow("encoder_gan"), slow("growing_gan")])
def test_several_seeds_have_the_bits_of_each_alone(name, straight, tmp_path):
    both = run(settings(SYSTEMS[name], seeds=2, workdir=str(tmp_path / "both")))
    assert_same_run(both / "seed_0", straight(name))
    assert_same_run(
        both / "seed_1", run(settings(SYSTEMS[name], seed=1, workdir=str(tmp_path / "alone")))
    )


# --- What a run leaves ---


def test_across_the_seam_each_stage_fills_its_columns(straight):
    rows = rows_of(straight("encoder_gan"))
    first, second = (
        [row for row in rows if (float(row["epoch"]) <= 2) is is_first]
        for is_first in (True, False)
    )
    assert float(rows[-1]["epoch"]) == EPOCHS
    assert all(row["generator_loss"] and not row["encoder_loss"] for row in first) and first
    assert all(row["encoder_loss"] and not row["generator_loss"] for row in second) and second


def test_the_generator_stays_as_it_was_while_the_encoder_learns(straight):
    at_seam, at_end = (
        saved_item(straight("encoder_gan"), ENDS["encoder_gan"][epoch], "state") for epoch in (1, 3)
    )
    for player in ("generator", "discriminator"):
        chex.assert_trees_all_equal(at_seam[player], at_end[player])
    assert "encoder" not in at_seam and "encoder" in at_end
    assert load_params(straight("encoder_gan"), player="encoder")["params"]


def test_checkpoints_of_both_stages_are_read_and_what_has_grown_is_new(straight):
    small, grown = (
        saved_item(straight("growing_gan"), ENDS["growing_gan"][epoch], "state")["generator"]
        for epoch in (1, 3)
    )
    assert grown["params"].keys() - small["params"].keys() == {"block_8"}


def test_the_pictures_of_a_gan_that_grows_are_of_one_size_in_its_gif(straight):
    workdir = straight("growing_gan")
    sizes = [Image.open(grid).size for grid in Workdir(workdir, 1).grids().values()]
    assert len(set(sizes[:3])) == len(set(sizes[3:])) == 1 and sizes[0] < sizes[3]
    with Image.open(workdir / "training.gif") as gif:
        assert gif.n_frames == EPOCHS + 1


def test_a_system_that_declares_nothing_to_show_has_its_curves_and_its_report(straight, capsys):
    workdir = straight("lazy_gan")
    assert (workdir / "losses.png").is_file() and not (workdir / "training.gif").exists()
    report = (workdir / "report.html").read_text()
    assert "Nothing has been drawn yet" in report and "D(G(z))" not in report
    assert {"step", "epoch", "critic", "r1"} == rows_of(workdir)[0].keys()


def with_outcomes(system, change):
    """A system whose losses give another outcome: change(the outcome of the system's own)."""

    def changed(loss):
        def other(*inputs):
            value, outcome = loss(*inputs)
            return value, change(outcome)

        return other

    (stage,) = system.stages
    turns = [dataclasses.replace(turn, loss=changed(turn.loss)) for turn in stage.gan.turns]
    gan = dataclasses.replace(
        stage.gan, turns=tuple(turns), numbers={**stage.gan.numbers, "spoilt": 0}
    )
    return dataclasses.replace(system, stages=[dataclasses.replace(stage, gan=gan)])


class MeasuringNothing(LazyGANConfig):
    def system(self, dataset):
        return with_outcomes(super().system(dataset), lambda outcome: outcome._replace(metrics={}))


@pytest.mark.parametrize("seeds", [slow(1), 2])
def test_a_system_that_measures_nothing_is_trained(seeds, tmp_path, capsys):
    run(settings(MeasuringNothing, workdir=str(tmp_path / "run"), epochs=2, seeds=seeds))
    printed = capsys.readouterr().out
    workdir = tmp_path / "run" / ("seed_0" if seeds > 1 else "")
    assert "Done" in printed and "losses.png" not in printed
    assert "Nothing has been measured yet" in (workdir / "report.html").read_text()
    assert Checkpoints(workdir / "checkpoints").steps() == ENDS["lazy_gan"][:2]


class SpoiltNumber(LazyGANConfig):
    def system(self, dataset):
        def spoilt(outcome):
            number = jnp.where(outcome.numbers["real"] > -2, jnp.nan, 0)
            return outcome._replace(numbers={**outcome.numbers, "spoilt": number})

        return with_outcomes(
            super().system(dataset), lambda o: spoilt(o) if "real" in o.numbers else o
        )


def test_a_number_that_is_nan_stops_the_run_in_one_line_that_names_it(tmp_path):
    with pytest.raises(RunFailed, match="numbers/spoilt is not finite after step 2: ") as error:
        run(settings(SpoiltNumber, workdir=str(tmp_path / "run")))
    assert "\n" not in str(error.value) and "newest checkpoint: none yet" in str(error.value)
    assert not Checkpoints(tmp_path / "run" / "checkpoints").steps()


# --- What reads a run ---


@pytest.fixture
def run_of_stranger(straight, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(straight("encoder_gan"), workdir)
    return workdir


@pytest.mark.parametrize(
    "command",
    [("sample.py", "--num", 4, "--out", "some.png"), slow(("report.py",))],
    ids=["sample.py", "report.py"],
)
def test_the_scripts_read_a_run_of_a_system_that_the_user_names(
    command, run_of_stranger, run_script, tmp_path, monkeypatch
):
    command = (*command, "--workdir", run_of_stranger)
    refused = run_script(*command)
    assert refused.returncode == 2 and refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert "encoder_gan:EncoderGANConfig" in line and "JAXGAN_SYSTEMS=encoder_gan" in line

    monkeypatch.setenv("JAXGAN_SYSTEMS", "encoder_gan")
    missing = run_script(*command)
    assert missing.returncode == 2 and "PYTHONPATH" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1

    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    (run_of_stranger / "report.html").unlink()
    done = run_script(*command)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "some.png" if "some.png" in command else run_of_stranger / "report.html"
    assert made.stat().st_size > 0


@pytest.mark.parametrize(
    ("script", "words"),
    [("sample.py", "makes no images from noise alone"), ("evaluate.py", "is not judged")],
)
def test_what_a_system_does_not_do_is_said_in_one_line(script, words, straight, call_script):
    # This process has imported the system already.
    done = call_script(script, "--workdir", straight("lazy_gan"))
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "lazy_gan:LazyGANConfig" in done.stderr and words in done.stderr
