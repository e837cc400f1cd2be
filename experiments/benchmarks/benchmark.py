"""Measures jaxgan beside PyTorch and beside this machine's own matrix products: one table, one run.

python experiments/benchmark.py
python experiments/benchmark.py --quick
python experiments/benchmark.py --system dcgan

Every row is a process of its own, which sleeps but for its turns; turns go round, so that whatever
else the machine does, it does to all. Figures are medians over the rounds, ratios medians of the
rounds' ratios. PyTorch's rows want `pip install -e ".[benchmark]"`.
"""

import argparse
import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxgan.files import written_whole
from jaxgan.run import flags
from jaxgan.run.config import Precision

HERE = Path(__file__).parent
NUM_IMAGES = 60_000
# Of the cores' time, what other programs may take before a word is said about it. PyTorch's threads
# wait for each other, and suffer most.
MOST_FOR_OTHERS = 0.03
WITHOUT_PYTORCH = (
    'PyTorch\'s rows are left out: it is not installed (pip install -e ".[benchmark]")'
)

# --- What is measured ---

GENERATOR_WIDTHS = (100, 256, 512, 1024, 784)
DISCRIMINATOR_WIDTHS = (784, 1024, 512, 256, 1)


def forward_products(widths: Sequence[int]) -> int:
    """Multiply-adds of an example's way through dense layers of these widths, inputs first."""
    return sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths))


def discriminator_products(generator: Sequence[int], discriminator: Sequence[int]) -> int:
    """Multiply-adds that a discriminator step cannot do without, for each example.

    A fake is made. It and a real image go forwards, and back: to all weights, and to the inputs of
    all layers but the first.
    """
    forward = forward_products(discriminator)
    back_to_inputs = forward - discriminator[0] * discriminator[1]
    return forward_products(generator) + 2 * (forward + forward + back_to_inputs)


def generator_products(
    generator: Sequence[int], discriminator: Sequence[int], *, shares_fakes: bool = False
) -> int:
    """The same of a generator step, which needs no gradient of the discriminator's weights.

    Args:
        generator: widths, inputs first.
        discriminator: widths, inputs first.
        shares_fakes: the fakes are those of the discriminator step, counted there.
    """
    forward = forward_products(generator)
    back_to_inputs = forward - generator[0] * generator[1]
    through_discriminator = 2 * forward_products(discriminator)
    made_here = 0 if shares_fakes else forward
    return made_here + through_discriminator + forward + back_to_inputs


def step_products(*, shares_fakes: bool) -> int:
    """Multiply-adds of one example of the chapter's networks, both steps together."""
    widths = GENERATOR_WIDTHS, DISCRIMINATOR_WIDTHS
    return discriminator_products(*widths) + generator_products(*widths, shares_fakes=shares_fakes)


class Contender(NamedTuple):
    """A row of the table.

    Attributes:
        name: of the row.
        worker: a name in `WORKERS`, what does it.
        batch_size: of every step.
        precision: of the matrix products.
        way: of PyTorch, one of `torch_gan.WAYS`.
        devices: how many to train on.
    """

    name: str
    worker: str
    batch_size: int = 0
    precision: str = "float32"
    way: str = ""
    devices: int = 1

    @property
    def products(self) -> int:
        """Multiply-adds that an example needs."""
        return step_products(shares_fakes=self.way.startswith("tutorial"))

    @property
    def key(self) -> tuple[str, int, str]:
        return self.name, self.batch_size, self.precision


MNIST_GAN = "jaxgan, mnist_gan.py"
PMAP_1, PMAP_2 = "jaxgan, pmap on 1 device", "jaxgan, pmap on 2 devices"
JIT = "jaxgan, plain jit"
TUTORIAL = "PyTorch, tutorial loop"
IN_MEMORY = "PyTorch, tutorial loop, data in memory"
EAGER = "PyTorch, eager"
BEST = "PyTorch, best effort"
COMPILE = "PyTorch, best effort, torch.compile"
CUDA_GRAPHS = "PyTorch, best effort, CUDA graphs"

