import csv
import errno
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from jaxgan.run.images import CAPTION_HEIGHT
from jaxgan.run.system import System
from jaxgan.run.workdir import MOST_FRAMES, MOST_GRIDS, Workdir, check_holds_seeds, is_drawn
from jaxgan.systems.mlp_gan.config import MLPGANConfig

METRICS = ("generator_loss", "discriminator_loss", "d_real", "d_fake", "d_accuracy")


def config_for(path, **settings):
    return MLPGANConfig(workdir=str(path), **settings)


def system_of(path):
    """What `draw_summary` is told of a run of no stages."""
    return System(config_for(path), ())


def opened(path, step=0, **settings):
    workdir = Workdir(path, 3)
    config = config_for(path, **settings)
    workdir.check(config)
    workdir.open(config, step)
    return workdir


def log(workdir, *steps):
    """Rows whose numbers are a float32's, as the losses are."""
    for step in steps:
        values = {name: np.float32(step / (i + 3)) for i, name in enumerate(METRICS)}
        workdir.log(step, step / 10, values)


def rows_on_disk(path):
    with open(path / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_on_disk_are_the_logged_numbers_exactly(tmp_path):
    workdir = opened(tmp_path)
    log(workdir, 5, 10)
    workdir.close()
    rows = rows_on_disk(tmp_path)
    assert [row["step"] for row in rows] == ["5", "10"]
    assert [row["epoch"] for row in rows] == ["0.5", "1.0"]
    for row in rows:
        for i, name in enumerate(METRICS):
            assert np.float32(row[name]) == np.float32(int(row["step"]) / (i + 3))


def test_what_is_measured_now_and_then_is_blank_between(tmp_path):
    workdir = opened(tmp_path)
    for step, fid in ((5, math.nan), (10, 2.5), (15, math.nan)):
        workdir.log(step, step / 10, {"d_real": 0.5, "fid": fid})
    workdir.close()
    assert [row["fid"] for row in rows_on_disk(tmp_path)] == ["", "2.5", ""]
    before = (tmp_path / "metrics.csv").read_bytes()
    resumed = opened(tmp_path, step=15)
    resumed.close()
    assert (tmp_path / "metrics.csv").read_bytes() == before
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("fid")] == [(10, 2.5)]


def test_what_a_later_stage_measures_is_a_new_column_that_is_blank_before(tmp_path):
    workdir = opened(tmp_path)
    workdir.log(5, 0.5, {"l1": 0.25})
    workdir.log(10, 1.0, {"l1": 0.125})
    workdir.flush()
    workdir.log(15, 1.5, {"critic": 3.0, "fid": math.nan})
    assert [row["critic"] for row in rows_on_disk(tmp_path)] == ["", "", "3.0"]
    workdir.log(20, 2.0, {"l1": 1.5, "critic": 4.0})
    workdir.log(25, 2.5, {"critic": 5.0, "fid": 9.0})
    workdir.close()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "step,epoch,l1,critic,fid",
        "5,0.5,0.25,,",
        "10,1.0,0.125,,",
        "15,1.5,,3.0,",
        "20,2.0,1.5,4.0,",
        "25,2.5,,5.0,9.0",
    ]
    last = {"step": 25, "epoch": 2.5, "critic": 5.0, "fid": 9.0}
    assert Workdir(tmp_path, 3).rows()[-1] == last
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("critic")] == [15, 20, 25]


