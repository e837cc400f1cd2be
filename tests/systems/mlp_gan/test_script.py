"""The experiment as a user runs it: a script with flags, and what it leaves in the work dir."""

import csv
import dataclasses
import json
import re
import shutil
import signal
import socket
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import (
    SMALL,
    STEPS_PER_EPOCH,
    assert_same_run,
    contents,
    flags,
    patience,
    slow,
    wait_for,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import jaxgan
from jaxgan import game
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.scoring import embed
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.systems.mlp_gan.networks import Generator

SEVERAL = ("several", "mnist_gan.py", *SMALL, "--epochs", 3, "--seeds", 3)


@pytest.fixture
def together(call_once):
    """The work dir of three epochs on two devices, of three seeds at once, undisturbed."""
    workdir, printed = call_once(*SEVERAL)
    assert "a new run of 3 epochs for each of the 3 seeds 0 to 2" in printed
    assert "Done: 3 epochs; 540,000 images" in printed
    assert f"a folder each, {workdir / 'seed_0'} to {workdir / 'seed_2'}" in printed
    return workdir


def test_what_a_run_leaves_in_its_work_dir(call_script, tmp_path):
    done = call_script("mnist_gan.py", *SMALL, "--devices", 2, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    play = "python experiments/playground.py --workdir runs/mnist_gan"
    assert f"\nPlay:      {play}\n" in done.stdout
    workdir = tmp_path / "runs" / "mnist_gan"
    assert sorted(path.name for path in workdir.iterdir()) == [
        "checkpoints",
        "config.json",
        "losses.png",
        "metrics.csv",
        "report.html",
        "samples",
        "tensorboard",
        "training.gif",
        "versions.json",
    ]

    config = json.loads((workdir / "config.json").read_text())
    assert config["system"] == "mlp_gan" and config["noise"] == "normal"
    assert config["script"].endswith("experiments/mnist_gan.py")
    assert config["generator_widths"] == [32] and config["epochs"] == 2

    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(5, 2 * STEPS_PER_EPOCH + 1, 5))
    assert float(rows[-1]["epoch"]) == 2
    measured = {"generator_loss", "discriminator_loss", "d_real", "d_fake", "d_accuracy"}
    assert rows[0].keys() == measured | {"step", "epoch"}
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in measured if name[1] == "_")

    events = EventAccumulator(str(workdir / "tensorboard"))
    events.Reload()
    assert measured | {"images_per_second"} == set(events.Tags()["scalars"])
    for name in measured:
        scalars = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(int(row["step"]), np.float32(row[name])) for row in rows]
        assert scalars == expected

    grids = sorted((workdir / "samples").iterdir())
    assert [grid.name for grid in grids] == [f"epoch_{epoch:04d}.png" for epoch in range(3)]
    with Image.open(grids[-1]) as picture, Image.open(workdir / "training.gif") as gif:
        assert picture.size == (2 * (8 * 30 - 2),) * 2 and gif.n_frames == 3
    with Image.open(workdir / "losses.png") as picture:
        assert picture.format == "PNG"
    assert Checkpoints(workdir / "checkpoints").steps() == [60, 120]

    assert "batch 1000 over 2 CPU devices; 60 steps an epoch" in done.stdout
    assert "runs/mnist_gan/training.gif" in done.stdout
    samples, scores = done.stdout.splitlines()[-2:]
    assert "python experiments/sample.py --workdir runs/mnist_gan" in samples
    assert "python experiments/evaluate.py --workdir runs/mnist_gan" in scores
    for shown in ("epoch 2/2", "images/s", "loss G", "D(x)", "D(G(z))"):
        assert shown in done.stderr
    assert re.search(r"<\d\d:\d\d", done.stderr), "the progress bar has no time left"


def test_the_grid_of_an_epoch_is_drawn_from_fixed_latents_and_the_averaged_weights(straight):
    config = json.loads((straight / "config.json").read_text())
    params = jaxgan.load_params(straight)
    # The key is the documented one: the run's seed folded with the purpose.
    key = jax.random.fold_in(jax.random.key(config["seed"]), game.DRAWING)
    images = np.asarray(jaxgan.sample(params, key, generator=Generator(widths=(32,))))
    with Image.open(straight / "samples" / "epoch_0003.png") as picture:
        drawn = np.asarray(picture)[::2, ::2]
    first = np.rint(images[0, :, :, 0] * 255).astype(np.uint8)
    last = np.rint(images[63, :, :, 0] * 255).astype(np.uint8)
    assert np.abs(drawn[:28, :28].astype(int) - first).max() <= 1
    assert np.abs(drawn[-28:, -28:].astype(int) - last).max() <= 1


