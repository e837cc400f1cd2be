"""StyleGAN2 beside NVIDIA's code: cases that it computed, through the importer's table."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.reference import Case, channels_first, state_dict
from jaxgan.systems.stylegan2 import reference
from jaxgan.systems.stylegan2.networks import Generator

sys.path.insert(0, str(Path(__file__).parents[3] / "experiments"))
import parity  # noqa: E402

FOLDER = Path(__file__).parent / "cases"
slow = pytest.mark.slow


def case_of(name):
    """The case of a file: as parity.py reads a folder, whose other files are in the .npz here."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = dict(file)
    weights, settings = {}, {}
    for key in list(arrays):
        first, _, rest = key.partition("/")
        if first == "weights":
            net, _, own = rest.partition("/")
            weights.setdefault(net, {})[own] = arrays.pop(key)
        elif first == "settings":
            settings[rest] = json.loads(str(arrays.pop(key)))
    return Case(arrays, {"weights": weights} if weights else {}, settings)


def assert_agrees(case, compared):
    lines = list(parity.compare(reference, case))
    assert [line for agrees, line in lines if not agrees] == []
    assert sum(line.endswith(" ok") for _, line in lines) == compared


def test_operations_and_the_usual_augmentations_have_the_numbers_of_the_reference():
    case = case_of("ops")
    usual = ("Hz_fbank", "percentiles", "images", "bgc_32", "cutout")
    arrays = {
        name: array
        for name, array in case.arrays.items()
        if not name.startswith("augment/") or name.removeprefix("augment/").startswith(usual)
    }
    assert_agrees(case._replace(arrays=arrays), 33)


@slow
@pytest.mark.parametrize(
    ("name", "compared"), [("ops", 61), ("conditional_32", 46), ("unconditional_32", 195)]
)
def test_every_number_of_the_reference(name, compared):
    assert_agrees(case_of(name), compared)


@pytest.fixture(scope="module")
def clamped():
    """The conditional case, whose activations are cut."""
    case = case_of("conditional_32")
    return case, reference._Networks.of(case)


def images_of(networks, case, **changes):
    generator = dataclasses.replace(networks.generator, **changes)
    variables = networks.players["generator"]

    @jax.jit
    def images(latents, labels):
        style = generator.apply(variables, latents, labels, method="style")
        styles = generator.apply(variables, style, 0.7, method="spread")
        return styles, generator.apply(variables, styles[:2], method="render")

    return images(case.arrays["z"], case.arrays["c"])


def test_images_of_clamped_layers(clamped):
    case, networks = clamped
    styles, images = images_of(networks, case)
    assert_near(styles, case.arrays["ws_psi0.7"], 2e-6)
    assert_near(channels_first(images), case.arrays["images_psi0.7_const"], 1e-5)


def test_logits_of_clamped_layers_and_of_groups_that_are_no_neighbours(clamped):
    case, networks = clamped
    judge = jax.jit(networks.discriminator.apply)
    images = reference.channels_last(case.arrays["reals_uint8"])
    logits = judge(networks.players["discriminator"], images, case.arrays["c_reals"])
    assert_near(logits[:, None], case.arrays["logits_reals"], 1e-4)


def assert_near(ours, theirs, share):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=share * np.abs(theirs).max())


def test_what_is_not_compared_are_inputs():
    skipped = {
        name
        for file in FOLDER.glob("*.npz")
        for name in case_of(file.stem).arrays
        if reference.why_not_compared(name)
    }
    assert skipped == {
        *("z", "c", "c_reals", "reals_uint8", "pl_noise", "pl_mean_before"),
        *(f"steps/{name}" for name in ("z", "c", "c_reals", "reals_uint8", "pl_noise")),
        "steps/phases_run",
        *(f"ops/{name}" for name in ("x", "w1", "w3", "b", "styles", "mbstd_x", "filter_1235")),
        *("ops/noise_up1", "ops/noise_up2", "augment/percentiles"),
        *(f"augment/images_{name}_uint8" for name in ("16", "32", "grey_16")),
    }


@pytest.mark.parametrize("name", ["unconditional_32", "conditional_32"])
def test_an_imported_generator_has_the_settings_of_its_weights(name):
    state = case_of(name).states["weights"]["G"]
    config, variables, _ = reference.imported(state)
    expected = {"unconditional_32": ((), 16, 20, 2), "conditional_32": ((3,), 12, 16, 8)}[name]
    assert expected == (
        config.num_classes,
        config.latent_size,
        config.style_size,
        config.mapping_layers,
    )
    generator = config.generator()
    assert (generator.channel_base, generator.channel_max, generator.kind) == (256, 16, "skip")
    assert (generator.image_shape, generator.clamp) == ((32, 32, 3), None)
    # The way back gives the state dict, but for the filters, which are all the same.
    back = state_dict(variables, reference.generator_table(generator))
    for key, array in back.items():
        np.testing.assert_array_equal(array, state[key])
    assert all(key.endswith("resample_filter") for key in state.keys() - back.keys())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"synthesis.b4.const": None}, "this is not a generator of StyleGAN2's PyTorch code: syn"),
        ({"mapping.w_avg": None}, "mapping.w_avg is missing"),
        ({"mapping.fc1.bias": np.zeros(3)}, r"mapping.fc1.bias has the shape \(3,\), not \(20,\)"),
        ({"mapping.fc7.weight": np.zeros((3, 3))}, "mapping.fc7.weight belongs to no network"),
        ({"synthesis.b8.conv1.bias": np.full(16, np.nan)}, "b8.conv1.bias has numbers that are"),
        ({"synthesis.b8.resample_filter": np.zeros((4, 4))}, "b8.resample_filter is not the fil"),
        ({"synthesis.b32.torgb.weight": np.zeros((2, 8, 1, 1))}, "it makes images of 2 channels"),
    ],
)
def test_other_state_dicts_are_refused(change, message):
    state = {**case_of("unconditional_32").states["weights"]["G"], **change}
    state = {key: array for key, array in state.items() if array is not None}
    with pytest.raises(ValueError, match=message) as error:
        reference.imported(state)
    assert "\n" not in str(error.value)


def test_the_published_generator_of_faces():
    """Facts of the official configuration of 1024x1024: keys, shapes and 30.4 million numbers."""
    table = reference.generator_table(Generator(image_shape=(1024, 1024, 3)))
    assert table["synthesis.b1024.conv0.weight"].shape == (32, 64, 3, 3)
    assert table["synthesis.b64.conv1.affine.weight"].shape == (512, 512)
    assert table["synthesis.b1024.conv1.noise_const"].shape == (1024, 1024)
    count = sum(int(np.prod(its.shape)) for its in table.values() if its.path[0] == "params")
    assert round(count / 1e6, 1) == 30.4
    assert Generator(image_shape=(1024, 1024, 3)).num_styles == 18
    assert jnp.float32 == Generator().dtype
