"""BigGAN beside the authors' code: cases that it computed, through the importer's table."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.layers.spectral import SPECTRAL
from jaxgan.systems.biggan import reference
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.biggan.networks import Discriminator, Generator
from jaxgan.systems.reference import Case, state_dict

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
import parity  # noqa: E402

FOLDER = Path(__file__).parent / "cases"


def case_of(name):
    """The case of a file: as parity.py reads a folder, whose .pt files are in the .npz here."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    weights = {}
    for key in [key for key in arrays if key.startswith("weights/")]:
        _, net, own = key.split("/", 2)
        weights.setdefault(net, {})[own] = arrays.pop(key)
    return Case(arrays, {"weights": weights}, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "compared"), [("cifar", 21), ("res32", 40), ("deep32", 17), ("steps", 321)]
)
def test_every_number_of_the_reference(name, compared):
    lines = list(parity.compare(reference, case_of(name)))
    assert [line for agrees, line in lines if not agrees] == []
    assert sum(line.endswith(" ok") for _, line in lines) == compared


def test_what_is_not_compared_are_inputs_and_names():
    names = {name for file in FOLDER.glob("*.npz") for name in case_of(file.stem).arrays}
    skipped = {name for name in names if reference.why_not_compared(name)}
    assert {name for name in skipped if not name.endswith(".names")} == {
        *("config_json", "z", "y", "real_uint8_nchw", "y_real"),
        *("standing/z", "standing/y", "standing/test_z", "standing/test_y"),
        *("step/config_json", "step/z", "step/y", "step/real_uint8_nchw", "step/y_real"),
    }


def test_the_networks_of_the_authors_script_for_imagenet():
    """Facts of ch 96 at 128x128: names and shapes."""
    generator = reference.generator_table(Generator())
    assert generator["shared.weight"].shape == (1000, 128)
    assert generator["linear.weight"].shape == (16 * 96 * 16, 20)
    assert generator["blocks.0.0.bn1.gain.weight"].shape == (16 * 96, 148)
    assert generator["blocks.3.1.theta.weight"].shape == (24, 192, 1, 1)
    assert generator["output_layer.2.weight"].shape == (3, 96, 3, 3)
    discriminator = reference.discriminator_table(Discriminator())
    assert discriminator["blocks.0.0.conv1.weight"].shape == (96, 3, 3, 3)
    assert discriminator["blocks.0.1.o.weight"].shape == (96, 48, 1, 1)
    assert "blocks.5.0.conv_sc.weight" not in discriminator
    assert discriminator["embed.weight"].shape == (1000, 16 * 96)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("res32", (4, 16, 6, 0, (16,), True)),
        ("cifar", (2, 12, 0, 0, (), False)),
        ("deep32", (2, 10, 6, 2, (16,), True)),
    ],
)
def test_an_imported_generator_has_the_settings_of_its_weights(name, sizes):
    weights = case_of(name).states["weights"]
    config, variables, _ = reference.imported(weights["G"])
    generator = config.generator()
    assert sizes == (
        generator.width,
        generator.latent_size,
        generator.shared_size,
        generator.depth,
        generator.attention,
        generator.is_hierarchical,
    )
    assert generator.num_classes == (5,) and generator.image_shape == (32, 32, 3)
    # The way back gives the state dict.
    back = state_dict(variables, reference.generator_table(generator))
    assert back.keys() == weights["G"].keys()
    jax_free = {key: np.asarray(array) for key, array in weights["G"].items()}
    for key, array in back.items():
        np.testing.assert_array_equal(array, jax_free[key])
    config, variables = reference.imported_discriminator(weights["D"], config)
    discriminator = config.discriminator()
    assert discriminator.width == 2 and discriminator.attention == ((16,) if sizes[4] else ())
    back = state_dict(variables, reference.discriminator_table(discriminator))
    assert back.keys() == weights["D"].keys()
    for key, array in back.items():
        np.testing.assert_array_equal(array, weights["D"][key])


