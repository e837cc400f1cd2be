"""The benchmark of the convolutional GANs: its contenders are the same game, and its table."""

import dataclasses
import importlib
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from jaxgan import game
from jaxgan.systems.dcgan import networks as dcgan
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.systems.pix2pix import networks as pix2pix
from jaxgan.systems.pix2pix.losses import paired_gan

EXPERIMENTS = Path(__file__).parents[3] / "experiments" / "benchmarks"
SGD = optax.sgd(1.0)
BATCH = 3


@pytest.fixture(scope="module", autouse=True)
def experiments():
    sys.path.insert(0, str(EXPERIMENTS))
    yield
    sys.path.remove(str(EXPERIMENTS))


@pytest.fixture
def benchmark_systems():
    return importlib.import_module("benchmark_systems")


@pytest.fixture
def torch_systems():
    pytest.importorskip("torch")
    return importlib.import_module("torch_systems")


# --- The contenders are the same game ---


def randomised(gan, seed: int = 0):
    """A state of random parameters: scales of 1 and biases of 0 would hide one left out."""
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(seed))
    rng = np.random.default_rng(seed)

    def random(params):
        return jax.tree.map(
            lambda x: x + rng.normal(scale=0.1, size=x.shape).astype(np.float32), params
        )

    return state.replace(
        generator=state.generator.replace(params=random(state.generator.params)),
        discriminator=state.discriminator.replace(params=random(state.discriminator.params)),
    )


def gradients(gan, state, batch, noise):
    """(loss, gradients) of the discriminator, then of the generator, from jaxgan."""
    found = []
    for loss, player in (
        (gan.discriminator_loss, state.discriminator),
        (gan.generator_loss, state.generator),
    ):
        value = jax.value_and_grad(loss, has_aux=True)
        (value, _), slope = jax.jit(value, static_argnames="axis_name")(
            player.params, state, batch, noise, axis_name=None
        )
        found.append((value, slope))
    return found


def of_conv(kernel):
    return np.asarray(kernel).transpose(3, 2, 0, 1)


def of_doubling(kernel):
    # PyTorch's transposed convolution goes over its kernel the other way.
    return np.asarray(kernel)[::-1, ::-1].transpose(2, 3, 0, 1)


def of_dense(kernel):
    return np.asarray(kernel).T


def of_norm(params, module):
    return [(module.weight, np.asarray(params["scale"])), (module.bias, np.asarray(params["bias"]))]


def of_layer(params, module, convert):
    pairs = [(module.weight, convert(params["kernel"]))]
    if "bias" in params:
        pairs.append((module.bias, np.asarray(params["bias"])))
    assert (module.bias is not None) == ("bias" in params)
    return pairs


def in_their_order(params, kind: str, count: int):
    assert f"{kind}_{count}" not in params
    return [params[f"{kind}_{i}"] for i in range(count)]


def dcgan_generator_pairs(params, network, smallest):
    """(PyTorch's parameter, what jaxgan's is as such) of all."""
    channels, height, width = smallest
    kernel = np.asarray(params["Dense_0"]["kernel"])
    kernel = kernel.reshape(-1, height, width, channels).transpose(3, 1, 2, 0)
    pairs = [(network.first.weight, kernel.reshape(-1, kernel.shape[-1]))]
    layers = in_their_order(params, "Conv", len(network.doubling))
    for each, module in zip(layers, network.doubling, strict=True):
        pairs += of_layer(each, module, of_doubling)
    norms = in_their_order(params, "BatchNorm", len(network.norms))
    for each, module in zip(norms, network.norms, strict=True):
        pairs += of_norm(each, module)
    return pairs


def dcgan_discriminator_pairs(params, network, smallest):
    channels, height, width = smallest

    def flattened(kernel):
        # Of the last map, channels first.
        kernel = np.asarray(kernel).reshape(height, width, channels, -1).transpose(3, 2, 0, 1)
        return kernel.reshape(len(kernel), -1)

    learnt = np.asarray(params["Dense_1"]["kernel"]).reshape(-1, height, width, channels)
    learnt = learnt.transpose(3, 1, 2, 0).reshape(-1, len(learnt))
    pairs = of_layer(params["Dense_0"], network.last, flattened) + [(network.learnt.weight, learnt)]
    layers = in_their_order(params, "Conv", len(network.halving))
    for each, module in zip(layers, network.halving, strict=True):
        pairs += of_layer(each, module, of_conv)
    norms = in_their_order(params, "BatchNorm", len(network.norms) - 1)
    for each, module in zip(norms, network.norms[1:], strict=True):
        pairs += of_norm(each, module)
    return pairs


