"""Measures jaxgan beside PyTorch and beside this machine's own matrix products: one table, one run.

python experiments/benchmarks/benchmark.py
python experiments/benchmarks/benchmark.py --quick
python experiments/benchmarks/benchmark.py --system dcgan
python experiments/benchmarks/benchmark.py --system pix2pix
python experiments/benchmarks/benchmark.py --system stylegan2

Every row is a process of its own. The rows take turns in rounds, so that whatever else the machine
does slows all of them. Figures are medians over the rounds, ratios medians of the rounds' ratios.
PyTorch's rows need `pip install -e ".[benchmark]"`.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import interleaving
import jax
import jax.numpy as jnp
import jaxgan_gans
from interleaving import Report, Worker, median_ratio, run_in_turns, say
from jaxgan_gans import Case

import jaxgan
from jaxgan.run import flags
from jaxgan.run.config import Precision
from jaxgan.run.settings import local_path, setting

NUM_IMAGES, NUM_SAMPLES = 60_000, 10_000
# Of convolutional systems: few, for short calls, which are twelfths of an epoch on CPUs.
STEPS_PER_EPOCH, LARGEST_BATCH = 60, 300
# StyleGAN2 has a turn that is in every sixteenth step, and so many steps in a call.
STEPS_OF_STYLES = 12 * 16
# Of the square matrices of the wall; a GPU is full with larger ones.
SIDE, GPU_SIDE = 2048, 8192
WITHOUT_PYTORCH = 'PyTorch\'s rows are left out: not installed (pip install -e ".[benchmark]").'

# --- What the rows' processes do ---


class Row(NamedTuple):
    """A row of the table: its process does `work`, in one of the ways that the work knows."""

    name: str
    work: Callable[[Report, "Job"], None]
    way: str = ""
    precision: str = "float32"


class Job(NamedTuple):
    """What a row's process is told: what to do, with how many images, how long and where."""

    row: Row
    case: Case
    batch_size: int
    images: int
    seconds: float
    workdir: str
    gpu: bool


def work_jaxgan(report: Report, job: Job) -> None:
    """mnist_gan.py ("script"), calls of training ("train", "streamed", "sgd") or "jit"."""
    way, config = job.row.way, jaxgan_gans.config_of(job.case, job.batch_size, job.row.precision)
    if way == "script":
        jaxgan_gans.run_script(report, config, job.workdir)
    plan = jaxgan_gans.plan_of(config, job.images, sgd=way == "sgd")
    if way == "jit":
        calls = jaxgan_gans.train_plainly(plan)
    else:
        calls = jaxgan_gans.train(plan, streamed=way == "streamed")
    steps = plan.schedule().steps_per_call
    calls_per_unit = math.lcm(steps, plan.period) // steps

    def run(count: int) -> None:
        for _ in range(count * calls_per_unit):
            next(calls)

    run_in_turns(report, run, calls_per_unit * steps * job.batch_size, job.seconds)


def work_torch(report: Report, job: Job) -> None:
    """The ways of `torch_gans.make`."""
    import torch_gans

    plan = jaxgan_gans.plan_of(jaxgan_gans.config_of(job.case, job.batch_size), job.images)
    game = torch_gans.GAMES[job.case.system](*plan.sizes, **plan.settings)
    options = dict(gpu=job.gpu, precision=job.row.precision)
    train = torch_gans.make(job.row.way, game, plan.arrays, job.batch_size, **options)

    def run(count: int) -> None:
        train(count * plan.period)

    run_in_turns(report, run, plan.period * job.batch_size, job.seconds)


def work_products_alone(report: Report, job: Job) -> None:
    """The matrix products of ten steps, and nothing between them."""
    run = jaxgan_gans.products_alone(job.batch_size, job.row.precision, 10)
    run_in_turns(report, run, 10 * job.batch_size, job.seconds)


