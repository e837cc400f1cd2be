"""Stages: a run as a sequence of systems, each of which goes on from the one before."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, TrainState
from jaxgan.training import examples
from jaxgan.training.examples import Schedule

# A picture: float [n, H, W, C] in [0, 1], and how many images a row has (None: nearly a square).
Picture = tuple[Any, int | None]


def carry_over(fresh: TrainState, before: TrainState) -> TrainState:
    """The fresh state of a stage, with every array that the state before has too.

    An array is taken over if its place in the state (player, name, optimiser's moment) and its
    shape and dtype are the same; what is new, or has grown, stays as it was initialised.

    Args:
        fresh: from `game.init` of the stage's system.
        before: at the end of the stage before.
    """
    held = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(before)
    }

    def leaf(path: Any, own: Any) -> Any:
        other = held.get(jax.tree_util.keystr(path))
        is_alike = other is not None and (other.shape, other.dtype) == (own.shape, own.dtype)
        return other if is_alike else own

    return jax.tree_util.tree_map_with_path(leaf, fresh)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of a run: what is trained, on what, for how long.

    Attributes:
        gan: the system.
        data: what its batches are taken from, arrays [N, ...].
        epochs: passes over the data.
        batch_size: the global batch.
        begin: (fresh state, state at the end of the stage before) -> the first state of this
            stage; both have the same `step` and `key`. Not called for the first stage.
        draw: (state, key, num_samples) -> images [num_samples, H, W, C] in [0, 1], for scores;
            None for a system whose images are not judged in training.
        picture: (state, key) -> (images, how many a row has), drawn after every epoch, always with
            the same key; None for no pictures.
        progress: the words of the progress bar, with {metric:.2f} for numbers; None for the first
            metrics by their names.
    """

    gan: GAN
    data: Mapping[str, np.ndarray]
    epochs: int
    batch_size: int
    begin: Callable[[TrainState, TrainState], TrainState] = carry_over
    draw: Callable[[TrainState, jax.Array, int], jax.Array] | None = None
    picture: Callable[[TrainState, jax.Array], Picture] | None = None
    progress: str | None = None

    @property
    def num_images(self) -> int:
        """Images of the data set that the stage is trained on."""
        return len(next(iter(self.data.values())))

    @property
    def images_per_step(self) -> int:
        """Images of the data set that a step takes."""
        return self.batch_size * max(1, examples.batches_per_step(self.gan))


def plan(stages: Sequence[Stage], platform: str) -> list[Schedule]:
    """How each stage is cut up, and at which step and epoch of the run it begins.

    Raises:
        ValueError: a data set is smaller than one step.
    """
    schedules: list[Schedule] = []
    first_step = first_epoch = 0
    for stage in stages:
        schedule = examples.schedule(
            stage.num_images,
            stage.batch_size,
            stage.gan,
            platform,
            first_step=first_step,
            first_epoch=first_epoch,
        )
        schedules.append(schedule)
        first_step += stage.epochs * schedule.steps_per_epoch
        first_epoch += stage.epochs
    return schedules


def last_step(stage: Stage, schedule: Schedule) -> int:
    """The step of the run that a stage ends with."""
    return schedule.first_step + stage.epochs * schedule.steps_per_epoch


def stage_of_step(schedules: Sequence[Schedule], step: int) -> int:
    """Which stage the state at a step is of: at a seam, the stage that ends there."""
    return max(i for i, schedule in enumerate(schedules) if i == 0 or step > schedule.first_step)


def first_state(stage: Stage, key: jax.Array) -> TrainState:
    """The state that a run begins with."""
    return game.init(stage.gan, key)


def next_state(stage: Stage, before: TrainState) -> TrainState:
    """The first state of a stage, from the last one of the stage before."""
    fresh = game.init(stage.gan, before.key).replace(step=before.step)
    return stage.begin(fresh, before)


def state_at(stages: Sequence[Stage], index: int) -> TrainState:
    """The structure of a stage's states: leaves are jax.ShapeDtypeStruct, the key is a key."""

    def chain(key: jax.Array) -> TrainState:
        state = first_state(stages[0], key)
        for stage in stages[1 : index + 1]:
            state = next_state(stage, state)
        return state

    key = jax.random.key(0)
    return jax.eval_shape(chain, key).replace(key=key)
