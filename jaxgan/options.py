"""JAX's options inside the package's functions, whatever the caller has set for her own program."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

try:
    from jax import enable_x64
except ImportError:  # JAX before 0.8.
    from jax.experimental import enable_x64  # type: ignore[attr-defined, no-redef]
try:
    from jax import set_mesh
except ImportError:  # JAX before 0.7.2.
    from jax.sharding import use_mesh as set_mesh  # type: ignore[attr-defined, no-redef]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
# The type that an array of 64 bits is converted to.
_OF_32_BITS = {
    "float64": jnp.float32,
    "int64": jnp.int32,
    "uint64": jnp.uint32,
}


def with_own_options(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Has a function compute in 32 bits, and independently of the caller's stricter options.

    Under `jax_enable_x64` optax computes a part of Adam in float64, so the same seed would train
    another GAN. Arrays of 64 bits are converted at the call. The options that make JAX raise an
    error (`jax_numpy_rank_promotion`, `jax_numpy_dtype_promotion`, `jax.transfer_guard`) are for
    the caller's own code, and are switched off inside the function.

    Args:
        function: the function. It may be called inside the caller's jit, vmap and grad. JAX 0.6
            cannot compile Adam so under `jax_enable_x64`: newer releases can.

    Returns:
        A function of the same arguments and results.
    """

    @functools.wraps(function)
    def called(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        args, kwargs = jax.tree.map(_in_32_bits, (args, kwargs))
        with (
            enable_x64(False),
            jax.numpy_rank_promotion("allow"),
            jax.numpy_dtype_promotion("standard"),
            jax.transfer_guard("allow"),
        ):
            return function(*args, **kwargs)

    return called


@contextlib.contextmanager
def without_mesh() -> Iterator[None]:
    """Hides the mesh that the caller has set (`jax.set_mesh`): training chooses its own devices.

    This cannot be used inside a jit.
    """
    with set_mesh(jax.sharding.Mesh(np.empty((), object), ())):
        yield


def _in_32_bits(x: Any) -> Any:
    """Converts an array of 64 bits. NumPy arrays stay as they are: JAX itself converts them."""
    if isinstance(x, jax.Array) and x.dtype.name in _OF_32_BITS:
        return x.astype(_OF_32_BITS[x.dtype.name])
    return x