def work_wall(report: Report, job: Job) -> None:
    """Products of square matrices, as how many examples' worth of multiply-adds they are."""
    side, (_, _, library, precision) = GPU_SIDE if job.gpu else SIDE, job.row
    if library == "jax":
        square = jax.random.normal(jax.random.key(0), (side, side), precision)
        multiply = jax.jit(functools.partial(jnp.matmul, preferred_element_type=jnp.float32))
        finish = jax.block_until_ready
    else:
        import torch

        torch.set_float32_matmul_precision("high" if job.gpu else "highest")  # as in torch_gans.py
        square = torch.randn(side, side, device="cuda" if job.gpu else "cpu")
        square = square.to(getattr(torch, precision))
        multiply = functools.partial(torch.mm, out=torch.empty_like(square))
        finish = (lambda _: torch.cuda.synchronize()) if job.gpu else id

    def run(count: int) -> None:
        for _ in range(count):
            result = multiply(square, square)
        finish(result)

    run_in_turns(report, run, side**3 / step_products(), job.seconds)


def work_sampling(report: Report, job: Job) -> None:
    """As many digits as a batch has, drawn from the generator that comes with jaxgan."""
    params, key = jax.device_put(jaxgan.pretrained("mnist_gan")), jax.random.key(0)

    def run(count: int) -> None:
        for _ in range(count):
            jaxgan.sample(params, key, num_samples=job.batch_size).block_until_ready()

    run_in_turns(report, run, job.batch_size, job.seconds)


# --- What is measured ---

WALLS = [Row(f"matrix products alone, {name}", work_wall, name) for name in ("jax", "torch")]
PRODUCTS_ALONE = Row("the step's matrix products alone, jax", work_products_alone)
SGD = Row("jaxgan, training.train, SGD for Adam", work_jaxgan, "sgd")
JIT = Row("jaxgan, plain jit", work_jaxgan, "jit")
TRAIN = Row("jaxgan, training.train (pmap on 1 device)", work_jaxgan, "train")
STREAMED = Row("jaxgan, training.train, images streamed", work_jaxgan, "streamed")
SCRIPT = Row("jaxgan, mnist_gan.py", work_jaxgan, "script")
TUTORIAL = Row("PyTorch, tutorial loop, data in memory", work_torch, "tutorial")
BEST = Row("PyTorch, best effort", work_torch, "best")
CHANNELS_LAST = Row("PyTorch, best effort, channels last", work_torch, "channels last")
COMPILE = Row("PyTorch, best effort, torch.compile", work_torch, "compile")
SAMPLE = Row("jaxgan.sample", work_sampling)

