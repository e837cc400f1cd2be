"""Many steps in one compiled call, on every device: pmap of a scan over `game.train_step`."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, Metrics, TrainState

PyTree = Any
AXIS = "devices"

# An epoch is cut in up to this many equal pieces: on a CPU, where an epoch takes seconds, each is a
# call of its own, so that the screen moves and a signal is soon heard; metrics are averaged over
# each wherever it runs.
PIECES_PER_EPOCH = 12
# What may be left out of an epoch to have pieces: step counts can be prime.
MOST_LEFT_OUT = 0.01
# Where lines of source are nobody's that uses jaxgan.
_LIBRARIES = {"jax", "flax", "optax", "chex", "contextlib.py", "functools.py"}


def select_devices(which: str) -> list[jax.Device]:
    """The devices of the default platform that a run is to use.

    Args:
        which: "all", or how many of each process's devices, the first ones.

    Returns:
        The devices, those of process 0 first.

    Raises:
        ValueError: not "all" nor a count, or more than there are.
    """
    count = jax.local_device_count()
    if which != "all":
        if not which.isdecimal() or int(which) < 1:
            raise ValueError(f"devices must be 'all' or a count of 1 or more, not {which!r}")
        if int(which) > count:
            kind = jax.devices()[0].platform
            raise ValueError(f"{which} devices asked for, but there are {count} ({kind})")
        count = int(which)
    by_process: dict[int, list[jax.Device]] = {}
    for device in jax.devices():
        by_process.setdefault(device.process_index, []).append(device)
    return [device for process in sorted(by_process) for device in by_process[process][:count]]


class Schedule(NamedTuple):
    """How an epoch is cut up.

    Attributes:
        steps_per_epoch: generator updates in an epoch; images that fill no step wait for another
            epoch's shuffle.
        steps_per_piece: updates that a row of metrics is the mean of; divides steps_per_epoch.
        steps_per_call: updates in one compiled call; divides steps_per_epoch, and is a multiple of
            steps_per_piece.
    """

    steps_per_epoch: int
    steps_per_piece: int
    steps_per_call: int


def schedule(num_images: int, batch_size: int, discriminator_steps: int, platform: str) -> Schedule:
    """Cuts an epoch into pieces and calls.

    Args:
        num_images: size of the data set.
        batch_size: the global batch.
        discriminator_steps: batches that one step takes.
        platform: "cpu", "gpu" or "tpu". An epoch is one call on accelerators, a call a piece on
            CPUs. It does not change the numbers that come out.

    Raises:
        ValueError: the data set is smaller than one step.
    """
    steps = num_images // (batch_size * discriminator_steps)
    if steps < 1:
        raise ValueError(
            f"a step takes {batch_size * discriminator_steps} images (batch size {batch_size} x "
            f"{discriminator_steps} discriminator steps), but the data set has {num_images}"
        )
    pieces = max(
        count
        for count in range(1, min(PIECES_PER_EPOCH, steps) + 1)
        if steps % count <= MOST_LEFT_OUT * steps
    )
    per_piece = steps // pieces
    per_epoch = per_piece * pieces
    return Schedule(per_epoch, per_piece, per_piece if platform == "cpu" else per_epoch)


def local_batch_size(batch_size: int, num_devices: int) -> int:
    """A device's part of the global batch.

    Raises:
        ValueError: the batch does not divide.
    """
    if batch_size % num_devices:
        raise ValueError(
            f"a batch of {batch_size} does not divide over {num_devices} devices: "
            f"take a multiple of {num_devices}"
        )
    return batch_size // num_devices


class Program(NamedTuple):
    """What `compile_epoch` makes; both are compiled at their first call, and run on all devices.

    Attributes:
        order: state -> the images that each step of the state's epoch takes, int32 [devices,
            steps_per_epoch, discriminator_steps, batch_size / devices]; of a `stack` of states
            [devices, seeds, ...].
        train: (state, data, order) -> (state, metrics float32 [devices, steps_per_call]). Trains
            for `steps_per_call` steps, by the order of their epoch. The state given is donated
            and gone afterwards. Of a `stack` of states every device trains its part of each, all
            on the same data; metrics are [devices, seeds, steps_per_call].
    """

    order: Callable[[TrainState], jax.Array]
    train: Callable[[TrainState, PyTree, jax.Array], tuple[TrainState, Metrics]]


def compile_epoch(
    gan: GAN,
    devices: Sequence[jax.Device],
    *,
    num_images: int,
    batch_size: int,
    steps_per_epoch: int,
    steps_per_call: int,
    seeds_in_turn: bool = False,
) -> Program:
    """Makes the functions that an epoch of training is a few calls of.

    The epoch's order is a permutation keyed by (key, epoch), the noise of an example by
    (key, step, its index in the global batch); a device takes its part of each. So the result is
    the same on any number of devices, but for the order in which floats are summed.

    States and data are `replicate`d. Data is a pytree of arrays [num_images, ...]; uint8 leaves are
    images and reach the losses as float32 in [-1, 1].

    Args:
        gan: the system.
        devices: where to run; those of all processes.
        num_images: size of the data set.
        batch_size: the global batch, a multiple of the number of devices.
        steps_per_epoch: as in `Schedule`.
        steps_per_call: as in `Schedule`. A call must begin at a multiple of it.
        seeds_in_turn: train the seeds of a `stack` one after another, each with the very operations
            of its own program, rather than in operations on all of them at once.

    Raises:
        ValueError: the batch does not divide.
    """
    local_size = local_batch_size(batch_size, len(devices))
    # A mean over one device would still copy all gradients.
    axis_name = AXIS if len(devices) > 1 else None

    def local_index() -> jax.Array:
        return jax.lax.axis_index(AXIS) * local_size + jnp.arange(local_size)

    def order(state: TrainState) -> jax.Array:
        epoch = state.step // steps_per_epoch
        whole = _order(gan, state.key, epoch, num_images, batch_size, steps_per_epoch)
        return whole[:, :, local_index()]

    def train(state: TrainState, data: PyTree, order: jax.Array) -> tuple[TrainState, Metrics]:
        first = state.step % steps_per_epoch
        order = jax.lax.dynamic_slice_in_dim(order, first, steps_per_call)
        # All noise of the call is drawn here, outside the loop: one large draw costs a fraction of
        # many small ones.
        steps = state.step + jnp.arange(steps_per_call)
        index = local_index()
        noises = jax.vmap(lambda step: _noises(gan, state.key, step, index))(steps)

        def step(state: TrainState, inputs: tuple[jax.Array, PyTree]) -> tuple[TrainState, Metrics]:
            rows, noises = inputs
            return game.train_step(gan, state, _batches(data, rows), noises, axis_name)

        return jax.lax.scan(step, state, (order, noises))

    def train_seeds(
        state: TrainState, data: PyTree, order: jax.Array
    ) -> tuple[TrainState, Metrics]:
        if state.key.ndim == 0:
            return train(state, data, order)

        # The step is one for all: a `cond` on steps of their own would run both of its branches.
        def train_seed(seed: tuple[TrainState, jax.Array]) -> tuple[TrainState, Metrics]:
            own, order = seed
            after, metrics = train(own.replace(step=state.step), data, order)
            return after.replace(step=None), metrics

        seeds = state.replace(step=None), order
        after, metrics = (
            jax.lax.map(train_seed, seeds) if seeds_in_turn else jax.vmap(train_seed)(seeds)
        )
        return after.replace(step=state.step + steps_per_call), metrics

    def order_seeds(state: TrainState) -> jax.Array:
        if state.key.ndim == 0:
            return order(state)
        return jax.vmap(lambda key: order(state.replace(key=key)))(state.key)

    def on_devices(function: Callable, **options: Any) -> Callable:
        return jax.pmap(function, axis_name=AXIS, devices=devices, **options)

    return Program(on_devices(order_seeds), on_devices(train_seeds, donate_argnums=0))


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


def replicate(tree: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """Copies a pytree of arrays to every device: leaves gain a leading axis of local devices."""
    local = sum(device.process_index == jax.process_index() for device in devices)
    copy = jax.pmap(lambda _, x: x, axis_name=AXIS, in_axes=(0, None), devices=devices)
    return copy(np.arange(local), tree)


def unreplicate(tree: PyTree) -> PyTree:
    """One device's copy of a replicated pytree, on the host: NumPy leaves, PRNG keys stay keys."""
    # Indexing the arrays would move them between devices first, on all processes together. And what
    # asarray gives may be the device's own memory, which is the next call's once it is donated.
    return _on_host(tree, lambda x: np.asarray(x.addressable_shards[0].data)[0].copy())


