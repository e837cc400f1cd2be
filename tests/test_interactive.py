"""A run from Python is that of the script, and leaves the process as it was."""

import csv
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from lazy_gan import GENERATOR, LazyGANConfig
from PIL import Image
from small_run import assert_same_run

import jaxgan
from jaxgan.run import command
from jaxgan.run.experiment import MULTI_OUTPUT_FUSION, RunFailed

# Steps of an epoch of LazyGANConfig.
EPOCH = 22


def settings(workdir, /, **changes):
    return LazyGANConfig(**{"devices": "2", "epochs": 2, "workdir": str(workdir), **changes})


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The work dir of a run from Python that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    jaxgan.train(settings(workdir))
    return workdir


def test_it_is_the_run_of_the_script(straight, tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    arguments = ("--devices", "2", "--epochs", "2", "--workdir", str(workdir))
    monkeypatch.setattr(sys, "argv", ["lazy_gan.py", *arguments])
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
    before = signal.getsignal(signal.SIGINT)
    try:
        command.train("lazy_gan:LazyGANConfig", "A script.")
    finally:
        signal.signal(signal.SIGINT, before)
    assert_same_run(straight, workdir)
    mine, theirs = (json.loads((x / "config.json").read_text()) for x in (straight, workdir))
    assert {name for name in mine if mine[name] != theirs[name]} == {"workdir", "script"}


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_bits_of_the_script(
    undisturbed, compilation_cache, tmp_path
):
    """Given the option of XLA that the script sets for itself, and that a program may not set."""
    code = (
        "import jaxgan, sys\n"
        "more = dict(generator_widths=[32], discriminator_widths=[32], batch_size=1000, epochs=3)\n"
        "jaxgan.train(jaxgan.config('mlp_gan', workdir=sys.argv[1], **more))\n"
    )
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "2",
        "JAX_COMPILATION_CACHE_DIR": str(compilation_cache),
        "XLA_FLAGS": f"--xla_backend_extra_options={MULTI_OUTPUT_FUSION}",
    }
    subprocess.run([sys.executable, "-c", code, tmp_path / "run"], env=environment, check=True)
    assert_same_run(undisturbed, tmp_path / "run")


def test_it_gives_what_load_run_gives_and_goes_on_with_more_epochs(straight, tmp_path):
    first = jaxgan.train(settings(tmp_path, epochs=1))
    assert first == jaxgan.load_run(tmp_path) and first.step == EPOCH
    # A Path and a list are as good as a text and a tuple.
    more = settings(tmp_path, workdir=tmp_path, image_shape=[28, 28, 1])
    run = jaxgan.train(more)
    assert run == jaxgan.load_run(tmp_path) and run.step == 2 * EPOCH
    assert_same_run(straight, tmp_path)
    again = jaxgan.train(more)  # There is nothing left to do.
    assert again == run and again.step == 2 * EPOCH


