"""Trains recipes with several seeds, evaluates the runs, and writes the table of the README.

python experiments/recipes.py --recipes default textbook --seeds 0 1 2 3 4
python experiments/recipes.py --ablate default --seeds 0

A stopped script can be started again. It continues: runs that are trained and evaluated are kept.
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

from jaxgan.files.reading import read_json
from jaxgan.files.writing import written_whole
from jaxgan.run import flags
from jaxgan.run.settings import flag, local_path, setting
from jaxgan.systems.mlp_gan.config import RECIPES, MLPGANConfig

HERE = Path(__file__).parent
SCORES = {"fid": ".2f", "kid": ".4f", "precision": ".3f", "recall": ".3f", "modes": ".0f"}
HEADER = ["command", "epochs", "examples", "minutes", "FID", "KID", "precision", "recall", "modes"]
HEADER += ["classes", "copies"]
# The ingredients by which a recipe may differ from 'textbook'. Each is a group of settings.
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
    """The recipes to train, the seeds, and the folder."""

    recipes: tuple[str, ...] = ("default", "textbook")
    """Recipes of mnist_gan.py. Each recipe is a row of the table."""
    ablate: str | None = None
    """A recipe to take apart, instead of --recipes. In each further row of the table, one of its
    ingredients has the values of 'textbook'."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """The seeds that each row is trained with."""
    root: str = setting("runs/recipes", local_path)
    """The folder of the runs and of the table, which is table.md, or ablation.md with --ablate."""

    def __post_init__(self):
        for name in self.recipes if self.ablate is None else [self.ablate]:
            MLPGANConfig(recipe=name)
        if not self.recipes or not self.seeds:
            raise ValueError("--recipes and --seeds want one or more")


def variants(config: RecipesConfig) -> list[list[str]]:
    """The flags of mnist_gan.py for each row of the table."""
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
    """Runs mnist_gan.py and evaluate.py, unless both have been run.

    Args:
        arguments: the flags of the row, from `variants`.
        seed: the seed of the run.
        root: the folder of the runs.

    Returns:
        The run's work dir, with evaluation.json and seconds.json. The latter is the time of
        training in seconds, or null if it is not known.

    Raises:
        SystemExit: a script failed.
    """
    name = "_".join(word.removeprefix("--") for word in arguments)
    workdir = root / name / f"seed_{seed}"
    timing = workdir / "seconds.json"
    train = ["mnist_gan.py", *arguments, "--seed", str(seed), "--workdir", str(workdir)]
    if not timing.exists():
        is_new = not workdir.exists()
        started = time.perf_counter()
        run(train)
        # If the run was resumed, the time of its first part is not known.
        seconds = time.perf_counter() - started if is_new else None
        with written_whole(timing) as beside:
            beside.write_text(json.dumps(seconds))
    if not (workdir / "evaluation.json").exists():
        run(["evaluate.py", "--workdir", str(workdir)])
    return workdir


def run(arguments: Sequence[str]) -> None:
    """Runs a script of this folder. If the script fails, this one exits with the same code."""
    print(f"\n$ python experiments/{shlex.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, HERE / arguments[0], *arguments[1:]], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def row(arguments: Sequence[str], workdirs: Sequence[Path]) -> list[str]:
    """The cells of one row of the table.

    A score is the median over the seeds. If the seeds differ, "[lowest, highest]" follows.

    Args:
        arguments: the flags of the row, from `variants`.
        workdirs: the work dirs of its runs, one for each seed.
    """
    config = MLPGANConfig.load(workdirs[0])
    evaluations = [read_json(path / "evaluation.json", dict) for path in workdirs]
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