def on_host(tree: PyTree) -> PyTree:
    """A pytree of arrays with NumPy leaves; PRNG keys stay keys."""
    return _on_host(tree, np.asarray)


def _on_host(tree: PyTree, fetch: Callable[[jax.Array], np.ndarray]) -> PyTree:
    def leaf(x: jax.Array) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(
                fetch(jax.random.key_data(x)), impl=jax.random.key_impl(x)
            )
        return fetch(x)

    return jax.tree.map(leaf, tree)


def train(
    gan: GAN,
    state: TrainState,
    data: Mapping[str, np.ndarray],
    cut: Schedule,
    *,
    devices: Sequence[jax.Device],
    batch_size: int,
    last_step: int,
    debug_nans: bool = False,
) -> Iterator[tuple[TrainState, dict[str, np.ndarray]]]:
    """Trains up to a step, a compiled call at a time. The caller logs, draws and saves between.

    Args:
        gan: the system.
        state: where to go on from, a `stack` for several seeds at once; its step must be at the
            end of a piece.
        data: arrays [N, ...], put on every device once and kept there.
        cut: from `schedule`, for this data set and batch.
        devices: from `select_devices`.
        batch_size: the global batch.
        last_step: the step to end with, counted from the beginning of the run; the end of a piece.
        debug_nans: keep a copy of the state before each call, and where something is not finite
            after it, find the operation that made it so (`find_operation`).

    Yields:
        After each call: (replicated state, metrics of the call's steps as float32 [steps], or
        [seeds, steps] of a stack). The state is donated to the next call: take what is wanted of it
        before.

    Raises:
        ValueError: the batch does not divide.
        FloatingPointError: a metric, or a number of the state, is NaN or infinite after a call,
            which is not yielded; the message says which, and at what step.
    """
    chex.assert_equal_shape_prefix(list(data.values()), 1)
    step = int(state.step)
    # A run saved in the middle of an epoch, on a platform of shorter calls, goes on in such.
    on_course = step % cut.steps_per_call == 0 and last_step % cut.steps_per_call == 0
    steps_per_call = cut.steps_per_call if on_course else cut.steps_per_piece
    program = compile_epoch(
        gan,
        devices,
        num_images=len(jax.tree.leaves(data)[0]),
        batch_size=batch_size,
        steps_per_epoch=cut.steps_per_epoch,
        steps_per_call=steps_per_call,
        # A CPU gains nothing from larger operations, and in turn each has the bits it has alone.
        seeds_in_turn=devices[0].platform == "cpu",
    )
    state, on_devices = replicate(state, devices), replicate(dict(data), devices)
    order = None
    while step < last_step:
        if order is None or step % cut.steps_per_epoch == 0:
            order = program.order(state)
        before = unreplicate(state) if debug_nans else None
        state, metrics = program.train(state, on_devices, order)
        metrics = unreplicate(metrics)
        if fault := _fault(state, metrics, step):
            if debug_nans:
                found = (
                    find_operation(
                        gan,
                        each,
                        data,
                        batch_size=batch_size,
                        cut=cut,
                        num_steps=steps_per_call,
                    )
                    for each in unstack(before)
                )
                operation = next(filter(None, found), "no operation was found to make it")
                fault = f"{fault}: {operation}"
            raise FloatingPointError(fault)
        step += steps_per_call
        yield state, metrics


