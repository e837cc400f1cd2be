"""Fine-tuning: a run that begins with trained weights in the place of random ones."""

from collections.abc import Mapping
from typing import Any

import flax.traverse_util
import numpy as np

from jaxgan import game
from jaxgan.game import GAN, TrainState

PyTree = Any
# The arrays that did not fit and that are named; the others are counted.
MOST_NAMED = 8


def begin_from(
    gan: GAN, state: TrainState, trained: Mapping[str, PyTree]
) -> tuple[TrainState, list[str]]:
    """The first state of a run whose players begin with trained variables.

    An array is taken if its player, its name and its shape are those of an array of the state. The
    moving averages begin with the players, and the optimisers anew.

    Args:
        gan: the system.
        state: the state before the first step, from `game.init`.
        trained: by player the variables {"params": ..., other collections}, arrays.

    Returns:
        (the state, lines that say how many arrays were taken and which were not).

    Raises:
        ValueError: no array fits.
    """
    held = flax.traverse_util.flatten_dict(dict(trained))
    # A file of weights splits the names of Flax that have slashes in them.
    held = {"/".join(path): array for path, array in held.items()}
    own = {name: state.variables(name) for name in state.players}
    places: dict[Any, Any] = flax.traverse_util.flatten_dict(own, keep_empty_nodes=True)
    taken: dict[Any, Any] = {}
    wrong, all_wrong = [], set(own)
    for path, array in places.items():
        if array is flax.traverse_util.empty_node:
            taken[path] = array
            continue
        name = "/".join(path)
        other = held.get(name)
        if other is not None and np.shape(other) == np.shape(array):
            taken[path] = np.asarray(other, array.dtype)
            all_wrong.discard(path[0])
            continue
        taken[path] = array
        there = "not there" if other is None else f"{_shown(other)} there, {_shown(array)} here"
        wrong.append((path[0], f"{name} ({there})"))
    if all_wrong == set(own):
        raise ValueError(f"no array there has a name and a shape of {', '.join(sorted(own))} here")
    count = sum(array is not flax.traverse_util.empty_node for array in taken.values())
    lines = [f"{count - len(wrong)} of {count} arrays are taken"]
    named = [f"all of {player}" for player in sorted(all_wrong)]
    named += [each for player, each in wrong if player not in all_wrong]
    if len(named) > MOST_NAMED:
        named[MOST_NAMED:] = [f"and {len(named) - MOST_NAMED} more"]
    if named:
        lines.append(f"begun anew: {'; '.join(named)}")
    if unused := sorted(trained.keys() - own.keys()):
        lines.append(f"not taken, since the run begins without: {', '.join(unused)}")
    begun = game.begin(gan, state.key, flax.traverse_util.unflatten_dict(taken))
    return begun, lines


def _shown(array: Any) -> str:
    return "x".join(map(str, np.shape(array))) or "a number"
