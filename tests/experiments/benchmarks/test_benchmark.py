"""The benchmark: what it counts, and the table that it makes of numbers that are known."""

import dataclasses
import re
import sys

import benchmark
import jax
import jaxgan_gans
import numpy as np
import pytest
from benchmark import BEST, COMPILE, JIT, MNIST, PRODUCTS_ALONE, SAMPLE, SCRIPT, TRAIN, TUTORIAL

from jaxgan import training
from jaxgan.systems.mlp_gan.config import MLPGANConfig

WALL = benchmark.WALLS[0]


# --- What is measured ---


def test_the_multiply_adds_of_the_chapters_networks():
    generator, discriminator = jaxgan_gans.layer_shapes()
    assert sum(a * b for a, b in generator) == 1_483_776
    assert sum(a * b for a, b in discriminator) == 1_458_432
    # By hand: G; D of real and fake; the gradients of all its weights; those of its inputs but for
    # the first layer's.
    d_step = 1_483_776 + 2 * 1_458_432 + 2 * 1_458_432 + 2 * (1_458_432 - 802_816)
    # G, D, back through all of D to the image, and through G: weights, and inputs but the latents.
    g_step = 1_483_776 + 1_458_432 + 1_458_432 + 1_483_776 + (1_483_776 - 25_600)
    assert benchmark.step_products() == d_step + g_step == 15_971_328
    assert benchmark.step_products(shares_fakes=True) == 15_971_328 - 1_483_776


def test_the_products_alone_are_those_of_a_step():
    run = jaxgan_gans.products_alone(8, "float32", 1)
    (call,) = (cell.cell_contents for cell in run.__closure__ if callable(cell.cell_contents))
    (players,) = (c.cell_contents for c in run.__closure__ if isinstance(c.cell_contents, list))
    products = re.findall(r"dot_general.*", call.lower(players).as_text())
    shapes = [re.findall(r"tensor<(\d+)x(\d+)xf32>", line) for line in products]
    sizes = [np.sqrt(np.prod([int(x) for pair in shape for x in pair])) for shape in shapes]
    assert sum(sizes) == 8 * benchmark.step_products()


@pytest.mark.slow
def test_plain_jit_trains_what_training_trains():
    config = MLPGANConfig(
        recipe="textbook", batch_size=8, generator_widths=(16,), discriminator_widths=(16,)
    )
    plan = jaxgan_gans.plan_of(config, 100)
    assert plan.schedule().steps_per_epoch == 12
    ours, plain = jaxgan_gans.train(plan), jaxgan_gans.train_plainly(plan)
    first = jax.tree.map(np.asarray, plan.first_state().players["generator"].params)
    for _ in range(14):  # into the second epoch
        (state, _), (plain_state, _) = next(ours), next(plain)
    trained = [each.players["generator"].params for each in (state, plain_state)]
    for a, b, start in zip(
        *map(jax.tree.leaves, (*trained, first)),
        strict=True,
    ):
        np.testing.assert_allclose(a[0], b, atol=1e-5)
        assert np.abs(b - start).max() > 1e-4


@pytest.mark.slow
def test_a_turn_of_the_script_is_an_epoch(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "train", training.train)
    config = MLPGANConfig(batch_size=5000, generator_widths=(8,), discriminator_widths=(8,))
    reported = []

    def report(result):
        metrics = tmp_path / "metrics.csv"
        lines = metrics.read_text().count("\n") if metrics.exists() else 1
        reported.append((result, lines - 1))
        if len(reported) == 4:
            raise InterruptedError

    with pytest.raises(Exception) as error:
        jaxgan_gans.run_script(report, config, str(tmp_path))
    assert InterruptedError in (type(error.value), type(error.value.__cause__))
    results, rows = zip(*reported, strict=True)
    # Set up, warm after a call of the twelve, and then after a whole epoch each.
    assert rows == (0, 1, 13, 25)
    assert results[:2] == (None, None) and min(results[2:]) > 0


def test_a_call_of_styles_has_each_turn_as_often_as_training_has():
    config = jaxgan_gans.config_of(benchmark.STYLES, 16)
    config = dataclasses.replace(config, length_weight=2.0, gamma=1.0)
    plan = jaxgan_gans.plan_of(config, 16 * benchmark.STEPS_OF_STYLES)
    assert {turn.every for turn in plan.gan.turns} == {1, 4, 16}
    assert plan.period == plan.schedule().steps_per_call == 16
    # Of other batches there are whole periods of calls.
    plan = jaxgan_gans.plan_of(config, 16 * 24)
    assert (plan.period, plan.schedule().steps_per_call) == (16, 2)


# --- The table ---


def bfloat16(row):
    return row._replace(precision="bfloat16")


# Three rounds of a machine that is half as fast in the second.
GROUP = (
    MNIST,
    128,
    {
        WALL: [8000.0, 4000.0, 8000.0],
        benchmark.WALLS[1]: [10_000.0, 5000.0, 10_000.0],
        PRODUCTS_ALONE: [9800, 4900, 9800],
        SCRIPT: [9000, 4500, 8500],
        TRAIN: [9500, 4900, 9700],
        JIT: [10000, 5000, 10000],
        TUTORIAL: [3000, 1500, 3400],
        BEST: [5000, 2500, 5000],
        bfloat16(WALL): [40_000.0, 20_000.0, 40_000.0],
        bfloat16(SCRIPT): [16000, 8000, 16000],
        bfloat16(BEST): [9000, 9000, 9000],
    },
)


def cells(text):
    """The rows of a Markdown table, as {(name, batch, precision): the rest by its column}."""
    lines = [line for line in text.split("\n") if line.startswith("|")]
    header, _, *rows = [[x.strip() for x in line.strip("|").split("|")] for line in lines]
    return {(r[1], r[2], r[3]): dict(zip(header[4:], r[4:], strict=True)) for r in rows}


