"""Many steps in one compiled call, on every device: pmap of a scan over `game.train_step`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, Metrics, TrainState
from jaxgan.training import examples, seeds
from jaxgan.training.debugging import fault, find_operation
from jaxgan.training.devices import AXIS, local_batch_size, replicate, unreplicate
from jaxgan.training.examples import Schedule

PyTree = Any


class Program(NamedTuple):
    """What `compile_epoch` makes; both are compiled at their first call, and run on all devices.

    Attributes:
        order: state -> the images that each step of the state's epoch takes, int32 [devices,
            steps_per_epoch, batches, batch_size / devices]; of a `seeds.stack` of states
            [devices, seeds, ...].
        train: (state, data, order) -> (state, metrics float32 [devices, steps_per_call]). Trains
            for `steps_per_call` steps, by the order of their epoch. The state given is donated
            and gone afterwards. Of a `seeds.stack` of states every device trains its part of each,
            all on the same data; metrics are [devices, seeds, steps_per_call].
    """

    order: Callable[[TrainState], jax.Array]
    train: Callable[[TrainState, PyTree, jax.Array], tuple[TrainState, Metrics]]


def compile_epoch(
    gan: GAN,
    devices: Sequence[jax.Device],
    *,
    num_images: int,
    batch_size: int,
    schedule: Schedule,
    seeds_in_turn: bool = False,
) -> Program:
    """Makes the functions that an epoch of training is a few calls of.

    The epoch's order is a permutation keyed by (key, epoch), the noise of an example by
    (key, step, turn, its index in the global batch); a device takes its part of each. So the result
    is the same on any number of devices, but for the order in which floats are summed.

    States and data are `replicate`d. Data is a pytree of arrays [num_images, ...]; those that are
    `gan.images` are uint8 and reach the losses as float32 in [-1, 1].

    Args:
        gan: the system.
        devices: where to run; those of all processes.
        num_images: size of the data set.
        batch_size: the global batch, a multiple of the number of devices.
        schedule: from `examples.schedule`. A call must begin at a multiple of its steps_per_call.
        seeds_in_turn: as `in_turn` of `seeds.train_each`.

    Raises:
        ValueError: the batch does not divide.
    """
    local_size = local_batch_size(batch_size, len(devices))
    # A mean over one device would still copy all gradients.
    axis_name = AXIS if len(devices) > 1 else None

    def local_index() -> jax.Array:
        return jax.lax.axis_index(AXIS) * local_size + jnp.arange(local_size)

    def order(state: TrainState) -> jax.Array:
        epoch = (
            schedule.first_epoch + (state.step - schedule.first_step) // schedule.steps_per_epoch
        )
        whole = examples.order_of_epoch(
            gan, state.key, epoch, num_images, batch_size, schedule.steps_per_epoch
        )
        return whole[:, :, local_index()]

    def train(state: TrainState, data: PyTree, order: jax.Array) -> tuple[TrainState, Metrics]:
        first = (state.step - schedule.first_step) % schedule.steps_per_epoch
        order = jax.lax.dynamic_slice_in_dim(order, first, schedule.steps_per_call)
        # All noise of the call is drawn here, outside the loop: one large draw costs a fraction of
        # many small ones.
        steps = state.step + jnp.arange(schedule.steps_per_call)
        index = local_index()
        drawn = jax.vmap(lambda step: examples.draws(gan, state.key, step, index, data))(steps)

        def step(state: TrainState, inputs: tuple[jax.Array, PyTree]) -> tuple[TrainState, Metrics]:
            rows, (noises, drawn_rows) = inputs
            batches = examples.batches(gan, data, rows, drawn_rows)
            return game.train_step(gan, state, batches, noises, axis_name)

        if schedule.steps_per_call == 1:
            # On CPUs XLA's convolutions are slow in any loop, also in one of a single step.
            state, metrics = step(state, jax.tree.map(lambda x: x[0], (order, drawn)))
            return state, jax.tree.map(lambda x: x[None], metrics)
        return jax.lax.scan(step, state, (order, drawn))

    def on_devices(function: Callable, **options: Any) -> Callable:
        return jax.pmap(function, axis_name=AXIS, devices=devices, **options)

    return Program(
        on_devices(seeds.order_of_each(order)),
        on_devices(seeds.train_each(train, in_turn=seeds_in_turn), donate_argnums=0),
    )


def train(
    gan: GAN,
    state: TrainState,
    data: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    devices: Sequence[jax.Device],
    batch_size: int,
    last_step: int,
    debug_nans: bool = False,
) -> Iterator[tuple[TrainState, dict[str, np.ndarray]]]:
    """Trains up to a step, a compiled call at a time. The caller logs, draws and saves between.

    Args:
        gan: the system.
        state: where to go on from, a `seeds.stack` for several seeds at once; its step must be at
            the end of a piece.
        data: arrays [N, ...], put on every device once and kept there.
        schedule: from `examples.schedule`, for this data set, batch and system.
        devices: from `select_devices`.
        batch_size: the global batch.
        last_step: the step to end with, counted from the beginning of the run; the end of a piece.
        debug_nans: keep a copy of the state before each call, and where something is not finite
            after it, find the operation that made it so (`debugging.find_operation`).

    Yields:
        After each call: (replicated state, metrics of the call's steps as float32 [steps], or
        [seeds, steps] of a stack; NaN where a turn was not due). The state is donated to the next
        call: take what is wanted of it before.

    Raises:
        ValueError: the batch does not divide.
        FloatingPointError: a metric, or a number of the state, is NaN or infinite after a call,
            which is not yielded; the message says which, and at what step.
    """
    chex.assert_equal_shape_prefix(list(data.values()), 1)
    step = int(state.step)
    # A run that was saved in the middle of an epoch, on a platform of shorter calls, goes on in
    # calls of a piece.
    is_on_course = all(
        (at - schedule.first_step) % schedule.steps_per_call == 0 for at in (step, last_step)
    )
    if not is_on_course:
        schedule = schedule._replace(steps_per_call=schedule.steps_per_piece)
    program = compile_epoch(
        gan,
        devices,
        num_images=len(jax.tree.leaves(dict(data))[0]),
        batch_size=batch_size,
        schedule=schedule,
        # A CPU gains nothing from larger operations, and in turn each has the bits it has alone.
        seeds_in_turn=devices[0].platform == "cpu",
    )
    state, on_devices = replicate(state, devices), replicate(dict(data), devices)
    order = None
    while step < last_step:
        if order is None or schedule.is_at_end_of_epoch(step):
            order = program.order(state)
        before = unreplicate(state) if debug_nans else None
        state, metrics = program.train(state, on_devices, order)
        metrics = unreplicate(metrics)
        if found := fault(state, metrics, step, schedule.steps_per_call):
            if before is not None:
                operations = (
                    find_operation(gan, each, data, batch_size=batch_size, schedule=schedule)
                    for each in seeds.unstack(before)
                )
                operation = next(filter(None, operations), "no operation was found to make it")
                found = f"{found}: {operation}"
            raise FloatingPointError(found)
        step += schedule.steps_per_call
        yield state, {name: _measured(values, state.key.ndim) for name, values in metrics.items()}


def _measured(values: np.ndarray, num_axes: int) -> np.ndarray:
    """A metric of some steps: [steps], or [seeds, steps] if `num_axes` is 2; NaN is no value."""
    if values.ndim == num_axes:
        return values
    # Of a turn that is not due at every step.
    return np.where(values[..., 1] > 0, values[..., 0], np.float32(np.nan))
