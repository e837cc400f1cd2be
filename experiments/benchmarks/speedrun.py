"""Time to quality: from the start of the process to the first checkpoint of a FID, beside PyTorch.

python experiments/speedrun.py

Runs PyTorch's tutorial loop (experiments/torch_gan.py) and jaxgan's `mnist_gan.py`, one after the
other, and notes when each checkpoint is whole; jaxgan compiles all anew. Then judges the
checkpoints in order: 10,000 samples each, the package's own evaluator. Evaluation takes no part of
the time. The records are in experiments/SPEEDRUN.md.
"""

import dataclasses
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from benchmark import ask_jax, commit, file_name, machine, markdown

import jaxgan
from jaxgan import data, game
from jaxgan.files import written_whole
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.scoring import embed
from jaxgan.run import flags
from jaxgan.run.checkpoints import GENERATOR, Checkpoints
from jaxgan.systems.mlp_gan.config import RECIPES

HERE = Path(__file__).parent
NUM_SAMPLES = 10_000
POLL_SECONDS = 0.02
HEADER = ("date", "commit", "change", "machine", "FID", "tutorial loop, s", "jaxgan, s", "ratio")


@dataclasses.dataclass(frozen=True)
class SpeedrunConfig:
    """What to race, and how far."""

    target: float | None = None
    """The FID to reach; None: what the tutorial loop has reached at its end."""
    tutorial_epochs: int = 25
    """Epochs of PyTorch's tutorial loop."""
    tutorial_batch_size: int = 128
    """Its batch."""
    in_memory: bool = False
    """Spare the tutorial loop its DataLoader: the data in memory."""
    recipe: str = "default"
    """The recipe of mnist_gan.py."""
    epochs: int = 3
    """Epochs of mnist_gan.py. Its learning rates do not depend on it."""
    precision: str = "float32"
    """The precision of mnist_gan.py."""
    seed: int = 0
    """Of both runs, and of the samples."""
    change: str = ""
    """What is new, for the table of records."""
    out: str = "experiments/results"
    """The folder of the numbers, in a file named after the machine."""

    def __post_init__(self):
        if self.target is not None and not 0 < self.target < math.inf:
            raise ValueError(f"--target must be above 0, not {self.target}")
        for name in ("tutorial_epochs", "tutorial_batch_size", "epochs"):
            if getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} must be 1 or more, not {getattr(self, name)}")
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(RECIPES)}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"--precision must be float32 or bfloat16, not {self.precision!r}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")


class Checkpoint(NamedTuple):
    """A generator on the way.

    Attributes:
        name: of the file or folder.
        seconds: from the start of the process to when it was whole.
        fid: None where it was not judged.
    """

    name: str
    seconds: float
    fid: float | None = None


def run(
    command: Sequence[str], names: Callable[[], Iterable[str]], cache: Path
) -> list[Checkpoint]:
    """Runs a process to its end, and notes when each of its checkpoints appears.

    Args:
        command: of the process.
        names: gives the names of the checkpoints that are whole by now, oldest first.
        cache: for programs that it compiles.

    Raises:
        OSError: the process failed.
    """
    seen: dict[str, float] = {}
    started = time.perf_counter()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    process = subprocess.Popen(command, stdout=sys.stderr, env=environment)
    try:
        is_running = True
        while is_running:
            is_running = process.poll() is None
            for name in names():
                seen.setdefault(name, time.perf_counter() - started)
            time.sleep(POLL_SECONDS)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise OSError(f"{Path(command[1]).name} failed, with exit code {process.returncode}")
    return [Checkpoint(name, seconds) for name, seconds in seen.items()]


