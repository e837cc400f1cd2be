"""Several seeds at once: each is trained as it would be alone."""

import functools
import inspect

import chex
import jax
import numpy as np
import pytest
from small_gan import (
    BATCH,
    STEPS,
    assert_same_bits,
    relative_distance,
    small_gan,
    small_images,
    states_of,
    train,
)
from small_run import slow

from jaxgan import training
from jaxgan.training import loop, seeds

# Lazy penalties are a `cond` on the step, which all seeds share.
LAZY = {"r1": 1.0, "penalty_interval": 4, "translation": 2}
SEEDS = (0, 1, 5)


def call_once(state, num_devices):
    """As `train` for one call, of a state or of a stack."""
    return training.unreplicate(compiled(num_devices)(state))


@functools.cache
def compiled(num_devices):
    devices = jax.devices()[:num_devices]
    data = training.replicate({"images": small_images()}, devices)
    program = compile_small(devices)

    def call(state):
        state = training.replicate(state, devices)
        return program.train(state, data, program.order(state, np.int32(0)), {})

    return call


def compile_small(devices):
    return loop.compile_epoch(
        small_gan(**LAZY),
        devices,
        num_images=BATCH * STEPS,
        batch_size=BATCH,
        schedule=training.Schedule(STEPS, STEPS, STEPS),
    )


def train_together(states, num_devices):
    """The states, and the metrics, of several seeds after an epoch."""
    ((groups, metrics),) = training.train_seeds(
        small_gan(**LAZY),
        states,
        {"images": small_images()},
        training.Schedule(STEPS, STEPS, STEPS),
        devices=jax.devices()[:num_devices],
        batch_size=BATCH,
        last_step=STEPS,
    )
    return seeds.unstack_groups(training.unreplicate(groups)), metrics


@pytest.mark.parametrize("num_devices", [slow(1), 2])
def test_seeds_on_a_cpu_are_bit_for_bit_each_seed_alone(num_devices):
    states = states_of(small_gan(**LAZY), SEEDS)
    ends, metrics = train_together(states, num_devices)
    assert metrics["d_real"].shape == (len(SEEDS), STEPS)
    for i, (state, end) in enumerate(zip(states, ends, strict=True)):
        alone, metrics_of_one = train(
            small_gan(**LAZY), state=state, num_devices=num_devices, data={"images": small_images()}
        )
        assert end.step == STEPS
        assert_same_bits(end, alone)
        chex.assert_trees_all_equal({name: x[i] for name, x in metrics.items()}, metrics_of_one)


def test_seeds_of_a_group_are_trained_by_one_call(monkeypatch):
    """As on accelerators."""
    states = states_of(small_gan(**LAZY), SEEDS)
    expected, expected_metrics = call_once(seeds.stack(states), 1)
    monkeypatch.setattr(seeds, "groups", lambda states, platform: [seeds.stack(states)])
    ends, metrics = train_together(states, 1)
    for end, state in zip(ends, seeds.unstack(expected), strict=True):
        assert_same_bits(end, state)
    chex.assert_trees_all_equal(metrics, expected_metrics)


def test_seeds_are_a_group_each_on_cpus_and_one_group_elsewhere():
    states = states_of(small_gan(), SEEDS)
    assert [group.key.shape for group in seeds.groups(states, "cpu")] == [()] * len(SEEDS)
    for platform in ("gpu", "tpu"):
        assert [group.key.shape for group in seeds.groups(states, platform)] == [(len(SEEDS),)]
    for platform in ("cpu", "gpu"):
        again = seeds.unstack_groups(seeds.groups(states, platform))
        for state, back in zip(states, again, strict=True):
            assert_same_bits(state, back)


@pytest.mark.parametrize("num_devices", [slow(2), 1])
def test_seeds_in_the_same_operations_are_each_seed_alone(num_devices):
    """As accelerators train them; in larger operations floats are summed in another order."""
    states = states_of(small_gan(**LAZY), SEEDS)
    together, metrics = call_once(seeds.stack(states), num_devices)
    for i, (state, end) in enumerate(zip(states, seeds.unstack(together), strict=True)):
        alone, metrics_of_one = call_once(state, num_devices)
        assert end.step == STEPS
        assert relative_distance(end, alone) < 1e-4
        for name, values in metrics_of_one.items():
            np.testing.assert_allclose(metrics[name][i], values, rtol=1e-3, atol=1e-4)


def test_seeds_in_the_same_operations_take_lazy_penalties_as_seldom():
    """A condition on a step for each seed would become a choice between both branches' results."""
    gan = small_gan(**LAZY)
    states = states_of(gan, (0, 1))
    data = training.replicate({"images": small_images()}, jax.devices()[:1])
    conditions = []
    for state in (states[0], seeds.stack(states)):
        state = training.replicate(state, jax.devices()[:1])
        program = compile_small(jax.devices()[:1])
        # A pmap of JAX 0.6 does not give its methods to what wraps it.
        train = inspect.unwrap(program.train, stop=lambda each: hasattr(each, "lower"))
        lowered = train.lower(state, data, program.order(state, np.int32(0)), {})
        conditions.append(lowered.as_text().count("stablehlo.case"))
    assert conditions[0] == conditions[1] > 0


def test_stack_and_unstack_undo_each_other():
    states = states_of(small_gan(), (3, 4))
    stacked = seeds.stack(states)
    assert stacked.step.shape == () and stacked.key.shape == (2,)
    for state, back in zip(states, seeds.unstack(stacked), strict=True):
        assert_same_bits(state, back)
    assert seeds.stack(states[:1]) is states[0]
    assert seeds.unstack(states[0]) == [states[0]]


def test_states_at_different_steps_are_not_trained_together():
    state, other = states_of(small_gan(), (3, 4))
    states = [state, other.replace(step=np.int32(20))]
    for group in (seeds.stack, lambda x: seeds.groups(x, "cpu")):
        with pytest.raises(ValueError, match="at one step, not at 0, 20"):
            group(states)
