"""Scores a run at several truncations, quality against variety; writes tradeoff.json and .png.

python experiments/tradeoff.py --workdir runs/biggan --truncations 0.2 0.5 1
"""

import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from evaluate import write_json
from tqdm import tqdm

from jaxgan.metrics import evaluator, inception_v3, scoring
from jaxgan.metrics.scoring import Embedding, embed
from jaxgan.run import flags, inception_files, plots, report
from jaxgan.run.images import to_uint8
from jaxgan.run.inception_files import Source
from jaxgan.run.judging import check_judged, check_memory
from jaxgan.run.settings import count, local_path, setting
from jaxgan.trained import load_run

# The name of the images that are not truncated.
WHOLE = "none"


def truncations(value: tuple[float, ...]) -> str | None:
    """The range of --truncations."""
    is_right = value and all(0 <= each and math.isfinite(each) for each in value)
    return None if is_right else "one or more numbers, 0 or more each"


@dataclasses.dataclass(frozen=True)
class TradeoffConfig:
    """The run to score, and the truncations of its images."""

    workdir: str = setting("runs/biggan", local_path)
    """The folder of a run of a system that has truncation. Without --inception its data set must be
    mnist or toon_faces, which the evaluators were trained on."""
    truncations: tuple[float, ...] = setting((0.2, 0.4, 0.6, 0.8, 1.0), truncations)
    """The truncations, each as sample.py takes it. Images that are not truncated come last."""
    num_samples: int = setting(2000, count(10))
    """How many images of each truncation are drawn, from the same latents. All scores depend on
    this number."""
    seed: int = setting(0, count(0))
    """Seed of the images and of the scores. The same seed gives the same numbers."""
    out: str | None = setting(None, local_path)
    """The folder to write tradeoff.json and tradeoff.png to; None: the work dir."""
    inception: str | None = setting(None, local_path)
    """Score by the features of the Inception-V3 of published FIDs, as evaluate.py does: the file of
    its weights. None: by the small evaluators of the package."""

    def __post_init__(self):
        if self.seed >= 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")
        if len(set(self.truncations)) < len(self.truncations):
            raise ValueError("--truncations has one twice")


def main() -> None:
    with flags.user_errors(), contextlib.ExitStack() as stack:
        config = flags.parse(TradeoffConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        settings = run.config
        for each in config.truncations:
            settings.truncated(each)  # Mistakes are found before anything is drawn.
        if config.out is None and not Path(config.workdir).is_dir():
            raise ValueError(f"{config.workdir} is no folder to write to: give --out")
        check_memory(settings, config.num_samples)
        embedded: Callable[[np.ndarray], Embedding]
        if config.inception is None:
            check_judged(config.workdir, settings)
            own = evaluator.load_evaluator(settings.dataset)
            embedded, score = lambda images: embed(images, own), scoring.score
        else:
            network = inception_files.Network(
                inception_files.read_weights(config.inception), "bilinear", jax.local_devices()
            )

            def embedded(images: np.ndarray) -> Embedding:
                return network.embed(Source.of_array("", images))

            score = inception_v3.scores
        params, key = run.params, run.key(config.seed)
        training = settings.load_dataset()
        out = Path(config.workdir if config.out is None else config.out)
        out.mkdir(parents=True, exist_ok=True)
        sets: dict[str, float | None] = {str(each): each for each in sorted(config.truncations)}
        sets[WHOLE] = None
        # The stack closes the bar before an error is printed, so the error has a line of its own.
        progress = stack.enter_context(
            tqdm(total=len(sets) + 1, desc="real images", disable=None, unit=" sets")
        )
        reference, real = embedded(training.images), None
        if config.inception is None:
            held_out = settings.load_dataset("test").images
            some = np.random.default_rng(config.seed).permutation(len(held_out))
            real = score(
                embedded(held_out[some[: config.num_samples]]), reference, seed=config.seed
            )
        progress.update()
        rows: dict[str, dict[str, float]] = {}
        given = params, key, config.num_samples, training
        for name, truncation in sets.items():
            progress.set_description_str(f"truncation {name}")
            if truncation is None:
                drawn = settings.judged_samples(*given)[0]
            else:
                drawn = settings.truncated_samples(*given, truncation)
            # Files of pictures have 8 bits, and so have those that published FIDs are of.
            samples = to_uint8(np.asarray(drawn))
            rows[name] = score(embedded(samples), reference, seed=config.seed)
            progress.update()
        progress.close()
        shown = report.TRADEOFF_SCORES
        print(f"{config.num_samples} samples of each, {config.workdir}, step {run.step}")
        print(f"| truncation | {' | '.join(shown.values())} |")
        print("| --- " * (len(shown) + 1) + "|")
        for name, row in {**rows, **({} if real is None else {"held-out images": real})}.items():
            print(f"| {name} | {' | '.join(f'{row[key]:.4f}' for key in shown)} |")
        values: dict[str, Any] = {
            "evaluator": evaluator.WEIGHTS[settings.dataset]
            if config.inception is None
            else Path(config.inception).name,
            "num_samples": config.num_samples,
            "seed": config.seed,
            "newest_checkpoint": run.step,
            "rows": [{"name": name, "scores": row} for name, row in rows.items()],
            "held_out": real,
        }
        write_json(out / report.TRADEOFF_FILE, values)
        plots.plot_tradeoff(out / "tradeoff.png", rows, real)
        if config.out is None:
            report.write(out, settings)
    print(f"tradeoff.json and tradeoff.png in {out}")


if __name__ == "__main__":
    main()