def test_the_fid_of_every_other_epoch_is_logged_for_each_seed(call_script, tmp_path, monkeypatch):
    digits = jaxgan.load()
    digits = dataclasses.replace(
        digits,
        images=digits.images[:6000],
        attributes={
            name: each._replace(codes=each.codes[:6000]) for name, each in digits.attributes.items()
        },
    )
    monkeypatch.setattr("jaxgan.run.config.load", lambda *_, **__: digits)
    monkeypatch.setattr("jaxgan.run.experiment.EVALUATED_IMAGES", 1000)
    command = flags("run", "--epochs", 4, "--eval-every", 2, "--seeds", 2, "--devices", 2)
    done = call_script("mnist_gan.py", *command)
    assert done.returncode == 0, done.stderr
    evaluator = load_evaluator()
    reference = moments(embed(digits.images, evaluator).features)
    for seed in range(2):
        workdir = tmp_path / "run" / f"seed_{seed}"
        with open(workdir / "metrics.csv", newline="") as file:
            fids = {float(row["epoch"]): row["fid"] for row in csv.DictReader(file) if row["fid"]}
        assert list(fids) == [2, 4]
        # The last by hand: of the average's images, against all that it was trained on.
        key = jax.random.fold_in(jax.random.key(seed), game.EVALUATION)
        samples = jaxgan.sample(
            jaxgan.load_params(workdir),
            key,
            num_samples=1000,
            generator=Generator(widths=(32,)),
        )
        by_hand = frechet_distance(reference, moments(embed(samples, evaluator).features))
        np.testing.assert_allclose(float(fids[4]), by_hand, rtol=1e-4)
        # The networks of the lower one are kept.
        best = jaxgan.load_run(workdir / "best.npz")
        kept = frechet_distance(
            reference, moments(embed(best.sample(key, 1000), evaluator).features)
        )
        np.testing.assert_allclose(kept, min(map(float, fids.values())), rtol=1e-4)
        assert best.player("discriminator").keys() == {"params"}
    assert f"Best:      {Path('run', 'seed_0', 'best.npz')} (FID " in done.stdout


def test_a_runs_configuration_repeats_it_bit_for_bit(straight, call_script, tmp_path):
    workdir = tmp_path / "again"
    held = straight / "config.json"
    done = call_script("mnist_gan.py", "--config", held, "--workdir", workdir, "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert_same_run(workdir, straight)
    configs = [json.loads((path / "config.json").read_text()) for path in (workdir, straight)]
    assert configs[0] == configs[1] | {"workdir": str(workdir)}


def test_a_runs_configuration_without_another_folder_goes_on_with_it(straight, call_script):
    before = contents(straight)
    config = straight / "config.json"
    done = call_script("mnist_gan.py", "--config", config, "--devices", 2, "--loss", "hinge")
    assert_one_line(done, "holds a run with --loss non_saturating, not hinge")
    assert_one_line(call_script("mnist_gan.py", "--config", config.parent), "a run's config.json")
    assert contents(straight) == before


def test_several_seeds_leave_what_each_leaves_alone(straight, together, call_script, tmp_path):
    alone = {0: straight, 2: tmp_path / "run"}
    done = call_script("mnist_gan.py", *flags(alone[2], "--epochs", 3, "--seed", 2), "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in together.iterdir()) == ["seed_0", "seed_1", "seed_2"]
    for seed, workdir in alone.items():
        of_seed = together / f"seed_{seed}"
        assert_same_run(of_seed, workdir)
        assert [path.name for path in sorted(of_seed.iterdir())] == [
            path.name for path in sorted(workdir.iterdir())
        ]
        assert contents(of_seed / "samples").keys() == {
            of_seed / "samples" / path.name for path in (workdir / "samples").iterdir()
        }
        for name in ("training.gif", "losses.png"):
            assert (of_seed / name).read_bytes() == (workdir / name).read_bytes()
        configs = [json.loads((path / "config.json").read_text()) for path in (of_seed, workdir)]
        assert configs[0] == configs[1] | {"workdir": str(of_seed)}


@pytest.mark.slow
def test_several_seeds_that_are_stopped_and_killed_go_on_and_end_bit_for_bit_the_same(
    run_once, start_script, run_script, tmp_path
):
    together, _ = run_once(*SEVERAL)
    workdir = tmp_path / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3, "--seeds", 2))
    process = start_script(*command, devices=2)
    wait_for(lambda: (workdir / "seed_1" / "metrics.csv").exists(), process)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=patience(60))
    assert process.returncode == 128 + signal.SIGTERM, stderr
    checkpoints = [Checkpoints(workdir / f"seed_{seed}" / "checkpoints") for seed in range(2)]
    (step,) = checkpoints[0].steps()
    assert 0 < step < 3 * STEPS_PER_EPOCH and checkpoints[1].steps() == [step]

    process = start_script(*command, devices=2)
    wait_for(lambda: len(checkpoints[0].steps()) > 1, process)
    process.kill()
    process.communicate()
    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stdout
    for seed in range(2):
        assert_same_run(workdir / f"seed_{seed}", together / f"seed_{seed}")