def find_operation(
    gan: GAN, state: TrainState, data: PyTree, *, batch_size: int, cut: Schedule, num_steps: int
) -> str | None:
    """Goes through some steps an operation at a time, for the first that gives NaN or infinity.

    Slow: no step is compiled. One device does what all do otherwise, so that in rare cases the
    sums' rounding makes no such number.

    Args:
        gan: the system.
        state: before the steps, on the host; of one seed.
        data: as in `train`.
        batch_size: the global batch.
        cut: as in `train`.
        num_steps: how many steps to go through; all of one epoch.

    Returns:
        The operation and the line of source that it is of, or None if all went well.
    """
    epoch, first = divmod(int(state.step), cut.steps_per_epoch)
    num_images = len(jax.tree.leaves(data)[0])
    order = _order(gan, state.key, epoch, num_images, batch_size, cut.steps_per_epoch)
    noise = jax.jit(lambda key, step: _noises(gan, key, step, jnp.arange(batch_size)))
    for step in range(first, first + num_steps):
        batches, noises = _batches(data, order[step]), noise(state.key, state.step)
        try:
            with jax.disable_jit(), jax.debug_nans(True), jax.debug_infs(True):
                state, _ = game.train_step(gan, state, batches, noises)
        except FloatingPointError as error:
            what = str(error).splitlines()[0].rstrip(".")
            frames = [
                frame
                for frame in traceback.extract_tb(error.__traceback__)
                if not any(part in _LIBRARIES for part in Path(frame.filename).parts)
            ]
            where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: {frames[-1].line}"
            return f"{what}, in step {int(state.step) + 1} at {where}"
    return None


