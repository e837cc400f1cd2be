"""The inputs of each step of a run: the order of an epoch's images, the batches, the noise.

The order is keyed by (the run's key, epoch). The noise and the rows of a "drawn" batch are keyed by
(the run's key, step, turn, index of the example in the global batch). So the inputs are the same on
any number of devices.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan import game
from jaxgan.game import GAN

PyTree = Any
Noise = Callable[[jax.Array, Mapping[str, jax.Array]], PyTree]
# The most equal pieces that an epoch is cut into, unless a stage limits the images of a piece. A
# row of metrics is the mean over a piece, on every platform. On a CPU, where an epoch takes seconds
# or more, a piece is also a compiled call of its own, so that the progress bar moves and a signal
# is noticed soon.
PIECES_PER_EPOCH = 12
# The largest share of an epoch's steps that may be left out to make equal pieces. A prime number of
# steps would have none otherwise.
MOST_LEFT_OUT = 0.01


class Schedule(NamedTuple):
    """How an epoch is divided into pieces and compiled calls, and where a stage begins.

    Attributes:
        steps_per_epoch: steps in an epoch. Images that do not fill a whole step are left out; each
            epoch is shuffled anew, so they change.
        steps_per_piece: steps in a piece, over which a row of metrics is averaged; divides
            steps_per_epoch.
        steps_per_call: steps in one compiled call; divides steps_per_epoch, and is a multiple of
            steps_per_piece.
        first_step: steps that the run has done before the stage.
        first_epoch: epochs that the run has done before the stage.
    """

    steps_per_epoch: int
    steps_per_piece: int
    steps_per_call: int
    first_step: int = 0
    first_epoch: int = 0

    def epochs(self, step: float) -> float:
        """The epochs that the run has done at a step of this stage, a fraction within an epoch."""
        return self.first_epoch + (step - self.first_step) / self.steps_per_epoch

    def is_at_end_of_epoch(self, step: int) -> bool:
        """Whether an epoch ends at a step of this stage."""
        return (step - self.first_step) % self.steps_per_epoch == 0


def batches_per_step(gan: GAN) -> int:
    """The number of batches of an epoch's order that one step takes: those of "next" turns."""
    return sum(turn.times for turn in gan.turns if turn.batch == "next")


def batches_taken(gan: GAN) -> int:
    """The number of batches of the data set that one step takes: all but those of "last" turns."""
    return sum(turn.times for turn in gan.turns if turn.batch != "last")


def schedule(
    num_images: int,
    batch_size: int,
    gan: GAN,
    platform: str,
    *,
    images_per_piece: int | None = None,
    first_step: int = 0,
    first_epoch: int = 0,
) -> Schedule:
    """Divides an epoch into pieces and compiled calls.

    Args:
        num_images: the number of images in the data set.
        batch_size: the global batch size.
        gan: the system, whose turns say how many batches a step takes.
        platform: "cpu", "gpu" or "tpu". On a CPU a call is one piece, on accelerators an epoch. The
            platform does not change what a step computes.
        images_per_piece: about how many images a piece takes at most; None for no limit.
        first_step: as in `Schedule`.
        first_epoch: as in `Schedule`.

    Raises:
        ValueError: the data set has fewer images than one step takes.
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
    # Parts of the pieces above are pieces too, so a run that was saved at one's end can go on.
    if images_per_piece is not None:
        per_piece = _divisor_near(per_piece, images_per_piece / (batch_size * batches))
    per_call = per_piece if platform == "cpu" else per_epoch
    return Schedule(per_epoch, per_piece, per_call, first_step, first_epoch)


def _divisor_near(number: int, wanted: float) -> int:
    """The divisor of a number that is nearest to a wanted one, by their ratio."""
    divisors = (each for each in range(1, number + 1) if number % each == 0)
    return min(divisors, key=lambda each: abs(math.log(each / wanted)))


def order_of_epoch(
    gan: GAN, key: jax.Array, epoch: jax.Array | int, num_images: int, batch_size: int, steps: int
) -> jax.Array:
    """Shuffles the data set for an epoch.

    Args:
        gan: the system.
        key: the run's key.
        epoch: the epoch of the run, from 0.
        num_images: the number of images in the data set.
        batch_size: the global batch size.
        steps: the steps of an epoch.

    Returns:
        The rows of the data set that each step takes, int32 [steps, batches_per_step(gan),
        batch_size]. No row comes twice.
    """
    key = jax.random.fold_in(jax.random.fold_in(key, game.ORDER), epoch)
    shape = steps, batches_per_step(gan), batch_size
    rows = jax.random.permutation(key, num_images)[: shape[0] * shape[1] * shape[2]]
    return rows.reshape(shape)


def rows_of_epoch(
    gan: GAN,
    key: jax.Array,
    epoch: jax.Array | int,
    first_step: jax.Array | int,
    index: jax.Array,
    *,
    num_images: int,
    batch_size: int,
    steps: int,
) -> jax.Array:
    """The rows of the data set that some examples of each global batch of an epoch are.

    Args:
        gan, key, epoch, num_images, batch_size, steps: as in `order_of_epoch`.
        first_step: the step of the run at which the epoch begins.
        index: the indices of the examples in the global batch, int [n].

    Returns:
        int32 [steps, batches, n]: for each turn in order its batches, those of "next" turns from
        the order of the epoch, those of "drawn" turns drawn anew. "last" turns have none.
    """
    order = order_of_epoch(gan, key, epoch, num_images, batch_size, steps)[:, :, index]
    at = first_step + jnp.arange(steps)
    taken, first, number = [], 0, 0
    for turn in gan.turns:
        if turn.batch == "next":
            taken.append(order[:, first : first + turn.times])
            first += turn.times
        elif turn.batch == "drawn":
            numbers = jnp.arange(number, number + turn.times)
            taken.append(jax.vmap(lambda step: _drawn(key, step, numbers, index, num_images))(at))  # noqa: B023
        number += turn.times
    return jnp.concatenate(taken, axis=1)


def _drawn(
    key: jax.Array, step: jax.Array, numbers: jax.Array, index: jax.Array, num_images: int
) -> jax.Array:
    """The rows of a turn's "drawn" batches, int32 [turns, n]; the arguments of `_for_each`."""

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (), 0, num_images)

    return _for_each(key, game.ROWS, step, numbers, index, draw)


