"""Trains the recogniser of toon faces, by whose features Age-cGAN searches for a face.

python experiments/train_recogniser.py --out jaxgan/embedded/recogniser-toon_faces.npz
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm
from train_evaluator import distort_faces

import jaxgan
from jaxgan import data, training, weights
from jaxgan.data import Dataset
from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.run import flags
from jaxgan.run.settings import count, local_path, rate, setting
from jaxgan.systems.age_cgan import recognition
from jaxgan.systems.age_cgan.recognition import IDENTITY, Recogniser

# Decay of the moving average of the recogniser's variables.
EMA_DECAY = 0.998


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


def recogniser_game(config: RecogniserConfig, num_steps: int) -> GAN:
    """A `GAN` with a single player, "recogniser", which learns the attributes of identity.

    Args:
        config: the settings of the training.
        num_steps: the number of all steps, for the learning rate.

    Returns:
        The system. A batch is {"pixels": uint8 [batch, 64, 64, 3], "codes": int32 [batch, k]}.
    """
    module = Recogniser()
    learning_rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, num_steps // 10, num_steps
    )

    def loss(
        state: TrainState, batch: dict[str, jax.Array], noise: jax.Array, axis_name: str | None
    ) -> tuple[jax.Array, Outcome]:
        """The mean over the attributes of the cross-entropy with smoothed labels."""
        images = distort_faces(noise[0], batch["pixels"].astype(jnp.float32) / 255)
        (_, logits), changed = module.apply(
            state.variables("recogniser"), images, train=True, mutable=["batch_stats"]
        )
        wanted = [
            optax.smooth_labels(jax.nn.one_hot(codes, each.shape[-1]), 0.05)
            for each, codes in zip(logits, batch["codes"].T, strict=True)
        ]
        losses = jnp.stack(
            [optax.softmax_cross_entropy(*pair).mean() for pair in zip(logits, wanted, strict=True)]
        )
        return losses.mean(), Outcome({"loss": losses.mean()}, {"recogniser": changed})

    return GAN(
        init=lambda key: {"recogniser": module.init(key, jnp.zeros((1, *recognition.IMAGE_SHAPE)))},
        optimizers={"recogniser": optax.adamw(learning_rate, weight_decay=1e-2)},
        turns=(Turn("recogniser", loss, lambda key, data: key),),
        averages={"recogniser": lambda step: jnp.float32(EMA_DECAY)},
    )


def train(config: RecogniserConfig, dataset: Dataset) -> dict:
    """Trains the recogniser.

    Args:
        config: the settings of the training.
        dataset: the training set, from `data.load`.

    Returns:
        The moving average of the recogniser's variables, NumPy arrays.
    """
    steps_per_epoch = len(dataset.images) // config.batch_size
    steps = config.epochs * steps_per_epoch
    game = recogniser_game(config, steps)
    state = training.on_host(jaxgan.init(game, jax.random.key(config.seed)))
    calls = training.train(
        game,
        state,
        {"pixels": dataset.images, "codes": dataset.codes(tuple(IDENTITY))},
        training.Schedule(steps_per_epoch, 1, 1),
        # One device only: the key of the first example of a batch draws all of its distortions.
        devices=jax.devices()[:1],
        batch_size=config.batch_size,
        last_step=steps,
    )
    with tqdm(total=steps, unit="step") as bar:
        for state, metrics in calls:  # noqa: B007
            bar.set_postfix(loss=f"{metrics['loss'][-1]:.4f}", refresh=False)
            bar.update()
    return training.unreplicate(state).averages["recogniser"]


def accuracy(variables: dict, dataset: Dataset) -> dict[str, float]:
    """The share of a data set's images that the recogniser classifies correctly, by attribute.

    Args:
        variables: the recogniser's variables.
        dataset: the images and their attributes, 1000 images or more.

    Returns:
        For each attribute of `IDENTITY` a share in [0, 1].
    """

    @jax.jit
    def tell(images: jax.Array) -> jax.Array:
        return jnp.stack([x.argmax(-1) for x in Recogniser().apply(variables, images)[1]], axis=1)

    parts = np.array_split(dataset.images, len(dataset.images) // 1000)
    told = np.concatenate([tell(part.astype(np.float32) / 255) for part in parts])
    right = np.mean(told == dataset.codes(tuple(IDENTITY)), axis=0)
    return dict(zip(IDENTITY, map(float, right), strict=True))


def main() -> None:
    with flags.user_errors():
        config = flags.parse(RecogniserConfig, sys.argv[1:], description=__doc__)
        jax.devices()  # Raises an error here, and not in training, if JAX does not start.
        dataset, test = (data.load(recognition.DATASET, split=split) for split in ("train", "test"))
        if config.batch_size > len(dataset.images):
            raise ValueError(
                f"--batch-size must be {len(dataset.images)} or less, which are all images, not "
                f"{config.batch_size}"
            )
    variables = train(config, dataset)
    with flags.user_errors():
        # Half the bytes, and no accuracy is lost.
        weights.write(Path(config.out), variables, np.float16)
    shares = accuracy(weights.read(config.out), test)
    each = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    print(f"test set: {sum(shares.values()) / len(shares):.2%} told right ({each})")
    print(config.out)


if __name__ == "__main__":
    main()
