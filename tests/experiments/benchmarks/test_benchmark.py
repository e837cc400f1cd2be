"""The benchmark: what it counts, what it runs, and the table it makes of numbers that are known."""

import dataclasses
import importlib
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import game, training
from jaxgan.systems.latent.config import ADAM_EPSILON
from jaxgan.systems.mlp_gan.config import MLPGANConfig

EXPERIMENTS = Path(__file__).parents[3] / "experiments" / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(EXPERIMENTS))
    yield importlib.import_module("benchmark")
    sys.path.remove(str(EXPERIMENTS))


@pytest.fixture
def torch_gan(benchmark):
    pytest.importorskip("torch")
    return importlib.import_module("torch_gan")


# --- Counts ---


def test_the_multiply_adds_of_the_chapters_networks(benchmark):
    networks = benchmark.GENERATOR_WIDTHS, benchmark.DISCRIMINATOR_WIDTHS
    assert [benchmark.forward_products(widths) for widths in networks] == [1_483_776, 1_458_432]
    # By hand: G; D of real and fake; the gradients of all its weights; those of its inputs but for
    # the first layer's.
    d_step = 1_483_776 + 2 * 1_458_432 + 2 * 1_458_432 + 2 * (1_458_432 - 802_816)
    # G, D, back through all of D to the image, and through G: weights, and inputs but the latents.
    g_step = 1_483_776 + 1_458_432 + 1_458_432 + 1_483_776 + (1_483_776 - 25_600)
    assert benchmark.discriminator_products(*networks) == d_step == 8_628_736
    assert benchmark.generator_products(*networks) == g_step == 7_342_592
    assert benchmark.step_products(shares_fakes=False) == 15_971_328
    assert benchmark.step_products(shares_fakes=True) == 15_971_328 - 1_483_776


def test_the_counts_are_those_of_the_networks_that_are_trained(benchmark, torch_gan):
    config = MLPGANConfig()
    size = config.image_shape[0] * config.image_shape[1]
    generator = (config.latent_size, *config.generator_widths, size)
    discriminator = (size, *config.discriminator_widths, 1)
    for module in (benchmark, torch_gan):
        assert module.GENERATOR_WIDTHS == generator
        assert module.DISCRIMINATOR_WIDTHS == discriminator


# --- The contenders are the same game ---


def test_plain_jit_trains_what_the_parallel_layer_trains(benchmark):
    config = MLPGANConfig(
        recipe="textbook", batch_size=8, generator_widths=(16,), discriminator_widths=(16,)
    )
    gan = config.gan()
    images = np.random.default_rng(0).integers(0, 256, (100, 28, 28, 1), np.uint8)
    devices = jax.devices()[:1]
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(3))
    start = training.on_host(state)
    sizes = {"num_images": 100, "batch_size": 8, "steps_per_epoch": 12, "steps_per_call": 4}
    parallel = training.compile_epoch(gan, devices, **sizes)
    plain = benchmark.plain_program(gan, **sizes)
    ours, data = training.replicate(start, devices), training.replicate({"images": images}, devices)
    for call in range(4):  # into the second epoch
        if call % 3 == 0:
            orders = parallel.order(ours), plain.order(state)
        ours, _ = parallel.train(ours, data, orders[0])
        state, _ = plain.train(state, {"images": jnp.asarray(images)}, orders[1])
    ours = training.unreplicate(ours)
    for a, b in zip(
        jax.tree.leaves(ours.generator.params), jax.tree.leaves(state.generator.params), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=1e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), ours.ema_params, start.ema_params)
    assert min(jax.tree.leaves(moved)) > 1e-4


@pytest.fixture
def same_weights(torch_gan):
    """(state of jaxgan's textbook GAN, players of PyTorch with its weights)."""
    import torch

    gan = MLPGANConfig(recipe="textbook").gan()
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    players = torch_gan.Players.make(torch.device("cpu"), fused=True)
    for player, network in (
        (state.generator, players.generator),
        (state.discriminator, players.discriminator),
    ):
        layers = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
        for i, layer in enumerate(layers):
            dense = player.params[f"Dense_{i}"]
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(np.array(dense["kernel"]).T))
                layer.bias.copy_(torch.from_numpy(np.array(dense["bias"])))
    return state, players


