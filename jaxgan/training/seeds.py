"""Several seeds trained by one program: their states stacked, and functions over such a stack."""

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
    """States of several seeds as one, on the host: all leaves but the step gain a leading axis.

    One alone stays as it is, so that it is trained by the program of one.

    Raises:
        ValueError: they are not all at one step.
    """
    steps = sorted({int(state.step) for state in states})
    if len(steps) != 1:
        raise ValueError(f"states must be at one step, not at {', '.join(map(str, steps))}")
    if len(states) == 1:
        return states[0]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return on_host(stacked.replace(step=states[0].step))


def unstack(state: TrainState) -> list[TrainState]:
    """The other way round: the state of each seed, in the order they were stacked in."""
    if state.key.ndim == 0:
        return [state]
    own = state.replace(step=None)
    return [
        jax.tree.map(lambda x, i=i: x[i], own).replace(step=state.step)
        for i in range(len(state.key))
    ]


def order_of_each(order: Order) -> Order:
    """`order` for a single state, and for each state of a stack."""

    def orders(state: TrainState) -> jax.Array:
        if state.key.ndim == 0:
            return order(state)
        return jax.vmap(lambda key: order(state.replace(key=key)))(state.key)

    return orders


def train_each(train: Train, *, in_turn: bool) -> Train:
    """`train` for a single state, and for each state of a stack on the same data.

    Args:
        train: (state, data, order) -> (state, metrics of some steps).
        in_turn: train the seeds of a stack one after another, each with the very operations of its
            own program, rather than in operations on all of them at once.
    """

    def trained(state: TrainState, data: PyTree, order: jax.Array) -> tuple[TrainState, Metrics]:
        if state.key.ndim == 0:
            return train(state, data, order)

        # The step is one for all: a `cond` on steps of their own would run both of its branches.
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
