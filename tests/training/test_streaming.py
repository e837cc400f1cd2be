"""Images that stay on the host: how calls are cut, what is gathered, and in how much memory."""

import gc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from mutations import assert_one_line

from jaxgan import game, training
from jaxgan.game import GAN, Outcome, Turn
from jaxgan.training import streaming
from jaxgan.training.streaming import CALL_BYTES, GatheringError, Stream, lengths


@pytest.mark.parametrize(
    ("steps", "steps_that_fit", "expected"),
    [
        (1, 1, (1,)),
        (12, 12, (12,)),
        (12, 7, (6, 6)),
        (12, 5, (4, 4, 4)),
        (13, 5, (5, 4, 4)),
        # No call of one step is made of a longer one.
        (7, 1, (3, 2, 2)),
        (3, 1, (3,)),
    ],
)
def test_calls_are_cut_into_equal_ones_of_two_steps_or_more(steps, steps_that_fit, expected):
    assert lengths(steps, CALL_BYTES // steps_that_fit) == expected


def test_calls_of_any_number_of_steps_are_cut_whole():
    for steps in range(1, 200):
        for steps_that_fit in (2, 3, 10, 64):
            cut = lengths(steps, CALL_BYTES // steps_that_fit)
            assert sum(cut) == steps and max(cut) - min(cut) <= 1
            assert max(cut) <= max(3, steps_that_fit) and (steps == 1 or min(cut) > 1)


def test_without_images_a_call_stays_whole():
    assert lengths(100, 0) == (100,)


def mapped(path, mode):
    np.arange(40, dtype=np.uint8).tofile(path)
    return np.memmap(path, np.uint8, mode, shape=(10, 2, 2))


@pytest.mark.parametrize("mode", ["r", "c", "r+", None])
def test_what_the_devices_of_a_process_take_is_gathered_in_order(mode, tmp_path):
    array = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    if mode is not None:
        array = mapped(tmp_path / "images", mode)
    expected = np.array(array)
    if mode in ("c", "r+"):
        # Of a private mapping this is nowhere else.
        array[3] = expected[3] = 200
    order = np.random.default_rng(0).integers(0, 10, (2, 5, 3, 4))  # devices, steps, batches, n
    with Stream({"images": array.view(np.ndarray)}) as stream:
        for first in (0, 2):
            gathered = stream.gather(order.astype(np.int32), first, 3).result()["images"]
            own = order[:, first : first + 3].reshape(2, -1)
            np.testing.assert_array_equal(gathered, expected[own])
    np.testing.assert_array_equal(array, expected)


class Unreadable(np.ndarray):
    """A file on a disk that has gone."""

    def take(self, *args, **kwargs):
        raise OSError(5, "Input/output\nerror")


def test_what_cannot_be_read_is_said_in_one_line():
    images = np.zeros((10, 2), np.uint8).view(Unreadable)
    with Stream({"images": images}) as stream:
        gathering = stream.gather(np.zeros((1, 1, 1, 1), np.int32), 0, 1)
        with pytest.raises(GatheringError) as told:
            gathering.result()
    assert_one_line(told.value, "the images could not be read: [Errno 5] Input/output error")


def mean_gan():
    """One player, who learns the mean image: a step takes no time."""

    def loss(state, batch, noise, axis_name):
        value = jnp.mean((batch["images"] - state.players["mean"].params) ** 2)
        return value, Outcome({"loss": value})

    return GAN(
        init=lambda key: {"mean": {"params": jnp.zeros((64, 64, 3))}},
        optimizers={"mean": optax.sgd(0.1)},
        turns=(Turn("mean", loss, lambda key, data: ()),),
        images=("images",),
    )


def resident_bytes():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux")
def test_the_memory_of_a_run_does_not_grow_with_the_set(tmp_path):
    count, batch_size = 20 * 10**9 // (64 * 64 * 3), 512
    with open(tmp_path / "images", "wb") as file:
        file.truncate(count * 64 * 64 * 3)
    images = np.memmap(tmp_path / "images", np.uint8, "r", shape=(count, 64, 64, 3))
    gan = mean_gan()
    whole = training.schedule(count, batch_size, gan, "cpu")
    state = training.on_host(game.init(gan, jax.random.key(0)))
    gc.collect()
    before, most = resident_bytes(), 0
    calls = training.train(
        gan,
        state,
        {"images": images},
        whole,
        devices=jax.devices()[:2],
        batch_size=batch_size,
        last_step=whole.steps_per_piece,
        streamed=True,
    )
    gather = Stream._gather

    def watched(self, *args):
        nonlocal most
        gathered = gather(self, *args)
        most = max(most, resident_bytes())
        return gathered

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming.Stream, "_gather", watched)
        ends = [int(training.unreplicate(state.step)) for state, _ in calls]
    assert ends == [whole.steps_per_piece]
    # What was read is more than what may be held: the images of two calls on the host, of one on
    # the devices, and the program.
    assert whole.steps_per_piece * batch_size * 64 * 64 * 3 > 1.6e9
    assert most - before < 1e9