def test_pytorchs_networks_are_the_same(same_weights):
    import torch

    state, players = same_weights
    gan = MLPGANConfig(recipe="textbook").gan()
    latents = np.random.default_rng(0).normal(size=(5, 100)).astype(np.float32)
    images = gan.generator.apply(state.generator.variables, latents)
    logits = gan.discriminator.apply(state.discriminator.variables, images)
    with torch.no_grad():
        their_images = players.generator(torch.from_numpy(latents))
        their_logits = players.discriminator(their_images)
    np.testing.assert_allclose(images.reshape(5, 784), their_images, atol=1e-4)
    np.testing.assert_allclose(logits, their_logits[:, 0], atol=1e-4)


def test_pytorchs_best_effort_takes_the_same_steps(same_weights, torch_gan):
    import torch

    state, players = same_weights
    gan = MLPGANConfig(recipe="textbook").gan()
    rng = np.random.default_rng(1)
    real = rng.uniform(-1, 1, (16, 784)).astype(np.float32)
    latents = rng.normal(size=(2, 16, 100)).astype(np.float32)
    batch = {"images": real.reshape(16, 28, 28, 1)}
    before = state.discriminator.params
    noises = [{"latent": x} for x in latents]
    turns = game.update_discriminator, game.update_generator
    move, reply = (jax.jit(turn, static_argnums=0) for turn in turns)
    state, metrics = move(gan, state, batch, noises[0])
    state, more = reply(gan, state, batch, noises[1])

    for optimizer in (players.generator_optimizer, players.discriminator_optimizer):
        optimizer.param_groups[0]["eps"] = ADAM_EPSILON
    best = torch_gan.BestEffort(players, 16, torch.device("cpu"))
    losses = [
        best.update_discriminator(torch.from_numpy(real), torch.from_numpy(latents[0])),
        best.update_generator(torch.from_numpy(latents[1])),
    ]
    expected = [metrics["discriminator_loss"], more["generator_loss"]]
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    # And end at the same weights, but for gradients that are next to nothing: what Adam makes of
    # those is in their rounding.
    for player, network in (
        (state.generator, players.generator),
        (state.discriminator, players.discriminator),
    ):
        weight = network[0].weight.detach().numpy().T
        apart = np.abs(player.params["Dense_0"]["kernel"] - weight)
        assert np.mean(apart) < 1e-7
    moved = np.abs(before["Dense_0"]["kernel"] - state.discriminator.params["Dense_0"]["kernel"])
    assert np.mean(moved) > 1e-4


def test_each_way_of_pytorch_trains_both_players(torch_gan):
    import torch

    images = torch_gan.load_images(64)
    assert images.shape == (64, 784) and images.min() == -1 and images.max() == 1
    for way, precision in (
        ("tutorial", "float32"),
        ("tutorial in memory", "float32"),
        ("eager", "float32"),
        ("best", "bfloat16"),
    ):
        players, run = torch_gan.make(way, images, 32, torch.device("cpu"), precision)
        networks = players.generator, players.discriminator
        before = [network[0].weight.detach().clone() for network in networks]
        run(3)  # more than an epoch
        for network, weight in zip(networks, before, strict=True):
            moved = (network[0].weight - weight).abs().mean()
            assert 1e-4 < moved < 1e-3, way


# --- The table ---


def row(benchmark, name, rates, *, batch_size=128, precision="float32", way="", host=(), walls=()):
    contender = benchmark.Contender(name, "any", batch_size, precision, way)
    return {
        "contender": contender._asdict(),
        "compile_seconds": 2.0,
        "rates": list(rates),
        "host": list(host),
        "walls": list(walls),
        "memory": 1_500_000_000,
        "device_memory": None,
    }


