"""Judges a trained run of digits: a table, evaluation.json and evaluation.png.

python experiments/evaluate.py --workdir runs/mnist_gan
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np

from jaxgan import checkpoints, data, evaluation, flags, plots, report
from jaxgan.files import written_whole
from jaxgan.metrics import evaluator
from jaxgan.mlp_gan import MLPGANConfig
from jaxgan.sampling import sample

NUM_COMPARED = 10  # samples drawn beside training images, of each kind
DIGITS = ("mnist", (28, 28, 1))


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What to judge, and by how much."""

    workdir: str = "runs/mnist_gan"
    """The folder of the run, which must be one on MNIST: the judge knows nothing but digits."""
    num_samples: int = 10_000
    """How many images to draw. Most scores depend on it: compare those of equally many."""
    seed: int = 0
    """Of the samples, and of what scores draw: the same seed gives the same numbers."""
    out: str | None = None
    """The folder to write evaluation.json and evaluation.png into; None: the work dir."""

    def __post_init__(self):
        if self.num_samples < 10:
            raise ValueError(f"--num-samples must be 10 or more, not {self.num_samples}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(EvaluateConfig, sys.argv[1:], description=__doc__)
        run = MLPGANConfig.load(config.workdir)
        if (run.dataset, run.image_shape) != DIGITS:
            shape = "x".join(map(str, run.image_shape))
            raise ValueError(
                f"only runs on mnist, 28x28x1, can be judged: {config.workdir} is one on "
                f"{run.dataset}, {shape}"
            )
        params = checkpoints.load_params(config.workdir)
        step = checkpoints.Checkpoints(Path(config.workdir) / "checkpoints").steps()[-1]
        out = Path(config.workdir if config.out is None else config.out)
        out.mkdir(parents=True, exist_ok=True)
        drawn = sample(
            params,
            jax.random.key(config.seed),
            num_samples=config.num_samples,
            noise=run.noise,
            generator=run.generator(),
        )
        drawn = np.asarray(drawn)
        training, held_out = (data.load(split=split).images for split in ("train", "test"))
        reference = evaluation.reference(
            training, held_out, num_samples=config.num_samples, seed=config.seed
        )
        found = evaluation.evaluate(drawn, reference)
        print(f"{config.num_samples} samples of {config.workdir}, step {step}")
        print(evaluation.table(found, reference))
        values = {
            "evaluator": evaluator.WEIGHTS,
            "num_samples": config.num_samples,
            "seed": config.seed,
            "newest_checkpoint": step,
            **evaluation.to_json(found, reference),
        }
        with written_whole(out / "evaluation.json") as beside:
            beside.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")
        kinds = {
            "Likeliest copies": evaluation.most_suspect(found, NUM_COMPARED),
            "Any samples": np.arange(min(NUM_COMPARED, len(drawn))),
        }
        plots.plot_evaluation(
            out / "evaluation.png",
            drawn,
            found.embedding.probabilities,
            neighbours={
                kind: evaluation.beside_training(drawn, found, reference, rows)
                for kind, rows in kinds.items()
            },
            class_shares={"samples": found.class_shares, "training set": reference.class_shares},
        )
        if config.out is None:
            report.write(out)
    print(f"evaluation.json and evaluation.png in {out}")


if __name__ == "__main__":
    main()
