"""What each step of a run is given: the order of an epoch's images, batches, noise.

All of it is keyed by (the run's key, step or epoch, turn, index of the example in the global
batch), so it is the same on any number of devices.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan import game
from jaxgan.game import GAN, Turn

PyTree = Any
# An epoch is cut in up to this many equal pieces. Metrics are averaged over a piece wherever the
# run is; on a CPU, where an epoch takes seconds, a piece is also a call of its own, so that the
# screen moves and a signal is soon heard.
PIECES_PER_EPOCH = 12
# Step counts can be prime: this share of an epoch may be left out so that it has pieces.
MOST_LEFT_OUT = 0.01


class Schedule(NamedTuple):
    """How an epoch is cut up, and where the epochs of a stage begin.

    Attributes:
        steps_per_epoch: steps in an epoch; images that fill no step wait for another epoch's
            shuffle.
        steps_per_piece: steps that a row of metrics is the mean of; divides steps_per_epoch.
        steps_per_call: steps in one compiled call; divides steps_per_epoch, and is a multiple of
            steps_per_piece.
        first_step: the step of the run that the stage begins at.
        first_epoch: the epoch of the run that the stage begins with.
    """

    steps_per_epoch: int
    steps_per_piece: int
    steps_per_call: int
    first_step: int = 0
    first_epoch: int = 0

    def epochs(self, step: float) -> float:
        """Epochs of the run that are over at a step of this stage."""
        return self.first_epoch + (step - self.first_step) / self.steps_per_epoch

    def is_at_end_of_epoch(self, step: int) -> bool:
        """Whether an epoch is over at a step of this stage."""
        return (step - self.first_step) % self.steps_per_epoch == 0


def batches_per_step(gan: GAN) -> int:
    """Batches of an epoch that a step takes."""
    return sum(turn.times for turn in gan.turns if turn.batch == "next")


def schedule(
    num_images: int,
    batch_size: int,
    gan: GAN,
    platform: str,
    *,
    first_step: int = 0,
    first_epoch: int = 0,
) -> Schedule:
    """Cuts an epoch into pieces and calls.

    Args:
        num_images: size of the data set.
        batch_size: the global batch.
        gan: the system, whose turns take batches.
        platform: "cpu", "gpu" or "tpu". An epoch is one call on accelerators, a call a piece on
            CPUs. It does not change the numbers that come out.
        first_step: as in `Schedule`.
        first_epoch: as in `Schedule`.

    Raises:
        ValueError: the data set is smaller than one step.
    """
    batches = max(1, batches_per_step(gan))
    steps = num_images // (batch_size * batches)
    if steps < 1:
        raise ValueError(
            f"a step takes {batch_size * batches} images (batch size {batch_size} x "
            f"{batches} batches), but the data set has {num_images}"
        )
    pieces = max(
        count
        for count in range(1, min(PIECES_PER_EPOCH, steps) + 1)
        if steps % count <= MOST_LEFT_OUT * steps
    )
    per_piece = steps // pieces
    per_epoch = per_piece * pieces
    per_call = per_piece if platform == "cpu" else per_epoch
    return Schedule(per_epoch, per_piece, per_call, first_step, first_epoch)


def order_of_epoch(
    gan: GAN, key: jax.Array, epoch: jax.Array | int, num_images: int, batch_size: int, steps: int
) -> jax.Array:
    """The images of each step of an epoch, int32 [steps, batches_per_step(gan), batch_size]."""
    key = jax.random.fold_in(jax.random.fold_in(key, game.ORDER), epoch)
    shape = steps, batches_per_step(gan), batch_size
    rows = jax.random.permutation(key, num_images)[: shape[0] * shape[1] * shape[2]]
    return rows.reshape(shape)


def draws(
    gan: GAN, key: jax.Array, step: jax.Array, index: jax.Array, data: Mapping[str, jax.Array]
) -> tuple[tuple[PyTree, ...], tuple[jax.Array | None, ...]]:
    """What is drawn for some examples of a step's global batch.

    Args:
        gan: the system.
        key: the run's.
        step: int scalar.
        index: int [n], the examples' places in the global batch.
        data: the data set, arrays [N, ...].

    Returns:
        For each turn: (its noise, leaves [times, n, ...]; the rows of a batch that is "drawn",
        int32 [times, n], None for a turn on another batch).
    """
    num_images = len(jax.tree.leaves(dict(data))[0])

    def noise_of(turn: Turn) -> Callable[[jax.Array], PyTree]:
        return lambda key: turn.noise(key, data)

    noises, rows, first = [], [], 0
    for turn in gan.turns:
        numbers = jnp.arange(first, first + turn.times)
        first += turn.times
        noises.append(_for_each(key, game.NOISE, step, numbers, index, noise_of(turn)))
        drawn = None
        if turn.batch == "drawn":
            drawn = _for_each(
                key,
                game.ROWS,
                step,
                numbers,
                index,
                lambda k: jax.random.randint(k, (), 0, num_images),
            )
        rows.append(drawn)
    return tuple(noises), tuple(rows)


def batches(
    gan: GAN, data: Mapping[str, jax.Array], order: jax.Array, drawn: tuple[jax.Array | None, ...]
) -> tuple[PyTree, ...]:
    """The batches that `game.train_step` takes.

    Args:
        gan: the system.
        data: arrays [N, ...].
        order: the rows of the step's batches, int32 [batches_per_step(gan), n].
        drawn: from `draws`.
    """
    taken, first = [], 0
    for turn, rows in zip(gan.turns, drawn, strict=True):
        if turn.batch == "next":
            rows = order[first : first + turn.times]
            first += turn.times
        taken.append(None if rows is None else _examples(gan, data, rows))
    return tuple(taken)


def _for_each(
    key: jax.Array,
    use: int,
    step: jax.Array,
    numbers: jax.Array,
    index: jax.Array,
    draw: Callable[[jax.Array], PyTree],
) -> PyTree:
    """draw(key of its own) for each turn of some numbers and each example, [turns, examples]."""
    key = jax.random.fold_in(jax.random.fold_in(key, use), step)

    def of_turn(number: jax.Array) -> PyTree:
        turn_key = jax.random.fold_in(key, number)
        return jax.vmap(lambda i: draw(jax.random.fold_in(turn_key, i)))(index)

    return jax.vmap(of_turn)(numbers)


def _examples(gan: GAN, data: Mapping[str, jax.Array], rows: jax.Array) -> dict[str, jax.Array]:
    taken = {name: array[rows] for name, array in data.items()}
    # From 0 .. 255 to [-1, 1].
    return {
        name: array.astype(jnp.float32) / 127.5 - 1 if name in gan.images else array
        for name, array in taken.items()
    }
