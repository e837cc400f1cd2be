"""Scores a trained run on mnist or toon_faces; writes evaluation.json and evaluation.png.

python experiments/evaluate.py --workdir runs/mnist_gan
"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jaxgan import data, memory
from jaxgan.files import written_whole
from jaxgan.metrics import evaluation, evaluator
from jaxgan.metrics.agreement import agreement, classify
from jaxgan.run import flags, plots, report
from jaxgan.run.settings import local_path, setting
from jaxgan.trained import load_run

# Samples of each kind that evaluation.png shows beside their nearest training images.
NUM_COMPARED = 10
# The slow parts in their order, for the progress bar.
PARTS = ("reading the data", "drawing samples", "judging real images", "judging samples")
BAR = "{desc} {bar} {n_fmt}/{total_fmt}"


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """The run to score, and the number of samples."""

    workdir: str = setting("runs/mnist_gan", local_path)
    """The folder of the run. Its data set must be mnist or toon_faces, which the evaluators were
    trained on."""
    num_samples: int | None = None
    """How many images to draw; None: as many as there are held-out images, 10000 digits or 2000
    faces. Most scores depend on this number, so compare only scores of equally many samples."""
    seed: int = 0
    """Seed of the samples and of the scores' random choices. The same seed gives the same
    scores."""
    out: str | None = setting(None, local_path)
    """The folder to write evaluation.json and evaluation.png to; None: the work dir."""

    def __post_init__(self):
        if self.num_samples is not None and self.num_samples < 10:
            raise ValueError(f"--num-samples must be 10 or more, not {self.num_samples}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")


def main() -> None:
    with flags.user_errors(), contextlib.ExitStack() as stack:
        config = flags.parse(EvaluateConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        settings = run.config
        try:
            evaluator.check_evaluated(settings.dataset, settings.image_shape)
        except ValueError as error:
            raise ValueError(f"{config.workdir} cannot be judged: {error}") from None
        if config.num_samples is not None:
            memory.check(
                settings.sample_bytes(config.num_samples),
                f"--num-samples {config.num_samples}",
                "judge fewer samples",
            )
        params, step = run.params, run.step
        # The stack closes the bar before an error is printed, so the error has a line of its own.
        progress = stack.enter_context(
            tqdm(total=len(PARTS), desc=PARTS[0], bar_format=BAR, disable=None)
        )

        def begin(part: str) -> None:
            progress.set_description_str(part)
            progress.update()

        training, held_out = (
            data.load(settings.dataset, split=split, image_shape=settings.image_shape)
            for split in ("train", "test")
        )
        num_samples = config.num_samples or len(held_out.images)
        out = Path(config.workdir if config.out is None else config.out)
        out.mkdir(parents=True, exist_ok=True)
        begin(PARTS[1])
        key = run.key(config.seed)
        drawn, asked = settings.judged_samples(params, key, num_samples, training)
        drawn = np.asarray(drawn)
        begin(PARTS[2])
        reference = evaluation.reference(
            training.images,
            held_out.images,
            num_samples=num_samples,
            seed=config.seed,
            evaluator=evaluator.load_evaluator(settings.dataset),
        )
        begin(PARTS[3])
        found = evaluation.evaluate(drawn, reference)
        begin("done")
        progress.close()
        print(f"{num_samples} samples of {config.workdir}, step {step}")
        print(evaluation.table(found, reference))
        values = {
            "evaluator": evaluator.WEIGHTS[settings.dataset],
            "num_samples": num_samples,
            "seed": config.seed,
            "newest_checkpoint": step,
            **evaluation.to_json(found, reference),
        }
        if asked:
            classifier = evaluator.load_attribute_classifier(settings.dataset)
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
        shown = next(iter(evaluator.ATTRIBUTES[settings.dataset]))
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
            report.write(out, settings)
    print(f"evaluation.json and evaluation.png in {out}")


if __name__ == "__main__":
    main()