def test_the_table_of_numbers_that_are_known():
    found = cells(benchmark.table_of([GROUP]))
    assert found[SCRIPT.name, "128", "float32"] == {
        "examples/s": "8,500 [4,500, 9,000]",
        "of the wall": "0.900",  # of 0.9, 0.9 and 0.85, PyTorch's products being the faster ones
        "against plain jit": "0.900",
        "against the tutorial loop": "3.000",  # of 3, 3 and 2.5
        "against PyTorch's fastest": "1.800",
    }
    assert found[TRAIN.name, "128", "float32"]["against plain jit"] == "0.970"
    # It does 14.49 M for an example; 0.3 x 14.49 / 15.97 of the wall, the median round.
    assert list(found[TUTORIAL.name, "128", "float32"].values())[1:] == [
        "0.272",
        "",
        "1.000",
        "0.600",
    ]
    assert list(found[PRODUCTS_ALONE.name, "128", "float32"].values())[1:] == ["0.980", "", "", ""]
    # The wall, plain jit and PyTorch's fastest are of a row's own precision.
    values = list(found[SCRIPT.name, "128", "bfloat16"].values())[1:]
    assert values == ["0.400", "", "5.333", "1.778"]


def test_columns_that_nothing_was_measured_for_are_left_out():
    found = cells(benchmark.table_of([(benchmark.DIGITS, 64, {TRAIN: [1.0, 3.0, 2.0]})]))
    assert found == {(TRAIN.name, "64", "float32"): {"examples/s": "2 [1, 3]"}}


def test_the_notes_have_the_time_to_the_first_step():
    config = benchmark.BenchmarkConfig(rounds=3)
    text = benchmark.notes_of(config, [(20.0, 4.0), (10.0, 6.0), (12.0, 3.0)])
    assert "of 3 rounds" in text and "15.97 million multiply-adds (14.49 in the" in text
    assert "12.0 s with an empty compilation cache, 4.0 s with a filled one" in text


# --- The program ---


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("--batch-sizes", 0), "--batch-sizes must be from 1 to 60000 each"),
        (("--system", "dcgan", "--batch-sizes", 301), "--batch-sizes must be from 1 to 300 each"),
        (("--rounds", 0), "--rounds must be 1 or more, not 0"),
        (("--seconds", "nan"), "--seconds must be above 0"),
        (
            ("--system", "dcgan", "--precisions", "bfloat16"),
            "--precisions of dcgan must be float32",
        ),
        (("--precisions", "float8"), "--precisions"),
        (("--starts", -1), "--starts must be 0 or more, not -1"),
        (("--system", "gans"), "gans"),
        (("--fast",), "unrecognized arguments: --fast"),
    ],
)
def test_bad_flags_end_in_one_line_and_write_nothing(call_script, tmp_path, bad, message):
    done = call_script("benchmarks/benchmark.py", *bad)
    assert done.returncode == 2
    assert re.fullmatch(r"benchmark.py: error: .*\n", done.stderr) and message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_small_run_without_pytorch_leaves_its_table(monkeypatch, tmp_path, capsys):
    for name in ("JAX_ENABLE_COMPILATION_CACHE", "XLA_PYTHON_CLIENT_PREALLOCATE"):
        monkeypatch.setenv(name, "false")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(benchmark, "ROWS", {"mlp": (*benchmark.WALLS, JIT, BEST, COMPILE)})
    monkeypatch.setattr(benchmark, "NUM_IMAGES", 640)
    monkeypatch.setattr(benchmark, "SIDE", 64)
    monkeypatch.setattr(benchmark.importlib.util, "find_spec", lambda name: None)
    arguments = ["--rounds", "2", "--seconds", "0.01", "--batch-sizes", "32", "--starts", "0"]
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *arguments])
    monkeypatch.chdir(tmp_path)
    benchmark.main()
    (table,) = (tmp_path / "experiments" / "benchmarks" / "results").iterdir()
    assert re.fullmatch(r"[a-z]+-[a-z0-9-]+\.md", table.name)
    text = table.read_text()
    assert capsys.readouterr().out == text
    assert re.match(
        r"# .+\n\n`python experiments/benchmarks/benchmark.py --rounds 2 .*`, \d{4}-\d\d-\d\d, "
        r"commit \w+.*\. Python 3.*, jax [\d.]+, flax .*, optax .*, numpy [\d.]+\.\n",
        text,
    )
    assert 'pip install -e ".[benchmark]"' in text
    names = (WALL.name, "32"), (JIT.name, "32"), (SAMPLE.name, "10000")
    found = cells(text)
    assert list(found) == [(*name, "float32") for name in names]
    assert found[WALL.name, "32", "float32"]["of the wall"] == "1.000"
    assert float(found[JIT.name, "32", "float32"]["of the wall"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize("system", benchmark.ROWS)
def test_a_quick_run_has_every_row(run_script, tmp_path, system):
    arguments = ("--system", system, "--quick", "--rounds", 1, "--seconds", 0.01, "--out", ".")
    done = run_script("benchmarks/benchmark.py", *arguments)
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.glob("*-quick.md")
    found = {(name, precision) for name, _, precision in cells(table.read_text())}
    has_torch = benchmark.importlib.util.find_spec("torch") is not None
    rows = [*benchmark.ROWS[system], *([SAMPLE] if system == "mlp" else [])]
    assert found == {
        (row.name, row.precision)
        for row in rows
        if row.way != "compile" and (has_torch or not re.search("PyTorch|torch$", row.name))
    }
    assert ("to its first step: " in table.read_text()) == (system == "mlp")
