"""Files of NVIDIA's code and of its port become settings and weights, and go back."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_pickles

from jaxgan.systems.reference import Case, carried_over
from jaxgan.systems.stylegan2 import published, reference
from jaxgan.systems.stylegan2.config import StyleGAN2Config
from jaxgan.systems.stylegan2.networks import BUFFERS

SMALL = {
    "recipe": "auto",
    "dataset": "published",
    "image_shape": (16, 16, 3),
    "channel_base": 96,
    "channel_max": 8,
    "latent_size": 5,
    "style_size": 6,
    "mapping_layers": 3,
}
# Written out it would have no end.
NESTED: list = []
for _ in range(60):
    NESTED = [NESTED, NESTED]
CONDITIONAL = {
    **SMALL,
    "conditional": True,
    "attributes": ("label",),
    "classes": (("label", ("class_0", "class_1", "class_2")),),
    "mapping_hidden": 7,
    "mapping_embedded": 4,
    "clamp": 2.5,
    "group_size": 2,
    "discriminator_kind": "orig",
    "generator_kind": "resnet",
}


def players_of(config, seed=0):
    """Random variables of both networks, by the table."""
    rng = np.random.default_rng(seed)
    return {
        player: carried_over(
            {key: rng.normal(size=its.shape).astype(np.float32) for key, its in table.items()},
            table,
        )
        for player, table in (
            ("generator", reference.generator_table(config.generator())),
            ("discriminator", reference.discriminator_table(config.discriminator())),
        )
    }


def official(**settings):
    """(the settings, the variables, and both networks in the official form)."""
    config = StyleGAN2Config(**settings)
    players = players_of(config)
    return config, players, reference.exported(config, players)


def written(path, content):
    path.write_bytes(content)
    return str(path)


def assert_same(given, expected):
    jax.tree.map(np.testing.assert_array_equal, given, expected)
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(given))


def told(config):
    """What a file tells of its settings: all but those of training, which are the recipe's."""
    return config.generator(), config.discriminator(), config.classes, config.group_size


@pytest.mark.parametrize("settings", [SMALL, CONDITIONAL], ids=["plain", "conditional"])
@pytest.mark.parametrize("protocol", [3, 4])
def test_a_network_pickle(settings, protocol, tmp_path):
    config, players, (states, arguments) = official(**settings)
    # The official training's own generator is not the one that is wanted.
    other = reference.exported(config, players_of(config, 1)).states["G_ema"]
    content = torch_pickles.snapshot(
        {"G": other, **states}, {"G": arguments["G_ema"], **arguments}, protocol
    )
    given = reference.imported_file(written(tmp_path / "network.pkl", content))
    assert told(given.config) == told(config)
    assert_same(given.generator, players["generator"])
    assert_same(given.discriminator, players["discriminator"])
    given.config.check_params(given.generator)


def test_weights_go_to_the_official_form_and_back_bit_for_bit():
    config, players, exported = official(**CONDITIONAL)
    assert list(exported.states) == list(exported.arguments) == ["G_ema", "D"]
    config_back, generator, _ = reference.imported(exported.states["G_ema"])
    assert_same(generator, players["generator"])
    again = reference.exported(config, players).states
    jax.tree.map(np.testing.assert_array_equal, again, exported.states)
    assert config_back.generator_kind == "resnet"
    generator_alone = reference.exported(config, {"generator": players["generator"]})
    assert list(generator_alone.states) == list(generator_alone.arguments) == ["G_ema"]


@pytest.mark.parametrize("name", ["unconditional_32", "conditional_32"])
def test_the_keys_are_those_of_the_official_code_and_no_others(name):
    """Of networks that the official code made: all keys, shapes and filters."""
    with np.load(f"{__file__.rpartition('/')[0]}/cases/{name}.npz") as file:
        theirs = {key.removeprefix("weights/"): file[key] for key in file if "weights/" in key}
    state = {key[2:]: array for key, array in theirs.items() if key.startswith("G/")}
    config, generator, _ = reference.imported(state)
    table = reference.discriminator_table(config.discriminator())
    discriminator = carried_over(
        reference._without_filters(
            {key[2:]: array for key, array in theirs.items() if key.startswith("D/")}
        ),
        table,
    )
    players = {"generator": generator, "discriminator": discriminator}
    ours = reference.exported(config, players).states
    flat = {
        f"{net}/{key}": array
        for net, state in (("G", ours["G_ema"]), ("D", ours["D"]))
        for key, array in state.items()
    }
    assert flat.keys() == theirs.keys()
    for key, array in theirs.items():
        np.testing.assert_allclose(flat[key], array, rtol=0, atol=1e-7)


