"""Calling a network in training."""

from typing import Any

import flax.linen as nn

PyTree = Any


def call(
    module: nn.Module, variables: PyTree, *inputs: PyTree, axis_name: str | None
) -> tuple[PyTree, PyTree]:
    """Applies a network in training, whether or not it has mutable collections.

    A network that has collections is given train=True and axis_name.

    Returns:
        (what the network gives, its collections afterwards: {} if it has none).
    """
    collections = [name for name in variables if name != "params"]
    if not collections:
        return module.apply(variables, *inputs), {}
    return module.apply(variables, *inputs, train=True, axis_name=axis_name, mutable=collections)