BOTH = ("float32", "bfloat16")
# Name -> (worker, way, devices, precisions).
ROWS: Mapping[str, tuple[str, str, int, tuple[str, ...]]] = {
    MNIST_GAN: ("mnist_gan", "", 1, BOTH),
    PMAP_1: ("pmap", "", 1, BOTH),
    PMAP_2: ("pmap", "", 2, BOTH[:1]),
    JIT: ("jit", "", 1, BOTH),
    TUTORIAL: ("torch", "tutorial", 1, BOTH[:1]),
    IN_MEMORY: ("torch", "tutorial in memory", 1, BOTH[:1]),
    EAGER: ("torch", "eager", 1, BOTH[:1]),
    BEST: ("torch", "best", 1, BOTH),
    COMPILE: ("torch", "compile", 1, BOTH),
    CUDA_GRAPHS: ("torch", "cuda graphs", 1, BOTH),
}
# --quick: what the table is most about, and at the first batch size the price of pmap and bfloat16.
QUICK = [(name, "float32") for name in (MNIST_GAN, IN_MEMORY, BEST)]
QUICK_FIRST = [*QUICK, (PMAP_1, "float32"), (JIT, "float32"), (PMAP_1, "bfloat16")]


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """What to measure, and for how long."""

    system: Literal["mlp", "dcgan", "pix2pix"] = "mlp"
    """Which GAN: the chapter's, or one that has flags of its own (--system dcgan --help)."""
    quick: bool = False
    """Under two minutes: fewer batch sizes, rows and rounds. Sets what is None."""
    batch_sizes: tuple[int, ...] | None = None
    """Of training: 64 128 256 512, or 128 512 with --quick."""
    precisions: tuple[Precision, ...] = BOTH
    """Of training: float32, bfloat16 or both."""
    rows: tuple[str, ...] = ()
    """Only the rows whose names contain one of these words; none: all."""
    rounds: int | None = None
    """How many turns each row gets after its warm-up: 5, or 2 with --quick."""
    seconds: float | None = None
    """About how long a turn is: 1.5, or 0.4 with --quick; of mnist_gan.py at least an epoch."""
    starts: int | None = None
    """How often the time to the first step is taken, cold and warm: 3, or 1 with --quick."""
    num_samples: int = 10_000
    """How many digits are drawn and scored; the targets are for 10,000."""
    images: int = NUM_IMAGES
    """Train on the first so many images: fewer make short epochs, and host work count for more."""
    out: str = "experiments/results"
    """The folder of the table and of the raw numbers, which are named after the machine."""

    def __post_init__(self):
        batch_sizes, rounds, seconds, starts = (
            ((128, 512), 2, 0.4, 1) if self.quick else ((64, 128, 256, 512), 5, 1.5, 3)
        )
        wanted = {"batch_sizes": batch_sizes, "rounds": rounds, "seconds": seconds}
        for name, value in (wanted | {"starts": starts}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if not self.batch_sizes or any(size < 2 or size % 2 for size in self.batch_sizes):
            raise ValueError("--batch-sizes must be multiples of 2, which two devices share")
        if not max(self.batch_sizes) <= self.images <= NUM_IMAGES:
            raise ValueError(f"--images must be from the largest batch to {NUM_IMAGES}")
        if not self.precisions:
            raise ValueError("--precisions wants one or more")
        if self.rounds < 1:
            raise ValueError(f"--rounds must be 1 or more, not {self.rounds}")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"--seconds must be above 0, not {self.seconds}")
        if self.starts < 0:
            raise ValueError(f"--starts must be 0 or more, not {self.starts}")
        if not 10 <= self.num_samples <= 10_000:
            raise ValueError(f"--num-samples must be from 10 to 10,000, not {self.num_samples}")
        for word in self.rows:
            if not any(word in name for name in ROWS):
                raise ValueError(f"no row has {word!r} in its name: {'; '.join(ROWS)}")


def contenders(
    config: BenchmarkConfig, batch_size: int, *, torch: bool, gpu: bool
) -> list[Contender]:
    """The rows of one batch size.

    Args:
        config: what is asked for.
        batch_size: of all of them.
        torch: whether PyTorch is there.
        gpu: whether they run on a GPU (CUDA graphs) or on CPUs (two virtual devices).
    """
    quick = QUICK_FIRST if batch_size == config.batch_sizes[0] else QUICK
    found = []
    for name, (worker, way, devices, precisions) in ROWS.items():
        if config.rows and not any(word in name for word in config.rows):
            continue
        if (worker == "torch" and not torch) or name == (PMAP_2 if gpu else CUDA_GRAPHS):
            continue
        for precision in precisions:
            if config.quick and not config.rows and (name, precision) not in quick:
                continue
            if precision in config.precisions:
                found.append(Contender(name, worker, batch_size, precision, way, devices))
    return found


# --- The processes that do it ---

WORKER = "--worker"
Report = Callable[[dict[str, Any]], None]


class Job(NamedTuple):
    """What a worker is told: its row, and what it needs of the configuration."""

    contender: Contender
    seconds: float
    images: int
    num_samples: int
    workdir: str
    gpu: bool

    @classmethod
    def from_json(cls, text: str) -> "Job":
        contender, *others = json.loads(text)
        return cls(Contender(*contender), *others)


