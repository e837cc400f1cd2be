"""Reckons what memory a run needs at the least, before anything is computed."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan import game, memory
from jaxgan.game import TrainState
from jaxgan.run.config import RunConfig
from jaxgan.training import examples
from jaxgan.training.examples import Schedule
from jaxgan.training.stages import Stage

PyTree = Any
# The most GANs of one command. Each has a folder and open files of its own.
MOST_SEEDS = 1000
_SMALLER = "take a smaller --batch-size, --image-shape or smaller networks"


def check_seeds(config: RunConfig) -> None:
    """Refuses a number of seeds that no machine can hold.

    Raises:
        ValueError: there are more than `MOST_SEEDS`.
    """
    if config.seeds > MOST_SEEDS:
        raise ValueError(
            f"--seeds {config.seeds}: at most {MOST_SEEDS} GANs train at once; give the others to "
            "other commands"
        )


def check_fits(
    config: RunConfig,
    stages: Sequence[Stage],
    schedules: Sequence[Schedule],
    devices: Sequence[jax.Device],
) -> None:
    """Refuses a run that needs more memory than there is, on the host or on a device.

    Only what is needed in any case is counted: the states, the data, and the random numbers and
    batches of one call.

    Args:
        config: the settings.
        stages: the stages of the run.
        schedules: the schedule of each stage.
        devices: the devices that train.

    Raises:
        ValueError: there is not enough memory.
    """
    for stage, schedule in zip(stages, schedules, strict=True):
        state = jax.eval_shape(functools.partial(game.init, stage.gan), jax.random.key(0))
        states = config.seeds * _bytes(state)
        of_seeds = f" and {config.seeds} seeds" if config.seeds > 1 else ""
        what = f"the state of the networks with their moments{of_seeds}"
        memory.check(states, what, "take smaller networks or images, or fewer --seeds")
        data = sum(array.nbytes for array in stage.data.values())
        share = 1 if devices[0].platform == "cpu" else len(devices)
        inputs = _bytes_of_call(stage, schedule, state) / share
        memory.check(
            states + data + inputs,
            f"training with batches of {stage.batch_size:,}{of_seeds}",
            _SMALLER,
            devices[0],
        )


def _bytes_of_call(stage: Stage, schedule: Schedule, state: TrainState) -> int:
    """The random numbers of all steps of a call, and the batches of one step."""
    data = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in stage.data.items()}

    def draw(key: jax.Array, data: PyTree) -> PyTree:
        # One example: each of a batch has as many.
        return examples.draws(stage.gan, key, jnp.int32(0), jnp.arange(1), data)

    drawn = _bytes(jax.eval_shape(draw, state.key, data))
    example = sum(
        math.prod(x.shape[1:]) * (4 if name in stage.gan.images else x.dtype.itemsize)
        for name, x in data.items()
    )
    taken = sum(turn.times for turn in stage.gan.turns if turn.batch != "last")
    return stage.batch_size * (schedule.steps_per_call * drawn + taken * example)


def _bytes(tree: PyTree) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