@pytest.fixture
def results(benchmark):
    """Three rounds of a machine that is half as fast in the second."""
    fresh, shared = (benchmark.step_products(shares_fakes=shared) for shared in (False, True))
    walls = [
        [
            ["jax", "float32", "wide", 8000.0 * fresh * speed],
            ["torch", "float32", "square", 10_000.0 * fresh * speed],
            ["torch", "bfloat16", "square", 40_000.0 * fresh * speed],
        ]
        for speed in (1.0, 0.5, 1.0)
    ]
    make = {"walls": walls}
    rows = [
        row(benchmark, benchmark.MNIST_GAN, [9000, 4500, 8500], host=[0.01, 0.03, 0.02], **make),
        row(benchmark, benchmark.MNIST_GAN, [16000, 8000, 16000], precision="bfloat16", **make),
        row(benchmark, benchmark.PMAP_1, [9500, 4900, 9700], **make),
        row(benchmark, benchmark.JIT, [10000, 5000, 10000], **make),
        row(benchmark, benchmark.IN_MEMORY, [3000, 1500, 3400], way="tutorial in memory", **make),
        row(benchmark, benchmark.EAGER, [3500, 2000, 3500], way="eager", **make),
        row(benchmark, benchmark.BEST, [5000, 2500, 5000], way="best", **make),
        row(benchmark, benchmark.BEST, [9000] * 3, precision="bfloat16", way="best", **make),
    ]
    about = {
        "machine": "CPU Some Model (TM), 2 cores",
        "versions": "Python 3",
        "date": "2026-01-01",
        "commit": "abc",
        "command": "python experiments/benchmark.py",
        "rounds": "3",
        "images": "60000",
        "num_samples": "10000",
        "pytorch": "",
    }
    sampling = [
        {"sample_seconds": a, "products_seconds": b, "embed_seconds": 1.0, "score_seconds": 2.0}
        for a, b in ((0.2, 0.1), (0.4, 0.4), (0.15, 0.1))
    ]
    return benchmark.Results(about, rows, sampling, [(20.0, 4.0), (10.0, 6.0), (12.0, 3.0)])


def tables(text):
    """{title: [[cell]]} of the Markdown."""
    parts = re.split(r"^## (.*)$", text, flags=re.M)[1:]
    return {
        title: [[cell.strip() for cell in line.strip("|").split("|")] for line in body.split("\n")]
        for title, body in zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True)
    }


def test_the_table_of_numbers_that_are_known(benchmark, results):
    found = tables(benchmark.report_of(results))
    training_rows = {(line[0], line[2]): line for line in found["Training"]}
    assert training_rows[benchmark.MNIST_GAN, "float32"] == [
        "jaxgan, mnist_gan.py",
        "128",
        "float32",
        "8,500 [4,500, 9,000]",
        "15.97",
        "0.900",  # of 0.9, 0.9 and 0.85
        "3.00",  # of 3, 3 and 2.5
        "2.0",
        "1.50",
    ]
    # It does 14.49 M for an example; 0.3 x 14.49 / 15.97 of the wall, the median round.
    tutorial = training_rows[benchmark.IN_MEMORY, "float32"]
    assert tutorial[4:7] == ["14.49", "0.272", "1.00"]
    assert training_rows[benchmark.MNIST_GAN, "bfloat16"][5] == "0.400"
    (float32, bfloat16) = found["The wall: matrix products alone"][2:]
    gigaflops = 2 * 10_000 * 15_971_328 / 1e9
    assert float32 == ["float32", f"{gigaflops:.0f}", "10,000", "torch", "square"]
    assert bfloat16[2:] == ["40,000", "torch", "square"]
    prices = {line[0]: line[1] for line in found["The price of the layers, float32"]}
    assert prices["jaxgan, pmap on 1 device, against plain jit"] == "0.970"
    assert prices["jaxgan, pmap on 2 devices, against plain jit"] == ""
    assert prices["jaxgan, mnist_gan.py, against pmap on 1 device"] == "0.918"  # 4500 / 4900
    assert prices["jaxgan, mnist_gan.py, time between compiled calls"] == "2.00%"
    others = dict(found["Start, samples and scores"][2:])
    assert list(others.values()) == [
        "12.0 s",
        "4.0 s",
        "200.0 ms, 50,000 digits/s",
        "1.50",
        "1.00 s",
        "2.00 s",
    ]


def test_targets_are_held_against_the_best_of_pytorch_and_what_is_missing_is_said(
    benchmark, results
):
    found = [line[2:] for line in tables(benchmark.report_of(results))["Targets"][2:]]
    assert found == [
        ["3.00", "yes"],
        ["1.80", "yes"],  # the best float32 row, not bfloat16's
        ["not measured", ""],  # batch 512
        ["0.900", "yes"],
        ["not measured", ""],  # batch 256
        ["0.970", "**no**"],
        ["2.00%", "yes"],
        ["1.50", "**no**"],
        ["12.0", "yes"],
        ["4.0", "yes"],
    ]