@pytest.mark.parametrize("step", [10, 15])
def test_going_on_in_any_stage_ends_with_the_columns_of_a_run_never_stopped(tmp_path, step):
    measured = {
        5: {"l1": 0.25},
        10: {"l1": 0.5},
        15: {"critic": 1.0},
        20: {"critic": 2.0, "l1": 1.0},
    }

    def log_from(workdir, first, last):
        for at, metrics in measured.items():
            if first <= at <= last:
                workdir.log(at, at / 10, metrics)
        workdir.close()

    log_from(opened(tmp_path / "straight"), 5, 20)
    log_from(opened(tmp_path / "stopped"), 5, 15)
    log_from(opened(tmp_path / "stopped", step=step), step + 5, 20)
    files = [tmp_path / name / "metrics.csv" for name in ("straight", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_new_column_that_cannot_be_written_leaves_the_rows_before(tmp_path, no_file_above):
    workdir = opened(tmp_path)
    for step in range(5, 100, 5):
        workdir.log(step, step / 10, {"l1": 0.25})
    before = (tmp_path / "metrics.csv").read_bytes()
    with no_file_above(len(before)):
        with pytest.raises(OSError, match="File too large: .*metrics.csv"):
            workdir.log(100, 10.0, {"critic": 1.0})
        workdir.abandon()
    assert (tmp_path / "metrics.csv").read_bytes() == before


def test_a_row_can_be_read_as_soon_as_it_is_logged(tmp_path):
    workdir = opened(tmp_path)
    log(workdir, 5)
    assert len(rows_on_disk(tmp_path)) == 1
    workdir.close()


@pytest.mark.parametrize(
    "torn", ["", "20", "20,2.", "20,2.0,6.6", "20,2.0,,,,,", "20,2.0,1,1,1,1,1"]
)
def test_going_on_drops_what_is_later_and_ends_as_if_never_stopped(tmp_path, torn):
    straight = opened(tmp_path / "straight")
    log(straight, 5, 10, 15, 20)
    straight.close()
    stopped = opened(tmp_path / "stopped")
    log(stopped, 5, 10, 15)
    stopped.close()
    with open(tmp_path / "stopped" / "metrics.csv", "a") as file:
        file.write(torn)
    resumed = opened(tmp_path / "stopped", step=10)
    assert [row["step"] for row in rows_on_disk(tmp_path / "stopped")] == ["5", "10"]
    log(resumed, 15, 20)
    resumed.close()
    files = [tmp_path / name / "metrics.csv" for name in ("straight", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_tensorboard_shows_each_step_once_after_going_on(tmp_path):
    first = opened(tmp_path)
    log(first, 5, 10, 15)
    first.close()
    second = opened(tmp_path, step=10)
    log(second, 15, 20)
    second.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("d_real")] == [5, 10, 15, 20]


def test_a_row_that_cannot_be_written_is_said_and_what_was_saved_stays(tmp_path, no_file_above):
    workdir = opened(tmp_path)
    log(workdir, 5)
    with no_file_above(200):
        with pytest.raises(OSError, match="File too large: .*metrics.csv"):
            log(workdir, *range(10, 100, 5))
        workdir.abandon()
    rows = rows_on_disk(tmp_path)
    assert [row["step"] for row in rows[:2]] == ["5", "10"]
    resumed = opened(tmp_path, step=5)
    log(resumed, 10)
    resumed.close()
    assert [row["step"] for row in rows_on_disk(tmp_path)] == ["5", "10"]


def test_rows_of_a_file_that_is_gone_are_not_called_written(tmp_path):
    workdir = opened(tmp_path / "run")
    log(workdir, 5)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="metrics.csv"):
        workdir.flush()
    workdir.abandon()
    assert not (tmp_path / "run").exists()


def test_starting_anew_clears_what_a_run_left_and_nothing_else(tmp_path):
    workdir = opened(tmp_path)
    log(workdir, 5)
    workdir.draw_samples(5, 1, np.zeros((4, 2, 2, 1)))
    workdir.draw_summary(system_of(tmp_path))
    workdir.close()
    (tmp_path / "notes.txt").write_text("mine")
    made_of_it = (
        *("evaluation.json", "evaluation.png", "inception.json", "pairs.json", "pairs.png"),
        *("edits.json", "edits.png", "ageing.json", "ageing.png"),
        *("tradeoff.json", "tradeoff.png"),
    )
    made_of_it = (*made_of_it, "playground.html")
    for name in made_of_it:
        (tmp_path / name).write_text("of the old run")
    opened(tmp_path, resume=False, seed=3).close()
    assert not any((tmp_path / name).exists() for name in made_of_it)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "metrics.csv").exists()
    assert not (tmp_path / "training.gif").exists()
    assert list((tmp_path / "samples").iterdir()) == []
    assert MLPGANConfig.load(tmp_path).seed == 3


def test_what_was_made_of_another_run_is_nothing_to_clear_in_a_folder_that_is_no_runs(tmp_path):
    (tmp_path / "playground.html").write_text("of a run elsewhere")
    with pytest.raises(ValueError, match="has playground.html but no config.json, so it is no run"):
        Workdir(tmp_path, 3).check(config_for(tmp_path))
    assert (tmp_path / "playground.html").read_text() == "of a run elsewhere"


def test_a_folder_is_a_runs_from_its_first_file_on(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("os.replace", recording(made, os.replace))
    monkeypatch.setattr("pathlib.Path.mkdir", recording(made, Path.mkdir))
    opened(tmp_path / "run").close()
    first_four = [Path(path).name for path in made[:4]]
    assert first_four == ["run", "config.json", "versions.json", "samples"]


def test_going_on_with_other_versions_is_told_and_recorded(tmp_path, monkeypatch):
    workdir = Workdir(tmp_path, 3)
    assert workdir.open(config_for(tmp_path, devices="2"), 0) == []
    workdir.close()
    monkeypatch.setattr("platform.python_version", lambda: "9.9")
    before = ".".join(map(str, sys.version_info[:3]))
    changes = Workdir(tmp_path, 3).open(config_for(tmp_path, devices="4"), 5)
    assert changes == [f"python {before}, now 9.9", "devices 2, now 4"]
    held = json.loads((tmp_path / "versions.json").read_text())
    assert [(entry["from_step"], entry["devices"]) for entry in held] == [(0, 2), (5, 4)]
    assert Workdir(tmp_path, 3).open(config_for(tmp_path, devices="1"), 0) == []


def recording(made, function):
    """The function, with a list kept of the paths (its last ones) that it makes."""

    def call(*arguments, **options):
        made.append(arguments[-1])
        return function(*arguments, **options)

    return call


def test_what_a_killed_writer_left_is_removed(tmp_path):
    opened(tmp_path).close()
    leftover = tmp_path / "samples" / ".epoch_0001.partial.png"
    leftover.write_bytes(b"half")
    unfinished = tmp_path / "checkpoints" / "5.orbax-checkpoint-tmp"
    (unfinished / "state").mkdir(parents=True)
    opened(tmp_path, step=5).close()
    assert not leftover.exists() and not unfinished.exists()


def test_the_gif_of_a_long_run_is_bounded_and_ends_with_the_last_epoch(tmp_path):
    workdir = opened(tmp_path)
    for epoch in range(MOST_FRAMES + 50):
        workdir.draw_samples(epoch, epoch, np.full((1, 4, 4, 1), epoch / 255))
    workdir.draw_summary(system_of(tmp_path))
    workdir.close()
    with Image.open(tmp_path / "training.gif") as gif:
        assert gif.n_frames == MOST_FRAMES
        for frame, epoch in ((0, 0), (MOST_FRAMES - 1, MOST_FRAMES + 49)):
            gif.seek(frame)
            drawn = np.asarray(gif.convert("L"))[CAPTION_HEIGHT:]
            assert drawn.mean() == pytest.approx(epoch, abs=2)


def draw_up_to(workdir, epoch, *, after=-1, last):
    """Draws epochs as a run does that trains up to the last one; gives the most grids at once."""
    most = 0
    for each in range(after + 1, epoch + 1):
        if is_drawn(each, last):
            workdir.draw_samples(each, each, np.full((1, 1, 1, 1), each / last))
            most = max(most, len(list(workdir.samples.iterdir())))
    return most


def drawn(path):
    return {file.name: file.read_bytes() for file in (path / "samples").iterdir()}


def test_the_grids_of_ten_thousand_epochs_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda file: None)
    workdir = opened(tmp_path)
    assert draw_up_to(workdir, 10_000, last=10_000) <= MOST_GRIDS + 2
    workdir.draw_summary(system_of(tmp_path))
    workdir.close()
    # Every 64th: every 32nd would be 312.
    assert drawn(tmp_path).keys() == {f"epoch_{e:04d}.png" for e in (*range(0, 10_000, 64), 10_000)}
    with Image.open(tmp_path / "training.gif") as gif:
        assert gif.n_frames == MOST_FRAMES
        shown = []
        for frame in range(MOST_FRAMES):
            gif.seek(frame)
            shown.append(np.asarray(gif.convert("L"))[CAPTION_HEIGHT:].mean())
    # The later, the brighter: they are in the order of their numbers, not of their names.
    np.testing.assert_allclose(shown, np.linspace(0, 255, MOST_FRAMES), atol=4)


@pytest.mark.parametrize("epochs", [199, 200, 201, 203, 400, 401, 410])
def test_a_run_stopped_anywhere_has_the_grids_of_one_that_was_not(tmp_path, monkeypatch, epochs):
    # Hundreds of grids, of which only the names are compared.
    monkeypatch.setattr(os, "fsync", lambda file: None)
    straight = opened(tmp_path / "straight")
    draw_up_to(straight, epochs, last=epochs)
    straight.close()
    # To the end of a shorter run, on to a kill, and again from an epoch before that.
    for begun, killed, last in (
        (-1, 150, 150),
        (150, min(215, epochs), epochs),
        (190, epochs, epochs),
    ):
        stopped = opened(tmp_path / "stopped", step=begun + 1)
        draw_up_to(stopped, killed, after=begun, last=last)
        stopped.close()
    names = [drawn(tmp_path / name).keys() for name in ("straight", "stopped")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "change", [{"epochs": 99}, {"devices": "2"}, {"checkpoint_every": 5}, {"download": True}]
)
def test_a_run_may_go_on_with_other_means(tmp_path, change):
    opened(tmp_path).close()
    Workdir(tmp_path, 3).check(config_for(tmp_path, **change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "--seed 0, not 1"),
        ({"batch_size": 128}, "--batch-size 64, not 128"),
        ({"image_shape": (32, 32, 3)}, "--image-shape 28 28 1, not 32 32 3"),
        ({"noise": "uniform"}, "--noise normal, not uniform"),
    ],
)
def test_a_run_may_not_go_on_with_other_settings(tmp_path, change, said):
    opened(tmp_path).close()
    with pytest.raises(ValueError, match=said):
        Workdir(tmp_path, 3).check(config_for(tmp_path, **change))


