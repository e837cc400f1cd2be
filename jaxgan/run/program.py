"""A trained generator as a function of arrays alone, for programs that know nothing of jaxgan."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from jaxgan.options import with_own_options

PyTree = Any
Classes = tuple[tuple[str, tuple[str, ...]], ...]
# What a serialised program can be run on.
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


@dataclasses.dataclass(frozen=True)
class Input:
    """An array that a generator takes.

    Attributes:
        name: such as "latents".
        shape: its shape for one image.
        dtype: the name of its type, such as "float32".
        meaning: what its numbers are, such as "N(0, 1)".
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str

    def __str__(self) -> str:
        shape = ", ".join(map(str, ("n", *self.shape)))
        return f"{self.name}, {self.dtype} [{shape}]: {self.meaning}"


@dataclasses.dataclass(frozen=True)
class Program:
    """A trained generator; made by `RunConfig.program`.

    Attributes:
        inputs: the arrays that it takes, in order.
        variables: the generator's variables, {"params": ..., other collections}.
        apply: (variables, an array [n, *shape] for each input) -> images, float32 [n, H, W, C] in
            [0, 1]. It is pure, and each image depends on its own inputs alone.
    """

    inputs: tuple[Input, ...]
    variables: PyTree
    apply: Callable[..., jax.Array]


def named_codes(classes: Classes) -> str:
    """The meaning of labels whose column i has numbers of the classes of attribute i."""
    return "; ".join(
        f"{attribute} {', '.join(f'{i} {name}' for i, name in enumerate(names))}"
        for attribute, names in classes
    )


@with_own_options
def serialised(program: Program) -> bytes:
    """A generator with its weights as StableHLO, for any number of images.

    Args:
        program: the generator.

    Returns:
        What `jax.export.deserialize` takes. Its `call` takes the inputs, runs on `PLATFORMS`, and
        needs nothing but JAX and flatbuffers.

    Raises:
        ImportError: the package flatbuffers is not installed.
    """
    variables = jax.tree.map(jnp.asarray, program.variables)
    (n,) = export.symbolic_shape("n")
    shapes = [jax.ShapeDtypeStruct((n, *x.shape), x.dtype) for x in program.inputs]
    called = jax.jit(lambda *inputs: program.apply(variables, *inputs))
    return bytes(export.export(called, platforms=PLATFORMS)(*shapes).serialize())