def test_several_seeds_go_on_from_the_newest_step_that_all_have_and_one_goes_on_alone(
    together, call_script, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(together, workdir)
    newest = 3 * STEPS_PER_EPOCH
    shutil.rmtree(workdir / "seed_1" / "checkpoints" / str(newest))
    done = call_script("mnist_gan.py", *flags(workdir, "--epochs", 3, "--seeds", 3), "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert "seed_0: going back from step 180 to 120" in done.stdout
    assert "going on after 2 epochs for each" in done.stdout
    for seed in range(3):
        assert_same_run(workdir / f"seed_{seed}", together / f"seed_{seed}")

    shutil.rmtree(workdir / "seed_1" / "checkpoints" / str(newest))
    alone = flags(workdir / "seed_1", "--epochs", 3, "--seed", 1)
    done = call_script("mnist_gan.py", *alone, "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert "going on after 2 epochs" in done.stdout
    assert_same_run(workdir / "seed_1", together / "seed_1")


def test_several_seeds_begin_again_after_a_kill_between_their_first_saves(
    together, call_script, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(together, workdir)
    first = workdir / "seed_0" / "checkpoints" / str(STEPS_PER_EPOCH)
    for checkpoint in workdir.glob("seed_*/checkpoints/*"):
        if checkpoint != first:
            shutil.rmtree(checkpoint)
    done = call_script("mnist_gan.py", *flags(workdir, "--epochs", 1, "--seeds", 3), "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert "going back to the beginning" in done.stdout
    for seed in range(3):
        files = [path / f"seed_{seed}" / "metrics.csv" for path in (workdir, together)]
        rows = [file.read_text().splitlines() for file in files]
        assert rows[0] == rows[1][:13]  # A line of names, and twelve an epoch.
        assert Checkpoints(workdir / f"seed_{seed}" / "checkpoints").steps() == [STEPS_PER_EPOCH]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "holds the runs of several seeds: give their number by --seeds"),
        (("--no-resume",), "holds the runs of several seeds: give their number by --seeds"),
        (("--seeds", 5), "seed_2: 60 120 180; seed_3: none; seed_4: none. Train those behind up"),
        (("--seeds", 3, "--loss", "hinge"), "seed_0 holds a run with --loss non_saturating, not"),
    ],
)
def test_a_folder_of_several_seeds_is_left_alone(together, call_script, more, message):
    before = contents(together)
    assert_one_line(call_script("mnist_gan.py", *flags(together, "--epochs", 4, *more)), message)
    assert contents(together) == before


@pytest.mark.parametrize("more", [(), ("--no-resume",)])
def test_a_single_run_is_not_gone_on_with_as_several_seeds(straight, call_script, more):
    before = contents(straight)
    done = call_script("mnist_gan.py", *flags(straight, "--seeds", 2, *more))
    assert_one_line(done, "holds a single run, so not those of several --seeds")
    assert contents(straight) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, slow(signal.SIGINT)])