def unet_pairs(params, network):
    modules = [*network.halving, *network.doubling]
    layers = in_their_order(params, "Conv", len(modules))
    pairs = []
    for i, (each, module) in enumerate(zip(layers, modules, strict=True)):
        pairs += of_layer(each, module, of_conv if i < len(network.halving) else of_doubling)
    modules = [x for x in (*network.norms_down, *network.norms_up) if hasattr(x, "weight")]
    norms = in_their_order(params, "InstanceNorm", len(modules))
    for each, module in zip(norms, modules, strict=True):
        pairs += of_norm(each, module)
    return pairs


def patch_pairs(params, network):
    modules = [network.first, *network.layers, network.last]
    pairs = []
    layers = in_their_order(params, "Conv", len(modules))
    for each, module in zip(layers, modules, strict=True):
        pairs += of_layer(each, module, of_conv)
    norms = in_their_order(params, "InstanceNorm", len(network.norms))
    for each, module in zip(norms, network.norms, strict=True):
        pairs += of_norm(each, module)
    return pairs


def assert_same(ours, theirs, state, pairs_of, batch):
    """Losses and all gradients agree.

    Args:
        ours: from `gradients`.
        theirs: PyTorch's game.
        state: of jaxgan's.
        pairs_of: two functions, (params, network) -> pairs, of discriminator and generator.
        batch: of PyTorch's.
    """
    import torch

    players = (state.discriminator, theirs.discriminator), (state.generator, theirs.generator)
    with torch.no_grad():
        for pairs, (player, network) in zip(pairs_of, players, strict=True):
            found = pairs(player.params, network)
            assert len(found) == len(list(network.parameters()))
            for parameter, value in found:
                parameter.copy_(torch.from_numpy(value.copy()))
    losses = theirs.discriminator_loss, theirs.generator_loss
    for (value, slopes), loss, pairs, (_, network) in zip(
        ours, losses, pairs_of, players, strict=True
    ):
        network.zero_grad()
        their_value = loss(batch)
        their_value.backward()
        np.testing.assert_allclose(value, their_value.item(), rtol=1e-4)
        for parameter, slope in pairs(slopes, network):
            assert np.abs(slope).max() > 1e-5
            bound = 1e-4 * max(1, np.abs(slope).max())
            np.testing.assert_allclose(parameter.grad, slope, atol=bound)


def channels_first(images):
    import torch

    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("image_shape", [(28, 28, 1), (16, 16, 3)])
def test_pytorchs_dcgan_is_the_same(torch_systems, image_shape):
    import torch

    num_classes, width = (3, 2), 2
    gan = latent_gan(
        dcgan.Generator(torch_systems.LATENT_SIZE, width, image_shape, num_classes),
        dcgan.Discriminator(width, image_shape, num_classes),
        SGD,
        SGD,
    )
    state = randomised(gan)
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (BATCH, *image_shape)).astype(np.float32)
    labels = np.array([[0, 1], [2, 0], [1, 1]], np.int32)
    latents = rng.normal(size=(BATCH, torch_systems.LATENT_SIZE)).astype(np.float32)
    ours = gradients(gan, state, {"images": images, "labels": labels}, {"latent": latents})

    theirs = torch_systems.DCGAN(image_shape, num_classes, width)
    halvings, smallest = torch_systems.smallest_map(image_shape)
    smallest = (width << (halvings - 1), *smallest)
    batch = {
        "images": channels_first(images),
        "labels": torch.from_numpy(labels).long(),
        "latents": torch.from_numpy(latents),
    }
    pairs_of = (
        lambda params, network: dcgan_discriminator_pairs(params, network, smallest),
        lambda params, network: dcgan_generator_pairs(params, network, smallest),
    )
    assert_same(ours, theirs, state, pairs_of, batch)


