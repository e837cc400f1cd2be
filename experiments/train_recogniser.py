"""Trains the recogniser of toon faces, by whose features Age-cGAN searches for a face.

python experiments/train_recogniser.py --out jaxgan/embedded/recogniser-toon_faces.npz
"""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np
from train_evaluator import (
    check_batch_size,
    distort_faces,
    shares_told,
    summary,
    train_classifier,
)

from jaxgan import data, weights
from jaxgan.run import flags
from jaxgan.run.settings import count, local_path, rate, setting
from jaxgan.systems.age_cgan import recognition
from jaxgan.systems.age_cgan.recognition import IDENTITY, Recogniser


@dataclasses.dataclass(frozen=True)
class RecogniserConfig:
    """The settings of the recogniser's training."""

    out: str = setting("recogniser.npz", local_path)
    """The file to write."""
    epochs: int = setting(12, count(1))
    """Passes over the training set."""
    batch_size: int = setting(64, count(1))
    """Images in a step."""
    learning_rate: float = setting(3e-3, rate)
    """The highest learning rate of AdamW. The rate rises over the first tenth of the steps, then
    falls to 0."""
    seed: int = setting(1, count(0))
    """Seed of all randomness. That of the evaluator, which judges what is found, is 0."""


def main() -> None:
    with flags.user_errors():
        config = flags.parse(RecogniserConfig, sys.argv[1:], description=__doc__)
        jax.devices()  # Raises an error here, and not in training, if JAX does not start.
        dataset, test = (data.load(recognition.DATASET, split=split) for split in ("train", "test"))
        check_batch_size(config.batch_size, dataset)
    module = Recogniser()
    variables = train_classifier(
        module,
        distort_faces,
        dataset,
        IDENTITY,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
    )
    with flags.user_errors():
        # Half the bytes, and no accuracy is lost.
        weights.write(Path(config.out), variables, np.float16)
    written = weights.read(config.out)
    shares = shares_told(lambda images: module.apply(written, images)[1], test, IDENTITY)
    print(f"test set: {summary(shares)}")
    print(config.out)


if __name__ == "__main__":
    main()
