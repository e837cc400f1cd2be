"""The convolutional GANs beside the same networks and losses in PyTorch: one table, one run.

python experiments/benchmark.py --system dcgan
python experiments/benchmark.py --system pix2pix

Processes, turns and medians are as in the benchmark of the chapter's GAN (--system mlp). jaxgan
trains as its scripts do, through `training.train`, metrics fetched and checked; PyTorch in the ways
of torch_systems.py. All is float32, on CPUs.
"""

import dataclasses
import functools
import importlib.util
import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import benchmark
from benchmark import Contender, Job, Report, Worker, say

from jaxgan.run import flags

JAXGAN = "jaxgan"
# Way of torch_systems.py -> its column.
PYTORCH = {
    "plain": "PyTorch",
    "channels last": "PyTorch, channels last",
    "compile": "PyTorch, torch.compile",
}
# A call of jaxgan's is a twelfth of an epoch: of this many steps.
STEPS_PER_CALL = 5
STEPS_PER_EPOCH = 12 * STEPS_PER_CALL


class Case(NamedTuple):
    """What is trained: a system on a data set."""

    system: str
    dataset: str
    image_shape: tuple[int, int, int]

    @property
    def name(self) -> str:
        return f"{self.system} {'x'.join(map(str, self.image_shape))}"


CASES = {
    case.name: case
    for case in (
        Case("dcgan", "mnist", (28, 28, 1)),
        Case("dcgan", "toon_faces", (32, 32, 3)),
        Case("pix2pix", "toon_faces", (64, 64, 3)),
    )
}
BATCH_SIZES = {"dcgan": (64,), "pix2pix": (16, 64)}
# The smallest set's images are to last for an epoch.
LARGEST_BATCH = 18_000 // STEPS_PER_EPOCH


@dataclasses.dataclass(frozen=True)
class SystemsConfig:
    """What to measure, and for how long."""

    system: Literal["dcgan", "pix2pix"]
    """Which GAN."""
    batch_sizes: tuple[int, ...] | None = None
    """Of training; None: 64 of the DCGAN, 16 and 64 of pix2pix."""
    rounds: int = 5
    """How many turns each row gets after its warm-up."""
    seconds: float = 3.0
    """About how long a turn is."""
    compile: bool = True
    """Have a row of PyTorch's under torch.compile, which takes minutes to compile."""
    out: str = "experiments/results"
    """The folder of the table and of the raw numbers, which are named after the machine."""

    def __post_init__(self):
        if self.batch_sizes is None:
            object.__setattr__(self, "batch_sizes", BATCH_SIZES[self.system])
        if not self.batch_sizes or not all(1 <= n <= LARGEST_BATCH for n in self.batch_sizes):
            raise ValueError(f"--batch-sizes must be from 1 to {LARGEST_BATCH} each")
        if self.rounds < 1:
            raise ValueError(f"--rounds must be 1 or more, not {self.rounds}")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"--seconds must be above 0, not {self.seconds}")


# --- The processes that do it ---


def config_of(case: Case, batch_size: int):
    """The settings of jaxgan's script."""
    from jaxgan.systems.dcgan.config import DCGANConfig
    from jaxgan.systems.pix2pix.config import Pix2PixConfig

    settings = dict(dataset=case.dataset, image_shape=case.image_shape, batch_size=batch_size)
    if case.system == "dcgan":
        # Plain training: the default has penalties that the twins have not.
        return DCGANConfig(recipe="textbook", conditional=True, **settings)
    return Pix2PixConfig(**settings)


def work_jaxgan(job: Job, report: Report) -> None:
    import jax

    from jaxgan import game, training
    from jaxgan.run.experiment import use_multi_output_fusion

    use_multi_output_fusion()
    size = job.contender.batch_size
    config = config_of(CASES[job.contender.name], size)
    dataset = config.load_dataset()
    config = config.of_dataset(dataset)
    gan = config.gan()
    arrays = {name: x[: job.images] for name, x in config.examples(dataset).items()}
    devices = jax.devices()[:1]
    state = training.on_host(jax.jit(functools.partial(game.init, gan))(jax.random.key(0)))
    calls = training.train(
        gan,
        state,
        arrays,
        training.Schedule(STEPS_PER_EPOCH, STEPS_PER_CALL, STEPS_PER_CALL),
        devices=devices,
        batch_size=size,
        last_step=STEPS_PER_EPOCH * 1_000_000,
    )

    def run(count: int) -> None:
        for _ in range(count):
            next(calls)

    benchmark.take_turns(
        run, STEPS_PER_CALL * size, job.seconds, report, benchmark.jax_device_memory
    )


def work_torch(job: Job, report: Report) -> None:
    import torch_systems

    case, size = CASES[job.contender.name], job.contender.batch_size
    load = {"dcgan": torch_systems.load_dcgan, "pix2pix": torch_systems.load_pix2pix}[case.system]
    config = config_of(case, size)
    adams = [
        torch_systems.Adam(learning_rate, config.beta1, config.beta2)
        for learning_rate in (config.generator_learning_rate, config.discriminator_learning_rate)
    ]
    game, arrays = load(case.dataset, case.image_shape, job.images)
    train = torch_systems.make(job.contender.way, game, arrays, size, *adams)
    benchmark.take_turns(train, size, job.seconds, report, lambda: None)