def draws(
    gan: GAN, key: jax.Array, step: jax.Array, index: jax.Array, data: Mapping[str, jax.Array]
) -> tuple[PyTree, ...]:
    """Draws the noise for some examples of a step's global batch.

    Args:
        gan: the system.
        key: the run's key.
        step: the step, int scalar.
        index: the indices of the examples in the global batch, int [n].
        data: the data set, arrays [N, ...].

    Returns:
        The noise of each turn, leaves [times, n, ...].
    """

    def noise_of(draw: Noise) -> Callable[[jax.Array], PyTree]:
        return lambda key: draw(key, data)

    noises: list[PyTree] = []
    first = 0
    for turn in gan.turns:
        numbers = jnp.arange(first, first + turn.times)
        first += turn.times
        if turn.noise == "last":
            noise = jax.tree.map(lambda x: jnp.stack([x[-1]] * turn.times), noises[-1])  # noqa: B023
        else:
            noise = _for_each(key, game.NOISE, step, numbers, index, noise_of(turn.noise))
        noises.append(noise)
    return tuple(noises)


def batches(gan: GAN, data: Mapping[str, jax.Array], rows: jax.Array) -> tuple[PyTree, ...]:
    """Gathers the batches that `game.train_step` takes.

    Args:
        gan: the system.
        data: arrays [N, ...].
        rows: where the examples of the step's batches are in the arrays, int32 [batches, n], in the
            order of `rows_of_epoch`.

    Returns:
        For each turn its batches, arrays [times, n, ...] by name, those of `gan.images` as float32
        in [-1, 1]; None for a turn whose batch is "last".
    """
    taken: list[PyTree] = []
    first = 0
    for turn in gan.turns:
        if turn.batch == "last":
            taken.append(None)
            continue
        taken.append(_examples(gan, data, rows[first : first + turn.times]))
        first += turn.times
    return tuple(taken)


def _for_each(
    key: jax.Array,
    use: int,
    step: jax.Array,
    numbers: jax.Array,
    index: jax.Array,
    draw: Callable[[jax.Array], PyTree],
) -> PyTree:
    """Calls `draw` for each turn and each example, with a key of their own.

    Args:
        key: the run's key.
        use: what is drawn, `game.NOISE` or `game.ROWS`.
        step: the step, int scalar.
        numbers: the numbers of the turns within the step, int [turns].
        index: the indices of the examples in the global batch, int [n].
        draw: key -> a pytree for one example.

    Returns:
        The pytree with leaves [turns, n, ...].
    """
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