@pytest.mark.parametrize("name", ["res32", "cifar", "deep32"])
def test_what_is_exported_are_the_authors_arrays_and_arguments(name):
    case = case_of(name)
    weights, its = case.states["weights"], json.loads(str(case.arrays["config_json"]))
    config, generator, _ = reference.imported(weights["G"])
    config, discriminator = reference.imported_discriminator(weights["D"], config)
    config = dataclasses.replace(config, spectral_epsilon=its["SN_eps"], norm_epsilon=its["BN_eps"])
    players = {"generator": generator, "discriminator": discriminator}
    states, arguments = reference.exported(config, players)
    for net, state in states.items():
        assert set(state) == {key for key in weights[net] if "num_batches" not in key}
        for key, array in state.items():
            np.testing.assert_array_equal(array, weights[net][key], strict=True)
        for argument, given in arguments[net].items():
            if argument in its and argument not in ("shared_dim", "G_attn", "D_attn"):
                assert given == its[argument], argument
    assert arguments["G"]["shared_dim"] == (6 if its["G_shared"] else 0)
    assert arguments["G"]["G_attn"] == ("16" if its["G_attn"] == "16" else "0")
    assert list(reference.exported(config, {"generator": generator}).states) == ["G"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"image_shape": (28, 28, 1)},
            "square colour images of 32, 64 and so on pixels, not 28x28",
        ),
        (
            {"classes": (("hair", ("a", "b")), ("eyes", ("c",))), "attributes": ("hair", "eyes")},
            "are told a single label, not hair eyes",
        ),
    ],
)
def test_what_the_authors_code_has_not_is_not_exported(changes, message):
    config = BigGANConfig(**{"image_shape": (32, 32, 3), **changes})
    with pytest.raises(ValueError, match=message):
        reference.exported(config, {})


def test_converted_weights_have_no_logged_sigmas_and_own_norms_another_name():
    state = case_of("res32").states["weights"]["G"]
    expected = reference.imported(state).generator
    changed = {}
    for key, array in state.items():
        if ".sv0" not in key:
            changed[key.replace(".stored_", ".bn.stored_")] = array
    changed["output_layer.0.bn.accumulation_counter"] = np.zeros(1)
    found = reference.imported(changed).generator
    assert found[SPECTRAL]["linear"]["sigma"] == 1
    mean = found["batch_stats"]["block_0"]["bn1"]["norm"]["mean"]
    np.testing.assert_array_equal(mean, expected["batch_stats"]["block_0"]["bn1"]["norm"]["mean"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"linear.weight": None}, "this is not a generator of BigGAN's PyTorch code: linear"),
        ({"blocks.1.0.conv1.weight": None}, "blocks.1.1.gamma belongs|belongs to no network|has 1"),
        ({"blocks.2.0.bn2.gain.u0": np.zeros(3)}, r"gain.u0 has the shape \(3,\), not \(1, 16\)"),
        ({"blocks.0.0.conv2.bias": None}, r"conv2.bias of shape \(16,\) is missing"),
        ({"blocks.9.0.odd": np.zeros(3)}, "blocks.9.0.odd belongs to no network"),
        ({"output_layer.0.gain": np.full(16, np.nan)}, "gain has numbers that are NaN"),
        ({"output_layer.2.weight": np.zeros((2, 16, 3, 3))}, "it makes images of 2 channels"),
        ({"linear.weight": np.zeros((100, 4))}, "its first map has 100 numbers, which are no mult"),
    ],
)
def test_other_state_dicts_are_refused(change, message):
    state = {**case_of("res32").states["weights"]["G"], **change}
    state = {key: array for key, array in state.items() if array is not None}
    with pytest.raises(ValueError, match=message) as error:
        reference.imported(state)
    assert "\n" not in str(error.value)


def test_a_generator_is_no_discriminator():
    weights = case_of("res32").states["weights"]
    config, *_ = reference.imported(weights["G"])
    with pytest.raises(ValueError, match="blocks"):
        reference.imported_discriminator(weights["G"], config)


def test_biases_before_batch_norm_have_no_gradient_but_where_attention_sees_them():
    noisy = reference._without_gradient(Generator(8, 2, (32, 32, 3), (5,), 3, attention=(16,)))
    assert {key for key in noisy if key.endswith("bias")} == {
        *(f"blocks.{i}.0.conv1.bias" for i in range(3)),
        *("blocks.2.0.conv2.bias", "blocks.2.0.conv_sc.bias"),
    }
    assert {key for key in noisy if key.endswith("mean")} == {
        *(f"blocks.{i}.0.bn2.stored_mean" for i in range(3)),
        "output_layer.0.stored_mean",
    }
