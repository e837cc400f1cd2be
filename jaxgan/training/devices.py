"""The devices of a run: choosing them, copying arrays to them, and fetching arrays from them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.options import with_own_options, without_mesh

PyTree = Any
# The name of the pmap axis of every run.
AXIS = "devices"


def select_devices(which: str) -> list[jax.Device]:
    """Chooses the devices of JAX's default platform that a run uses.

    Args:
        which: "all", or a number N as text: the first N devices of each process.

    Returns:
        The devices, those of process 0 first.

    Raises:
        ValueError: `which` is neither "all" nor a number of 1 or more, or a process has fewer
            devices.
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


def local_batch_size(batch_size: int, num_devices: int) -> int:
    """The number of examples of the global batch that one device gets.

    Raises:
        ValueError: the batch size is not a multiple of the number of devices.
    """
    if batch_size % num_devices:
        raise ValueError(
            f"a batch of {batch_size} does not divide over {num_devices} devices: "
            f"take a multiple of {num_devices}"
        )
    return batch_size // num_devices


@with_own_options
@without_mesh()
def replicate(tree: PyTree, devices: Sequence[jax.Device]) -> PyTree:
    """Copies a pytree of arrays to every device.

    Args:
        tree: a pytree of arrays [...], PRNG keys included.
        devices: from `select_devices`.

    Returns:
        The pytree with leaves [local devices, ...], one copy on each device of this process.
    """
    if not jax.tree.leaves(tree):
        return (
            tree  # JAX 0.11 raises an error for a pmap of several processes that returns nothing.
        )
    local = sum(device.process_index == jax.process_index() for device in devices)
    copy = jax.pmap(lambda _, x: x, axis_name=AXIS, in_axes=(0, None), devices=devices)
    return copy(np.arange(local), tree)


@with_own_options
def unreplicate(tree: PyTree) -> PyTree:
    """Fetches one device's copy of a replicated pytree.

    Args:
        tree: a pytree of arrays [local devices, ...], from `replicate` or `train`.

    Returns:
        The pytree with NumPy leaves [...]; PRNG keys stay keys.
    """
    # `x[0]` would first move data between devices, and all processes would have to do it together.
    # The copy is needed because `asarray` may give the device's own memory, which the next call
    # overwrites when the state is donated to it.
    return _on_host(tree, lambda x: np.asarray(x.addressable_shards[0].data)[0].copy())


@with_own_options
def of_each_device(x: jax.Array) -> np.ndarray:
    """Fetches the parts of an array that this process's devices have.

    Args:
        x: an array [devices, ...] with a row on each device, from a pmap.

    Returns:
        [local devices, ...].
    """
    shards = sorted(x.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    return np.concatenate([np.asarray(shard.data) for shard in shards])


@with_own_options
def on_host(tree: PyTree) -> PyTree:
    """Fetches a pytree of arrays to the host: leaves become NumPy arrays; PRNG keys stay keys."""
    return _on_host(tree, np.asarray)


def _on_host(tree: PyTree, fetch: Callable[[jax.Array], np.ndarray]) -> PyTree:
    def leaf(x: jax.Array) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = fetch(jax.random.key_data(x))
            # JAX annotates `wrap_key_data` for its own arrays, but it takes NumPy's too.
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))  # type: ignore[arg-type]
        return fetch(x)

    return jax.tree.map(leaf, tree)