@pytest.mark.parametrize("settings", [SMALL, CONDITIONAL], ids=["plain", "conditional"])
def test_the_constructors_arguments_make_the_same_networks(settings):
    config, _, (states, arguments) = official(**settings)
    its = dict(arguments["G_ema"])
    its["D_kwargs"] = {
        key: value
        for key, value in arguments["D"].items()
        if key not in ("c_dim", "img_resolution", "img_channels")
    }
    case = Case(
        {}, {"weights": {"G": states["G_ema"], "D": states["D"]}}, {"case": {"config": its}}
    )
    case.settings["case"]["config"]["r1_gamma"] = 1.0
    networks = reference._Networks.of(case)
    assert networks.generator == config.generator()
    assert networks.discriminator == config.discriminator()


def test_shapes_that_the_official_code_has_not():
    config = StyleGAN2Config(**{**SMALL, "image_shape": (20, 16, 3)})
    with pytest.raises(ValueError, match="square images of 8, 16, 32 and so on .* not 20x16"):
        reference.exported(config, {})


def test_blocks_of_pixels_are_not_exported():
    config = StyleGAN2Config(image_shape=(16, 16, 3), block_size=2)
    with pytest.raises(ValueError, match="makes no blocks of pixels, as --block-size 2 does"):
        reference.exported(config, {})


def test_a_discriminator_of_another_form_is_left_out(tmp_path):
    config, players, (states, arguments) = official(**SMALL)
    for change in ({"activation": "relu"}, {"epilogue_kwargs": {"mbstd_group_size": None}}):
        changed = {**arguments, "D": {**arguments["D"], **change}}
        content = torch_pickles.snapshot(states, changed)
        given = reference.imported_file(written(tmp_path / "a.pkl", content))
        assert given.discriminator is None
        assert_same(given.generator, players["generator"])
    del states["D"]["b4.out.bias"]
    content = torch_pickles.snapshot(states, arguments)
    given = reference.imported_file(written(tmp_path / "a.pkl", content))
    assert given.discriminator is None and told(given.config)[0] == config.generator()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mapping_kwargs": {"lr_multiplier": 0.1}}, "lr_multiplier is 0.1, not 0.01"),
        ({"synthesis_kwargs": {"activation": "relu"}}, "activation is 'relu', not 'lrelu'"),
        ({"synthesis_kwargs": {"use_noise": False}}, "use_noise is False, not True"),
        ({"synthesis_kwargs": {"conv_clamp": "x" * 10**6}}, "conv_clamp is 'xxx"),
        ({"synthesis_kwargs": {"conv_clamp": -1}}, "conv_clamp is -1, no size"),
        ({"synthesis_kwargs": {"conv_clamp": math.nan}}, "conv_clamp is nan, no size"),
        ({"synthesis_kwargs": {"conv_clamp": 10**400}}, "conv_clamp is 1000.*, no size"),
        ({"synthesis_kwargs": {"activation": NESTED}}, r"activation is \[\[\[.*, not 'lrelu'"),
    ],
)
def test_a_generator_of_other_layers_is_refused(change, message, tmp_path):
    _, _, (states, arguments) = official(**SMALL)
    content = torch_pickles.snapshot(
        states, {**arguments, "G_ema": {**arguments["G_ema"], **change}}
    )
    with pytest.raises(ValueError, match=message) as error:
        reference.imported_file(written(tmp_path / "a.pkl", content))
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def test_networks_of_stylegan2_in_stylegan3s_code(tmp_path):
    """Its arguments are not nested, and layers are cut if they do not say otherwise."""
    _, players, (states, arguments) = official(**SMALL)
    flat = {**arguments["G_ema"], **arguments["G_ema"]["synthesis_kwargs"]}
    del flat["synthesis_kwargs"], flat["conv_clamp"]
    flat["fused_modconv_default"] = "inference_only"
    content = torch_pickles.snapshot(states, {**arguments, "G_ema": flat})
    given = reference.imported_file(written(tmp_path / "a.pkl", content))
    assert given.config.clamp == 256
    assert_same(given.generator, players["generator"])


def test_a_pickle_of_the_tensorflow_code_says_what_to_do(tmp_path):
    path = written(tmp_path / "a.pkl", torch_pickles.of_tensorflow())
    with pytest.raises(ValueError, match="TensorFlow code.*python legacy.py --source=") as error:
        reference.imported_file(path)
    assert "\n" not in str(error.value)