def test_a_busy_machine_is_said(benchmark, results):
    assert "Other programs" not in benchmark.report_of(results)
    results = dataclasses.replace(results, others=0.25)
    assert "**Other programs took 25% of" in benchmark.report_of(results)


def test_without_pytorch_its_rows_are_left_out_aloud(benchmark, results):
    config = benchmark.BenchmarkConfig()
    found = benchmark.contenders(config, 64, torch=False, gpu=False)
    assert found and not [row for row in found if row.name.startswith("PyTorch")]
    about = results.about | {"pytorch": benchmark.WITHOUT_PYTORCH}
    results = dataclasses.replace(results, about=about, rows=results.rows[:4])
    text = benchmark.report_of(results)
    assert 'pip install -e ".[benchmark]"' in text
    lines = tables(text)["Targets"][2:4]
    assert [line[2] for line in lines] == ["not measured"] * 2


def test_cuda_graphs_are_for_gpus_and_virtual_devices_for_cpus(benchmark):
    config = benchmark.BenchmarkConfig()
    names = [
        {row.name for row in benchmark.contenders(config, 64, torch=True, gpu=gpu)}
        for gpu in (False, True)
    ]
    assert names[0] - names[1] == {benchmark.PMAP_2}
    assert names[1] - names[0] == {benchmark.CUDA_GRAPHS}


def test_a_machines_name_is_a_files(benchmark):
    assert benchmark.file_name("CPU AMD EPYC (TM) 9B45, 2 cores") == "cpu-amd-epyc-tm-9b45-2-cores"


# --- The program ---


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("--batch-sizes", 63), "--batch-sizes must be multiples of 2"),
        (("--rounds", 0), "--rounds must be 1 or more, not 0"),
        (("--seconds", "nan"), "--seconds must be above 0"),
        (("--images", 10), "--images must be from the largest batch"),
        (("--rows", "keras"), "no row has 'keras' in its name"),
        (("--num-samples", 5), "--num-samples must be from 10"),
        (("--precisions", "float8"), "--precisions"),
        (("--fast",), "unrecognized arguments: --fast"),
    ],
)
def test_bad_flags_end_in_one_line_and_write_nothing(call_script, tmp_path, bad, message):
    done = call_script("benchmark.py", *bad)
    assert done.returncode == 2
    assert re.fullmatch(r"benchmark.py: error: .*\n", done.stderr) and message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_small_run_leaves_its_table_and_its_numbers(run_script, benchmark, tmp_path):
    pytest.importorskip("torch")
    done = run_script(
        "benchmark.py",
        *("--rounds", 2, "--seconds", 0.01, "--batch-sizes", 32, "--images", 320),
        *("--precisions", "float32", "--rows", "mnist_gan", "in memory"),
        *("--starts", 0, "--num-samples", 10, "--out", "results"),
    )
    assert done.returncode == 0, done.stderr
    (numbers,) = (tmp_path / "results").glob("*.json")
    (table,) = (tmp_path / "results").glob("*.md")
    assert table.stem == numbers.stem and re.fullmatch(r"[a-z]+-[a-z0-9-]+", table.stem)
    assert done.stdout.strip() == table.read_text().strip()
    found = tables(table.read_text())
    assert [line[:3] for line in found["Training"][2:]] == [
        [name, "32", "float32"] for name in (benchmark.MNIST_GAN, benchmark.IN_MEMORY)
    ]
    assert "Epochs of 320 images" in table.read_text()
    raw = json.loads(numbers.read_text())
    for measured in raw["rows"]:
        assert len(measured["rates"]) == 2 and min(measured["rates"]) > 0
        assert measured["memory"] > 100e6
    # Small epochs end all the time: the host's work is most of it.
    assert 0 < raw["rows"][0]["host"][0] < 1
    assert {case[0] for case in raw["rows"][0]["walls"][0]} == {"jax", "numpy", "torch"}
    assert len(raw["sampling"]) == 2
