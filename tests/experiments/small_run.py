"""A quick run of experiments/mnist_gan.py, and what tests do with it."""

import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from jaxgan.run.checkpoints import Checkpoints

# Small networks, 60 steps an epoch in 12 calls.
SMALL = ("--generator-widths", 32, "--discriminator-widths", 32, "--batch-size", 1000)
STEPS_PER_EPOCH = 60


def slow(*values):
    """Values of a parametrised test that are for `pytest -m slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def flags(workdir, *more):
    return (*SMALL, "--workdir", workdir, *more)


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
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(pause)