def port_of(states):
    """The official networks with the names and in the layout of the port, and its mean style."""
    generator, discriminator = dict(states["G_ema"]), states["D"]
    port, judge, mean = {}, {}, generator.pop("mapping.w_avg")
    layers = {"b4.conv1": "conv1"}
    for i, size in enumerate((8, 16)):
        layers |= {f"b{size}.conv0": f"convs.{2 * i}", f"b{size}.conv1": f"convs.{2 * i + 1}"}
    images = {"b4.torgb": "to_rgb1", "b8.torgb": "to_rgbs.0", "b16.torgb": "to_rgbs.1"}
    for i in range(3):
        port[f"style.{i + 1}.weight"] = generator[f"mapping.fc{i}.weight"]
        port[f"style.{i + 1}.bias"] = generator[f"mapping.fc{i}.bias"]
    port["input.input"] = generator["synthesis.b4.const"][None]
    for number, (name, theirs) in enumerate(layers.items()):
        its = {
            key.removeprefix(f"synthesis.{name}."): array
            for key, array in generator.items()
            if key.startswith(f"synthesis.{name}.")
        }
        fan_in = np.prod(its["weight"].shape[1:])
        port[f"{theirs}.conv.weight"] = (its["weight"] * np.sqrt(np.float32(fan_in)))[None]
        port[f"{theirs}.conv.modulation.weight"] = its["affine.weight"]
        port[f"{theirs}.conv.modulation.bias"] = its["affine.bias"]
        port[f"{theirs}.noise.weight"] = its["noise_strength"].reshape(1)
        port[f"{theirs}.activate.bias"] = its["bias"]
        port[f"noises.noise_{number}"] = its["noise_const"][None, None]
        if name.endswith("conv0"):
            port[f"{theirs}.conv.blur.kernel"] = 4 * its["resample_filter"]
    for name, theirs in images.items():
        key = f"synthesis.{name}"
        port[f"{theirs}.conv.weight"] = generator[f"{key}.weight"][None]
        port[f"{theirs}.conv.modulation.weight"] = generator[f"{key}.affine.weight"]
        port[f"{theirs}.conv.modulation.bias"] = generator[f"{key}.affine.bias"]
        port[f"{theirs}.bias"] = generator[f"{key}.bias"].reshape(1, -1, 1, 1)
        if name != "b4.torgb":
            port[f"{theirs}.upsample.kernel"] = 4 * generator["synthesis.b4.resample_filter"]
    taps = generator["synthesis.b4.resample_filter"]
    for theirs, name in {
        "convs.0.0.weight": "b16.fromrgb.weight",
        "convs.0.1.bias": "b16.fromrgb.bias",
        **{
            f"convs.{i}.{key}": f"b{size}.{name}"
            for i, size in ((1, 16), (2, 8))
            for key, name in {
                "conv1.0.weight": "conv0.weight",
                "conv1.1.bias": "conv0.bias",
                "conv2.1.weight": "conv1.weight",
                "conv2.2.bias": "conv1.bias",
                "skip.1.weight": "skip.weight",
            }.items()
        },
        "final_conv.0.weight": "b4.conv.weight",
        "final_conv.1.bias": "b4.conv.bias",
        "final_linear.0.weight": "b4.fc.weight",
        "final_linear.0.bias": "b4.fc.bias",
        "final_linear.1.weight": "b4.out.weight",
        "final_linear.1.bias": "b4.out.bias",
    }.items():
        judge[theirs] = discriminator[name]
    for i in (1, 2):
        judge |= {f"convs.{i}.conv2.0.kernel": taps, f"convs.{i}.skip.0.kernel": taps}
    return port, judge, mean


PORT = {**SMALL, "latent_size": 6}


@pytest.mark.parametrize("form", [torch_pickles.archive, torch_pickles.legacy])
def test_a_checkpoint_of_the_port(form, tmp_path):
    config, players, (states, _) = official(**PORT)
    port, judge, mean = port_of(states)
    held = {
        "g": torch_pickles.state_of(port),
        "g_ema": torch_pickles.state_of(port),
        "d": torch_pickles.state_of(judge),
        "latent_avg": torch_pickles.by_storage(mean),
        "g_optim": {"state": {0: {"step": 3}}, "param_groups": [{"betas": (0.0, 0.99)}]},
    }
    given = reference.imported_file(written(tmp_path / "550000.pt", form(held)))
    assert told(given.config) == told(dataclasses.replace(config, clamp=0.0))
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=3e-7),
        given.generator,
        players["generator"],
    )
    assert_same(given.discriminator, players["discriminator"])


