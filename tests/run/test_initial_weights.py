"""--init-from as a user gives it: new runs that begin with the weights of a trained one."""

import json
import shutil

import jax
import pytest
from small_run import SMALL, assert_same_run, contents, flags, save_run, wait_for

import jaxgan
from jaxgan import weights
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.config import FILE_NAME
from jaxgan.run.experiment import Experiment
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig

SCRIPT = "mnist_gan.py"
DEVICES = ("--devices", 2)


@pytest.fixture
def source(straight, tmp_path):
    """The work dir of a trained run, in the folder that scripts run in."""
    return shutil.copytree(straight, tmp_path / "source")


def tune(call_script, workdir, *more):
    done = call_script(SCRIPT, *flags(workdir, *DEVICES, *more))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_run_begins_with_the_weights_of_a_trained_one(call_script, source, tmp_path):
    printed = tune(call_script, "tuned", "--init-from", "source", "--epochs", 1)
    assert printed.startswith("source: 8 of 8 arrays are taken\nmnist: ")
    assert "tuned: a new run of 1 epochs" in printed
    # The first grid is of the same latents, and of the same average, as the last one of the source.
    first, last = tmp_path / "tuned/samples/epoch_0000.png", source / "samples/epoch_0003.png"
    assert first.read_bytes() == last.read_bytes()
    assert Checkpoints(tmp_path / "tuned/checkpoints").steps() == [60]
    assert json.loads((tmp_path / "tuned" / FILE_NAME).read_text())["init_from"] == "source"


def test_a_file_of_weights_is_as_good_as_the_run(call_script, source, tmp_path):
    run = jaxgan.load_run(source)
    players = {name: run.player(name) for name in ("generator", "discriminator")}
    weights.write(tmp_path / "best.npz", players)
    shutil.copy(source / FILE_NAME, tmp_path / "best.json")
    tune(call_script, "of_run", "--init-from", "source", "--epochs", 1)
    tune(call_script, "of_file", "--init-from", "best.npz", "--epochs", 1)
    assert_same_run(tmp_path / "of_file", tmp_path / "of_run")


def test_what_does_not_fit_is_said_and_the_rest_is_taken(call_script, source):
    wider = ("--discriminator-widths", 48)
    printed = tune(call_script, "tuned", "--init-from", "source", "--epochs", 1, *wider)
    taken, anew = printed.splitlines()[:2]
    assert taken == "source: 5 of 8 arrays are taken"
    assert anew.startswith("source: begun anew: discriminator/params/Dense_0/bias (32 there, 48 ")


def test_a_run_that_goes_on_needs_its_source_no_more(call_script, source, tmp_path):
    begin = ("--init-from", "source")
    tune(call_script, "straight", *begin, "--epochs", 2)
    tune(call_script, "stopped", *begin, "--epochs", 1)
    shutil.rmtree(source)
    printed = tune(call_script, "stopped", *begin, "--epochs", 2)
    assert "arrays are taken" not in printed and "going on after 1 epochs" in printed
    assert_same_run(tmp_path / "stopped", tmp_path / "straight")
    for other in ((), ("--init-from", "elsewhere")):
        done = call_script(SCRIPT, *flags("stopped", *DEVICES, *other, "--epochs", 2))
        assert done.returncode == 2 and "--init-from source, not" in done.stderr


def test_a_run_that_ends_before_its_first_checkpoint_begins_with_them_again(
    call_script, source, tmp_path, monkeypatch
):
    tune(call_script, "straight", "--init-from", "source", "--epochs", 1)
    monkeypatch.chdir(tmp_path)
    sizes = {"generator_widths": (32,), "discriminator_widths": (32,), "batch_size": 1000}
    config = MLPGANConfig(workdir="killed", devices="2", epochs=1, init_from="source", **sizes)
    with Experiment(config)._unlocking:
        pass  # Its process is killed here.
    assert (tmp_path / "killed" / FILE_NAME).exists()
    assert "8 of 8" in tune(call_script, "killed", "--init-from", "source", "--epochs", 1)
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


@pytest.mark.slow
def test_a_run_that_is_killed_at_its_start_ends_bit_for_bit_the_same(
    start_script, run_script, undisturbed, tmp_path
):
    command = (SCRIPT, *SMALL, "--init-from", undisturbed, "--epochs", 1)
    for workdir in ("killed", "straight"):
        if workdir == "killed":
            process = start_script(*command, "--workdir", workdir, devices=2)
            wait_for((tmp_path / workdir / FILE_NAME).exists, process)
            process.kill()
            process.communicate()
            assert not Checkpoints(tmp_path / workdir / "checkpoints").steps()
        done = run_script(*command, "--workdir", workdir, devices=2)
        assert done.returncode == 0 and "8 of 8 arrays" in done.stdout, done.stderr
    assert_same_run(tmp_path / "killed", tmp_path / "straight")


def test_several_seeds_begin_with_the_same_weights(call_script, source, tmp_path):
    begin = ("--init-from", "source", "--epochs", 1)
    printed = tune(call_script, "both", *begin, "--seeds", 2)
    assert printed.count("arrays are taken") == 1
    tune(call_script, "alone", *begin, "--seed", 1)
    assert_same_run(tmp_path / "both/seed_1", tmp_path / "alone")


def no_weights(folder):
    (folder / "empty").mkdir()
    MLPGANConfig().save(folder / "empty")


def of_another_system(folder):
    save_run(DCGANConfig(image_shape=(8, 8, 1), width=2, latent_size=3), folder / "other")


def of_other_shapes(folder):
    sizes = {"generator_widths": (7,), "discriminator_widths": (7,), "image_shape": (4, 4, 3)}
    run = save_run(MLPGANConfig(**sizes), folder / "other")
    players = {"generator": {"params": {"Dense_0": run.players["generator"].params["Dense_0"]}}}
    weights.write(folder / "other.npz", players)
    MLPGANConfig(**sizes).save(folder)
    (folder / FILE_NAME).rename(folder / "other.json")


def without_settings(folder):
    weights.write(folder / "bare.npz", {"generator": {"params": {"kernel": jax.numpy.ones(2)}}})


def of_the_run_itself(folder):
    (folder / "run").mkdir()
    MLPGANConfig().save(folder / "run")
    weights.write(folder / "run/best.npz", {"generator": {"params": {}}})
    shutil.copy(folder / "run" / FILE_NAME, folder / "run/best.json")


@pytest.mark.parametrize(
    ("make", "named", "message"),
    [
        (None, "nowhere", "--init-from: there is no run in nowhere: "),
        (None, "gs://bucket/run", "--init-from must be a path on this machine"),
        (no_weights, "empty", "there is no checkpoint in "),
        (of_another_system, "other", "a run of 'dcgan', not of 'mlp_gan'"),
        (of_other_shapes, "other.npz", "--init-from other.npz cannot be taken: no array there "),
        (without_settings, "bare.npz", "--init-from: bare.json is not there"),
        (of_the_run_itself, "run", "--init-from run is in the run's own work dir run, which"),
        (of_the_run_itself, "run/best.npz", "--init-from run/best.npz is in the run's own work"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(call_script, tmp_path, make, named, message):
    if make is not None:
        make(tmp_path)
    before = contents(tmp_path)
    done = call_script(SCRIPT, *flags("run", *DEVICES, "--no-resume", "--init-from", named))
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.startswith("mnist_gan.py: error: ") and done.stderr.count("\n") == 1
    assert contents(tmp_path) == before
