"""Finds numbers that are NaN or infinite in a state, and the operation that made them."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, TrainState
from jaxgan.options import with_own_options, without_mesh
from jaxgan.training import examples
from jaxgan.training.examples import Schedule

PyTree = Any
# Folders and files of libraries. A line of theirs would not tell the user where her own code fails.
_LIBRARIES = {"jax", "flax", "optax", "chex", "contextlib.py", "functools.py"}


@with_own_options
@without_mesh()
def find_operation(
    gan: GAN, state: TrainState, data: PyTree, *, batch_size: int, schedule: Schedule
) -> str | None:
    """Repeats the steps of a compiled call one operation at a time to the first NaN or infinity.

    This is slow, since no step is compiled. One device computes the whole global batch, so sums are
    rounded differently from those of several devices. In rare cases every number is then finite.

    Args:
        gan: the system.
        state: the state of one seed before the call, on the host.
        data: arrays [N, ...], as in `training.train`.
        batch_size: the global batch size.
        schedule: as in `training.train`.

    Returns:
        One line: the operation, the step, and the source line of the operation. None if all numbers
        were finite.
    """
    epoch, first = divmod(int(state.step) - schedule.first_step, schedule.steps_per_epoch)
    num_images = len(jax.tree.leaves(dict(data))[0])
    index = jnp.arange(batch_size)
    order = examples.rows_of_epoch(
        gan,
        state.key,
        schedule.first_epoch + epoch,
        int(state.step) - first,
        index,
        num_images=num_images,
        batch_size=batch_size,
        steps=schedule.steps_per_epoch,
    )
    draws = jax.jit(lambda key, step: examples.draws(gan, key, step, index, data))
    for rows in order[first : first + schedule.steps_per_call]:
        noises = draws(state.key, state.step)
        batches = examples.batches(gan, data, rows)
        try:
            with jax.disable_jit(), jax.debug_nans(True), jax.debug_infs(True):
                state, _ = game.train_step(gan, state, batches, noises)
        except FloatingPointError as error:
            what = str(error).splitlines()[0].rstrip(".")
            frames = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if not any(part in _LIBRARIES for part in Path(frame.filename).parts)
            ]
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}"
            return f"{what}, in step {int(state.step) + 1} at {where}"
    return None


@with_own_options
@without_mesh()
def fault(
    state: TrainState, metrics: Mapping[str, np.ndarray], step: int, num_steps: int
) -> str | None:
    """Finds a metric or an array of the state that is not finite after some steps.

    Args:
        state: the state after the steps, replicated.
        metrics: the metrics of the steps, float32 [steps], or [seeds, steps] for a stack of states.
        step: the step of the run before the first of them.
        num_steps: how many steps there are.

    Returns:
        One line: the metric that was not finite first, and its step; if all metrics are finite, an
        array of the state that is not. None if all numbers are finite.
    """
    axis = state.key.ndim - 1  # The state has an axis of devices; the metrics have none.
    bad = {
        name: int(np.argwhere(~np.isfinite(values))[:, axis].min())
        for name, values in metrics.items()
        if not np.isfinite(values).all()
    }
    if bad:
        name = min(bad, key=lambda name: (bad[name], not name.endswith("loss")))
        values = metrics[name].take(bad[name], axis=axis)
        value = values[~np.isfinite(values)].ravel()[0]
        return f"{name} is {value} at step {step + bad[name] + 1}"
    # All devices hold the same state, so one device's copy is checked.
    own = jax.tree.map(lambda x: x.addressable_shards[0].data, state.replace(key=None))
    for path, finite in jax.tree_util.tree_leaves_with_path(jax.device_get(_finite(own))):
        if not finite:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"{name} is not finite after step {step + num_steps}"
    return None


@jax.jit
def _finite(state: TrainState) -> TrainState:
    """For each leaf of a state, a bool scalar: whether all of its numbers are finite."""
    return jax.tree.map(lambda x: jnp.isfinite(x).all(), state)
