"""Trains recipes from several seeds, evaluates them, and writes the table of the README.

python experiments/recipes.py --recipes default textbook --seeds 0 1 2 3 4
python experiments/recipes.py --ablate default --seeds 0

Stopped, it goes on where it was: what is trained and evaluated is not done again.
"""

import csv
import dataclasses
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from jaxgan.files import written_whole
from jaxgan.run import flags
from jaxgan.run.config import flag
from jaxgan.systems.mlp_gan.config import RECIPES, MLPGANConfig

HERE = Path(__file__).parent
SCORES = {"fid": ".2f", "kid": ".4f", "precision": ".3f", "recall": ".3f", "modes": ".0f"}
HEADER = ["command", "epochs", "examples", "minutes", "FID", "KID", "precision", "recall", "modes"]
HEADER += ["classes", "copies"]
# What a recipe adds to the textbook's, in the settings that make it up.
INGREDIENTS = (
    ("batch_size",),
    ("generator_learning_rate", "discriminator_learning_rate"),
    ("generator_half_life_kimg", "discriminator_half_life_kimg"),
    ("beta1", "beta2"),
    ("r1", "penalty_interval"),
    ("translation",),
    ("ema_decay",),
)


@dataclasses.dataclass(frozen=True)
class RecipesConfig:
    """What to train, and where."""

    recipes: tuple[str, ...] = ("default", "textbook")
    """Recipes of mnist_gan.py, a row each."""
    ablate: str | None = None
    """Instead: a recipe, and a row for each of its ingredients put back to the textbook's."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """What each is trained from."""
    root: str = "runs/recipes"
    """The folder of the runs, and of the table: table.md, or ablation.md."""

    def __post_init__(self):
        for name in self.recipes if self.ablate is None else [self.ablate]:
            MLPGANConfig(recipe=name)
        if not self.recipes or not self.seeds:
            raise ValueError("--recipes and --seeds want one or more")


def variants(config: RecipesConfig) -> list[list[str]]:
    """The flags of each row."""
    if config.ablate is None:
        return [["--recipe", name] for name in config.recipes]
    rows = [["--recipe", config.ablate]]
    recipe, textbook = RECIPES[config.ablate], RECIPES["textbook"]
    for names in INGREDIENTS:
        changed = [name for name in names if recipe[name] != textbook[name]]
        if changed:
            rows.append([*rows[0], *(x for n in changed for x in (flag(n), f"{textbook[n]:g}"))])
    return rows


def train_and_evaluate(arguments: Sequence[str], seed: int, root: Path) -> Path:
    """Runs both scripts as a user would, unless it has been done, and gives the work dir."""
    name = "_".join(word.removeprefix("--") for word in arguments)
    workdir = root / name / f"seed_{seed}"
    timing = workdir / "seconds.json"
    train = ["mnist_gan.py", *arguments, "--seed", str(seed), "--workdir", str(workdir)]
    if not timing.exists():
        is_new = not workdir.exists()
        started = time.perf_counter()
        run(train)
        # How long a run took that was stopped on the way is not known.
        seconds = time.perf_counter() - started if is_new else None
        with written_whole(timing) as beside:
            beside.write_text(json.dumps(seconds))
    if not (workdir / "evaluation.json").exists():
        run(["evaluate.py", "--workdir", str(workdir)])
    return workdir


def run(arguments: Sequence[str]) -> None:
    """Runs one of the scripts beside this one; if it fails, so does this one, with its code."""
    print(f"\n$ python experiments/{shlex.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, HERE / arguments[0], *arguments[1:]], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def row(arguments: Sequence[str], workdirs: Sequence[Path]) -> list[str]:
    """One line of the table: the median of the seeds, and the range if there are several."""
    config = MLPGANConfig.load(workdirs[0])
    evaluations = [json.loads((path / "evaluation.json").read_text()) for path in workdirs]
    seconds = [json.loads((path / "seconds.json").read_text()) for path in workdirs]
    with open(workdirs[0] / "metrics.csv", newline="") as file:
        steps = int(list(csv.DictReader(file))[-1]["step"])
    examples = steps * config.batch_size * config.discriminator_steps

    def cell(values: Sequence[float], form: str) -> str:
        shown = [f"{x:{form}}" for x in (statistics.median(values), min(values), max(values))]
        return shown[0] if len(set(shown)) == 1 else f"{shown[0]} [{shown[1]}, {shown[2]}]"

    minutes = [x / 60 for x in seconds if x is not None]
    shares = [share for x in evaluations for share in x["class_shares"]["samples"]]
    found = [space for x in evaluations for space in x["memorisation"].values()]
    return [
        f"`mnist_gan.py {shlex.join(arguments)}`",
        str(config.epochs),
        f"{examples / 1e6:.2f} M",
        cell(minutes, ".1f") if minutes else "not known",
        *(
            cell([x["scores"]["samples"][name] for x in evaluations], form)
            for name, form in SCORES.items()
        ),
        f"{min(shares):.1%} to {max(shares):.1%}",
        "seen" if any(space["copies"] for space in found) else "none",
    ]


def main() -> None:
    with flags.user_errors():
        config = flags.parse(RecipesConfig, sys.argv[1:], description=__doc__)
        root = Path(config.root)
        root.mkdir(parents=True, exist_ok=True)
    lines = [HEADER, ["---"] * len(HEADER)]
    out = root / ("table.md" if config.ablate is None else "ablation.md")
    for arguments in variants(config):
        workdirs = [train_and_evaluate(arguments, seed, root) for seed in config.seeds]
        lines.append(row(arguments, workdirs))
        with written_whole(out) as beside:
            beside.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines))
    print(f"\n{out.read_text()}\nin {out}")


if __name__ == "__main__":
    main()
