"""Which devices a run uses, and how arrays get onto them and back."""

import chex
import jax
import numpy as np
import pytest
from small_gan import parameters, small_gan

from jaxgan import game, training
from jaxgan.training.devices import local_batch_size, of_each_device


def test_select_devices():
    assert training.select_devices("all") == jax.devices()
    assert training.select_devices("3") == jax.devices()[:3]


@pytest.mark.parametrize("which", ["0", "-1", "two", "", "1.5", "²"])
def test_select_devices_refuses_what_is_no_count(which):
    with pytest.raises(ValueError, match="'all' or a count"):
        training.select_devices(which)


def test_select_devices_refuses_more_than_there_are():
    with pytest.raises(ValueError, match=r"9 devices asked for, but there are 8 \(cpu\)"):
        training.select_devices("9")


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="batch of 100 does not divide over 8 devices"):
        local_batch_size(100, 8)


def test_unreplicate_undoes_replicate():
    state = training.on_host(game.init(small_gan(), jax.random.key(3)))
    back = training.unreplicate(training.replicate(state, jax.devices()[:4]))
    chex.assert_trees_all_equal(parameters(state), parameters(back))
    assert jax.random.key_data(back.key).tolist() == jax.random.key_data(state.key).tolist()


def test_a_process_fetches_the_rows_of_its_own_devices_alone():
    """Of an array with a row on each of the devices of two processes."""
    devices = jax.devices()[:4]
    order = jax.pmap(lambda x: 10 * x, devices=devices)(np.arange(4))

    class OfOneProcess:
        addressable_shards = order.addressable_shards[2:][::-1]

    np.testing.assert_array_equal(of_each_device(OfOneProcess()), [20, 30])