MLP_ROWS = (*WALLS, PRODUCTS_ALONE, SGD, JIT, TRAIN, SCRIPT, BEST, COMPILE)
ROWS: Mapping[str, Sequence[Row]] = {
    "mlp": (*MLP_ROWS, TUTORIAL, *(row._replace(precision="bfloat16") for row in MLP_ROWS)),
    **dict.fromkeys(
        ("dcgan", "pix2pix", "stargan", "stylegan2", "biggan"),
        (TRAIN, STREAMED, BEST, CHANNELS_LAST, COMPILE),
    ),
}
MNIST = Case("mlp", "mnist", (28, 28, 1))
DIGITS, FACES = Case("dcgan", "mnist", (28, 28, 1)), Case("dcgan", "toon_faces", (32, 32, 3))
PAIRS = Case("pix2pix", "toon_faces", (64, 64, 3))
EDITS = [Case("stargan", "toon_faces", (64, 64, 3), width) for width in (16, 32)]
STYLES = Case("stylegan2", "toon_faces", (64, 64, 3))
CLASSES = Case("biggan", "toon_faces", (32, 32, 3))
CASES = (MNIST, DIGITS, FACES, PAIRS, *EDITS, STYLES, CLASSES)
BATCH_SIZES = {
    "mlp": (64, 128, 256, 512),
    "dcgan": (64,),
    "pix2pix": (16, 64),
    "stargan": (16,),
    "stylegan2": (16,),
    "biggan": (64,),
}


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """What to measure, and for how long."""

    system: Literal["mlp", "dcgan", "pix2pix", "stargan", "stylegan2", "biggan"] = "mlp"
    """Which GAN: the chapter's, or one of the convolutional ones."""
    quick: bool = False
    """Minutes: one batch size, few and short rounds. Sets what is None."""
    batch_sizes: tuple[int, ...] | None = None
    """Of training: 64 128 256 512 of mlp, 64 of dcgan and biggan, 16 64 of pix2pix, 16 of stargan
    and stylegan2. With --quick the first."""
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    """Of mlp's rows; bfloat16 takes very long in PyTorch on CPUs without instructions for it."""
    compile: bool = True
    """Have PyTorch's rows under torch.compile, which take minutes to compile; not with --quick."""
    rounds: int | None = None
    """How many turns each row gets after its warm-up: 5, or 2 with --quick."""
    seconds: float | None = None
    """About how long a turn is: 1.5, or 0.4 with --quick; of mnist_gan.py an epoch."""
    starts: int | None = None
    """How often mnist_gan.py is started to time its first step: 3, or 1 with --quick."""
    out: str = setting("experiments/benchmarks/results", local_path)
    """The folder of the table, which is named after the machine."""

    def __post_init__(self):
        sizes = BATCH_SIZES[self.system]
        own = (sizes[:1], 2, 0.4, 1) if self.quick else (sizes, 5, 1.5, 3)
        names = ("batch_sizes", "rounds", "seconds", "starts")
        for name, value in zip(names, own, strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        most = NUM_IMAGES if self.system == "mlp" else LARGEST_BATCH
        if not self.batch_sizes or not all(1 <= size <= most for size in self.batch_sizes):
            raise ValueError(f"--batch-sizes must be from 1 to {most} each")
        if not set(self.precisions) & {row.precision for row in ROWS[self.system]}:
            raise ValueError(f"--precisions of {self.system} must be float32")
        for name, least in (("rounds", 1), ("starts", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be {least} or more, not {getattr(self, name)}")
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"--seconds must be above 0, not {self.seconds}")


# What was measured in the same rounds: case, batch size, by row the examples/s of each round.
Group = tuple[Case, int, Mapping[Row, Sequence[float]]]


def measure(config: BenchmarkConfig, scratch: Path, *, gpu: bool, torch: bool) -> list[Group]:
    """Measures all rows, with files in `scratch`, PyTorch's if it is there.

    Raises:
        OSError: a process has ended.
    """
    # What is compiled is to be compiled anew, and a GPU's memory is for all processes.
    os.environ |= {
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / "inductor"),
    }
    rows = [
        row
        for row in ROWS[config.system]
        if row.precision in config.precisions
        and (torch or not (row.work == work_torch or row.way == "torch"))
        and ((config.compile and not config.quick) or row.way != "compile")
    ]
    cases = [case for case in CASES if case.system == config.system]
    wanted = [(case, size, rows) for case in cases for size in config.batch_sizes]
    wanted += [(MNIST, NUM_SAMPLES, [SAMPLE])] if config.system == "mlp" else []
    groups, numbers = [], itertools.count()
    for case, size, rows in wanted:
        steps = STEPS_OF_STYLES if case == STYLES else STEPS_PER_EPOCH
        images = NUM_IMAGES if case == MNIST else steps * size
        with contextlib.ExitStack() as stack:
            workers = {}
            for row in rows:
                workdir = scratch / f"row_{next(numbers)}"
                job = Job(row, case, size, images, config.seconds, str(workdir), gpu)
                name = f"{row.name}, {row.precision}"
                worker = Worker(name, workdir.with_suffix(".log"), row.work, job)
                workers[row] = stack.enter_context(contextlib.closing(worker))
            optional = [row for row in rows if row.way == "compile"]
            name = f"{case}, batch {size}"
            rates = interleaving.take_turns(workers, config.rounds, name, optional)
        groups.append((case, size, rates))
    return groups


def first_step_seconds(workdir: Path, cache: Path) -> float:
    """From the start of a `mnist_gan.py` of default settings to the end of its first step."""

    def rows() -> list[str]:
        metrics = workdir / "metrics.csv"
        return metrics.read_text().split("\n")[1:-1] if metrics.exists() else []

    script = Path(__file__).parents[1] / "mnist_gan.py"
    command = [sys.executable, str(script), "--epochs", "2", "--workdir", str(workdir)]
    first, second, *_ = interleaving.watch(command, rows, cache, most=2).values()
    # A call ends with a row, and takes the time to the next. (On a GPU they come together.)
    return 2 * first - second


# --- The table ---


def step_products(*, shares_fakes: bool = False) -> int:
    """Multiply-adds that an example needs in both turns, which may share their fakes."""
    generator, discriminator = (
        [fan_in * fan_out for fan_in, fan_out in shapes] for shapes in jaxgan_gans.layer_shapes()
    )
    g, d = sum(generator), sum(discriminator)
    # A fake is made. It and a real image go forwards, then back: to all weights, and to the inputs
    # of all layers but the first.
    discriminator_turn = g + 2 * (d + d + d - discriminator[0])
    # A fake is made and judged. The gradient goes back to the image, and on to the generator's
    # weights, and to the inputs of all layers but the first.
    generator_turn = (0 if shares_fakes else g) + d + d + g + g - generator[0]
    return discriminator_turn + generator_turn


def table_of(groups: Sequence[Group]) -> str:
    """All rows as a Markdown table. Columns that nothing was measured for are left out."""
    header = ["", "", "batch", "precision", "examples/s", "of the wall", "against plain jit"]
    table = [[*header, "against the tutorial loop", "against PyTorch's fastest"]]
    for case, batch_size, rates in groups:
        for row in rates:
            alike = [other for other in rates if other.precision == row.precision]
            trains = row.work in (work_jaxgan, work_torch)
            columns = (
                [other for other in alike if other.work == work_wall],
                [x for x in alike if x.way == "jit" and row.work == work_jaxgan],
                [TUTORIAL] if trains and TUTORIAL in rates else [],
                [other for other in alike if other.work == work_torch and trains],
            )
            share = step_products(shares_fakes=row == TUTORIAL) / step_products()
            ratios = []
            for others, factor in zip(columns, (share, 1, 1, 1), strict=True):
                fastest = max(others, key=lambda x: statistics.median(rates[x]), default=None)  # noqa: B023
                ratio = fastest and factor * median_ratio(rates[row], rates[fastest])
                ratios.append(f"{ratio:.3f}" if ratio else "")
            median, least, most = (f(rates[row]) for f in (statistics.median, min, max))
            rate = f"{median:,.0f} [{least:,.0f}, {most:,.0f}]"
            table.append([str(case), row.name, str(batch_size), row.precision, rate, *ratios])
    return interleaving.markdown(table)


def notes_of(config: BenchmarkConfig, starts: Sequence[tuple[float, float]]) -> str:
    """What the table's figures mean; seconds to the first step, with an empty cache and a full."""
    notes = (
        f"Medians [least, most] of {config.rounds} rounds; ratios are medians of the rounds' "
        "ratios, to rows of the same precision (the tutorial loop: float32)."
    )
    if config.system == "mlp":
        notes += (
            " The recipe is the textbook's. The wall is the fastest of this machine's products of "
            f"square matrices; an example needs {step_products() / 1e6:.2f} million multiply-adds "
            f"({step_products(shares_fakes=True) / 1e6:.2f} in the tutorial loop)."
        )
    if starts:
        cold, warm = (statistics.median(seconds) for seconds in zip(*starts, strict=True))
        notes += (
            f" From the start of mnist_gan.py to its first step: {cold:.1f} s with an empty "
            f"compilation cache, {warm:.1f} s with a filled one."
        )
    return notes


def main() -> None:
    with flags.user_errors():
        config = flags.parse(BenchmarkConfig, sys.argv[1:], description=__doc__)
        torch = importlib.util.find_spec("torch") is not None
        platform_name, machine = interleaving.ask_jax()
        say(machine)
        warning, starts = interleaving.watch_others(), []
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            scratch = Path(folder)
            for i in range(config.starts if config.system == "mlp" else 0):
                say("from the start of mnist_gan.py to its first step")
                runs, cache = (scratch / f"cold_{i}", scratch / f"warm_{i}"), scratch / f"cache_{i}"
                starts.append([first_step_seconds(run, cache) for run in runs])
            groups = measure(config, scratch, gpu=platform_name == "gpu", torch=torch)
        paragraphs = [*warning(), *([] if torch else [WITHOUT_PYTORCH])]
        paragraphs += [notes_of(config, starts), table_of(groups)]
        suffix = ("" if config.system == "mlp" else f"-{config.system}") + "-quick" * config.quick
        packages = ["jax", "flax", "optax", "numpy", *["torch"] * torch]
        interleaving.write_result(config.out, machine, suffix, paragraphs, packages)


if __name__ == "__main__":
    main()
