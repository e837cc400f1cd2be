"""The devices of a run: which they are, and how arrays get onto them and back."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
# The pmap axis of every run.
AXIS = "devices"


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
            data = fetch(jax.random.key_data(x))
            # JAX annotates `wrap_key_data` for its own arrays, but it takes NumPy's too.
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))  # type: ignore[arg-type]
        return fetch(x)

    return jax.tree.map(leaf, tree)