class Worker:
    """A process, and its turns. It sleeps between them."""

    def __init__(self, job: Job, log: Path, script: Path = Path(__file__)):
        self.contender = job.contender
        environment = dict(os.environ)
        # What is compiled is to be compiled, and a GPU's memory is for all.
        environment |= {
            "JAX_ENABLE_COMPILATION_CACHE": "false",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "TORCHINDUCTOR_CACHE_DIR": f"{job.workdir}_inductor",
            "PYTHONWARNINGS": "ignore",
        }
        if not job.gpu:
            environment["JAX_NUM_CPU_DEVICES"] = str(job.contender.devices)
        if job.contender.worker == "wall_numpy":
            # NumPy as it is by itself.
            environment.pop("OPENBLAS_CORETYPE", None)
            environment.pop("OPENBLAS_L2_SIZE", None)
        self._log = log
        with open(log, "w") as errors:
            self._process = subprocess.Popen(
                [sys.executable, script, WORKER, json.dumps(job)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def wait(self) -> dict[str, Any]:
        """What the worker reports next.

        Raises:
            OSError: it has ended; the message has its last words.
        """
        line = self._process.stdout.readline()
        if not line:
            words = self._log.read_text(errors="replace").strip().splitlines()
            name = f"{self.contender.name} (batch {self.contender.batch_size})"
            raise OSError(f"{name} ended: {words[-1] if words else 'without a word'}")
        return json.loads(line)

    def take_turn(self) -> dict[str, Any]:
        """Gives the worker a turn; what it reports of it."""
        self._process.stdin.write("\n")
        # A worker that has ended is told of by `wait`.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.flush()
        return self.wait()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def work(job: Job, workers: Mapping[str, Callable[[Job, Report], None]]) -> None:
    """What a worker's process does: reports that it is ready, then on each turn what came of it."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def report(message: dict[str, Any]) -> None:
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        memory = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"memory": memory, **message}), file=channel, flush=True)
        if not sys.stdin.readline():
            os._exit(0)

    workers[job.contender.worker](job, report)


def seconds_of(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def take_turns(
    run: Callable[[int], Any],
    examples: int,
    seconds: float,
    report: Report,
    device_memory: Callable[[], int | None],
) -> None:
    """The turns of a row whose training is a function.

    Args:
        run: trains for so many units, and returns when that is done.
        examples: of a unit.
        seconds: of a turn, about.
        report: what ends a turn.
        device_memory: the most that was taken of a GPU's memory, in bytes; None on CPUs.
    """
    report({})
    first = seconds_of(lambda: run(1))
    later = min(seconds_of(lambda: run(1)) for _ in range(2))
    units = max(1, round(seconds / later))
    report({"compile_seconds": max(0.0, first - later)})
    while True:
        elapsed = seconds_of(lambda: run(units))
        report({"examples": units * examples, "seconds": elapsed, "device_memory": device_memory()})


def jax_device_memory() -> int | None:
    """The most bytes in use on the first device so far; None where JAX does not count them."""
    import jax

    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def mlp_gan_config(job: Job, **settings: Any):
    from jaxgan.systems.mlp_gan.config import MLPGANConfig

    return MLPGANConfig(
        recipe="textbook",
        batch_size=job.contender.batch_size,
        precision=job.contender.precision,
        devices=str(job.contender.devices),
        workdir=job.workdir,
        **settings,
    )


def work_mnist_gan(job: Job, report: Report) -> None:
    """All that `mnist_gan.py` does, a turn an epoch (or several), its host work included."""
    from jaxgan import data, training
    from jaxgan.run.experiment import Experiment

    load, train = data.load, training.train
    if job.images < NUM_IMAGES:

        def load_some(*args: Any, **settings: Any):
            whole = load(*args, **settings)
            return dataclasses.replace(
                whole, images=whole.images[: job.images], labels=whole.labels[: job.images]
            )

        data.load = load_some

    def train_in_turns(gan, state, images, cut, **settings: Any):
        calls = train(gan, state, images, cut, **settings)
        calls_per_epoch = cut.steps_per_epoch // cut.steps_per_call

        def turn(count: int):
            """Goes on for some calls, and the host's work after each; what they took."""
            started, taken = time.perf_counter(), []
            for _ in range(count):
                called = time.perf_counter()
                result = next(calls)
                taken.append(time.perf_counter() - called)
                yield result
            # The experiment asks for more: it has done the host's work of the last call.
            return time.perf_counter() - started, taken

        report({})
        _, (first, second) = yield from turn(2)
        epochs = max(1, round(job.seconds / (second * calls_per_epoch)))
        report({"compile_seconds": max(0.0, first - second)})
        while True:
            elapsed, taken = yield from turn(epochs * calls_per_epoch)
            report(
                {
                    "examples": epochs * cut.steps_per_epoch * job.contender.batch_size,
                    "seconds": elapsed,
                    "host_seconds": elapsed - sum(taken),
                    "device_memory": jax_device_memory(),
                }
            )

    training.train = train_in_turns
    # More epochs than there are turns.
    Experiment(mlp_gan_config(job, epochs=1_000_000, resume=False)).run()


def work_compiled(job: Job, report: Report) -> None:
    """The compiled calls of training alone: through pmap, as the library does, or plain jit."""
    import jax

    from jaxgan import data, game, training
    from jaxgan.run.experiment import use_multi_output_fusion

    use_multi_output_fusion()
    gan = mlp_gan_config(job).gan()
    images = data.load().images[: job.images]
    devices = jax.devices()[: job.contender.devices]
    size = job.contender.batch_size
    cut = training.schedule(len(images), size, gan.discriminator_steps, devices[0].platform)
    state = jax.jit(lambda key: game.init(gan, key))(jax.random.key(0))
    sizes = dict(batch_size=size, num_images=len(images))
    sizes |= dict(steps_per_epoch=cut.steps_per_epoch, steps_per_call=cut.steps_per_call)
    if job.contender.worker == "pmap":
        program = training.compile_epoch(gan, devices, **sizes)
        state = training.replicate(training.on_host(state), devices)
        dataset = training.replicate({"images": images}, devices)
    else:
        program = plain_program(gan, **sizes)
        dataset = jax.device_put({"images": images}, devices[0])
    calls, order = 0, None

    def run(count: int) -> None:
        nonlocal state, calls, order
        for _ in range(count):
            if calls % (cut.steps_per_epoch // cut.steps_per_call) == 0:
                order = program.order(state)
            state, metrics = program.train(state, dataset, order)
            calls += 1
            # As training does, which fetches the metrics of every call.
            jax.block_until_ready((state, metrics))

    take_turns(run, cut.steps_per_call * size, job.seconds, report, jax_device_memory)


def plain_program(
    gan, *, num_images: int, batch_size: int, steps_per_epoch: int, steps_per_call: int
):
    """What `training.compile_epoch` makes, for one device and without a parallel layer."""
    import jax
    import jax.numpy as jnp

    from jaxgan import game, training

    turns = gan.discriminator_steps

    @jax.jit
    def order(state):
        key = jax.random.fold_in(state.key, game.ORDER)
        key = jax.random.fold_in(key, state.step // steps_per_epoch)
        rows = jax.random.permutation(key, num_images)[: steps_per_epoch * turns * batch_size]
        return rows.reshape(steps_per_epoch, turns, batch_size)

    @functools.partial(jax.jit, donate_argnums=0)
    def train(state, dataset, order):
        steps = state.step + jnp.arange(steps_per_call)
        first = state.step % steps_per_epoch
        order = jax.lax.dynamic_slice_in_dim(order, first, steps_per_call)

        def noise(step, turn, example):
            key = jax.random.fold_in(state.key, game.NOISE)
            for number in (step, turn, example):
                key = jax.random.fold_in(key, number)
            return gan.noise(key)

        noises = noise
        for axis in (2, 1, 0):
            noises = jax.vmap(noises, [0 if i == axis else None for i in range(3)])
        noises = noises(steps, jnp.arange(turns + 1), jnp.arange(batch_size))

        def step(state, inputs):
            rows, noises = inputs
            batches = {"images": dataset["images"][rows].astype(jnp.float32) / 127.5 - 1}
            return game.train_step(gan, state, batches, noises)

        return jax.lax.scan(step, state, (order, noises))

    return training.Program(order, train)


def work_torch(job: Job, report: Report) -> None:
    import torch
    import torch_gan

    device = torch_device(job)
    images = torch_gan.load_images(job.images)
    contender = job.contender
    _, train = torch_gan.make(
        contender.way, images, contender.batch_size, device, contender.precision
    )
    steps = 10

    def run(count: int) -> None:
        train(count * steps)
        if job.gpu:
            torch.cuda.synchronize()

    def device_memory() -> int | None:
        return torch.cuda.max_memory_allocated() if job.gpu else None

    take_turns(run, steps * contender.batch_size, job.seconds, report, device_memory)


def torch_device(job: Job):
    import torch

    if job.gpu and not torch.cuda.is_available():
        raise SystemExit("JAX has a GPU and PyTorch has not: install its CUDA build, or neither")
    return torch.device("cuda" if job.gpu else "cpu")


# [rows, inner] x [inner, columns]: of a layer at batch 512, then square.
SHAPES = ((512, 784, 1024), (1024, 1024, 1024), (2048, 2048, 2048))
LARGE_SHAPES = ((8192, 8192, 8192),)  # what it takes to fill a GPU


def take_turns_at_products(
    make_run: Callable[[tuple[int, int, int], str], Callable[[int], Any]],
    precisions: Iterable[str],
    job: Job,
    report: Report,
    **about: Any,
) -> None:
    """The turns of a library's matrix products, all shapes and precisions in each.

    Args:
        make_run: (shape, precision) -> a function that does so many products of that shape.
        precisions: that the library has.
        job: of the worker.
        report: what ends a turn.
        **about: reported at the start.
    """
    shapes = SHAPES + (LARGE_SHAPES if job.gpu else ())
    cases = list(itertools.product(precisions, shapes))
    runs = {case: make_run(case[1], case[0]) for case in cases}
    report(about)
    counts = {}
    for case, run in runs.items():
        run(1)
        counts[case] = max(1, round(job.seconds / len(cases) / seconds_of(lambda: run(1))))  # noqa: B023
    report({})
    while True:
        rates = []
        for case, run in runs.items():
            count = counts[case]
            elapsed = seconds_of(lambda: run(count))  # noqa: B023
            rates.append([*case, count * functools.reduce(int.__mul__, case[1]) / elapsed])
        report({"rates": rates})


def work_wall_jax(job: Job, report: Report) -> None:
    import jax
    import jax.numpy as jnp

    @jax.jit
    def product(a, b):
        return jax.lax.dot_general(
            a, b, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32
        )

    def make_run(shape: tuple[int, int, int], precision: str):
        rows, inner, columns = shape
        a = jax.random.normal(jax.random.key(0), (rows, inner), precision)
        b = jax.random.normal(jax.random.key(1), (inner, columns), precision)

        def run(count: int) -> None:
            for _ in range(count):
                result = product(a, b)
            result.block_until_ready()

        return run

    device = jax.devices()[0]
    about = {"platform": device.platform, "device": device.device_kind}
    take_turns_at_products(make_run, BOTH, job, report, **about)


def work_wall_numpy(job: Job, report: Report) -> None:
    import numpy as np

    def make_run(shape: tuple[int, int, int], precision: str):
        rows, inner, columns = shape
        rng = np.random.default_rng(0)
        a, b = (rng.random(x, np.float32) for x in ((rows, inner), (inner, columns)))
        result = np.empty((rows, columns), np.float32)

        def run(count: int) -> None:
            for _ in range(count):
                np.matmul(a, b, out=result)

        return run

    take_turns_at_products(make_run, ["float32"], job, report)


def work_wall_torch(job: Job, report: Report) -> None:
    import torch

    device = torch_device(job)
    if job.gpu:
        torch.set_float32_matmul_precision("high")

    def make_run(shape: tuple[int, int, int], precision: str):
        rows, inner, columns = shape
        dtype = getattr(torch, precision)
        a = torch.randn(rows, inner, device=device).to(dtype)
        b = torch.randn(inner, columns, device=device).to(dtype)
        result = torch.empty(rows, columns, device=device, dtype=dtype)

        def run(count: int) -> None:
            for _ in range(count):
                torch.mm(a, b, out=result)
            if job.gpu:
                torch.cuda.synchronize()

        return run

    take_turns_at_products(make_run, BOTH, job, report)


def work_sampling(job: Job, report: Report) -> None:
    """Digits drawn by the library, beside the matrix products that this takes; and their scores."""
    import jax
    import jax.numpy as jnp

    import jaxgan
    from jaxgan import data
    from jaxgan.metrics.evaluator import load_evaluator
    from jaxgan.metrics.scoring import embed, score

    count = job.num_samples
    params = jax.device_put(jaxgan.pretrained("mnist_gan"))
    layers = params["params"]
    kernels = [layers[f"Dense_{i}"]["kernel"] for i in range(len(layers))]
    latents = jax.random.normal(jax.random.key(0), (count, 100))
    products = jax.jit(lambda x, kernels: functools.reduce(jnp.dot, kernels, x))
    held_out = data.load(split="test").images[:count]
    report({})

    def draw():
        return jaxgan.sample(params, jax.random.key(0), num_samples=count).block_until_ready()

    def multiply():
        products(latents, kernels).block_until_ready()

    evaluator = load_evaluator()
    reference = embed(held_out, evaluator)
    samples = draw()
    multiply()
    pairs = max(1, round(job.seconds / 2 / (seconds_of(draw) + seconds_of(multiply))))
    report({})
    while True:
        both = [(seconds_of(draw), seconds_of(multiply)) for _ in range(pairs)]
        drawn, multiplied = (statistics.median(x) for x in zip(*both, strict=True))
        started = time.perf_counter()
        features = embed(samples, evaluator)
        embedded = time.perf_counter()
        score(features, reference)
        report(
            {
                "sample_seconds": drawn,
                "products_seconds": multiplied,
                "embed_seconds": embedded - started,
                "score_seconds": time.perf_counter() - embedded,
            }
        )


WORKERS: Mapping[str, Callable[[Job, Report], None]] = {
    "mnist_gan": work_mnist_gan,
    "pmap": work_compiled,
    "jit": work_compiled,
    "torch": work_torch,
    "wall_jax": work_wall_jax,
    "wall_numpy": work_wall_numpy,
    "wall_torch": work_wall_torch,
    "sampling": work_sampling,
}


def first_step_seconds(workdir: Path, cache: Path) -> float:
    """From the start of a `mnist_gan.py` of default settings to the end of its first step, about.

    Rows of metrics.csv come with a compiled call's end. So it is the time to the first, less what
    such a call takes, which is the time from there to the next.

    Args:
        workdir: of the run, which is stopped after its second call.
        cache: of compiled programs.
    """
    command = [sys.executable, HERE / "mnist_gan.py", "--epochs", "2", "--workdir", workdir]
    log = workdir.with_suffix(".log")
    started = time.perf_counter()
    with open(log, "w") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
            stdout=output,
            stderr=output,
        )
    try:
        logged, times = 1, []  # The header of metrics.csv is no row.
        while len(times) < 2:
            ended = process.poll() is not None
            with contextlib.suppress(FileNotFoundError):
                if count_lines(workdir / "metrics.csv") > logged:
                    times.append(time.perf_counter() - started)
                    # On a GPU a call's rows are many, one right after the other.
                    time.sleep(0.03)
                    logged = count_lines(workdir / "metrics.csv")
            if ended and len(times) < 2:
                words = log.read_text(errors="replace").strip().splitlines()
                raise OSError(f"mnist_gan.py ended: {words[-1] if words else 'without a word'}")
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    return times[0] - (times[1] - times[0])


def count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


# --- One run of everything ---


@dataclasses.dataclass
class Results:
    """All that a run measures. Lists are of the rounds, in order, and JSON can hold all of it.

    Attributes:
        about: what was run, when and on what, for people.
        rows: a dict for each row: "contender" (its fields), "compile_seconds", "memory" and
            "device_memory" (peaks in bytes, the latter None on CPUs), and lists: "rates" (examples
            a second), "host" (the share of the time between compiled calls) of mnist_gan.py alone,
            and "walls", for each round the rates of matrix products measured in it: [library,
            precision, shape, multiply-adds a second].
        sampling: of each round the seconds of what `work_sampling` reports.
        starts: pairs of seconds to the first step: with an empty cache, and with a filled one.
        others: the share of the cores' time that other programs took meanwhile; None: not known.
    """

    about: dict[str, str]
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    sampling: list[dict[str, float]] = dataclasses.field(default_factory=list)
    starts: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    others: float | None = None


def measure(config: BenchmarkConfig, scratch: Path) -> Results:
    """Runs everything."""
    has_torch = importlib.util.find_spec("torch") is not None
    if not has_torch:
        say(WITHOUT_PYTORCH)
    numbers = itertools.count()
    others = watch_others()
    with contextlib.ExitStack() as everything:

        def start(contender: Contender, stack: contextlib.ExitStack, *, gpu: bool) -> Worker:
            place = scratch / f"worker_{next(numbers)}"
            job = Job(contender, config.seconds, config.images, config.num_samples, str(place), gpu)
            worker = Worker(job, place.with_suffix(".log"))
            stack.callback(worker.close)
            return worker

        # What JAX runs on is asked of a process that ends, or it would take a part of the GPU.
        platform_name, device = ask_jax()
        gpu = platform_name == "gpu"
        about = describe(config.rounds, platform_name, device, has_torch)
        about |= {"images": str(config.images), "num_samples": str(config.num_samples)}
        results = Results(about)
        say(f"{results.about['machine']}; {results.about['versions']}")
        if config.starts:
            say("from the start of mnist_gan.py to its first step")
        for i in range(config.starts):
            cache = scratch / f"cache_{i}"
            cold, warm = (first_step_seconds(scratch / f"start_{i}_{j}", cache) for j in range(2))
            results.starts.append((cold, warm))

        names = ["wall_jax", *([] if gpu else ["wall_numpy"]), *(["wall_torch"] * has_torch)]
        walls = {
            name.removeprefix("wall_"): start(Contender(name, name), everything, gpu=gpu)
            for name in names
        }
        sampler = start(Contender("sampling", "sampling"), everything, gpu=gpu)
        for worker in (*walls.values(), sampler):
            worker.wait()
        for worker in (*walls.values(), sampler):
            worker.take_turn()
        for batch_size in config.batch_sizes:
            with contextlib.ExitStack() as group:
                rows = contenders(config, batch_size, torch=has_torch, gpu=gpu)
                # They import side by side; what they compile they compile alone.
                workers = [start(row, group, gpu=gpu) for row in rows]
                for worker in workers:
                    worker.wait()
                found = []
                for row, worker in zip(rows, workers, strict=True):
                    say(f"batch {batch_size}: {row.name}, {row.precision}: warming up")
                    warm = worker.take_turn()
                    values = {"compile_seconds": warm["compile_seconds"], "rates": [], "host": []}
                    found.append({"contender": row._asdict(), **values, "walls": []})
                for i in range(config.rounds):
                    say(f"batch {batch_size}: round {i + 1} of {config.rounds}")
                    wall = [
                        [library, precision, "x".join(map(str, shape)), rate]
                        for library, worker in walls.items()
                        for precision, shape, rate in worker.take_turn()["rates"]
                    ]
                    for values, worker in zip(found, workers, strict=True):
                        turn = worker.take_turn()
                        values["rates"].append(turn["examples"] / turn["seconds"])
                        values["walls"].append(wall)
                        values["memory"] = turn["memory"]
                        values["device_memory"] = turn["device_memory"]
                        if "host_seconds" in turn:
                            values["host"].append(turn["host_seconds"] / turn["seconds"])
                results.rows += found
        for i in range(config.rounds):
            say(f"sampling and scores: round {i + 1} of {config.rounds}")
            turn = sampler.take_turn()
            results.sampling.append({k: v for k, v in turn.items() if k.endswith("_seconds")})
    # All processes have ended, so that their time is known.
    results.others = others()
    return results


def watch_others() -> Callable[[], float | None]:
    """A function that gives the share of the cores' time that other programs took since now.

    It is None where that is not known.
    """
    started, busy_before, ours_before = time.perf_counter(), busy_seconds(), own_seconds()

    def share() -> float | None:
        if busy_before is None:
            return None
        others = busy_seconds() - busy_before - (own_seconds() - ours_before)
        return max(0.0, others) / (time.perf_counter() - started) / os.cpu_count()

    return share


def busy_seconds() -> float | None:
    """Time that this machine's cores have worked for anybody, from Linux; None elsewhere."""
    with contextlib.suppress(OSError):
        first = Path("/proc/stat").read_text().splitlines()[0]
        user, nice, system, _idle, _waiting, irq, softirq, steal, *_ = map(int, first.split()[1:])
        ticks = user + nice + system + irq + softirq + steal
        return ticks / os.sysconf("SC_CLK_TCK")
    return None


def own_seconds() -> float:
    """Time that cores have worked for this process and for those of its children that ended."""
    usages = [resource.getrusage(x) for x in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def ask_jax() -> tuple[str, str]:
    """The platform that JAX runs on ("cpu", "gpu", "tpu") and the kind of its devices."""
    words = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise OSError(f"JAX cannot be used: {lines[-1] if lines else 'it does not start'}")
    platform_name, device = done.stdout.splitlines()
    return platform_name, device


def machine(platform_name: str, device: str) -> str:
    """The machine in words: its GPU, or its CPU and the number of cores."""
    if platform_name != "cpu":
        return f"{platform_name.upper()} {device}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        model = named[1] if named else model
    return f"CPU {model}, {cores} cores"


def file_name(machine: str) -> str:
    """A machine's words, as a file may be named."""
    return re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")


def commit() -> str:
    """The commit that is checked out, and whether files differ from it; "unknown" without git."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = functools.partial(
            subprocess.run, cwd=HERE, check=True, capture_output=True, text=True
        )
        name = git(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
        return f"{name}, with changes" if changed else name
    return "unknown"


def describe(rounds: int, platform_name: str, device: str, has_torch: bool) -> dict[str, str]:
    names = ["jax", "flax", "optax", "numpy", *(["torch"] * has_torch)]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    return {
        "machine": machine(platform_name, device),
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "command": shlex.join(["python", "experiments/benchmark.py", *sys.argv[1:]]),
        "rounds": str(rounds),
        "pytorch": "" if has_torch else WITHOUT_PYTORCH,
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- The table ---


class Wall(NamedTuple):
    """This machine's own rate of matrix products.

    Attributes:
        library: whose are the fastest.
        shape: of the fastest, words.
        rate: multiply-adds a second, the median.
    """

    library: str
    shape: str
    rate: float


def find_walls(rows: Sequence[Mapping[str, Any]]) -> dict[str, Wall]:
    """Of each precision the library and shape of the largest median over all rounds."""
    # The rows of one batch size share their rounds, and so their lists of walls.
    rounds = {row["contender"]["batch_size"]: row["walls"] for row in rows}
    rates: dict[tuple[str, str, str], list[float]] = {}
    for library, precision, shape, rate in itertools.chain(*itertools.chain(*rounds.values())):
        rates.setdefault((precision, library, shape), []).append(rate)
    walls: dict[str, Wall] = {}
    for (precision, library, shape), values in rates.items():
        rate = statistics.median(values)
        if precision not in walls or rate > walls[precision].rate:
            walls[precision] = Wall(library, shape, rate)
    return walls


class Found:
    """What comes of a run's numbers: medians and ratios. Whatever was not measured is None."""

    def __init__(self, results: Results):
        self.results = results
        self.rows = {Contender(**row["contender"]).key: row for row in results.rows}
        self.walls = find_walls(results.rows)

    def batch_sizes(self) -> list[int]:
        return list(dict.fromkeys(batch_size for _, batch_size, _ in self.rows))

    def rate(self, key: tuple[str, int, str]) -> float | None:
        """Examples a second."""
        return statistics.median(self.rows[key]["rates"]) if key in self.rows else None

    def ratio(self, key: tuple[str, int, str], to: tuple[str, int, str]) -> float | None:
        """How many times as fast as another row of the same rounds, the median of the rounds."""
        if key not in self.rows or to not in self.rows:
            return None
        pairs = zip(self.rows[key]["rates"], self.rows[to]["rates"], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    def best_pytorch(self, batch_size: int, precision: str = "float32"):
        """The key of PyTorch's fastest row, or None."""
        wanted = (batch_size, precision)
        keys = [key for key in self.rows if key[0].startswith("PyTorch") and key[1:] == wanted]
        return max(keys, key=self.rate, default=None)

    def of_wall(self, key: tuple[str, int, str]) -> float | None:
        """The fraction of the wall of its precision, the median of the rounds."""
        if key not in self.rows or key[2] not in self.walls:
            return None
        row, wall = self.rows[key], self.walls[key[2]]
        products = Contender(**row["contender"]).products
        fractions = []
        for rate, cases in zip(row["rates"], row["walls"], strict=True):
            (limit,) = (x for *case, x in cases if case == [wall.library, key[2], wall.shape])
            fractions.append(rate * products / limit)
        return statistics.median(fractions)

    def host(self, key: tuple[str, int, str]) -> float | None:
        """The share of an epoch's time between compiled calls."""
        return statistics.median(self.rows[key]["host"]) if key in self.rows else None

    def sampling(self, name: str) -> float | None:
        """Seconds of one thing that `work_sampling` measures."""
        rounds = [turn[name] for turn in self.results.sampling]
        return statistics.median(rounds) if rounds else None

    def sample_against_products(self) -> float | None:
        ratios = [x["sample_seconds"] / x["products_seconds"] for x in self.results.sampling]
        return statistics.median(ratios) if ratios else None

    def start(self, which: int) -> float | None:
        """Seconds to the first step: 0 with a cold cache, 1 with a warm one."""
        seconds = [pair[which] for pair in self.results.starts]
        return statistics.median(seconds) if seconds else None


class Target(NamedTuple):
    """Something that the benchmark is to find.

    Attributes:
        what: it is.
        value: that was found; None: not measured.
        bound: that it is held against.
        is_least: whether it should be at least that, or at most.
        form: how both are written.
    """

    what: str
    value: float | None
    bound: float
    is_least: bool
    form: str

    @property
    def line(self) -> list[str]:
        bound = f"{'at least' if self.is_least else 'at most'} {self.bound:{self.form}}"
        if self.value is None:
            return [self.what, bound, "not measured", ""]
        is_met = self.value >= self.bound if self.is_least else self.value <= self.bound
        return [self.what, bound, f"{self.value:{self.form}}", "yes" if is_met else "**no**"]


def targets(found: Found) -> list[Target]:
    """What is aimed at, and what was found."""
    ours = {size: (MNIST_GAN, size, "float32") for size in (128, 256, 512)}
    best = found.best_pytorch(128)
    sizes = found.batch_sizes()
    parallel = [found.ratio((PMAP_1, n, "float32"), (JIT, n, "float32")) for n in sizes]
    hosts = [found.host((MNIST_GAN, n, "float32")) for n in sizes]
    slowest = min((x for x in parallel if x is not None), default=None)
    busiest = max((x for x in hosts if x is not None), default=None)
    is_full = found.results.about["num_samples"] == "10000"
    sampled = found.sample_against_products() if is_full else None
    return [
        Target(
            "batch 128: mnist_gan.py against PyTorch's tutorial loop, data in memory",
            found.ratio(ours[128], (IN_MEMORY, 128, "float32")),
            2.1,
            True,
            ".2f",
        ),
        Target(
            "batch 128: mnist_gan.py against PyTorch's best float32 row",
            found.ratio(ours[128], best) if best else None,
            1.5,
            True,
            ".2f",
        ),
        Target("batch 512: of the float32 wall", found.of_wall(ours[512]), 0.94, True, ".3f"),
        Target("batch 128: of the float32 wall", found.of_wall(ours[128]), 0.84, True, ".3f"),
        Target(
            "batch 256: mnist_gan.py, bfloat16 against float32",
            found.ratio((MNIST_GAN, 256, "bfloat16"), ours[256]),
            1.5,
            True,
            ".2f",
        ),
        Target("pmap on one device against jit, worst batch", slowest, 0.98, True, ".3f"),
        Target("mnist_gan.py: host work of an epoch, worst batch", busiest, 0.02, False, ".2%"),
        Target("sample: 10,000 digits against four matrix products", sampled, 1.2, False, ".2f"),
        Target("start to first step, cold cache (seconds)", found.start(0), 15, False, ".1f"),
        Target("start to first step, warm cache (seconds)", found.start(1), 5, False, ".1f"),
    ]


def markdown(lines: Iterable[Sequence[str]]) -> str:
    """A table: the first line is its header."""
    header, *body = lines
    rule = ["---"] * len(header)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *body))


def optional(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def warnings_of(about: Mapping[str, str], others: float | None) -> list[str]:
    """What a reader of the figures has to know first."""
    lines = []
    if others is not None and others > MOST_FOR_OTHERS:
        lines.append(
            f"**Other programs took {others:.0%} of this machine's cores meanwhile: no figure "
            "below can be relied on.**"
        )
    if about["pytorch"]:
        lines.append(f"{about['pytorch']}.")
    return lines


def report_of(results: Results) -> str:
    """Everything as Markdown."""
    found = Found(results)
    about = results.about
    on_gpu = any(row["device_memory"] is not None for row in results.rows)
    memory = "GPU memory, GB" if on_gpu else "memory, GB"
    header = ["", "batch", "precision", "examples/s", "M multiply-adds", "of the wall"]
    header += ["against the tutorial loop", "compile, s", memory]
    training = [header]
    for key, row in found.rows.items():
        name, batch_size, precision = key
        rates = [f"{x:,.0f}" for x in (found.rate(key), min(row["rates"]), max(row["rates"]))]
        tutorial = found.ratio(key, (IN_MEMORY, batch_size, "float32"))
        peak = row["device_memory"] if on_gpu else row["memory"]
        training.append(
            [
                name,
                str(batch_size),
                precision,
                f"{rates[0]} [{rates[1]}, {rates[2]}]",
                f"{Contender(**row['contender']).products / 1e6:.2f}",
                optional(found.of_wall(key), ".3f"),
                optional(tutorial, ".2f"),
                f"{row['compile_seconds']:.1f}",
                optional(peak and peak / 1e9, ".2f"),
            ]
        )
    walls = [["precision", "GFLOP/s", "examples/s at 15.97 M", "library", "shape"]]
    for precision, wall in found.walls.items():
        examples = wall.rate / step_products(shares_fakes=False)
        rate = f"{2 * wall.rate / 1e9:.0f}"
        walls.append([precision, rate, f"{examples:,.0f}", wall.library, wall.shape])
    prices = [["", *(f"batch {n}" for n in found.batch_sizes())]]
    for name in (PMAP_1, PMAP_2):
        cells = [
            optional(found.ratio((name, n, "float32"), (JIT, n, "float32")), ".3f")
            for n in found.batch_sizes()
        ]
        prices.append([f"{name}, against plain jit", *cells])
    keys = [(n, (MNIST_GAN, n, "float32")) for n in found.batch_sizes()]
    cells = [optional(found.ratio(key, (PMAP_1, n, "float32")), ".3f") for n, key in keys]
    prices.append([f"{MNIST_GAN}, against pmap on 1 device", *cells])
    cells = [optional(found.host(key), ".2%") for _, key in keys]
    prices.append([f"{MNIST_GAN}, time between compiled calls", *cells])
    count = int(about["num_samples"])
    drawing = found.sampling("sample_seconds")
    others = [
        ["", "median"],
        [
            "from the start of mnist_gan.py to its first step, cold compilation cache",
            optional(found.start(0), ".1f", " s"),
        ],
        ["the same, warm", optional(found.start(1), ".1f", " s")],
        [
            f"`jaxgan.sample`, {count:,} digits",
            f"{drawing * 1e3:.1f} ms, {count / drawing:,.0f} digits/s" if drawing else "",
        ],
        [
            "the same against its four matrix products alone",
            optional(found.sample_against_products(), ".2f"),
        ],
        [f"features of {count:,} digits", optional(found.sampling("embed_seconds"), ".2f", " s")],
        [
            f"all scores of them, against {count:,} of the test set",
            optional(found.sampling("score_seconds"), ".2f", " s"),
        ],
    ]
    lines = [
        f"# {about['machine']}",
        f"`{about['command']}`, {about['date']}, commit {about['commit']}. {about['versions']}.",
        f"Medians [least, most] of {about['rounds']} rounds; ratios are medians of the rounds' "
        "ratios. The recipe is the textbook's. Multiply-adds are those that an example cannot do "
        "without (the tutorial loop uses its fakes twice), of the wall is what fraction of this "
        "machine's own matrix products they amount to.",
    ]
    if int(about["images"]) < NUM_IMAGES:
        lines.append(
            f"Epochs of {int(about['images']):,} images instead of {NUM_IMAGES:,}: host work "
            "counts for more than it does."
        )
    lines += warnings_of(about, results.others)
    goals = [["", "target", "found", "met"], *(target.line for target in targets(found))]
    for title, table in (
        ("Training", training),
        ("The wall: matrix products alone", walls),
        ("The price of the layers, float32", prices),
        ("Start, samples and scores", others),
        ("Targets", goals),
    ):
        lines += [f"## {title}", markdown(table).strip()]
    return "\n\n".join(lines) + "\n"


def run(
    config: Any,
    suffix: str,
    measured: Callable[[Any, Path], Any],
    table_of: Callable[[Any], str],
) -> None:
    """Measures, writes the table and all numbers to `config.out`, each file whole, and prints it.

    Args:
        config: what `measured` is called with, beside a folder for its files.
        suffix: what the files' names have after the machine's.
        measured: -> a dataclass of results, `about` among its fields (see `describe`).
        table_of: results -> the table, as Markdown.
    """
    with flags.user_errors():
        out = Path(config.out)
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            results = measured(config, Path(scratch))
        name = file_name(results.about["machine"]) + suffix
        with written_whole(out / f"{name}.json") as beside:
            beside.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n")
        table = table_of(results)
        with written_whole(out / f"{name}.md") as beside:
            beside.write_text(table)
    print(table)
    say(f"in {out / name}.md, all numbers in {name}.json")


def main() -> None:
    if sys.argv[1:2] == [WORKER]:
        work(Job.from_json(sys.argv[2]), WORKERS)
        return
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--system", nargs="?")
    if parser.parse_known_args()[0].system in ("dcgan", "pix2pix"):
        import benchmark_systems

        benchmark_systems.main()
        return
    with flags.user_errors():
        config = flags.parse(BenchmarkConfig, sys.argv[1:], description=__doc__)
    run(config, "-quick" if config.quick else "", measure, report_of)


if __name__ == "__main__":
    main()
