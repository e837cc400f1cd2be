"""Numbers that are not finite: finding them in a state, and the operation that made them."""

import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, TrainState
from jaxgan.training import examples
from jaxgan.training.examples import Schedule

PyTree = Any
# Files of these are not the user's, so their lines say nothing to her.
_LIBRARIES = {"jax", "flax", "optax", "chex", "contextlib.py", "functools.py"}


def find_operation(
    gan: GAN, state: TrainState, data: PyTree, *, batch_size: int, schedule: Schedule
) -> str | None:
    """Goes through the steps of a call an operation at a time, for the first NaN or infinity.

    Slow: no step is compiled. One device does what all do otherwise, so that in rare cases the
    sums' rounding makes no such number.

    Args:
        gan: the system.
        state: before the call, on the host; of one seed.
        data: as in `training.train`.
        batch_size: the global batch.
        schedule: as in `training.train`.

    Returns:
        The operation and the line of source that it is of, or None if all went well.
    """
    epoch, first = divmod(int(state.step) - schedule.first_step, schedule.steps_per_epoch)
    num_images = len(jax.tree.leaves(dict(data))[0])
    order = examples.order_of_epoch(
        gan,
        state.key,
        schedule.first_epoch + epoch,
        num_images,
        batch_size,
        schedule.steps_per_epoch,
    )
    index = jnp.arange(batch_size)
    draws = jax.jit(lambda key, step: examples.draws(gan, key, step, index, data))
    for rows in order[first : first + schedule.steps_per_call]:
        noises, drawn = draws(state.key, state.step)
        batches = examples.batches(gan, data, rows, drawn)
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


def fault(
    state: TrainState, metrics: Mapping[str, np.ndarray], step: int, num_steps: int
) -> str | None:
    """What is not finite after some steps, and since when; None if all is.

    Args:
        state: replicated, after the steps.
        metrics: of the steps, float32 [steps], or [seeds, steps] of a stack of states.
        step: before them.
        num_steps: how many steps they are.
    """
    axis = state.key.ndim - 1  # The state has an axis of devices, the metrics have not.
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
    # One device's copy stands for all: to ask them together would take their time.
    own = jax.tree.map(lambda x: x.addressable_shards[0].data, state.replace(key=None))
    for path, finite in jax.tree_util.tree_leaves_with_path(jax.device_get(_finite(own))):
        if not finite:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"{name} is not finite after step {step + num_steps}"
    return None


@jax.jit
def _finite(state: TrainState) -> TrainState:
    """For each leaf, whether all of its numbers are finite."""
    return jax.tree.map(lambda x: jnp.isfinite(x).all(), state)
