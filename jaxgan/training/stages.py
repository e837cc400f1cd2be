"""Stages: a run is a sequence of systems, each of which starts from the state of the one before."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, TrainState
from jaxgan.training import examples
from jaxgan.training.collapse import Sign
from jaxgan.training.examples import Schedule

# A grid of images: (float [n, H, W, C] in [0, 1], images in a row; None for a nearly square grid).
Picture = tuple[Any, int | None]


def carry_over(fresh: TrainState, before: TrainState) -> TrainState:
    """The initial state of a stage, with the arrays that it shares with the stage before.

    An array is taken from the stage before if its place in the state (player, name, optimiser's
    moment), its shape and its dtype are the same. Arrays that are new or have grown stay as they
    were initialised.

    Args:
        fresh: from `game.init` of the stage's system.
        before: the last state of the stage before.
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
    """A part of a run: a system, its data, and the length of its training.

    Attributes:
        gan: the system.
        data: the data set that batches are taken from, arrays [N, ...].
        epochs: passes over the data.
        batch_size: the global batch size.
        begin: (fresh state, last state of the stage before) -> the first state of this stage. Both
            arguments have the same `step` and `key`. It is not called for the first stage.
        draw: (state, key, num_samples) -> images, float [num_samples, H, W, C] in [0, 1], which
            --eval-every scores; None if the stage's images are not scored.
        picture: (state, key) -> (images, how many a row has), the grid of samples for an epoch. The
            key is the same at every epoch. None for no grids.
        progress: the text of the progress bar, with {metric:.2f} in the place of a metric; None
            for the names and values of the first metrics.
        warning: (metrics by name, each the mean over the last piece of an epoch) -> a line that is
            said at the end of the epoch, if something is wrong that no error shows; None if nothing
            is. None in its place for no warnings.
        signs: of a collapse, as in `collapse`: what is said once, with the step, when it shows.
        images_per_piece: about how many images a row of metrics is the mean over at most. On a CPU
            a compiled call takes as many, and a signal waits for its end: choose what two cores
            train in seconds. None for a twelfth of an epoch.
    """

    gan: GAN
    data: Mapping[str, np.ndarray]
    epochs: int
    batch_size: int
    begin: Callable[[TrainState, TrainState], TrainState] = carry_over
    draw: Callable[[TrainState, jax.Array, int], jax.Array] | None = None
    picture: Callable[[TrainState, jax.Array], Picture] | None = None
    progress: str | None = None
    warning: Callable[[Mapping[str, float]], str | None] | None = None
    signs: Sequence[Sign] = ()
    images_per_piece: int | None = None

    @property
    def num_images(self) -> int:
        """The number of images in the stage's data set."""
        return len(next(iter(self.data.values())))

    @property
    def images_per_step(self) -> int:
        """The number of images that a step takes from the data set's order."""
        return self.batch_size * max(1, examples.batches_per_step(self.gan))


def plan(stages: Sequence[Stage], platform: str) -> list[Schedule]:
    """The schedule of each stage, which also says at which step and epoch of the run it begins.

    Args:
        stages: the stages, in order.
        platform: "cpu", "gpu" or "tpu", as in `examples.schedule`.

    Raises:
        ValueError: a stage's data set has fewer images than one step takes.
    """
    schedules: list[Schedule] = []
    first_step = first_epoch = 0
    for stage in stages:
        schedule = examples.schedule(
            stage.num_images,
            stage.batch_size,
            stage.gan,
            platform,
            images_per_piece=stage.images_per_piece,
            first_step=first_step,
            first_epoch=first_epoch,
        )
        schedules.append(schedule)
        first_step += stage.epochs * schedule.steps_per_epoch
        first_epoch += stage.epochs
    return schedules


def last_step(stage: Stage, schedule: Schedule) -> int:
    """The step of the run at which a stage ends."""
    return schedule.first_step + stage.epochs * schedule.steps_per_epoch


def stage_of_step(schedules: Sequence[Schedule], step: int) -> int:
    """The index of the stage whose state a run has at a step.

    At the step where one stage ends and the next begins, it is the stage that ends.
    """
    return max(i for i, schedule in enumerate(schedules) if i == 0 or step > schedule.first_step)


def first_state(stage: Stage, key: jax.Array) -> TrainState:
    """The state that a run begins with, at step 0."""
    return game.init(stage.gan, key)


def next_state(stage: Stage, before: TrainState) -> TrainState:
    """The first state of a stage, made from the last state of the stage before."""
    fresh = game.init(stage.gan, before.key).replace(step=before.step)
    return stage.begin(fresh, before)


def state_at(stages: Sequence[Stage], index: int) -> TrainState:
    """The structure of a stage's states, without computing one.

    Args:
        stages: the stages of the run, in order.
        index: the index of the stage.

    Returns:
        A state whose leaves are jax.ShapeDtypeStruct. Only `key` is a real key.
    """

    def chain(key: jax.Array) -> TrainState:
        state = first_state(stages[0], key)
        for stage in stages[1 : index + 1]:
            state = next_state(stage, state)
        return state

    key = jax.random.key(0)
    return jax.eval_shape(chain, key).replace(key=key)
