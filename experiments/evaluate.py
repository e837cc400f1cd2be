"""Judges a trained run of digits or toon faces: a table, evaluation.json and evaluation.png.

python experiments/evaluate.py --workdir runs/mnist_gan
"""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxgan import data
from jaxgan.files import written_whole
from jaxgan.metrics import evaluation, evaluator
from jaxgan.metrics.agreement import agreement, classify
from jaxgan.run import checkpoints, flags, plots, report
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.registry import load_run

NUM_COMPARED = 10  # samples drawn beside training images, of each kind


class Run(NamedTuple):
    """All that is asked of a run, whatever it trained.

    Attributes:
        dataset: the name of the set that it was trained on.
        image_shape: height, width and channels.
        step: of the checkpoint.
        draw: (key, num_samples, data set) -> images [num_samples, *image_shape] in [0, 1], and the
            classes that they were drawn for, by attribute, int [num_samples]; {} if for none. What
            is asked for comes as often as in the data set.
    """

    dataset: str
    image_shape: tuple[int, int, int]
    step: int
    draw: Callable[[jax.Array, int, data.Dataset], tuple[jax.Array, dict[str, np.ndarray]]]


def read_run(workdir: str) -> Run:
    """The newest checkpoint of a run.

    Raises:
        ValueError: its images cannot be judged, or its files are no run's.
        OSError: there is none, or it cannot be read.
    """
    config = load_run(workdir)
    if not isinstance(config, LatentGANConfig):
        raise ValueError(
            f"{workdir} makes images of images: python experiments/evaluate_pairs.py "
            f"--workdirs {workdir}"
        )
    try:
        evaluator.check_evaluated(config.dataset, config.image_shape)
    except ValueError as error:
        raise ValueError(f"{workdir} cannot be judged: {error}") from None
    params = checkpoints.load_params(workdir)

    def draw(
        key: jax.Array, num_samples: int, dataset: data.Dataset
    ) -> tuple[jax.Array, dict[str, np.ndarray]]:
        images = config.draw(params, key, num_samples, dataset)
        labels = config.labels(dataset, key, num_samples)
        if labels is None:
            return images, {}
        names = [name for name, _ in config.classes]
        return images, dict(zip(names, np.asarray(labels).T, strict=True))

    step = checkpoints.Checkpoints(Path(workdir) / "checkpoints").steps()[-1]
    return Run(config.dataset, config.image_shape, step, draw)


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What to judge, and by how much."""

    workdir: str = "runs/mnist_gan"
    """The folder of the run, on mnist or toon_faces: the judges know nothing else."""
    num_samples: int | None = None
    """How many images to draw; None: as many as are held out, 10000 digits or 2000 faces. Most
    scores depend on it: compare those of equally many."""
    seed: int = 0
    """Of the samples, and of what scores draw: the same seed gives the same numbers."""
    out: str | None = None
    """The folder to write evaluation.json and evaluation.png into; None: the work dir."""

    def __post_init__(self):
        if self.num_samples is not None and self.num_samples < 10:
            raise ValueError(f"--num-samples must be 10 or more, not {self.num_samples}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(EvaluateConfig, sys.argv[1:], description=__doc__)
        run = read_run(config.workdir)
        training, held_out = (
            data.load(run.dataset, split=split, image_shape=run.image_shape)
            for split in ("train", "test")
        )
        num_samples = config.num_samples or len(held_out.images)
        out = Path(config.workdir if config.out is None else config.out)
        out.mkdir(parents=True, exist_ok=True)
        drawn, asked = run.draw(jax.random.key(config.seed), num_samples, training)
        drawn = np.asarray(drawn)
        reference = evaluation.reference(
            training.images,
            held_out.images,
            num_samples=num_samples,
            seed=config.seed,
            evaluator=evaluator.load_evaluator(run.dataset),
        )
        found = evaluation.evaluate(drawn, reference)
        print(f"{num_samples} samples of {config.workdir}, step {run.step}")
        print(evaluation.table(found, reference))
        values = {
            "evaluator": evaluator.WEIGHTS[run.dataset],
            "num_samples": num_samples,
            "seed": config.seed,
            "newest_checkpoint": run.step,
            **evaluation.to_json(found, reference),
        }
        if asked:
            classifier = evaluator.load_attribute_classifier(run.dataset)
            are = {name: held_out.attributes[name].codes for name in asked}
            agreements = {
                "samples": agreement(classify(drawn, classifier), asked),
                "held_out": agreement(classify(held_out.images, classifier), are),
            }
            print(evaluation.agreement_table(**agreements))
            values["agreement"] = {name: x._asdict() for name, x in agreements.items()}
        if num_samples > len(held_out.images):
            print(
                f"More samples than held-out images: for scores to compare with those, "
                f"--num-samples {len(held_out.images)}"
            )
        with written_whole(out / "evaluation.json") as beside:
            beside.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")
        shown = next(iter(evaluator.ATTRIBUTES[run.dataset]))
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
            class_names=training.attributes[shown].classes,
        )
        if config.out is None:
            report.write(out)
    print(f"evaluation.json and evaluation.png in {out}")


if __name__ == "__main__":
    main()