def test_a_checkpoint_of_the_ports_training_has_no_mean_style(tmp_path):
    _, players, (states, _) = official(**PORT)
    port, *_ = port_of(states)
    held = {"g_ema": torch_pickles.state_of(port)}
    path = written(tmp_path / "a.pt", torch_pickles.archive(held))
    config, generator, discriminator = reference.imported_file(path)
    assert discriminator is None
    mean = generator[BUFFERS]["mapping"]["w_average"]
    latents = np.random.default_rng(1).normal(size=(10_000, 6)).astype(np.float32)
    styles = config.generator().apply(players["generator"], jnp.asarray(latents), method="style")
    spread = np.std(styles, axis=0)
    assert np.all(np.abs(mean - np.mean(styles, axis=0)) < 0.1 * spread) and np.all(spread > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convs.9.conv.weight": np.ones(3, np.float32)}, "'convs.9.conv.weight' in it is no part"),
        ({"input.input": np.ones((2, 8, 4, 4), np.float32)}, "whose first axis is not 1"),
        (
            {"convs.0.conv.blur.kernel": np.ones((4, 4), np.float32)},
            "b8.conv0.resample_filter is not the filter of",
        ),
        ({"noises.noise_1": None}, "synthesis.b8.conv0.noise_const of shape .* is missing"),
        ({"conv1.conv.weight": None}, "b4.conv1.weight is missing"),
    ],
)
def test_other_checkpoints_are_refused(change, message, tmp_path):
    port = {**port_of(official(**PORT)[2].states)[0], **change}
    port = {key: array for key, array in port.items() if array is not None}
    content = torch_pickles.archive({"g_ema": torch_pickles.state_of(port)})
    with pytest.raises(ValueError, match=message) as error:
        reference.imported_file(written(tmp_path / "a.pt", content))
    assert "\n" not in str(error.value)


def test_a_state_dict_alone(tmp_path):
    _, players, (states, _) = official(**SMALL)
    content = torch_pickles.archive(torch_pickles.state_of(states["G_ema"]))
    given = reference.imported_file(written(tmp_path / "G_ema.pt", content))
    assert_same(given.generator, players["generator"])
    assert given.discriminator is None


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([1, 2], "it holds no networks, but a list"),
        ({"a": 1}, "it has no network G_ema, as NVIDIA's code, or g_ema, as the port"),
        ({"g_ema": {"a": 1}}, "'a' in it is a int, no tensor"),
    ],
)
def test_files_without_networks(held, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        published.read(written(tmp_path / "a.pt", torch_pickles.archive(held)))


@pytest.mark.parametrize("count", [1, 5000])
def test_modules_inside_themselves_are_refused(count, tmp_path):
    made = b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"
    # The state is in the memo, at 0, before it is filled.
    inner = made + b"}X\x05\x00\x00\x00stateh\x00s\x85R"
    names = (b"X\x04\x00\x00\x00" + b"%04d" % i for i in range(count))
    modules = b"}" + b"".join(name + inner + b"s" for name in names)
    state = b"}q\x00X\x08\x00\x00\x00_modules" + modules + b"s"
    network = made + b"}X\x05\x00\x00\x00state" + state + b"s\x85R"
    path = written(tmp_path / "a.pkl", b"\x80\x02}X\x05\x00\x00\x00G_ema" + network + b"s.")
    with pytest.raises(ValueError, match="more layers than any network"):
        published.read(path)


def test_numbers_that_are_too_large_or_none(tmp_path):
    states, arguments = official(**SMALL)[2]
    for value in (1e300, np.nan):
        wrong = np.full(6, value)
        state = {**states["G_ema"], "mapping.w_avg": wrong}
        content = torch_pickles.snapshot({"G_ema": state}, arguments)
        with pytest.raises(ValueError, match="mapping.w_avg has numbers that are NaN or infinite"):
            reference.imported_file(written(tmp_path / "a.pkl", content))


def test_arrays_that_share_their_numbers_are_refused(tmp_path):
    shared = torch_pickles.by_storage(np.ones(1 << 14, np.float32))
    content = torch_pickles.archive({f"mapping.fc{i}.weight": shared for i in range(20)})
    with pytest.raises(ValueError, match="it claims more numbers than it has"):
        published.read(written(tmp_path / "a.pt", content))


def test_pytorch_takes_exported_arrays():
    torch = pytest.importorskip("torch")
    kernel = official(**SMALL)[2].states["D"]["b16.conv0.weight"]
    layer = torch.nn.Conv2d(6, 6, 3, bias=False)
    layer.load_state_dict({"weight": torch.from_numpy(kernel)})
    np.testing.assert_array_equal(layer.weight.detach().numpy(), kernel)
