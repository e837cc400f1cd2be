"""A run of a system that is not the GAN game: other players, other metrics, stages."""

import csv
import dataclasses
import errno
import json
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from mutations import assert_one_line
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jaxgan
from jaxgan import weights
from jaxgan.data import Dataset
from jaxgan.game import GAN, Outcome, Turn
from jaxgan.options import enable_x64
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.config import RunConfig
from jaxgan.run.experiment import Experiment, RunFailed
from jaxgan.run.settings import setting
from jaxgan.run.system import System
from jaxgan.training.stages import Stage

IMAGES = np.random.default_rng(0).integers(128, 256, (24, 2, 2, 1), dtype=np.uint8)
STEPS_PER_EPOCH = 3


@dataclasses.dataclass(frozen=True)
class MeanConfig(RunConfig):
    """Learns the mean image of a data set; in a second stage, how far from it they are, too."""

    image_shape: tuple[int, int, int] = setting((2, 2, 1))
    """As the images are."""
    batch_size: int = setting(8)
    """Images a step."""
    epochs: int = setting(2, may_change=True)
    """Of each of both stages."""

    def load_dataset(self, split="train"):
        return Dataset("squares", IMAGES, {}, ())

    def system(self, dataset):
        def squares(state, batch):
            mean = state.players["generator"].params["mean"]
            return jnp.mean((batch["images"] - mean) ** 2)

        def nothing(key, data):
            return ()

        def generator_loss(state, batch, noise, axis_name):
            value = squares(state, batch)
            return value, Outcome({"distance": value})

        def spread_loss(state, batch, noise, axis_name):
            spread = state.players["discriminator"].params["spread"]
            value = (squares(state, batch) - spread) ** 2
            return value, Outcome({"spread": spread})

        def gan(*turns):
            return GAN(
                init=lambda key: {
                    "generator": {"params": {"mean": jnp.zeros((2, 2, 1))}},
                    "discriminator": {"params": {"spread": jnp.zeros(())}},
                },
                optimizers=dict.fromkeys(("generator", "discriminator"), optax.sgd(0.5)),
                turns=turns,
                averages={"generator": 0.0},
                images=("images",),
            )

        first = Turn("generator", generator_loss, nothing)
        second = Turn("discriminator", spread_loss, nothing, batch="last")
        stages = [
            Stage(gan(*turns), {"images": dataset.images}, self.epochs, self.batch_size)
            for turns in ((first,), (first, second))
        ]
        return System(self, stages)