def test_a_signal_saves_in_the_middle_of_an_epoch_and_leaves(
    undisturbed, start_script, run_script, tmp_path, number
):
    workdir = tmp_path / "run"
    command = ("mnist_gan.py", *flags(workdir, "--epochs", 3))
    process = start_script(*command, devices=2)
    wait_for(lambda: (workdir / "metrics.csv").exists(), process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=patience(60))
    assert process.returncode == 128 + number, stderr
    assert f"Stopped by {number.name} after" in stdout and "goes on from here" in stdout
    (step,) = Checkpoints(workdir / "checkpoints").steps()
    assert 0 < step < 3 * STEPS_PER_EPOCH and step % 5 == 0
    assert (workdir / "losses.png").exists() and (workdir / "training.gif").exists()

    done = run_script(*command, devices=2)
    assert done.returncode == 0, done.stderr
    assert "going on after" in done.stdout
    assert_same_run(workdir, undisturbed)


def test_a_finished_run_says_so_and_goes_on_to_more_epochs(straight, call_script, tmp_path):
    workdir = tmp_path / "run"
    assert (
        call_script("mnist_gan.py", *flags(workdir, "--epochs", 1), "--devices", 2).returncode == 0
    )
    before = contents(workdir / "checkpoints")
    again = call_script("mnist_gan.py", *flags(workdir, "--epochs", 1), "--devices", 2)
    assert again.returncode == 0 and "trained for 1 epochs already" in again.stdout
    assert contents(workdir / "checkpoints") == before
    assert "made with" not in again.stdout
    made_with = workdir / "versions.json"
    version = f'"jax": "{jax.__version__}"'
    made_with.write_text(made_with.read_text().replace(version, '"jax": "0.0.1"'))
    more = call_script("mnist_gan.py", *flags(workdir, "--epochs", 3), "--devices", 2)
    assert more.returncode == 0, more.stderr
    assert f"made with jax 0.0.1, now {jax.__version__}: the same bits are not" in more.stdout
    assert_same_run(workdir, straight)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(straight, call_script, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(straight, workdir)
    newest = workdir / "checkpoints" / str(3 * STEPS_PER_EPOCH)
    for path in newest.rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = call_script("mnist_gan.py", *flags(workdir, "--epochs", 3), "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert "checkpoint 180 is damaged" in done.stdout
    assert "going on after 2 epochs" in done.stdout
    assert (workdir / "checkpoints" / "damaged_180").is_dir()
    assert_same_run(workdir, straight)


def test_no_resume_starts_anew_in_the_place_of_the_run_that_is_there(
    straight, together, call_script, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(together / "seed_1", workdir)
    # As of a longer run, whose newest would be taken for the new one's.
    (workdir / "samples" / "epoch_0003.png").rename(workdir / "samples" / "epoch_0004.png")
    (workdir / "checkpoints" / "180").rename(workdir / "checkpoints" / "240")
    command = flags(workdir, "--epochs", 3)
    refused = call_script("mnist_gan.py", *command, "--devices", 2)
    assert_one_line(refused, "a run with --seed 1, not 0")
    done = call_script("mnist_gan.py", *command, "--no-resume", "--devices", 2)
    assert done.returncode == 0, done.stderr
    assert_same_run(workdir, straight)
    assert not (workdir / "samples" / "epoch_0004.png").exists()


# One seed too, since tests/experiments/test_processes.py has pairs that end as one process does.
@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 2])
def test_two_processes_train_what_one_with_two_devices_trains(
    undisturbed, run_once, start_script, tmp_path, seeds
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    workdirs = [tmp_path / "first", tmp_path / "second"]
    processes = [
        start_script(
            "mnist_gan.py",
            *flags(workdirs[i], "--epochs", 3, "--coordinator", coordinator),
            *("--num-processes", 2, "--process-id", i, "--seeds", seeds),
        )
        for i in range(2)
    ]
    for process in processes:
        stdout, stderr = process.communicate(timeout=patience(300))
        assert process.returncode == 0, stdout + stderr
    if seeds == 1:
        assert_same_run(workdirs[0], undisturbed)
    else:
        together, _ = run_once(*SEVERAL)
        for of_seed in ("seed_0", "seed_1"):
            assert_same_run(workdirs[0] / of_seed, together / of_seed)
    assert not workdirs[1].exists(), "only process 0 writes"


BAD_FLAGS = [
    (("--devices", 9), "9 devices asked for, but there are 8"),
    (("--devices", 0), "'all' or a count"),
    (("--devices", "-1"), "'all' or a count"),
    (("--devices", "many"), "'all' or a count"),
    (("--batch-size", 100), "batch of 100 does not divide over 8 devices"),
    (("--batch-size", 60_008), "the data set has 60000"),
    (("--batch-size", 0), "--batch-size must be 1 or more, not 0"),
    (("--epochs", 0), "--epochs must be 1 or more, not 0"),
    (("--epochs", "-3"), "--epochs must be 1 or more, not -3"),
    (("--epochs", "ten"), "argument --epochs: invalid int value: 'ten'"),
    (("--epochs", "1.5"), "argument --epochs: invalid int value: '1.5'"),
    (("--checkpoint-every", 0), "--checkpoint-every must be 1 or more"),
    (("--seed", "-1"), "--seed must be 0 or more"),
    (("--seeds", 0), "--seeds must be 1 or more, not 0"),
    (("--seeds", 2, "--seed", 2**32 - 1), "--seed and --seeds must be 2**32 or less together"),
    (("--seeds", 2, "--keep-checkpoints", 1), "--seeds wants --keep-checkpoints 2 or more"),
    (("--generator-learning-rate", "nan"), "--generator-learning-rate must be above 0"),
    (("--discriminator-learning-rate", 0), "--discriminator-learning-rate must be above 0"),
    (("--dataset", "mnits"), "did you mean mnist"),
    (("--loss", "l2"), "invalid choice: 'l2'"),
    (("--noise", "pink"), "invalid choice: 'pink'"),
    (("--loss", "hinge", "--label-smoothing", "0.1"), "no labels"),
    (("--image-shape", 28, 28, 2), "1 or 3 channels"),
    (("--latent-size", 0), "--latent-size must be 1 or more"),
    (("--generator-widths", 0), "--generator-widths"),
    (("--process-id", 0), "want a --coordinator"),
    (("--no-such-flag", 1), "unrecognized arguments"),
]


@pytest.mark.parametrize(
    ("bad", "message"), BAD_FLAGS, ids=[" ".join(map(str, b)) for b, _ in BAD_FLAGS]
)
def test_bad_flags_end_in_one_line_and_write_nothing(call_script, tmp_path, bad, message):
    assert_one_line(call_script("mnist_gan.py", *bad), message)
    assert not list(tmp_path.iterdir())


def test_a_bad_flag_ends_the_real_process_so_too(run_script, tmp_path):
    assert_one_line(run_script("mnist_gan.py", "--devices", 3, devices=2), "there are 2 (cpu)")
    assert not list(tmp_path.iterdir())


def test_a_work_dir_that_is_a_file(call_script, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    assert_one_line(call_script("mnist_gan.py", *flags(file)), "is a file: name a folder")
    assert file.read_text() == "mine"


def test_a_work_dir_that_cannot_be_written(call_script):
    # /proc takes no folder even from root, whom permissions do not stop.
    assert_one_line(call_script("mnist_gan.py", *flags("/proc/run")), "cannot be written to")


def test_a_work_dir_of_several_seeds_that_is_a_file(call_script, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    done = call_script("mnist_gan.py", *flags(file, "--seeds", 2))
    assert_one_line(done, "is a file: name a folder")


@pytest.mark.parametrize("more", [(), ("--no-resume",)])
def test_a_work_dir_that_holds_something_else(call_script, tmp_path, more):
    workdir = tmp_path / "photos"
    (workdir / "samples").mkdir(parents=True)
    (workdir / "samples" / "cat.png").write_text("mine")
    before = contents(tmp_path)
    assert_one_line(call_script("mnist_gan.py", *flags(workdir, *more)), "no run's")
    (workdir / "config.json").write_text('{"some": "project"}')
    before = contents(tmp_path)
    assert_one_line(
        call_script("mnist_gan.py", *flags(workdir, *more)), "config.json cannot be used"
    )
    assert contents(tmp_path) == before


def test_a_run_of_other_settings_is_left_alone(straight, call_script):
    before = contents(straight)
    done = call_script(
        "mnist_gan.py", *flags(straight, "--epochs", 4, "--loss", "hinge", "--latent-size", 50)
    )
    assert_one_line(done, "--loss non_saturating, not hinge; --latent-size 100, not 50")
    assert contents(straight) == before


def assert_one_line(done, message):
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("mnist_gan.py: error: ")
    assert message in done.stderr
    assert done.stdout == ""
