"""The scores of a run by the evaluator of its data set, for evaluate.py and `Run.evaluate`."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan import data, memory
from jaxgan.metrics import evaluation, evaluator
from jaxgan.metrics.agreement import Agreement, agreement, classify
from jaxgan.run.config import RunConfig

PyTree = Any
# The slow parts in their order, for a progress bar.
PARTS = ("reading the data", "drawing samples", "judging real images", "judging samples")


class Judgement(NamedTuple):
    """What was found of a run.

    Attributes:
        drawn: the samples, float32 [n, H, W, C] in [0, 1].
        found: their evaluation.
        reference: what they were compared with.
        num_held_out: how many held-out images there are.
        class_names: of the classes whose shares `found` has.
        agreements: of "samples" and of "held_out" images with what was asked for; {} if the run
            takes no labels.
        values: all numbers, as evaluation.json has them.
    """

    drawn: np.ndarray
    found: evaluation.Evaluation
    reference: evaluation.Reference
    num_held_out: int
    class_names: list[str]
    agreements: dict[str, Agreement]
    values: dict[str, Any]


def check_judged(workdir: str, config: RunConfig) -> None:
    """Makes sure that the package has an evaluator of a run's images.

    Raises:
        ValueError: it has none.
    """
    try:
        evaluator.check_evaluated(config.dataset, config.image_shape)
    except ValueError as error:
        raise ValueError(f"{workdir} cannot be judged: {error}") from None


def check_memory(config: RunConfig, num_samples: int) -> None:
    """Makes sure that so many images of a run fit into memory, as `memory.check` does."""
    memory.check(
        config.sample_bytes(num_samples), f"--num-samples {num_samples}", "judge fewer samples"
    )


def judge(
    config: RunConfig,
    params: PyTree,
    step: int,
    key: jax.Array,
    *,
    num_samples: int | None,
    seed: int,
    begin: Callable[[str], None] = lambda part: None,
) -> Judgement:
    """Scores a run whose data set has an evaluator (`check_judged`).

    Args:
        config: the settings of the run.
        params: its generator's variables, {"params": ...}.
        step: the step that they are of.
        key: a PRNG key, for the samples.
        num_samples: how many images to draw, 10 or more; None: as many as there are held-out ones.
        seed: of the random choices of the scores.
        begin: called with each of `PARTS` but the first when it begins.

    Raises:
        ValueError: a run of the system cannot be judged by its images, or an image is not finite.
    """
    training, held_out = (
        data.load(config.dataset, split=split, image_shape=config.image_shape, crop=config.crop)
        for split in ("train", "test")
    )
    num_samples = num_samples or len(held_out.images)
    is_joint = config.dataset in evaluator.JOINT
    judged = list(evaluator.ATTRIBUTES[config.dataset])[: None if is_joint else 1]
    names = [*map("".join, itertools.product(*(training.attributes[x].classes for x in judged)))]
    begin(PARTS[1])
    images, asked = config.judged_samples(params, key, num_samples, training)
    drawn = np.asarray(images)
    begin(PARTS[2])
    # The nearest of 128,000 stacked digits take a quarter of an hour. A part is as good, since all
    # are made of the same digits.
    most = len(held_out.images) if is_joint else None
    reference = evaluation.reference(
        training.images[:most],
        held_out.images,
        num_samples=num_samples,
        seed=seed,
        evaluator=evaluator.load_evaluator(config.dataset),
        # Papers compare stacked digits with equal shares of all triples.
        data_shares=np.full(len(names), 1 / len(names)) if is_joint else None,
    )
    begin(PARTS[3])
    found = evaluation.evaluate(drawn, reference)
    values = {
        "evaluator": evaluator.WEIGHTS[config.dataset],
        "num_samples": num_samples,
        "seed": seed,
        "newest_checkpoint": step,
        **evaluation.to_json(found, reference),
    }
    agreements = {}
    if asked:
        classifier = evaluator.load_attribute_classifier(config.dataset)
        are = {name: held_out.attributes[name].codes for name in asked}
        agreements = {
            "samples": agreement(classify(drawn, classifier), asked),
            "held_out": agreement(classify(held_out.images, classifier), are),
        }
        values["agreement"] = {name: x._asdict() for name, x in agreements.items()}
    return Judgement(drawn, found, reference, len(held_out.images), names, agreements, values)
