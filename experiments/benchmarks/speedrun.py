"""Time to quality: from the start of the process to the first checkpoint of a FID, beside PyTorch.

python experiments/benchmarks/speedrun.py

Runs PyTorch's tutorial loop (torch_gans.py) and then jaxgan's mnist_gan.py, which compiles all
anew, and notes when each checkpoint is whole. Then it judges the checkpoints in order: 10,000
samples each, the package's own evaluator. The time of judging does not count. The records are in
experiments/benchmarks/SPEEDRUN.md, whose table the printed line is for.
"""

import dataclasses
import functools
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jaxgan_gans
import numpy as np
from interleaving import ask_jax, commit, markdown, say, watch

import jaxgan
from jaxgan import data
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.scoring import embed
from jaxgan.run import flags

HERE = Path(__file__).parent
HEADER = ("date", "commit", "change", "machine", "FID", "tutorial loop, s", "jaxgan, s", "ratio")


@dataclasses.dataclass(frozen=True)
class SpeedrunConfig:
    """What to race, and how far."""

    tutorial_epochs: int = 25
    """Epochs of PyTorch's tutorial loop."""
    epochs: int = 3
    """Epochs of mnist_gan.py, of its default recipe, whose learning rates do not depend on it."""
    seed: int = 0
    """Of both runs, and of the samples."""
    change: str = ""
    """What is new, for the table of records."""

    def __post_init__(self):
        for flag, epochs in (
            ("--tutorial-epochs", self.tutorial_epochs),
            ("--epochs", self.epochs),
        ):
            if epochs < 1:
                raise ValueError(f"{flag} must be 1 or more, not {epochs}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")


def from_pytorch(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A generator that torch_gans.py has saved as the variables of jaxgan's, float32.

    "0.weight" [units out, units in] and "0.bias" become {"params": {"Dense_0": {"kernel" [units in,
    units out], "bias"}}}, and so on.
    """
    layers = enumerate(sorted({int(name.split(".")[0]) for name in arrays}))
    dense = {
        f"Dense_{i}": {"kernel": arrays[f"{n}.weight"].T, "bias": arrays[f"{n}.bias"]}
        for i, n in layers
    }
    return {"params": dense}


def first_to_reach(
    seconds: Mapping[str, float], fid: Callable[[str], float], target: float
) -> float | None:
    """When the first checkpoint was whole whose FID is at most the target; None if none is.

    The seconds are by the names of checkpoints, in order. None after the first is judged by `fid`.
    """
    for name, at in seconds.items():
        say(f"{name}: FID {fid(name):.2f} after {at:.1f} s")
        if fid(name) <= target:
            return at
    return None


def race(config: SpeedrunConfig, scratch: Path) -> tuple[float, float, float | None]:
    """Both runs, timed and judged: PyTorch's last FID, and the seconds that each took to reach it.

    Raises:
        OSError: one of the runs failed.
    """
    theirs, ours, cache = scratch / "torch_gans", scratch / "mnist_gan", scratch / "cache"
    seed = ("--seed", str(config.seed))
    tutorial = [sys.executable, str(HERE / "torch_gans.py"), *seed, "--out", str(theirs)]
    tutorial += ["--epochs", str(config.tutorial_epochs)]
    mnist_gan = [sys.executable, str(HERE.parent / "mnist_gan.py"), *seed, "--workdir", str(ours)]
    mnist_gan += ["--epochs", str(config.epochs), "--keep-checkpoints", str(config.epochs + 1)]
    times = watch(tutorial, lambda: sorted(x.name for x in theirs.glob("epoch_*.npz")), cache)
    our_times = watch(mnist_gan, lambda: jaxgan_gans.checkpoints(ours), cache)
    evaluator = load_evaluator()
    reference = moments(embed(data.load().images, evaluator).features)

    def fid(variables: Any) -> float:
        samples = jaxgan.sample(variables, jax.random.key(config.seed), num_samples=10_000)
        return frechet_distance(reference, moments(embed(samples, evaluator).features))

    @functools.cache
    def fid_of_theirs(name: str) -> float:
        with np.load(theirs / name) as arrays:
            return fid(from_pytorch(arrays))

    @functools.cache
    def fid_of_ours(name: str) -> float:
        return fid(jaxgan_gans.generator_of(ours, name))

    target = fid_of_theirs(list(times)[-1])
    theirs_took = first_to_reach(times, fid_of_theirs, target)
    return target, theirs_took, first_to_reach(our_times, fid_of_ours, target)


def record(change: str, machine: str, fid: float, theirs: float, ours: float | None) -> list[str]:
    """A line of the table of records, as `HEADER` has it; without a ratio if it was not reached."""
    found = ["not reached", ""] if ours is None else [f"{ours:.1f}", f"{theirs / ours:.2f}"]
    found = [f"{fid:.2f}", f"{theirs:.1f}", *found]
    return [time.strftime("%Y-%m-%d"), commit(), change, machine, *found]


def main() -> None:
    with flags.user_errors():
        config = flags.parse(SpeedrunConfig, sys.argv[1:], description=__doc__)
        if importlib.util.find_spec("torch") is None:
            raise ImportError('PyTorch is not installed: pip install -e ".[benchmark]"')
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            line = record(config.change, ask_jax()[1], *race(config, Path(scratch)))
    print(markdown([HEADER, line]))
    if not line[-1]:
        say("a FID that is not reached wants more epochs")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
