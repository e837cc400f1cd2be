"""Several seeds trained at once: groups of their states, stacks, and functions over a stack."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.game import Metrics, TrainState
from jaxgan.training.devices import on_host

PyTree = Any
Train = Callable[[TrainState, PyTree, jax.Array, PyTree], tuple[TrainState, Metrics]]
Order = Callable[[TrainState, jax.Array], jax.Array]


def groups(states: Sequence[TrainState], platform: str) -> list[TrainState]:
    """Groups the states of several seeds: one compiled call trains a group.

    On CPUs each seed is a group. A program of larger operations is no faster there, and each seed
    keeps the bits of the program that trains it alone. Elsewhere all seeds are one group.

    Args:
        states: as in `stack`.
        platform: of the devices: "cpu", "gpu" or "tpu".

    Returns:
        States and stacks of states; `unstack_groups` undoes it.

    Raises:
        ValueError: the states are not all at the same step.
    """
    _check_at_one_step(states)
    return list(states) if platform == "cpu" else [stack(states)]


def unstack_groups(groups: Iterable[TrainState]) -> list[TrainState]:
    """The states that `groups` was given, in the same order."""
    return [state for group in groups for state in unstack(group)]


def stack(states: Sequence[TrainState]) -> TrainState:
    """Stacks the states of several seeds into one state.

    A single state is returned as it is, so that it is trained by the program of a single seed.

    Args:
        states: one state for each seed, all at the same step and of the same shapes.

    Returns:
        A state on the host with leaves [seeds, ...]; the step stays a scalar.

    Raises:
        ValueError: the states are not all at the same step.
    """
    _check_at_one_step(states)
    if len(states) == 1:
        return states[0]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return on_host(stacked.replace(step=states[0].step))


def _check_at_one_step(states: Sequence[TrainState]) -> None:
    steps = sorted({int(state.step) for state in states})
    if len(steps) != 1:
        raise ValueError(f"states must be at one step, not at {', '.join(map(str, steps))}")


def unstack(state: TrainState) -> list[TrainState]:
    """The states that `stack` was given, in the same order."""
    if state.key.ndim == 0:
        return [state]
    own = state.replace(step=None)
    return [
        jax.tree.map(lambda x, i=i: x[i], own).replace(step=state.step)
        for i in range(len(state.key))
    ]


def order_of_each(order: Order) -> Order:
    """Extends a function of one state to stacks of states.

    Args:
        order: (state, step) -> the rows of the epoch of the step, int32 [...].

    Returns:
        The function of a single state, or of a stack: then int32 [seeds, ...].
    """

    def orders(state: TrainState, step: jax.Array) -> jax.Array:
        if state.key.ndim == 0:
            return order(state, step)
        return jax.vmap(lambda key: order(state.replace(key=key), step))(state.key)

    return orders


def train_each(train: Train) -> Train:
    """Extends a function that trains one state to stacks of states, all on the same data.

    Each operation works on all seeds of a stack.

    Args:
        train: (state, data, order, gathered) -> (state, metrics of some steps).

    Returns:
        The function of a single state, or of a stack: then order, gathered and metrics have a
        leading axis of seeds.
    """

    def trained(
        state: TrainState, data: PyTree, order: jax.Array, gathered: PyTree
    ) -> tuple[TrainState, Metrics]:
        if state.key.ndim == 0:
            return train(state, data, order, gathered)

        # All seeds share one step. With a step for each seed, a `cond` on the step would run both
        # of its branches.
        def train_one(
            own: TrainState, order: jax.Array, gathered: PyTree
        ) -> tuple[TrainState, jax.Array, Metrics]:
            after, metrics = train(own.replace(step=state.step), data, order, gathered)
            return after.replace(step=None), after.step, metrics

        after, steps, metrics = jax.vmap(train_one)(state.replace(step=None), order, gathered)
        return after.replace(step=steps[0]), metrics

    return trained