def from_pytorch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A generator of `torch_gan.save_generator` as the variables of `networks.mlp.Generator`.

    Args:
        arrays: "0.weight" [units out, units in], "0.bias" [units out], and so on.

    Returns:
        {"params": {"Dense_0": {"kernel" [units in, units out], "bias"}, ...}}, float32.
    """
    layers = sorted({int(name.split(".")[0]) for name in arrays})
    return {
        "params": {
            f"Dense_{i}": {"kernel": arrays[f"{n}.weight"].T, "bias": arrays[f"{n}.bias"]}
            for i, n in enumerate(layers)
        }
    }


def judge(
    checkpoints: Sequence[Checkpoint], fid: Callable[[str], float], target: float
) -> list[Checkpoint]:
    """Takes the FID of checkpoints in order, up to the first that is no worse than the target.

    A checkpoint that has been judged is not judged again.
    """
    judged = []
    for i, checkpoint in enumerate(checkpoints):
        if checkpoint.fid is None:
            checkpoint = checkpoint._replace(fid=fid(checkpoint.name))
        print(
            f"{checkpoint.name}: FID {checkpoint.fid:.2f} after {checkpoint.seconds:.1f} s",
            file=sys.stderr,
        )
        judged.append(checkpoint)
        if checkpoint.fid <= target:
            return [*judged, *checkpoints[i + 1 :]]
    return judged


def first_to_reach(checkpoints: Iterable[Checkpoint], target: float) -> Checkpoint | None:
    """The first checkpoint whose FID is at most the target; None if none is."""
    return next((x for x in checkpoints if x.fid is not None and x.fid <= target), None)


def make_fid(seed: int) -> Callable[[Any], float]:
    """variables of a generator -> FID of its samples against the training set, as a run logs it."""
    evaluator = load_evaluator()
    reference = moments(embed(data.load().images, evaluator).features)
    key = jax.random.fold_in(jax.random.key(seed), game.EVALUATION)

    def fid(variables: Any) -> float:
        samples = jaxgan.sample(variables, key, num_samples=NUM_SAMPLES)
        return frechet_distance(reference, moments(embed(samples, evaluator).features))

    return fid


def race(config: SpeedrunConfig, scratch: Path) -> dict[str, Any]:
    """Both runs, timed and judged; what JSON can hold."""
    torch_folder, workdir = scratch / "torch_gan", scratch / "mnist_gan"
    tutorial = [
        sys.executable,
        str(HERE / "torch_gan.py"),
        *("--way", "tutorial in memory" if config.in_memory else "tutorial"),
        *("--epochs", str(config.tutorial_epochs)),
        *("--batch-size", str(config.tutorial_batch_size)),
        *("--seed", str(config.seed)),
        *("--out", str(torch_folder)),
    ]
    mnist_gan = [
        sys.executable,
        str(HERE / "mnist_gan.py"),
        *("--recipe", config.recipe),
        *("--epochs", str(config.epochs)),
        *("--precision", config.precision),
        *("--seed", str(config.seed)),
        *("--keep-checkpoints", str(config.epochs + 1)),
        *("--workdir", str(workdir)),
    ]
    written = Checkpoints(workdir / "checkpoints")
    cache = scratch / "cache"
    theirs = run(tutorial, lambda: sorted(x.name for x in torch_folder.glob("epoch_*.npz")), cache)
    ours = run(mnist_gan, lambda: map(str, written.steps()), cache)

    fid = make_fid(config.seed)

    def fid_of_theirs(name: str) -> float:
        with np.load(torch_folder / name) as arrays:
            return fid(from_pytorch(arrays))

    def fid_of_ours(name: str) -> float:
        with ocp.StandardCheckpointer() as checkpointer:
            return fid(checkpointer.restore(written.directory / name / GENERATOR))

    target = config.target
    if target is None:
        last = theirs[-1]
        theirs[-1] = last._replace(fid=fid_of_theirs(last.name))
        target = theirs[-1].fid
    theirs = judge(theirs, fid_of_theirs, target)
    ours = judge(ours, fid_of_ours, target)
    platform_name, device = ask_jax()
    return {
        "machine": machine(platform_name, device),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "config": dataclasses.asdict(config),
        "target": target,
        "tutorial": [checkpoint._asdict() for checkpoint in theirs],
        "jaxgan": [checkpoint._asdict() for checkpoint in ours],
    }


def record(raced: Mapping[str, Any]) -> list[str]:
    """The line of the table of records, as `HEADER` has it."""
    target = raced["target"]
    reached = [
        first_to_reach((Checkpoint(**x) for x in raced[name]), target)
        for name in ("tutorial", "jaxgan")
    ]
    times = ["not reached" if x is None else f"{x.seconds:.1f}" for x in reached]
    ratio = "" if None in reached else f"{reached[0].seconds / reached[1].seconds:.2f}"
    return [
        raced["date"],
        raced["commit"],
        raced["config"]["change"],
        raced["machine"],
        f"{target:.2f}",
        *times,
        ratio,
    ]


def main() -> None:
    with flags.user_errors():
        config = flags.parse(SpeedrunConfig, sys.argv[1:], description=__doc__)
        if importlib.util.find_spec("torch") is None:
            raise ImportError('PyTorch is not installed: pip install -e ".[benchmark]"')
        out = Path(config.out)
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            raced = race(config, Path(scratch))
        path = out / f"speedrun-{file_name(raced['machine'])}.json"
        with written_whole(path) as beside:
            beside.write_text(json.dumps(raced, indent=1) + "\n")
    line = record(raced)
    print(markdown([HEADER, line]))
    print(f"all numbers in {path}", file=sys.stderr)
    if not line[-1]:
        print("a FID that is not reached wants more epochs", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