def test_a_folder_is_of_one_run_or_of_those_of_several_seeds(tmp_path):
    opened(tmp_path / "single").close()
    opened(tmp_path / "several" / "seed_3").close()
    check_holds_seeds(tmp_path / "several")
    check_holds_seeds(tmp_path / "none yet")
    with pytest.raises(ValueError, match="single holds a single run"):
        check_holds_seeds(tmp_path / "single")
    with pytest.raises(ValueError, match="several holds the runs of several seeds"):
        Workdir(tmp_path / "several", 3).check(config_for(tmp_path / "several", resume=False))


def test_a_damaged_configuration_is_named(tmp_path):
    opened(tmp_path).close()
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(ValueError, match="config.json cannot be used"):
        Workdir(tmp_path, 3).check(config_for(tmp_path))


# --- What is drawn beside ---


def finished(path, said):
    workdir = Workdir(path, 3, said.append)
    workdir.open(config_for(path), 0)
    log(workdir, 5, 10)
    for epoch in range(3):
        workdir.draw_samples(5 * epoch, epoch, np.full((4, 8, 8, 1), epoch / 2))
    workdir.close()
    return workdir


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def not_a_picture(path):
    path.write_text("no picture")


@pytest.mark.parametrize("damage", [cut, not_a_picture])
def test_a_damaged_grid_is_left_out_of_the_gif_and_said(tmp_path, damage):
    said = []
    workdir = finished(tmp_path, said)
    damage(tmp_path / "samples" / "epoch_0001.png")
    workdir.draw_summary(system_of(tmp_path))
    with Image.open(tmp_path / "training.gif") as gif:
        assert gif.n_frames == 2
    (line,) = said
    assert line.startswith(f"{tmp_path}: epoch_0001.png in training.gif was not written: ")
    assert (tmp_path / "losses.png").exists() and (tmp_path / "report.html").exists()