def _order(
    gan: GAN,
    key: jax.Array,
    epoch: jax.Array,
    num_images: int,
    batch_size: int,
    steps_per_epoch: int,
) -> jax.Array:
    """The images of each step of an epoch, int32 [steps_per_epoch, discriminator_steps, batch]."""
    key = jax.random.fold_in(jax.random.fold_in(key, game.ORDER), epoch)
    taken = steps_per_epoch * gan.discriminator_steps * batch_size
    rows = jax.random.permutation(key, num_images)[:taken]
    return rows.reshape(steps_per_epoch, gan.discriminator_steps, batch_size)


def _noises(gan: GAN, key: jax.Array, step: jax.Array, index: jax.Array) -> PyTree:
    """A step's noise of the examples of some places in the global batch, leaves [turns, batch]."""
    key = jax.random.fold_in(jax.random.fold_in(key, game.NOISE), step)

    def noise_of_turn(turn: jax.Array) -> PyTree:
        turn_key = jax.random.fold_in(key, turn)
        return jax.vmap(lambda i: gan.noise(jax.random.fold_in(turn_key, i)))(index)

    return jax.vmap(noise_of_turn)(jnp.arange(gan.discriminator_steps + 1))


def _batches(data: PyTree, rows: jax.Array) -> PyTree:
    def leaf(x: jax.Array) -> jax.Array:
        x = x[rows]
        return x.astype(jnp.float32) / 127.5 - 1 if x.dtype == jnp.uint8 else x

    return jax.tree.map(leaf, data)


@jax.jit
def _finite(state: TrainState) -> TrainState:
    """For each leaf, whether all of its numbers are finite."""
    return jax.tree.map(lambda x: jnp.isfinite(x).all(), state)


def _fault(state: TrainState, metrics: Mapping[str, np.ndarray], step: int) -> str | None:
    """The first metric, else part of the state, that is not finite, and when; None if all are.

    Args:
        state: replicated, after some steps.
        metrics: of these steps, float32 [..., steps].
        step: before them.
    """
    bad = {
        name: int(np.argwhere(~np.isfinite(values))[:, -1].min())
        for name, values in metrics.items()
        if not np.isfinite(values).all()
    }
    if bad:
        name = min(bad, key=lambda name: (bad[name], not name.endswith("loss")))
        where = np.argwhere(~np.isfinite(metrics[name][..., bad[name]]))
        value = metrics[name][..., bad[name]][tuple(where[0])]
        return f"{name} is {value} at step {step + bad[name] + 1}"
    # One device's copy stands for all: to ask them together would take their time.
    own = jax.tree.map(lambda x: x.addressable_shards[0].data, state.replace(key=None))
    for path, finite in jax.tree_util.tree_leaves_with_path(jax.device_get(_finite(own))):
        if not finite:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            last = step + next(iter(metrics.values())).shape[-1]
            return f"{name} is not finite after step {last}"
    return None
