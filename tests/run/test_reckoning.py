"""Runs that no machine can hold are refused in one line, before anything is computed."""

import dataclasses

import numpy as np
import pytest
from mutations import assert_one_line

from jaxgan import memory
from jaxgan.data import Dataset
from jaxgan.run import reckoning
from jaxgan.run.experiment import Experiment
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.training import select_devices, stages


@pytest.mark.parametrize(
    ("system", "settings", "said"),
    [
        (MLPGANConfig, {"image_shape": (200_000, 200_000, 3)}, "mnist of 60,000 images of 200000x"),
        (MLPGANConfig, {"batch_size": 60_000, "latent_size": 2_000_000}, "batches of 60,000 needs"),
        (MLPGANConfig, {"seeds": 4_000_000_000}, "at most 1000 GANs train at once"),
        (MLPGANConfig, {"latent_size": 2**32}, "the state of the networks with their moments"),
        (DCGANConfig, {"latent_size": 2**32}, "the state of the networks with their moments"),
        (DCGANConfig, {"width": 2**32}, "the state of the networks with their moments"),
        (Pix2PixConfig, {"image_shape": (2**17, 2**17, 3)}, "toon_faces of 18,000 images of 131"),
        (Pix2PixConfig, {"width": 2**31}, "the state of the networks with their moments"),
    ],
)
def test_sizes_that_cannot_be(tmp_path, system, settings, said):
    config = system(workdir=str(tmp_path / "run"), **settings)
    with pytest.raises(ValueError) as error:
        Experiment(config)
    assert_one_line(error.value, said)
    assert list(tmp_path.iterdir()) == []


def check(config, available, monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device=None: available)
    images = np.zeros((100, *config.image_shape), np.uint8)
    parts = config.system(Dataset("a", images, {}, ())).stages
    schedules = stages.plan(parts, "cpu")
    devices = select_devices("1")
    streamed = [reckoning.is_streamed(config, part, devices) for part in parts]
    reckoning.check_fits(config, parts, schedules, devices, streamed)


def test_what_is_reckoned(monkeypatch):
    config = MLPGANConfig(
        image_shape=(4, 4, 1),
        latent_size=10,
        generator_widths=(8,),
        discriminator_widths=(8,),
        batch_size=50,
    )
    generator = 10 * 8 + 8 + 8 * 16 + 16
    discriminator = 16 * 8 + 8 + 8 * 1 + 1
    # The weights, Adam's two moments and counts, the average, the step and the key.
    floats = 3 * (generator + discriminator) + generator
    state = 4 * floats
    data = 100 * 16
    # A step's batch of float images; the latents of each of two turns, in calls of one step.
    inputs = 50 * (16 * 4 + 2 * 10 * 4)
    least = state + data + inputs
    with pytest.raises(ValueError, match="batches of 50 needs"):
        check(config, least - 1, monkeypatch)
    with pytest.raises(ValueError, match="the state of the networks with their moments needs"):
        check(config, state - 1, monkeypatch)
    # Shifts of the translated images, the counts of the optimisers and the key are small.
    check(config, least * 1.2, monkeypatch)
    several = dataclasses.replace(config, seeds=3)
    with pytest.raises(ValueError, match="moments and 3 seeds needs"):
        check(several, 3 * state - 1, monkeypatch)
    check(several, least * 1.2 + 2 * state, monkeypatch)


@pytest.mark.parametrize(
    ("data", "share", "devices", "expected"),
    [
        ("auto", 4.1, "1", False),
        ("auto", 3.9, "1", True),
        # Each device of a CPU has a copy.
        ("auto", 4.1, "2", True),
        ("resident", 0.1, "1", False),
        ("streamed", 1e9, "1", True),
    ],
)
def test_images_are_streamed_if_they_take_more_than_a_quarter_of_the_memory(
    data, share, devices, expected, monkeypatch
):
    images = np.zeros((100, 28, 28, 1), np.uint8)
    monkeypatch.setattr(memory, "available", lambda device=None: share * images.nbytes)
    config = MLPGANConfig(data=data)
    (stage,) = config.system(Dataset("a", images, {}, ())).stages
    assert reckoning.is_streamed(config, stage, select_devices(devices)) == expected


def test_a_set_that_is_larger_than_the_memory_is_streamed_and_fits(monkeypatch):
    monkeypatch.setattr(memory, "_SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device=None: 1e9)
    sizes = {"generator_widths": (8,), "discriminator_widths": (8,), "latent_size": 10}
    config = MLPGANConfig(**sizes, batch_size=50)
    # Not in memory: all are one byte.
    images = np.broadcast_to(np.uint8(0), (3_000_000, 28, 28, 1))
    devices = select_devices("1")
    for data in ("auto", "resident"):
        config = dataclasses.replace(config, data=data)
        parts = config.system(Dataset("a", images, {}, ())).stages
        streamed = [reckoning.is_streamed(config, part, devices) for part in parts]
        arguments = (config, parts, stages.plan(parts, "cpu"), devices, streamed)
        if data == "auto":
            reckoning.check_fits(*arguments)
        else:
            with pytest.raises(ValueError, match="take a smaller .*; or --data streamed$"):
                reckoning.check_fits(*arguments)