def test_rows_that_cannot_be_plotted_cost_the_plot_alone(tmp_path):
    said = []
    workdir = finished(tmp_path, said)
    (tmp_path / "metrics.csv").write_text("a word\n")
    workdir.draw_summary(system_of(tmp_path))
    (line,) = said
    assert "losses.png was not written" in line and "metrics.csv, line 1" in line
    assert (tmp_path / "training.gif").exists() and (tmp_path / "report.html").exists()


def test_a_plot_that_fails_costs_the_plot_alone(tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("latex could not\nbe found")

    said = []
    workdir = finished(tmp_path, said)
    monkeypatch.setattr("jaxgan.run.plots.plot_losses", fail)
    workdir.draw_summary(system_of(tmp_path))
    assert said == [f"{tmp_path}: losses.png was not written: latex could not be found"]


def test_a_work_dir_whose_name_is_not_utf8_is_reported(tmp_path):
    said = []
    path = tmp_path / os.fsdecode(b"run\xff")
    workdir = finished(path, said)
    workdir.draw_summary(system_of(path))
    assert said == [] and (path / "report.html").exists()


def test_training_goes_on_without_a_grid_that_cannot_be_written(tmp_path):
    said = []
    workdir = Workdir(tmp_path, 3, said.append)
    workdir.open(config_for(tmp_path), 0)
    (tmp_path / "samples").rmdir()
    workdir.draw_samples(0, 0, np.zeros((4, 8, 8, 1)))
    log(workdir, 5)
    workdir.close()
    (line,) = said
    assert line.startswith(f"{tmp_path}: epoch_0000.png was not written: ")
    assert [row["step"] for row in rows_on_disk(tmp_path)] == ["5"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_more_ends_the_run(tmp_path, monkeypatch, number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number), "epoch_0000.png")

    workdir = opened(tmp_path)
    monkeypatch.setattr("jaxgan.run.images.write_png", fail)
    with pytest.raises(OSError) as raised:
        workdir.draw_samples(0, 0, np.zeros((4, 8, 8, 1)))
    assert raised.value.errno == number
    workdir.close()


# --- Files of others ---


def test_only_files_of_a_run_are_removed_from_its_folder(tmp_path):
    others = [
        *("downloads/.film.partial.mkv", ".film.partial.mkv", "samples/notes.txt"),
        *("tensorboard/notes.txt", "checkpoints/notes.txt", "samples/.film.partial.mkv"),
    ]
    opened(tmp_path).close()
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    opened(tmp_path, step=5).close()
    opened(tmp_path, resume=False).close()
    assert [name for name in others if (tmp_path / name).read_text() != "mine"] == []


def test_a_process_that_is_killed_while_it_clears_leaves_no_finished_run(tmp_path, monkeypatch):
    said = []
    finished(tmp_path, said)
    step = tmp_path / "checkpoints" / "10"
    (step / "state").mkdir(parents=True)
    unlink = Path.unlink

    def killed(self, **options):
        if self.name == "epoch_0001.png":
            raise KeyboardInterrupt
        unlink(self, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path, resume=False)
    assert Workdir(tmp_path, 3).checkpoints.steps() == []
    # The same command without --no-resume begins anew.
    opened(tmp_path).close()
    assert list((tmp_path / "samples").iterdir()) == []


def test_a_folder_that_was_made_for_a_lock_goes_with_it(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("mine", "new/run"):
        workdir = Workdir(tmp_path / name, 3)
        workdir.lock()
        with pytest.raises(ValueError, match=f"{name} is in use by process {os.getpid()} on"):
            Workdir(tmp_path / name, 3).lock()
        workdir.unlock()
    assert (tmp_path / "mine").is_dir() and not (tmp_path / "new" / "run").exists()


def test_no_file_is_replaced_while_it_is_open(tmp_path, monkeypatch):
    """Windows refuses it."""
    whole, replaced = os.replace, []

    def only_of_closed_files(source, target):
        for descriptor in Path("/proc/self/fd").iterdir():
            held = descriptor.readlink() if descriptor.exists() else None
            assert held not in (Path(source).absolute(), Path(target).absolute())
        replaced.append(Path(target).name)
        whole(source, target)

    workdir = opened(tmp_path)
    monkeypatch.setattr("os.replace", only_of_closed_files)
    log(workdir, 5, 10)
    workdir.log(15, 1.5, {"another": 1.0})
    workdir.close()
    workdir = opened(tmp_path, 10)
    workdir.draw_summary(system_of(tmp_path))
    workdir.close()
    assert [row["step"] for row in rows_on_disk(tmp_path)] == ["5", "10"]
    assert replaced.count("metrics.csv") == 3
