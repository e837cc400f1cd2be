"""StarGAN beside the authors' code: cases that it computed, through the importer's table."""

import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.systems.reference import Case, carried_over, state_dict
from jaxgan.systems.stargan import reference
from jaxgan.systems.stargan.networks import Discriminator, Generator

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
import parity  # noqa: E402

FOLDER = Path(__file__).parent / "cases"
slow = pytest.mark.slow


def case_of(name):
    """The case of a file: as parity.py reads a folder, whose .pt files are in the .npz here."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    weights = {}
    for key in [key for key in arrays if key.startswith("weights/")]:
        _, net, own = key.split("/", 2)
        weights.setdefault(net, {})[own] = arrays.pop(key)
    return Case(arrays, {"weights": weights}, {})


@pytest.mark.parametrize(
    ("name", "compared"),
    [
        ("rafd", 21),
        pytest.param("celeba", 30, marks=slow),
        pytest.param("both", 42, marks=slow),
        pytest.param("training", 31, marks=slow),
    ],
)
def test_every_number_of_the_reference(name, compared):
    case = case_of(name)
    lines = list(parity.compare(reference, case))
    assert [line for agrees, line in lines if not agrees] == []
    assert sum(line.endswith(" ok") for _, line in lines) >= compared


def test_what_is_not_compared_is_what_the_cases_mark():
    names = [name for file in FOLDER.glob("*.npz") for name in np.load(file).files]
    skipped = {name.split("/")[-1] for name in names if reference.why_not_compared(name)}
    skipped = {name for name in skipped if "running" not in name and "tracked" not in name}
    assert skipped == {
        *("config_json", "loss_names", "real_uint8_nchw", "label_org", "permutation", "c_org"),
        *("alpha", "D.names", "G.names", "fake", "G"),
    }
    # Of two of these names there are others, which are compared.
    assert reference.why_not_compared("eval_with_running_statistics/fake")
    assert reference.why_not_compared("celeba/after_one_call/G")
    assert not reference.why_not_compared("fake")
    assert not reference.why_not_compared("celeba/grad_norm/G")


def test_the_published_generator():
    """Facts of 200000-G.ckpt: keys and shapes; both networks have 53.2 million numbers."""
    generator = reference.generator_table(Generator())
    discriminator = reference.discriminator_table(Discriminator())
    assert generator["main.0.weight"].shape == (64, 8, 7, 7)
    assert generator["main.14.main.3.weight"].shape == (256, 256, 3, 3)
    assert generator["main.15.weight"].shape == (256, 128, 4, 4)
    assert generator["main.18.weight"].shape == (128, 64, 4, 4)
    assert generator["main.21.weight"].shape == (3, 64, 7, 7)
    assert discriminator["main.10.weight"].shape == (2048, 1024, 4, 4)
    assert discriminator["conv2.weight"].shape == (5, 2048, 2, 2)

    def count(table):
        return sum(int(np.prod(its.shape)) for its in table.values() if its.path)

    # The number of the discriminator is one that users of the code saw; the other is the paper's.
    assert count(discriminator) == 44_762_048
    assert round((count(generator) + count(discriminator)) / 1e6, 1) == 53.2


def test_an_imported_generator_has_the_settings_of_its_weights():
    state = case_of("celeba").states["weights"]["G"]
    config, variables, _ = reference.imported(state)
    assert (config.width, config.blocks, config.recipe) == (8, 2, "textbook")
    assert config.classes[0] == ("Black_Hair", ("no", "yes")) and len(config.classes) == 5
    table = reference.generator_table(config.generator())
    assert not [key for key in variables["params"] if "running" in key]
    # The way back gives the state dict.
    back = state_dict(variables, table)
    for key, array in back.items():
        np.testing.assert_array_equal(array, state[key])
    assert state.keys() - back.keys() == {
        key for key in state if "running" in key or "tracked" in key
    }


def test_old_files_have_no_counters():
    state = case_of("celeba").states["weights"]["G"]
    old = {key: array for key, array in state.items() if "tracked" not in key}
    config, variables, _ = reference.imported(old)
    assert variables["params"].keys() == reference.imported(state).generator["params"].keys()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"main.0.weight": None}, "this is not a generator of StarGAN's PyTorch code: main.0"),
        ({"main.4.bias": np.zeros(3)}, r"main.4.bias has the shape \(3,\), not \(16,\)"),
        ({"main.7.weight": None}, r"main.7.weight of shape \(32,\) is missing"),
        ({"main.99.weight": np.zeros(3)}, "main.99.weight belongs to no network"),
        ({"main.1.bias": np.full(8, np.nan)}, "main.1.bias has numbers that are NaN"),
        ({"main.17.weight": np.zeros((8, 8, 7, 7))}, "it makes images of 8 channels from 8"),
    ],
)
def test_other_state_dicts_are_refused(change, message):
    state = {**case_of("celeba").states["weights"]["G"], **change}
    state = {key: array for key, array in state.items() if array is not None}
    with pytest.raises(ValueError, match=message):
        reference.imported(state)


def test_a_kernel_that_is_not_mirrored_is_found():
    """The comparison fails if a transposed convolution is taken for a plain one."""
    case = case_of("rafd")
    weights = case.states["weights"]["G"]
    turned = {**weights, "main.13.weight": weights["main.13.weight"][:, :, ::-1]}
    table = reference.generator_table(Generator(4, (32, 32, 3), 4, 1))
    right, wrong = (carried_over(state, table)["params"] for state in (weights, turned))
    changed = [
        name
        for name in right
        if not np.array_equal(right[name].get("kernel", 0), wrong[name].get("kernel", 0))
    ]
    assert changed == ["Conv_5"]
