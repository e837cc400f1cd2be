"""Many steps in one compiled call, on all devices: a pmap of a scan over `game.train_step`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, Metrics, TrainState
from jaxgan.options import with_own_options, without_mesh
from jaxgan.training import examples, seeds, streaming
from jaxgan.training.debugging import fault, find_operation
from jaxgan.training.devices import AXIS, local_batch_size, of_each_device, replicate, unreplicate
from jaxgan.training.examples import Schedule
from jaxgan.training.streaming import Stream

PyTree = Any


class Program(NamedTuple):
    """The two functions that train for an epoch, made by `compile_epoch`.

    Each function runs on all devices, and is compiled when it is first called.

    Attributes:
        order: (state, step) -> the rows of the data set that each step of an epoch takes, int32
            [devices, steps_per_epoch, batches, batch_size / devices], as `examples.rows_of_epoch`
            has them. The epoch is that of the step, an int32 scalar. For a `seeds.stack` of states
            it is int32 [devices, seeds, ...].
        train: (state, data, order, gathered) -> (state, metrics). Trains for `steps_per_call` steps
            of the epoch that `order` is of. The given state is donated: it cannot be used
            afterwards. `gathered` has the images that are not in the data, from
            `streaming.Stream.gather`; {} if all are there. A metric is float32 [devices,
            steps_per_call]. For a `seeds.stack` of states all seeds train on the same data, each
            device on its part of each seed's batches, and a metric is float32 [devices, seeds,
            steps_per_call]. A metric of a turn that is not taken at every step has one more axis at
            the end, of 2, as `game.train_step` returns it.
    """

    order: Callable[[TrainState, np.int32], jax.Array]
    train: Callable[[TrainState, PyTree, jax.Array, PyTree], tuple[TrainState, Metrics]]


class _Resident(dict[str, jax.Array]):
    """The data that are on the devices, as a turn's noise sees them."""

    def __missing__(self, name: str) -> jax.Array:
        raise ValueError(
            f"the noise of a turn reads the {name!r} of the data set, which are streamed: give "
            "--data resident (from Python: streamed=False)"
        )


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
    [num_images, ...], of which those that are streamed are left out. Those named in `gan.images`
    are uint8, and float32 in [-1, 1] in the losses.

    Args:
        gan: the system.
        devices: the devices of all processes, from `select_devices`.
        num_images: the number of images in the data set.
        batch_size: the global batch size, a multiple of the number of devices.
        schedule: from `examples.schedule`. A call must end in the epoch that it begins in.

    Raises:
        ValueError: the batch size is not a multiple of the number of devices.
    """
    local_size = local_batch_size(batch_size, len(devices))
    # On one device a mean over devices would change nothing, but still copy all gradients.
    axis_name = AXIS if len(devices) > 1 else None

    def local_index() -> jax.Array:
        return jax.lax.axis_index(AXIS) * local_size + jnp.arange(local_size)

    def order(state: TrainState, step: jax.Array) -> jax.Array:
        epoch, first = jnp.divmod(step - schedule.first_step, schedule.steps_per_epoch)
        return examples.rows_of_epoch(
            gan,
            state.key,
            schedule.first_epoch + epoch,
            step - first,
            local_index(),
            num_images=num_images,
            batch_size=batch_size,
            steps=schedule.steps_per_epoch,
        )

    def train(
        state: TrainState, data: PyTree, order: jax.Array, gathered: PyTree
    ) -> tuple[TrainState, Metrics]:
        first = (state.step - schedule.first_step) % schedule.steps_per_epoch
        rows = jax.lax.dynamic_slice_in_dim(order, first, schedule.steps_per_call)
        # What is gathered lies in the order in which it is taken.
        places = jnp.arange(rows.size).reshape(rows.shape)
        # The noise of all steps is drawn before the scan: one large draw is much faster than many
        # small ones.
        steps = state.step + jnp.arange(schedule.steps_per_call)
        index = local_index()
        seen = _Resident(data) if gathered else data
        drawn = jax.vmap(lambda step: examples.draws(gan, state.key, step, index, seen))(steps)

        def step(
            state: TrainState, inputs: tuple[jax.Array, jax.Array, PyTree]
        ) -> tuple[TrainState, Metrics]:
            rows, places, noises = inputs
            batches = tuple(
                None if own is None else own | other
                for own, other in zip(
                    examples.batches(gan, data, rows),
                    examples.batches(gan, gathered, places),
                    strict=True,
                )
            )
            return game.train_step(gan, state, batches, noises, axis_name)

        inputs = rows, places, drawn
        if schedule.steps_per_call == 1:
            # On CPUs XLA's convolutions are slow in any loop, also in one of a single step.
            state, metrics = step(state, jax.tree.map(lambda x: x[0], inputs))
            return state, jax.tree.map(lambda x: x[None], metrics)
        return jax.lax.scan(step, state, inputs)

    def on_devices(function: Callable, **options: Any) -> Callable:
        mapped = jax.pmap(function, axis_name=AXIS, devices=devices, **options)
        return with_own_options(without_mesh()(mapped))

    return Program(
        on_devices(seeds.order_of_each(order), in_axes=(0, None)),
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
    streamed: bool = False,
    debug_nans: bool = False,
) -> Iterator[tuple[TrainState, dict[str, np.ndarray]]]:
    """Trains up to a step, one compiled call at a time. The caller logs and saves between calls.

    Args:
        gan: the system.
        state: the state to start from, on the host. Its step must be at the end of a piece.
        data: arrays [N, ...]. They are copied to every device once, but for those that are
            streamed.
        schedule: from `examples.schedule`, for this data set, batch size and system.
        devices: from `select_devices`.
        batch_size: the global batch size, a multiple of the number of devices.
        last_step: the step of the run to stop at; it must be at the end of a piece.
        streamed: whether the arrays of `gan.images` stay on the host, in memory or mapped from a
            file. Each call is then given the images that it takes, which a thread has gathered
            (`streaming`) during the call before, and a call is a piece or a part of one. The bits
            are the same. A turn's noise can pick no rows of these arrays.
        debug_nans: whether to keep a copy of the state before each call, and to find the operation
            that made a number NaN or infinite (`debugging.find_operation`).

    Yields:
        After each call, or of streamed images each piece, (state, metrics). The state is
        replicated, and donated to the next call: copy what you need of it before. A metric is
        float32 [steps of the call]; it is NaN at steps at which its turn was not taken.

    Raises:
        ValueError: the batch size is not a multiple of the number of devices.
        GatheringError: images that are streamed cannot be read.
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
        streamed=streamed,
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
    streamed: bool = False,
    debug_nans: bool = False,
) -> Iterator[tuple[list[TrainState], dict[str, np.ndarray]]]:
    """Trains the states of several seeds as `train` trains one, in groups (`seeds.groups`).

    Args:
        gan, data, schedule, devices, batch_size, last_step, streamed, debug_nans: as in `train`.
        states: the states to start from, one for each seed, all at the same step.

    Yields:
        After a call for each group (groups, metrics). The groups are replicated, and donated to the
        next calls. A metric is float32 [seeds, steps of the call].

    Raises:
        ValueError, GatheringError, FloatingPointError: as in `train`; or the states are not all at
            the same step.
    """
    chex.assert_equal_shape_prefix(list(data.values()), 1)
    step = int(states[0].step)
    # On a CPU, where calls are short, a run can be saved in the middle of an epoch. On an
    # accelerator such a run continues in calls of one piece.
    is_on_course = all(
        (at - schedule.first_step) % schedule.steps_per_call == 0 for at in (step, last_step)
    )
    if streamed or not is_on_course:
        schedule = schedule._replace(steps_per_call=schedule.steps_per_piece)
    groups = [replicate(group, devices) for group in seeds.groups(states, devices[0].platform)]
    on_host = {name: array for name, array in data.items() if streamed and name in gan.images}
    local = sum(device.process_index == jax.process_index() for device in devices)
    # Of a call for a group, the rows of the data set that this process takes in a step.
    taken = batch_size // len(devices) * local * examples.batches_taken(gan)
    taken *= len(states) // len(groups)
    bytes_of_step = taken * sum(array[:1].nbytes for array in on_host.values())
    lengths = streaming.lengths(schedule.steps_per_call, bytes_of_step)
    programs = {
        length: compile_epoch(
            gan,
            devices,
            num_images=len(jax.tree.leaves(dict(data))[0]),
            batch_size=batch_size,
            schedule=schedule._replace(steps_per_call=length),
        )
        for length in dict.fromkeys(lengths)
    }
    on_devices = replicate({name: x for name, x in data.items() if name not in on_host}, devices)

    def calls() -> Iterator[tuple[int, int, int]]:
        """(index of the group, first step, steps) of each call."""
        for piece in range(step, last_step, schedule.steps_per_call):
            for i in range(len(groups)):
                at = piece
                for length in lengths:
                    yield i, at, length
                    at += length

    orders: dict[int, tuple[jax.Array, np.ndarray | None]] = {}

    def inputs(call: tuple[int, int, int]) -> tuple[jax.Array, Future[PyTree] | None]:
        """The order that a call takes its rows from, and what is gathered for it."""
        i, at, length = call
        first = (at - schedule.first_step) % schedule.steps_per_epoch
        if first == 0 or i not in orders:
            order = programs[lengths[0]].order(groups[i], np.int32(at))
            orders[i] = order, of_each_device(order) if on_host else None
        order, rows = orders[i]
        return order, None if rows is None else stream.gather(rows, first, length)

    with Stream(on_host) as stream:
        # The inputs of a call are asked for before the call before it begins. Otherwise devices
        # would compute an order after that call, and its images would be waited for.
        asked = _one_ahead(map(inputs, calls()))
        while step < last_step:
            measured = []
            for i in range(len(groups)):
                parts, at = [], step
                for length in lengths:
                    order, gathering = next(asked)
                    gathered = {} if gathering is None else gathering.result()
                    before = unreplicate(groups[i]) if debug_nans else None
                    groups[i], on_device = programs[length].train(
                        groups[i], on_devices, order, gathered
                    )
                    metrics = unreplicate(on_device)
                    # The images of this call make room for those of the call after the next.
                    del gathering, gathered
                    if found := fault(groups[i], metrics, at, length):
                        if before is not None:
                            its = schedule._replace(steps_per_call=length)
                            found = f"{found}: {_operation(gan, before, data, batch_size, its)}"
                        raise FloatingPointError(found)
                    is_stack = groups[i].key.ndim > 1  # The first axis is that of devices.
                    parts.append({k: x if is_stack else x[None] for k, x in metrics.items()})
                    at += length
                measured.append(_joined(parts, axis=1))
            step += schedule.steps_per_call
            together = _joined(measured, axis=0)
            yield groups, {name: _measured(values) for name, values in together.items()}


def _operation(
    gan: GAN, before: TrainState, data: PyTree, batch_size: int, schedule: Schedule
) -> str:
    """The operation of a call that made a number NaN or infinite, in the first seed with one."""
    operations = (
        find_operation(gan, each, data, batch_size=batch_size, schedule=schedule)
        for each in seeds.unstack(before)
    )
    return next(filter(None, operations), "no operation was found to make it")


def _one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """The items, each after the next one has been made too."""
    held: list[Any] = []
    for item in items:
        yield from held
        held = [item]
    yield from held


def _joined(parts: Sequence[Mapping[str, np.ndarray]], axis: int) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts], axis) for name in parts[0]}


def _measured(values: np.ndarray) -> np.ndarray:
    """A metric with NaN at the steps at which its turn was not taken.

    Args:
        values: float32 [seeds, steps], or [seeds, steps, 2] of (value, 1 if taken).
    """
    if values.ndim == 2:
        return values
    return np.where(values[..., 1] > 0, values[..., 0], np.float32(np.nan))
