"""Eight virtual CPU devices for all tests, and one compilation cache, thrown away afterwards."""

import contextlib
import dataclasses
import functools
import lzma
import os
import resource
import runpy
import signal
import subprocess
import sys
import types
from pathlib import Path

import jax
import pytest
from small_run import SMALL, patience, wait_for

from jaxgan.data import embedded
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.training import loop

REPOSITORY = Path(__file__).parent.parent
# As pyproject.toml has it for this process, for those that it starts: by whole names only.
MODULES = (
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in (REPOSITORY / "jaxgan").rglob("*.py")
)
NOTHING_DEPRECATED = ",".join(
    f"error::DeprecationWarning:{name}" for name in ("__main__", *MODULES)
)

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
# Half of the time would go into making fast what is run once. Scripts are compiled as ever, also
# those that train in this process, for many steps.
jax.config.update("jax_disable_most_optimizations", True)
TRAINING = (
    *("mnist_gan.py", "dcgan.py", "pix2pix.py", "stargan.py", "age_cgan.py"),
    *("stylegan2.py", "biggan.py"),
    *("train_evaluator.py", "train_recogniser.py"),
)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """So that a program that many tests run is compiled once. The user's own is left alone."""
    directory = tmp_path_factory.mktemp("cache")
    jax.config.update("jax_compilation_cache_dir", str(directory))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    return directory


@pytest.fixture(scope="session", autouse=True)
def unpacked_once():
    """The embedded sets are read from their files each time, and unpacked once a process."""
    with pytest.MonkeyPatch.context() as patch:
        unpack = functools.lru_cache(maxsize=4)(lzma.decompress)
        patch.setattr(embedded, "lzma", types.SimpleNamespace(decompress=unpack))
        yield


@pytest.fixture(scope="session", autouse=True)
def traced_once():
    """Runs of the same game share its programs: tracing takes longer than training a small run."""
    make, made = MLPGANConfig.gan, {}
    compile_epoch = functools.cache(loop.compile_epoch)

    def gan(config):
        settings = dataclasses.asdict(config)
        for name in ("workdir", "seed", "epochs"):  # no loss and no optimiser depends on them
            del settings[name]
        settings = tuple(settings.items())
        if settings not in made:
            made[settings] = make(config)
        return made[settings]

    def compiled(gan, devices, **sizes):
        return compile_epoch(gan, tuple(devices), **sizes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MLPGANConfig, "gan", gan)
        patch.setattr(loop, "compile_epoch", compiled)
        yield


@pytest.fixture
def start_script(compilation_cache, tmp_path):
    """(script, *arguments, devices=1) -> the process of an experiment, started as a user would.

    It runs in tmp_path. Whatever still runs at the end of the test is killed.
    """
    processes = []

    def start(script, *arguments, devices=1):
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "JAX_COMPILATION_CACHE_DIR": str(compilation_cache),
            "PYTHONWARNINGS": NOTHING_DEPRECATED,
        }
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "experiments" / script, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def run_script(start_script):
    """As `start_script`, but waits: -> subprocess.CompletedProcess."""

    def run(script, *arguments, devices=1):
        process = start_script(script, *arguments, devices=devices)
        stdout, stderr = process.communicate(timeout=patience(300))
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    return run


@pytest.fixture
def call_script(monkeypatch, capfd, tmp_path):
    """As `run_script`, without the seconds that a process of its own takes, on this process's
    eight devices: where neither signals nor kills are tested. Runs share what was compiled before,
    so their bits are to be compared with those of other runs of this process."""

    def call(script, *arguments):
        path = REPOSITORY / "experiments" / script
        argv = [str(path), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.syspath_prepend(path.parent)  # As Python does: scripts import each other.
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        code = 0
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        jax.config.update("jax_disable_most_optimizations", script not in TRAINING)
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGINT, on_ctrl_c)
            jax.config.update("jax_disable_most_optimizations", True)
        return subprocess.CompletedProcess(argv, code, *capfd.readouterr())

    return call


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """A folder for runs that many tests look at, and what each of them printed, by its name."""
    return tmp_path_factory.mktemp("kept"), {}


@pytest.fixture
def run_once(kept, run_script):
    """(name, script, *arguments) -> the work dir of a run on two devices that nothing disturbs,
    and what it printed. The first test that wants it makes it; none may change it."""
    folder, printed = kept

    def run(name, script, *arguments):
        workdir = folder / name
        if name not in printed:
            done = run_script(script, *arguments, "--workdir", workdir, devices=2)
            assert done.returncode == 0, done.stderr
            printed[name] = done.stdout
        return workdir, printed[name]

    return run


@pytest.fixture
def call_once(kept, call_script):
    """As `run_once`, by `call_script`."""
    folder, printed = kept

    def call(name, script, *arguments):
        workdir = folder / f"{name}_called"
        if workdir.name not in printed:
            done = call_script(script, *arguments, "--devices", 2, "--workdir", workdir)
            assert done.returncode == 0, done.stderr
            printed[workdir.name] = done.stdout
        return workdir, printed[workdir.name]

    return call


@pytest.fixture
def undisturbed(run_once):
    """The work dir of three epochs of `small_run`'s networks that nothing disturbed, by a process
    of its own."""
    workdir, _ = run_once("straight", "mnist_gan.py", *SMALL, "--epochs", 3)
    return workdir


@pytest.fixture
def straight(call_once):
    """The same, by this process."""
    workdir, _ = call_once("straight", "mnist_gan.py", *SMALL, "--epochs", 3)
    return workdir


@pytest.fixture
def killed_and_gone_on_with(start_script, run_script, tmp_path):
    """(script, *arguments) -> the work dir of a run on two devices that was killed after a save,
    and then ended by the same command."""

    def run(script, *arguments):
        workdir = tmp_path / "killed"
        command = (script, *arguments, "--workdir", workdir)
        process = start_script(*command, devices=2)
        wait_for(lambda: Checkpoints(workdir / "checkpoints").steps(), process)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it had ended before it was killed"
        done = run_script(*command, devices=2)
        assert done.returncode == 0, done.stderr
        assert "going on after" in done.stdout
        return workdir

    return run


@pytest.fixture
def no_file_above():
    """(size) -> a context in which no file can be written beyond this many bytes, as on a disk
    that is full; the error is EFBIG, "File too large"."""

    @contextlib.contextmanager
    def limit(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit
