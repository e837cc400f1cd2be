"""Many steps in one compiled call, on all devices: a pmap of a scan over `game.train_step`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, Metrics, TrainState
from jaxgan.options import with_own_options, without_mesh
from jaxgan.training import examples, seeds
from jaxgan.training.debugging import fault, find_operation
from jaxgan.training.devices import AXIS, local_batch_size, replicate, unreplicate
from jaxgan.training.examples import Schedule

PyTree = Any


class Program(NamedTuple):
    """The two functions that train for an epoch, made by `compile_epoch`.

    Each function runs on all devices, and is compiled when it is first called.

    Attributes:
        order: state -> the rows of the data set that each step of the state's epoch takes, int32
            [devices, steps_per_epoch, batches_per_step, batch_size / devices]. For a `seeds.stack`
            of states it is int32 [devices, seeds, ...].
        train: (state, data, order) -> (state, metrics). Trains for `steps_per_call` steps of the
            epoch that `order` is of. The given state is donated: it cannot be used afterwards. A
            metric is float32 [devices, steps_per_call]. For a `seeds.stack` of states all seeds
            train on the same data, each device on its part of each seed's batches, and a metric is
            float32 [devices, seeds, steps_per_call]. A metric of a turn that is not taken at every
            step has one more axis at the end, of 2, as `game.train_step` returns it.
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
) -> Program:
    """Makes the two functions that train for an epoch in a few calls.

    The order of an epoch is a permutation keyed by (key, epoch). The noise of an example is keyed
    by (key, step, turn, index of the example in the global batch). Each device takes its part of
    both. So the result is the same on any number of devices, except for the order in which floats
    are summed.

    The functions take states and data that are replicated (`replicate`). The data are arrays
    [num_images, ...]. Those named in `gan.images` are uint8, and float32 in [-1, 1] in the losses.

    Args:
        gan: the system.
        devices: the devices of all processes, from `select_devices`.
        num_images: the number of images in the data set.
        batch_size: the global batch size, a multiple of the number of devices.
        schedule: from `examples.schedule`. A call must begin at a multiple of its steps_per_call,
            counted from its first_step.

    Raises:
        ValueError: the batch size is not a multiple of the number of devices.
    """
    local_size = local_batch_size(batch_size, len(devices))
    # On one device a mean over devices would change nothing, but still copy all gradients.
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
        # The noise of all steps is drawn before the scan: one large draw is much faster than many
        # small ones.
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
        mapped = jax.pmap(function, axis_name=AXIS, devices=devices, **options)
        return with_own_options(without_mesh()(mapped))

    return Program(
        on_devices(seeds.order_of_each(order)),
        on_devices(seeds.train_each(train), donate_argnums=0),
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
    """Trains up to a step, one compiled call at a time. The caller logs and saves between calls.

    Args:
        gan: the system.
        state: the state to start from, on the host. Its step must be at the end of a piece.
        data: arrays [N, ...]. They are copied to every device once.
        schedule: from `examples.schedule`, for this data set, batch size and system.
        devices: from `select_devices`.
        batch_size: the global batch size, a multiple of the number of devices.
        last_step: the step of the run to stop at; it must be at the end of a piece.
        debug_nans: whether to keep a copy of the state before each call, and to find the operation
            that made a number NaN or infinite (`debugging.find_operation`).

    Yields:
        After each call (state, metrics). The state is replicated, and donated to the next call:
        copy what you need of it before. A metric is float32 [steps of the call]; it is NaN at steps
        at which its turn was not taken.

    Raises:
        ValueError: the batch size is not a multiple of the number of devices.
        FloatingPointError: a metric or a number of the state is NaN or infinite after a call. The
            call is not yielded. The message names the number and the step.
    """
    calls = train_seeds(
        gan,
        [state],
        data,
        schedule,
        devices=devices,
        batch_size=batch_size,
        last_step=last_step,
        debug_nans=debug_nans,
    )
    for (trained,), metrics in calls:
        yield trained, {name: values[0] for name, values in metrics.items()}


def train_seeds(
    gan: GAN,
    states: Sequence[TrainState],
    data: Mapping[str, np.ndarray],
    schedule: Schedule,
    *,
    devices: Sequence[jax.Device],
    batch_size: int,
    last_step: int,
    debug_nans: bool = False,
) -> Iterator[tuple[list[TrainState], dict[str, np.ndarray]]]:
    """Trains the states of several seeds as `train` trains one, in groups (`seeds.groups`).

    Args:
        gan, data, schedule, devices, batch_size, last_step, debug_nans: as in `train`.
        states: the states to start from, one for each seed, all at the same step.

    Yields:
        After a call for each group (groups, metrics). The groups are replicated, and donated to the
        next calls. A metric is float32 [seeds, steps of the call].

    Raises:
        ValueError, FloatingPointError: as in `train`; or the states are not all at the same step.
    """
    chex.assert_equal_shape_prefix(list(data.values()), 1)
    step = int(states[0].step)
    # On a CPU, where calls are short, a run can be saved in the middle of an epoch. On an
    # accelerator such a run continues in calls of one piece.
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
    )
    groups = [replicate(group, devices) for group in seeds.groups(states, devices[0].platform)]
    on_devices = replicate(dict(data), devices)
    orders: list[jax.Array] = []
    while step < last_step:
        if not orders or schedule.is_at_end_of_epoch(step):
            orders = [program.order(group) for group in groups]
        measured = []
        for i, order in enumerate(orders):
            before = unreplicate(groups[i]) if debug_nans else None
            groups[i], on_device = program.train(groups[i], on_devices, order)
            metrics = unreplicate(on_device)
            if found := fault(groups[i], metrics, step, schedule.steps_per_call):
                if before is not None:
                    operations = (
                        find_operation(gan, each, data, batch_size=batch_size, schedule=schedule)
                        for each in seeds.unstack(before)
                    )
                    operation = next(filter(None, operations), "no operation was found to make it")
                    found = f"{found}: {operation}"
                raise FloatingPointError(found)
            is_stack = groups[i].key.ndim > 1  # The first axis is that of devices.
            measured.append({name: x if is_stack else x[None] for name, x in metrics.items()})
        step += schedule.steps_per_call
        yield (
            groups,
            {
                name: _measured(np.concatenate([metrics[name] for metrics in measured]))
                for name in measured[0]
            },
        )


def _measured(values: np.ndarray) -> np.ndarray:
    """A metric with NaN at the steps at which its turn was not taken.

    Args:
        values: float32 [seeds, steps], or [seeds, steps, 2] of (value, 1 if taken).
    """
    if values.ndim == 2:
        return values
    return np.where(values[..., 1] > 0, values[..., 0], np.float32(np.nan))