def test_pytorchs_pix2pix_is_the_same(torch_systems):
    image_shape, width = (16, 16, 3), 2
    gan = paired_gan(
        pix2pix.UNet(width, image_shape), pix2pix.PatchDiscriminator(width, image_shape), SGD, SGD
    )
    state = randomised(gan)
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (BATCH, *image_shape)).astype(np.float32)
    inputs = rng.uniform(-1, 1, (BATCH, *image_shape[:2], 1)).astype(np.float32)
    # Without keys nothing is dropped out.
    ours = gradients(gan, state, {"images": images, "inputs": inputs}, {"key": None})

    theirs = torch_systems.Pix2Pix(image_shape, 1, width)
    theirs.generator.eval()
    batch = {"images": channels_first(images), "inputs": channels_first(inputs)}
    assert_same(ours, theirs, state, (patch_pairs, unet_pairs), batch)


@pytest.mark.parametrize("name", ["dcgan 28x28x1", "dcgan 32x32x3", "pix2pix 64x64x3"])
def test_pytorchs_have_the_sizes_of_the_scripts(benchmark_systems, torch_systems, name):
    case = benchmark_systems.CASES[name]
    config = benchmark_systems.config_of(case, 4)
    dataset = config.load_dataset()
    config = config.of_dataset(dataset)
    load = {"dcgan": torch_systems.load_dcgan, "pix2pix": torch_systems.load_pix2pix}[case.system]
    theirs, arrays = load(case.dataset, case.image_shape, 8)
    for key, array in config.examples(dataset).items():
        np.testing.assert_array_equal(arrays[key], array[:8])
    of_ours = jax.eval_shape(lambda key: game.init(config.gan(), key), jax.random.key(0))
    for player, network in (
        (of_ours.generator, theirs.generator),
        (of_ours.discriminator, theirs.discriminator),
    ):
        sizes = sorted(x.size for x in jax.tree.leaves(player.params))
        assert sizes == sorted(x.numel() for x in network.parameters())


def test_the_data_reach_pytorchs_networks_as_they_reach_jaxgans(torch_systems):
    import torch

    images = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
    arrays = {"images": images, "labels": np.arange(6, dtype=np.int32)[:, None]}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        batches = torch_systems.batches_in_memory(arrays, 2, memory_format)
        seen = [next(batches) for _ in range(3)]
        rows = torch.cat([each["labels"] for each in seen])[:, 0].numpy()
        assert sorted(rows) == list(range(6))
        found = torch.cat([each["images"] for each in seen]).numpy()
        wanted = images[rows].astype(np.float32) / 127.5 - 1
        np.testing.assert_allclose(found, wanted.transpose(0, 3, 1, 2), atol=1e-6)
        assert seen[0]["images"].is_contiguous(memory_format=memory_format)


# --- The table and the flags ---


def test_the_ratio_is_to_pytorchs_fastest_column(benchmark_systems):
    about = dict(machine="m", command="c", date="d", commit="e", versions="v")
    results = benchmark_systems.Results(
        about | {"rounds": "3", "pytorch": ""},
        [
            {
                "case": "dcgan 28x28x1",
                "batch_size": 64,
                "rates": {
                    "jaxgan": [300.0, 100.0, 240.0],
                    "PyTorch": [100.0, 100.0, 100.0],
                    "PyTorch, channels last": [200.0, 200.0, 120.0],
                },
            }
        ],
    )
    line = benchmark_systems.report_of(results).splitlines()[-1]
    # The rounds' ratios are 1.5, 0.5 and 2.
    assert line == (
        "| dcgan 28x28x1 | 64 | 240 [100, 300] | 100 [100, 100] | 200 [120, 200] | 1.50 |"
    )
    without = dataclasses.replace(
        results, rows=[{"case": "x", "batch_size": 1, "rates": {"jaxgan": [1.0]}}], others=0.5
    )
    text = benchmark_systems.report_of(without)
    assert text.splitlines()[-1] == "| x | 1 | 1 [1, 1] |  |"
    assert "Other programs took 50%" in text


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--system", "gans"], "gans"),
        (["--system", "dcgan", "--batch-sizes", "0"], "--batch-sizes must be from 1 to 300"),
        (["--system", "pix2pix", "--rounds", "0"], "--rounds must be 1 or more, not 0"),
        (["--system", "pix2pix", "--seconds", "nan"], "--seconds must be above 0, not nan"),
        (["--system", "dcgan", "--quick"], "--quick"),
    ],
)
def test_bad_flags_get_one_line(benchmark_systems, monkeypatch, capsys, arguments, words):
    benchmark = importlib.import_module("benchmark")
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    with pytest.raises(SystemExit) as error:
        benchmark.main()
    assert error.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0], lines