WORKERS = {"jaxgan": work_jaxgan, "torch": work_torch}


# --- One run of everything ---


@dataclasses.dataclass
class Results:
    """All that a run measures.

    Attributes:
        about: what was run, when and on what, for people.
        rows: a dict for each case and batch size: "case" (its name), "batch_size" and "rates", by
            column the examples a second of each round.
        others: the share of the cores' time that other programs took meanwhile; None: not known.
    """

    about: dict[str, str]
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    others: float | None = None


def contenders(case: Case, batch_size: int, *, torch: bool, compiled: bool) -> dict[str, Contender]:
    """Column -> what fills it."""
    found = {JAXGAN: Contender(case.name, "jaxgan", batch_size)}
    for way, column in PYTORCH.items():
        if torch and (compiled or way != "compile"):
            found[column] = Contender(case.name, "torch", batch_size, way=way)
    return found


def measure(config: SystemsConfig, scratch: Path) -> Results:
    """Runs everything.

    Raises:
        ValueError: JAX runs on something else than CPUs.
        OSError: a process has ended.
    """
    has_torch = importlib.util.find_spec("torch") is not None
    platform_name, device = benchmark.ask_jax()
    if platform_name != "cpu":
        raise ValueError(
            f"--system {config.system} is measured on CPUs, and JAX runs on {platform_name}: set "
            "JAX_PLATFORMS=cpu"
        )
    results = Results(benchmark.describe(config.rounds, platform_name, device, has_torch))
    say(f"{results.about['machine']}; {results.about['versions']}")
    others = benchmark.watch_others()
    for case in CASES.values():
        if case.system != config.system:
            continue
        for size in config.batch_sizes:
            rows = contenders(case, size, torch=has_torch, compiled=config.compile)
            rates = measure_one(config, scratch, rows, f"{case.name}, batch {size}")
            results.rows.append({"case": case.name, "batch_size": size, "rates": rates})
    results.others = others()
    return results


def measure_one(
    config: SystemsConfig, scratch: Path, rows: Mapping[str, Contender], name: str
) -> dict[str, list[float]]:
    """By column the examples a second of each round, of one case and batch size."""
    with ExitStack() as stack:
        workers = {}
        for column, contender in rows.items():
            place = scratch / f"{len(list(scratch.iterdir()))}_{contender.worker}"
            images = STEPS_PER_EPOCH * contender.batch_size
            job = Job(contender, config.seconds, images, 0, str(place), gpu=False)
            workers[column] = Worker(job, place.with_suffix(".log"), script=Path(__file__))
            stack.callback(workers[column].close)
        for worker in workers.values():
            worker.wait()
        for column, worker in workers.items():
            say(f"{name}: {column}: warming up")
            worker.take_turn()
        rates: dict[str, list[float]] = {column: [] for column in workers}
        for i in range(config.rounds):
            say(f"{name}: round {i + 1} of {config.rounds}")
            for column, worker in workers.items():
                turn = worker.take_turn()
                rates[column].append(turn["examples"] / turn["seconds"])
    return rates


# --- The table ---


def report_of(results: Results) -> str:
    """Everything as Markdown."""
    about = results.about
    columns = list(dict.fromkeys(column for row in results.rows for column in row["rates"]))
    table = [["", "batch", *(f"{column}, examples/s" for column in columns), "ratio"]]
    for row in results.rows:
        rates = row["rates"]
        medians = {column: statistics.median(values) for column, values in rates.items()}
        cells = [
            f"{medians[column]:,.0f} [{min(rates[column]):,.0f}, {max(rates[column]):,.0f}]"
            for column in columns
        ]
        theirs = max((x for x in columns if x != JAXGAN), key=medians.get, default=None)
        ratio = ""
        if theirs:
            pairs = zip(rates[JAXGAN], rates[theirs], strict=True)
            ratio = f"{statistics.median(a / b for a, b in pairs):.2f}"
        table.append([row["case"], str(row["batch_size"]), *cells, ratio])
    lines = [
        f"# {about['machine']}",
        f"`{about['command']}`, {about['date']}, commit {about['commit']}. {about['versions']}.",
        f"Medians [least, most] of {about['rounds']} rounds, float32; the ratio is jaxgan's rate "
        "to that of PyTorch's fastest column, the median of the rounds' ratios.",
    ]
    lines += benchmark.warnings_of(about, results.others)
    return "\n\n".join([*lines, benchmark.markdown(table).strip()]) + "\n"


def main() -> None:
    if sys.argv[1:2] == [benchmark.WORKER]:
        benchmark.work(Job.from_json(sys.argv[2]), WORKERS)
        return
    with flags.user_errors():
        config = flags.parse(SystemsConfig, sys.argv[1:], description=__doc__)
    benchmark.run(config, f"-{config.system}", measure, report_of)


if __name__ == "__main__":
    main()
