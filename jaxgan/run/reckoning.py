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
from jaxgan.training import examples, streaming
from jaxgan.training.examples import Schedule
from jaxgan.training.stages import Stage

PyTree = Any
# The most GANs of one command. Each has a folder and open files of its own.
MOST_SEEDS = 1000
_SMALLER = "take a smaller --batch-size, --image-shape or smaller networks"
# The images are streamed if they would take more than this share of the memory that there is.
MOST_RESIDENT = 0.25


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


def is_streamed(config: RunConfig, stage: Stage, devices: Sequence[jax.Device]) -> bool:
    """Whether the images of a stage stay on the host, by --data and by the memory of this process.

    Args:
        config: the settings.
        stage: a stage of the run.
        devices: the devices that train.
    """
    if config.data != "auto":
        return config.data == "streamed"
    own = [device for device in devices if device.process_index == jax.process_index()]
    # On CPUs the devices share the machine's memory, and each has a copy.
    copies = len(own) if own[0].platform == "cpu" else 1
    images = sum(x.nbytes for name, x in stage.data.items() if name in stage.gan.images)
    return copies * images > MOST_RESIDENT * memory.available(own[0])


def check_fits(
    config: RunConfig,
    stages: Sequence[Stage],
    schedules: Sequence[Schedule],
    devices: Sequence[jax.Device],
    streamed: Sequence[bool],
) -> None:
    """Refuses a run that needs more memory than there is, on the host or on a device.

    Only what is needed in any case is counted: the states, the data, and the random numbers and
    batches of one call.

    Args:
        config: the settings.
        stages: the stages of the run.
        schedules: the schedule of each stage.
        devices: the devices that train.
        streamed: of each stage, whether its images stay on the host.

    Raises:
        ValueError: there is not enough memory.
    """
    for stage, schedule, is_on_host in zip(stages, schedules, streamed, strict=True):
        state = jax.eval_shape(functools.partial(game.init, stage.gan), jax.random.key(0))
        states = config.seeds * _bytes(state)
        of_seeds = f" and {config.seeds} seeds" if config.seeds > 1 else ""
        what = f"the state of the networks with their moments{of_seeds}"
        memory.check(states, what, "take smaller networks or images, or fewer --seeds")
        data = 0
        for name, array in stage.data.items():
            held = is_on_host and name in stage.gan.images
            data += min(array.nbytes, streaming.CALL_BYTES) if held else array.nbytes
        share = 1 if devices[0].platform == "cpu" else len(devices)
        # A call of streamed images may be as short as a step.
        length = 1 if is_on_host else schedule.steps_per_call
        inputs = _bytes_of_call(stage, length, state) / share
        memory.check(
            states + data + inputs,
            f"training with batches of {stage.batch_size:,}{of_seeds}",
            _SMALLER + ("; or --data streamed" if config.data == "resident" else ""),
            devices[0],
        )


def _bytes_of_call(stage: Stage, steps: int, state: TrainState) -> int:
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
    taken = examples.batches_taken(stage.gan)
    return stage.batch_size * (steps * drawn + taken * example)


def _bytes(tree: PyTree) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
