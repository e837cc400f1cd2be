"""Several seeds trained by one program: a stack of their states, and functions over the stack."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.game import Metrics, TrainState
from jaxgan.training.devices import on_host

PyTree = Any
Train = Callable[[TrainState, PyTree, jax.Array], tuple[TrainState, Metrics]]
Order = Callable[[TrainState], jax.Array]


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
    steps = sorted({int(state.step) for state in states})
    if len(steps) != 1:
        raise ValueError(f"states must be at one step, not at {', '.join(map(str, steps))}")
    if len(states) == 1:
        return states[0]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return on_host(stacked.replace(step=states[0].step))


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
        order: state -> the order of its epoch, int32 [...].

    Returns:
        The function of a single state, or of a stack: then int32 [seeds, ...].
    """

    def orders(state: TrainState) -> jax.Array:
        if state.key.ndim == 0:
            return order(state)
        return jax.vmap(lambda key: order(state.replace(key=key)))(state.key)

    return orders


def train_each(train: Train, *, in_turn: bool) -> Train:
    """Extends a function that trains one state to stacks of states, all on the same data.

    Args:
        train: (state, data, order) -> (state, metrics of some steps).
        in_turn: whether the seeds of a stack are trained one after another, with the operations
            that train a single seed. Otherwise each operation works on all seeds at once.

    Returns:
        The function of a single state, or of a stack: then metrics have a leading axis of seeds.
    """

    def trained(state: TrainState, data: PyTree, order: jax.Array) -> tuple[TrainState, Metrics]:
        if state.key.ndim == 0:
            return train(state, data, order)

        # All seeds share one step. With a step for each seed, a `cond` on the step would run both
        # of its branches under vmap.
        def train_one(seed: tuple[TrainState, jax.Array]) -> tuple[TrainState, Metrics]:
            own, order = seed
            return train(own.replace(step=state.step), data, order)

        def without_step(
            seed: tuple[TrainState, jax.Array],
        ) -> tuple[TrainState, jax.Array, Metrics]:
            after, metrics = train_one(seed)
            return after.replace(step=None), after.step, metrics

        seeds = state.replace(step=None), order
        after, steps, metrics = (
            jax.lax.map(without_step, seeds) if in_turn else jax.vmap(without_step)(seeds)
        )
        return after.replace(step=steps[0]), metrics

    return trained