def state_of_the_process():
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    return dict(os.environ), handlers, dict(jax.config.values), sys.stdout, sys.stderr


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """As a user has it: JAX keeps no programs unless the run asks for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield tmp_path / "caches"
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


def test_it_leaves_the_process_as_it_was(own_cache, tmp_path):
    monitored, during = state_of_the_process(), []
    jaxgan.train(
        settings(tmp_path / "run"), loggers=[lambda *_: during.append(state_of_the_process())]
    )
    assert state_of_the_process() == monitored
    # Else the test would see nothing.
    assert during[0][1] != monitored[1] and during[0][2] != monitored[2]
    assert list(own_cache.rglob("*-cache"))
    with pytest.raises(RunFailed):
        jaxgan.train(settings(tmp_path / "other"), loggers=[lambda *_: 1 / 0])
    assert state_of_the_process() == monitored
    kept = len(list(own_cache.rglob("*-cache")))
    jax.jit(lambda x: x * 17 - 3)(1.0)
    assert len(list(own_cache.rglob("*-cache"))) == kept


class At:
    """A logger that does something once, when it is first told of this step or a later one."""

    def __init__(self, step, action):
        self.step, self.action, self.told = step, action, []

    def __call__(self, step, values):
        self.told.append(step)
        if step >= self.step:
            self.step = math.inf
            self.action()


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_stop_button_ends_it_after_a_step_and_it_goes_on(straight, tmp_path, capfd):
    run = jaxgan.train(settings(tmp_path), loggers=[At(5, interrupt)])
    assert run == jaxgan.load_run(tmp_path)
    assert 5 <= run.step < EPOCH
    out = capfd.readouterr().out
    assert "Stopped by SIGINT" in out and "The same call goes on from here." in out
    jaxgan.train(settings(tmp_path))
    assert_same_run(straight, tmp_path)


def twice():
    interrupt()
    interrupt()


def raise_interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize("action", [twice, raise_interrupt])
def test_a_keyboard_interrupt_costs_no_checkpoint(action, straight, tmp_path):
    before = state_of_the_process()
    with pytest.raises(KeyboardInterrupt):
        jaxgan.train(settings(tmp_path), loggers=[At(EPOCH + 5, action)])
    assert state_of_the_process() == before
    assert jaxgan.load_run(tmp_path).step == EPOCH
    jaxgan.train(settings(tmp_path))
    assert_same_run(straight, tmp_path)


def test_a_sigterm_saves_and_still_ends_the_program(tmp_path):
    with pytest.raises(SystemExit, match="143"):
        jaxgan.train(
            settings(tmp_path), loggers=[At(5, lambda: os.kill(os.getpid(), signal.SIGTERM))]
        )
    assert 5 <= jaxgan.load_run(tmp_path).step < EPOCH


@pytest.mark.parametrize("step", [5, 2 * EPOCH])
def test_a_logger_that_fails_is_named_and_all_is_saved(step, straight, tmp_path):
    other = At(math.inf, None)
    failing = At(step, lambda: {}["no such table"])
    with pytest.raises(RunFailed) as error:
        jaxgan.train(settings(tmp_path), loggers=[failing, other])
    run, failed_at = jaxgan.load_run(tmp_path), failing.told[-1]
    assert str(error.value) == (
        f"the logger At failed at step {failed_at}: KeyError: 'no such table'; training stopped "
        f"and all is saved: the same call goes on from step {run.step}"
    )
    assert isinstance(error.value.__cause__, KeyError)
    assert run.step >= failed_at >= step > max(other.told)
    jaxgan.train(settings(tmp_path))
    assert_same_run(straight, tmp_path)


def test_loggers_are_told_the_rows_of_the_table(tmp_path):
    told = []
    jaxgan.train(settings(tmp_path), loggers=[lambda step, values: told.append((step, values))])
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(told)
    for row, (step, values) in zip(rows, told, strict=True):
        measured = {name: float(cell) for name, cell in row.items() if cell}
        assert measured == {"step": step, **values}


def test_a_system_of_ones_own_has_its_pictures_and_samples(tmp_path):
    told = []

    class Mine(LazyGANConfig):  # Nobody can import it.
        def sample(self, params, key, num_samples, *, labels=None):
            return GENERATOR.apply(params, jax.random.normal(key, (num_samples, 3))) / 2 + 0.5

        def system(self, dataset):
            def picture(state, key):
                return np.asarray(self.sample(state.variables("generator"), key, 9)), 3

            system = super().system(dataset)
            stages = [dataclasses.replace(each, picture=picture) for each in system.stages]
            return dataclasses.replace(system, stages=stages)

    config = Mine(devices="2", epochs=2, workdir=str(tmp_path))
    run = jaxgan.train(config, loggers=[lambda step, values: told.append(values)])
    grids = {values["epoch"]: values["samples"] for values in told if "samples" in values}
    files = sorted((tmp_path / "samples").iterdir())
    assert len(files) == len(grids) == 3 and type(run.config) is Mine
    for path, (epoch, grid) in zip(files, sorted(grids.items()), strict=True):
        assert path.name == f"epoch_{round(epoch):04d}.png" and grid.dtype == np.uint8
        with Image.open(path) as picture:
            shown = np.asarray(picture)[::2, ::2]
        np.testing.assert_array_equal(shown, np.squeeze(grid))
    images = run.sample(jax.random.key(0), 3)
    assert len(images) == 3 and float(images.min()) >= 0 and float(images.max()) <= 1


@pytest.mark.parametrize(
    ("config", "loggers", "message"),
    [
        ("dcgan", (), "config must be the settings of a system, such as"),
        (LazyGANConfig, (), "config must be the settings of a system, such as"),
        (LazyGANConfig(), print, "loggers must be a list of functions of"),
        (LazyGANConfig(), [print, "wandb"], "loggers must be a list of functions of"),
        (LazyGANConfig(seeds=2), (), "seeds is 2, and this function trains one run"),
        (LazyGANConfig(download="yes"), (), "download cannot be 'yes'"),
        (LazyGANConfig(batch_size=3.5), (), "batch_size cannot be 3.5"),
        (LazyGANConfig(init_from="nowhere"), (), "nowhere"),
        (LazyGANConfig(dataset="./no-such-folder"), (), "no-such-folder"),
    ],
)
def test_mistakes_are_said_in_one_line_and_write_nothing(
    config, loggers, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        jaxgan.train(config, loggers=loggers)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
