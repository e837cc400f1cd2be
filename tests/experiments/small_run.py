"""A quick run of experiments/mnist_gan.py, and what tests do with it."""

import functools
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxgan import game, training
from jaxgan.run.checkpoints import Checkpoints

# Small networks, 60 steps an epoch in 12 calls.
SMALL = ("--generator-widths", 32, "--discriminator-widths", 32, "--batch-size", 1000)
STEPS_PER_EPOCH = 60


def slow(*values):
    """Values of a parametrised test that are for `pytest -m slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


# Seconds that a new process takes to import JAX on a quiet machine.
_IMPORT_SECONDS = 1.0


@functools.cache
def slowness():
    """How many times slower than a quiet machine this one is with all else that it does; 2 at
    least, since it may be given more to do at any time."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import jax"], check=True)
    return max(2.0, (time.monotonic() - began) / _IMPORT_SECONDS)


def patience(seconds):
    """How long to wait for what takes less than these seconds on a quiet machine."""
    return seconds * slowness()


def flags(workdir, *more):
    return (*SMALL, "--workdir", workdir, *more)


def first_state(config, seed=3):
    """The state of a system that has learnt nothing."""
    init = jax.jit(lambda key: game.init(config.gan(), key))
    return training.on_host(init(jax.random.key(seed)))


def save_run(config, workdir, state=None):
    """A work dir that holds settings and a checkpoint and nothing else; gives the state saved.

    Without a state, it is that of networks that have learnt nothing.
    """
    state = first_state(config) if state is None else state
    workdir.mkdir(exist_ok=True)
    config.save(workdir)
    checkpoints = Checkpoints(workdir / "checkpoints")
    checkpoints.save(state, config.to_json())
    checkpoints.close()
    return state


def contents(directory):
    """Every file below a directory, with its bytes."""
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def assert_same_run(a, b):
    """The final state and the metrics of two runs are bit for bit the same."""
    steps = Checkpoints(a / "checkpoints").steps()
    assert steps[-1] == Checkpoints(b / "checkpoints").steps()[-1]
    items = {path.name for path in (a / "checkpoints" / str(steps[-1])).iterdir() if path.is_dir()}
    assert "state" in items
    for item in items - {"config", "digests"}:
        left, right = (saved_item(run, steps[-1], item) for run in (a, b))
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(left), jax.tree.leaves(right), strict=True
        ):
            np.testing.assert_array_equal(x, y, err_msg=jax.tree_util.keystr(path))
    assert (a / "metrics.csv").read_bytes() == (b / "metrics.csv").read_bytes()


def saved_item(run, step, item):
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore((run / "checkpoints" / str(step) / item).absolute())


def wait_for(condition, process, seconds=120, pause=0.01):
    deadline = time.monotonic() + patience(seconds)
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(pause)