def rows_of(workdir):
    with open(workdir / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def train(workdir, **settings):
    Experiment(MeanConfig(workdir=str(workdir), devices="2", **settings)).run()


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("mean") / "run"
    train(workdir)
    return workdir


def test_it_is_measured_by_its_own_metrics_of_each_stage(straight):
    rows = rows_of(straight)
    assert list(rows[0]) == ["step", "epoch", "distance", "spread"]
    assert float(rows[-1]["epoch"]) == 4 and int(rows[-1]["step"]) == 4 * STEPS_PER_EPOCH
    for row in rows:
        assert row["distance"] and bool(row["spread"]) == (float(row["epoch"]) > 2)
    assert float(rows[-1]["distance"]) < float(rows[0]["distance"])
    events = EventAccumulator(str(straight / "tensorboard"))
    events.Reload()
    assert {"distance", "spread"} <= set(events.Tags()["scalars"])


def test_what_it_learns_goes_on_from_stage_to_stage(straight):
    mean = jaxgan.load_params(straight)["params"]["mean"]
    expected = (IMAGES / 127.5 - 1).mean(axis=0)
    np.testing.assert_allclose(mean, expected, atol=0.2)
    spread = jaxgan.load_params(straight, player="discriminator")["params"]["spread"]
    assert spread > 0.02


def test_it_is_plotted_and_reported(straight):
    with Image.open(straight / "losses.png") as picture:
        assert picture.format == "PNG" and picture.size == (960, 360)
    page = (straight / "report.html").read_text()
    assert "MeanConfig" in page and "data:image/png" in page
    # It says nothing of the game of two networks.
    assert "D(x)" not in page and "discriminator cannot" not in page
    assert not (straight / "training.gif").exists()
    config = json.loads((straight / "config.json").read_text())
    assert config["system"] == f"{__name__}:MeanConfig"


def test_the_progress_bar_shows_its_first_metrics(tmp_path, capfd):
    train(tmp_path / "run")
    out, err = capfd.readouterr()
    assert "distance " in err and "spread " in err and "epoch 4/4" in err
    assert "Done: 4 epochs; 96 images" in out
    # It draws no images, so there are none to look at.
    assert f"Pictures:  {tmp_path / 'run' / 'losses.png'}\n" in out


def test_a_warning_is_said_at_the_end_of_each_epoch_that_deserves_it(tmp_path, capfd, monkeypatch):
    seen = []

    def warning(metrics):
        seen.append(metrics)
        return f"distance {metrics['distance']:.3f}" if len(seen) == 2 else None

    plain = MeanConfig.system

    def system(config, dataset):
        stages = plain(config, dataset).stages
        return System(config, [dataclasses.replace(stages[0], warning=warning), stages[1]])

    monkeypatch.setattr(MeanConfig, "system", system)
    train(tmp_path / "run", epochs=3)
    _, err = capfd.readouterr()
    last = [row for row in rows_of(tmp_path / "run") if float(row["epoch"]) == 2][-1]
    assert len(seen) == 3 and f"\nepoch 2: distance {float(last['distance']):.3f}\n" in err
    assert err.count("epoch 2: ") == 1 and "epoch 1: " not in err


@pytest.fixture
def scored(monkeypatch):
    """(workdir, fids, **settings) -> trains a run that has these FIDs, one after another."""
    plain = MeanConfig.system

    def system(config, dataset):
        stages = plain(config, dataset).stages
        drawing = [dataclasses.replace(each, draw=lambda *_: None) for each in stages]
        return System(config, drawing)

    def run(workdir, fids, **settings):
        left = list(fids)
        monkeypatch.setattr(MeanConfig, "system", system)
        monkeypatch.setattr(Experiment, "_fid", lambda *_: left.pop(0))
        train(workdir, eval_every=1, image_shape=(28, 28, 1), **settings)

    return run


def test_the_networks_of_the_best_epoch_are_kept_and_a_fid_that_grows_is_said(
    scored, tmp_path, capfd
):
    scored(tmp_path / "run", [3.0, 2.0, 5.0, 3.5], keep_checkpoints=4)
    out, err = capfd.readouterr()
    best = tmp_path / "run" / "best.npz"
    assert f"Best:      {best} (FID 2, epoch 2)\n" in out
    assert err.count("the FID is") == 1
    assert "epoch 3: the FID is 5, more than 2 times that of epoch 2, 2: the generator" in err
    held = weights.read(best)
    assert held.keys() == {"generator", "discriminator"}
    _, of_epoch = Checkpoints(tmp_path / "run" / "checkpoints").load("generator")
    for epoch in (4, 3):  # What is left is of the second epoch.
        assert np.any(
            of_epoch["generator"]["params"]["mean"] != held["generator"]["params"]["mean"]
        )
        shutil.rmtree(tmp_path / "run" / "checkpoints" / str(epoch * STEPS_PER_EPOCH))
        _, of_epoch = Checkpoints(tmp_path / "run" / "checkpoints").load("generator")
    np.testing.assert_array_equal(
        of_epoch["generator"]["params"]["mean"], held["generator"]["params"]["mean"]
    )
    assert type(jaxgan.load_run(best).config) is MeanConfig


def test_the_best_epoch_is_remembered_by_a_run_that_goes_on(scored, tmp_path, capfd):
    scored(tmp_path, [2.0, 3.0], epochs=1)
    before = (tmp_path / "best.npz").read_bytes()
    scored(tmp_path, [2.5, 2.5], epochs=2)
    assert (tmp_path / "best.npz").read_bytes() == before
    assert "(FID 2, epoch 1)" in capfd.readouterr().out.split("Done")[-1]
    # A new run in the folder has its own.
    scored(tmp_path, [9.0, 8.0], epochs=1, resume=False)
    assert "(FID 8, epoch 2)" in capfd.readouterr().out
    train(tmp_path, epochs=1, resume=False)
    assert not (tmp_path / "best.npz").exists() and not (tmp_path / "best.json").exists()


@pytest.fixture
def watched(monkeypatch):
    """(workdir, steps, fids, **settings) -> trains a run that shows a collapse at these steps.

    The sign of a collapse is looked for in the rows of three steps, an epoch.
    """
    plain = MeanConfig.system

    def run(workdir, steps, fids=(), **settings):
        seen, left = [], list(fids)
        if fids:
            settings |= {"eval_every": 1, "image_shape": (28, 28, 1)}

        def sign(rows):
            seen.append(rows["step"])
            return "it has collapsed" if rows["step"][-1] in steps else None

        def system(config, dataset):
            stages = plain(config, dataset).stages
            options = {"signs": (sign,), "draw": lambda *_: None}
            return System(config, [dataclasses.replace(each, **options) for each in stages])

        with monkeypatch.context() as patches:
            patches.setattr(Experiment, "_fid", lambda *_: left.pop(0))
            patches.setattr(MeanConfig, "system", system)
            patches.setattr("jaxgan.training.collapse._SHORTEST", 1)
            train(workdir, **settings)
        return seen

    return run


def test_a_collapse_is_said_once_and_the_networks_from_before_it_are_kept(watched, tmp_path, capfd):
    workdir = tmp_path / "run"
    # The rows from step 8 to 10 are one collapse; that of step 18 is another.
    seen = watched(workdir, [8, 9, 10, 18], epochs=4, keep_checkpoints=8)
    err = capfd.readouterr().err
    assert [list(steps) for steps in seen[:2]] == [[1, 2, 3], [2, 3, 4]]
    # Each stage is judged by its own rows.
    assert [list(steps) for steps in seen[9:12]] == [[10, 11, 12], [13, 14, 15], [14, 15, 16]]
    lines = [line for line in err.splitlines() if "collapsed" in line]
    assert len(lines) == 2
    assert lines[0] == (
        "step 8, epoch 2.667: this run may have collapsed: it has collapsed; "
        f"{workdir / 'best.npz'} has the networks of epoch 1, from before it"
    )
    assert "step 18, epoch 6: " in lines[1] and "the networks of epoch 5" in lines[1]
    held = weights.read(workdir / "best.npz")
    checkpoints = Checkpoints(workdir / "checkpoints")
    step, expected = checkpoints.load("generator", "discriminator", until=15)
    assert step == 15
    jax.tree.map(np.testing.assert_array_equal, held, expected)
    assert type(jaxgan.load_run(workdir / "best.npz").config) is MeanConfig


def test_a_collapse_with_nothing_before_it_is_said_too(watched, tmp_path, capfd):
    watched(tmp_path, [5], epochs=2)
    assert f"; {tmp_path} has no checkpoint from before it\n" in capfd.readouterr().err
    assert not (tmp_path / "best.npz").exists()


def test_a_collapse_leaves_the_networks_of_the_best_fid(watched, tmp_path, capfd):
    watched(tmp_path, [6], [2.0, 3.0, 2.5, 2.5], epochs=2, keep_checkpoints=9)
    line = f"{tmp_path / 'best.npz'} has the networks of the best FID, of epoch 1\n"
    assert line in capfd.readouterr().err
    _, expected = Checkpoints(tmp_path / "checkpoints").load("generator", until=STEPS_PER_EPOCH)
    held = weights.read(tmp_path / "best.npz")["generator"]
    jax.tree.map(np.testing.assert_array_equal, held, expected["generator"])


def test_a_collapse_ends_a_run_that_wants_it(watched, straight, tmp_path, capfd):
    with pytest.raises(SystemExit, match="^1$"):
        watched(tmp_path, [4], stop_collapsed=True)
    out = capfd.readouterr().out
    assert "Stopped by --stop-collapsed after 1.667 of 4 epochs; all is saved.\n" in out
    assert Checkpoints(tmp_path / "checkpoints").steps() == [3, 5]
    train(tmp_path)
    assert_ends_as(tmp_path, straight)


def test_its_run_is_read_again_and_makes_no_images(straight):
    run = jaxgan.load_run(straight)
    assert type(run.config) is MeanConfig
    with pytest.raises(ValueError, match="makes no images from noise alone"):
        run.sample(jax.random.key(0))


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_run_stopped_in_any_stage_ends_bit_for_bit_as_one_that_was_not(straight, tmp_path, kept):
    """Its later checkpoints are taken away."""
    workdir = tmp_path / "run"
    train(workdir, keep_checkpoints=9)
    for epoch in range(kept + 1, 5):
        shutil.rmtree(workdir / "checkpoints" / str(epoch * STEPS_PER_EPOCH))
    train(workdir, keep_checkpoints=9)
    assert (workdir / "metrics.csv").read_bytes() == (straight / "metrics.csv").read_bytes()
    for player in ("generator", "discriminator"):
        mine, theirs = (jaxgan.load_params(path, player=player) for path in (workdir, straight))
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, mine, theirs)))


@pytest.mark.parametrize("first", ["resident", "streamed"])
def test_where_the_images_are_may_change_within_a_run_and_changes_no_bit(
    straight, tmp_path, capfd, first
):
    workdir = tmp_path / "run"
    second = {"resident": "streamed", "streamed": "resident"}[first]
    train(workdir, keep_checkpoints=9, data=first)
    for epoch in (2, 3, 4):
        shutil.rmtree(workdir / "checkpoints" / str(epoch * STEPS_PER_EPOCH))
    train(workdir, keep_checkpoints=9, data=second)
    said = [line for line in capfd.readouterr().out.splitlines() if "steps an epoch" in line]
    assert [line.endswith(", streamed") for line in said] == [
        each == "streamed" for each in (first, second)
    ]
    assert_ends_as(workdir, straight)


class Unreadable(np.ndarray):
    """Images on a disk that has gone."""

    def take(self, *args, **kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_streamed_images_that_cannot_be_read_end_the_run_in_one_line(
    straight, tmp_path, monkeypatch
):
    images = IMAGES.view(Unreadable)
    with monkeypatch.context() as patch:
        patch.setattr(MeanConfig, "load_dataset", lambda *_: Dataset("squares", images, {}, ()))
        with pytest.raises(RunFailed) as told:
            train(tmp_path / "run", data="streamed")
    why = os.strerror(errno.EIO)
    assert_one_line(
        told.value, f"the images could not be read: [Errno {errno.EIO}] {why}: training"
    )
    # The same command goes on where that ended.
    train(tmp_path / "run", data="streamed")
    assert_ends_as(tmp_path / "run", straight)


def test_no_score_of_what_draws_nothing(tmp_path):
    config = MeanConfig(
        workdir=str(tmp_path / "run"), eval_every=1, image_shape=(28, 28, 1), devices="1"
    )
    with pytest.raises(ValueError, match="--eval-every wants images to judge"):
        Experiment(config)
    assert not (tmp_path / "run").exists()


def assert_ends_as(workdir, straight):
    assert (workdir / "metrics.csv").read_bytes() == (straight / "metrics.csv").read_bytes()
    for player in ("generator", "discriminator"):
        mine, theirs = (jaxgan.load_params(path, player=player) for path in (workdir, straight))
        assert all(jax.tree.leaves(jax.tree.map(np.array_equal, mine, theirs)))


@pytest.fixture
def signalled_in_its_first_epoch(monkeypatch):
    """(workdir, signal) -> trains a run that gets the signal after its first step."""

    def run(workdir, number):
        whole, sent = Experiment._log, []

        def log(self, step, metrics, bar):
            if not sent:
                sent.append(os.kill(os.getpid(), number))
            whole(self, step, metrics, bar)

        with monkeypatch.context() as patches:
            patches.setattr(Experiment, "_log", log)
            train(workdir)

    return run


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(number, straight, signalled_in_its_first_epoch, tmp_path, capfd):
    before = signal.getsignal(number)
    # Tests that nohup starts ignore SIGHUP, and a run leaves that as it is.
    usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    signal.signal(number, usual)
    try:
        with pytest.raises(SystemExit, match=str(128 + number)):
            signalled_in_its_first_epoch(tmp_path, number)
        assert signal.getsignal(number) == usual
    finally:
        signal.signal(number, before)
    assert f"Stopped by {number.name} after" in capfd.readouterr().out
    # The signal is noticed after the next call.
    assert Checkpoints(tmp_path / "checkpoints").steps() == [2]
    train(tmp_path)
    assert_ends_as(tmp_path, straight)


def test_a_hang_up_that_nohup_ignores_stays_ignored(
    straight, signalled_in_its_first_epoch, tmp_path
):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signalled_in_its_first_epoch(tmp_path, signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert_ends_as(tmp_path, straight)


def test_a_system_without_the_signal_trains(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgan.run.experiment._HANG_UP", None)
    monkeypatch.setattr("jaxgan.run.experiment._STOPPING", (signal.SIGINT, signal.SIGTERM))
    train(tmp_path, epochs=1)


@pytest.mark.parametrize("before", [True, False])
def test_64_bits_change_no_bit_of_a_run(before, straight, signalled_in_its_first_epoch, tmp_path):
    with enable_x64(before), pytest.raises(SystemExit):
        signalled_in_its_first_epoch(tmp_path, signal.SIGTERM)
    with enable_x64(True):
        train(tmp_path)
    assert_ends_as(tmp_path, straight)


@pytest.fixture(scope="module")
def of_rbg(tmp_path_factory):
    """A run whose keys have four words."""
    workdir = tmp_path_factory.mktemp("mean") / "rbg"
    with jax.default_prng_impl("rbg"):
        train(workdir)
    return workdir


@pytest.mark.parametrize("is_recorded", [True, False])
def test_a_run_goes_on_with_its_own_random_numbers(
    straight, of_rbg, is_recorded, signalled_in_its_first_epoch, tmp_path, capfd
):
    for name, begun, now, whole in (
        ("mine", "threefry2x32", "rbg", straight),
        ("theirs", "rbg", "threefry2x32", of_rbg),
    ):
        workdir = tmp_path / name
        with jax.default_prng_impl(begun), pytest.raises(SystemExit):
            signalled_in_its_first_epoch(workdir, signal.SIGTERM)
        held = workdir / "versions.json"
        entries = json.loads(held.read_text())
        assert entries[0]["prng"] == begun
        if not is_recorded:
            held.write_text(json.dumps([{k: v for k, v in entries[0].items() if k != "prng"}]))
        with jax.default_prng_impl(now):
            train(workdir)
            assert jax.random.key_impl(jax.random.key(0)) == now
        said = capfd.readouterr().out
        assert "damaged" not in said and "made with" not in said
        assert_ends_as(workdir, whole)
    assert (straight / "metrics.csv").read_bytes() != (of_rbg / "metrics.csv").read_bytes()


def test_a_new_run_in_the_place_of_another_has_the_random_numbers_of_the_process(
    straight, of_rbg, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(of_rbg, workdir)
    train(workdir, resume=False)
    assert_ends_as(workdir, straight)
