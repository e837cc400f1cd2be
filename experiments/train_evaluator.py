"""Trains the evaluator of a data set: the classifier whose features score a GAN's samples.

python experiments/train_evaluator.py --dataset mnist --out jaxgan/embedded/evaluator.npz
python experiments/train_evaluator.py --dataset toon_faces --epochs 20 --batch-size 64 \\
    --out jaxgan/embedded/evaluator-toon_faces.npz
"""

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import jaxgan
from jaxgan import data, training, weights
from jaxgan.data import Dataset
from jaxgan.game import GAN, Outcome, TrainState, Turn
from jaxgan.metrics import evaluator
from jaxgan.run import flags
from jaxgan.run.settings import local_path, setting

# Decay of the moving average of the classifier's variables.
EMA_DECAY = 0.998


@dataclasses.dataclass(frozen=True)
class EvaluatorConfig:
    """The settings of the evaluator's training."""

    dataset: Literal["mnist", "toon_faces"] = "mnist"
    """The data set whose images the evaluator is trained on, and will score."""
    out: str = setting("evaluator.npz", local_path)
    """The file to write."""
    epochs: int = 14
    """Passes over the training set."""
    batch_size: int = 128
    """Images in a step."""
    learning_rate: float = 3e-3
    """The highest learning rate of AdamW. The rate rises over the first tenth of the steps, then
    falls to 0."""
    seed: int = 0
    """Seed of all randomness."""

    def __post_init__(self):
        if self.epochs < 1:
            raise ValueError(f"--epochs must be 1 or more, not {self.epochs}")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size must be 1 or more, not {self.batch_size}")


def distort_digits(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shifts, rotates, scales and shears each image at random, with bilinear interpolation.

    Args:
        key: a PRNG key.
        images: float32 [n, 28, 28, 1] in [0, 1].

    Returns:
        float32 [n, 28, 28, 1] in [0, 1].
    """

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        turn_key, scale_key, shear_key, shift_key = jax.random.split(key, 4)
        angle = jax.random.uniform(turn_key, minval=-0.2, maxval=0.2)
        scale = jax.random.uniform(scale_key, (2,), minval=0.88, maxval=1.12)
        shear = jax.random.uniform(shear_key, minval=-0.15, maxval=0.15)
        shift = jax.random.uniform(shift_key, (2,), minval=-2, maxval=2)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        matrix = jnp.array([[cos, -sin], [sin, cos]]) @ jnp.array([[1, shear], [0, 1]])
        points = jnp.stack(jnp.mgrid[:28, :28]).reshape(2, -1) - 13.5
        rows, columns = (matrix * scale) @ points + 13.5 + shift[:, None]
        drawn = jax.scipy.ndimage.map_coordinates(image[..., 0], [rows, columns], order=1)
        return drawn.reshape(28, 28, 1)

    return jax.vmap(one)(jax.random.split(key, len(images)), images)


def distort_faces(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shifts, blurs and adds noise to each image at random, slightly.

    On average every second image is then reduced to 32x32 (each pixel is the mean of four) and
    enlarged again, as the evaluator enlarges images of 32x32.

    Args:
        key: a PRNG key.
        images: float32 [n, 64, 64, 3] in [0, 1].

    Returns:
        float32 [n, 64, 64, 3] in [0, 1].
    """
    key, noise_key = jax.random.split(key)
    # All images share the noise, but not its strength. Drawing noise for each image would take as
    # long as the rest of a step.
    noise = jax.random.normal(noise_key, images.shape[1:])

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        shift_key, blur_key, strength_key, size_key = jax.random.split(key, 4)
        shift = jax.random.uniform(shift_key, (2,), minval=-1, maxval=1)
        deviation = jax.random.uniform(blur_key, minval=0.25, maxval=0.6)
        # Each row of the result is a Gaussian average of the rows about its shifted place. So is
        # each column.
        places = jnp.arange(64.0)
        distances = places[None] - places[:, None] - shift[:, None, None]
        vertical, horizontal = jax.nn.softmax(-((distances / deviation) ** 2) / 2)
        image = jnp.einsum("ij,jwc->iwc", vertical, image)
        image = jnp.einsum("ij,hjc->hic", horizontal, image)
        halved = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))[None]
        strength = jax.random.uniform(strength_key, maxval=0.015)
        image = jnp.where(
            jax.random.bernoulli(size_key),
            image + strength * noise,
            evaluator.enlarge(halved + strength * noise[:32, :32], image.shape)[0],
        )
        return jnp.clip(image, 0, 1)

    return jax.vmap(one)(jax.random.split(key, len(images)), images)


DISTORTIONS: dict[str, Callable] = {"mnist": distort_digits, "toon_faces": distort_faces}


def classifier_game(
    module: nn.Module,
    image_shape: tuple[int, ...],
    distort: Callable,
    learning_rate: float,
    num_steps: int,
) -> GAN:
    """A `GAN` with a single player, "classifier", which learns attributes of images.

    Args:
        module: (images in [0, 1], train=) -> (features, logits of each attribute).
        image_shape: height, width and channels of the images.
        distort: (key, images in [0, 1]) -> the images that the player is shown.
        learning_rate: the highest one of AdamW.
        num_steps: the number of all steps, for the learning rate.

    Returns:
        The system. A batch is {"pixels": uint8 [batch, H, W, C], "codes": int32 [batch, k]}.
    """
    rates = optax.warmup_cosine_decay_schedule(0.0, learning_rate, num_steps // 10, num_steps)

    def loss(
        state: TrainState, batch: dict[str, jax.Array], noise: jax.Array, axis_name: str | None
    ) -> tuple[jax.Array, Outcome]:
        """The mean over the attributes of the cross-entropy with smoothed labels."""
        images = distort(noise[0], batch["pixels"].astype(jnp.float32) / 255)
        (_, logits), changed = module.apply(
            state.variables("classifier"), images, train=True, mutable=["batch_stats"]
        )
        losses = [
            optax.softmax_cross_entropy(
                each, optax.smooth_labels(jax.nn.one_hot(codes, each.shape[-1]), 0.05)
            ).mean()
            for each, codes in zip(logits, batch["codes"].T, strict=True)
        ]
        value = sum(losses) / len(losses)
        return value, Outcome({"loss": value}, {"classifier": changed})

    return GAN(
        init=lambda key: {"classifier": module.init(key, jnp.zeros((1, *image_shape)))},
        optimizers={"classifier": optax.adamw(rates, weight_decay=1e-2)},
        turns=(Turn("classifier", loss, lambda key, data: key),),
        averages={"classifier": lambda step: jnp.float32(EMA_DECAY)},
    )


def train_classifier(
    module: nn.Module,
    distort: Callable,
    dataset: Dataset,
    names: Iterable[str],
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> dict:
    """Trains a classifier of attributes.

    Args:
        module, distort: as in `classifier_game`.
        dataset: the training set, from `data.load`.
        names: the attributes to learn, in the order of the module's logits.
        epochs, batch_size, learning_rate, seed: as in `EvaluatorConfig`.

    Returns:
        The moving average of the classifier's variables, NumPy arrays.
    """
    steps_per_epoch = len(dataset.images) // batch_size
    steps = epochs * steps_per_epoch
    game = classifier_game(module, dataset.images.shape[1:], distort, learning_rate, steps)
    state = training.on_host(jaxgan.init(game, jax.random.key(seed)))
    calls = training.train(
        game,
        state,
        {"pixels": dataset.images, "codes": dataset.codes(tuple(names))},
        # Each call is one step: on CPUs XLA's convolutions are several times slower in a loop.
        training.Schedule(steps_per_epoch, 1, 1),
        # One device only: the key of the first example of a batch draws all of its distortions.
        devices=jax.devices()[:1],
        batch_size=batch_size,
        last_step=steps,
    )
    with tqdm(total=steps, unit="step") as bar:
        for state, metrics in calls:  # noqa: B007
            bar.set_postfix(loss=f"{metrics['loss'][-1]:.4f}", refresh=False)
            bar.update()
    return training.unreplicate(state).averages["classifier"]


def train(config: EvaluatorConfig, dataset: Dataset) -> dict:
    """Trains the evaluator of a data set; args and returns as in `train_classifier`."""
    return train_classifier(
        evaluator.evaluator(config.dataset),
        DISTORTIONS[config.dataset],
        dataset,
        evaluator.ATTRIBUTES[config.dataset],
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
    )


def shares_told(classify: Callable, dataset: Dataset, names: Iterable[str]) -> dict[str, float]:
    """The share of a data set's images that a classifier classifies correctly, by attribute.

    Args:
        classify: images in [0, 1] -> the logits of each attribute.
        dataset: the images and their attributes, 1000 images or more.
        names: the attributes, in the order of the logits.

    Returns:
        For each attribute a share in [0, 1].
    """

    @jax.jit
    def tell(images: jax.Array) -> jax.Array:
        return jnp.stack([each.argmax(-1) for each in classify(images)], axis=1)

    names = tuple(names)
    parts = np.array_split(dataset.images, len(dataset.images) // 1000)
    told = np.concatenate([tell(part.astype(np.float32) / 255) for part in parts])
    right = np.mean(told == dataset.codes(names), axis=0)
    return dict(zip(names, map(float, right), strict=True))


def accuracy(variables: dict, dataset: Dataset) -> dict[str, float]:
    """`shares_told` of the evaluator of a data set with these variables."""
    model = evaluator.evaluator(dataset.name)

    def classify(images: jax.Array) -> tuple[jax.Array, ...]:
        return model.apply(variables, evaluator.enlarge(images, model.image_shape))[1]

    return shares_told(classify, dataset, evaluator.ATTRIBUTES[dataset.name])


def summary(shares: Mapping[str, float]) -> str:
    """What `shares_told` gives, in words."""
    each = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    return f"{sum(shares.values()) / len(shares):.2%} told right ({each})"


def check_batch_size(batch_size: int, dataset: Dataset) -> None:
    """Makes sure that a data set fills a batch.

    Raises:
        ValueError: it does not.
    """
    if batch_size > len(dataset.images):
        raise ValueError(
            f"--batch-size must be {len(dataset.images)} or less, which are all images of "
            f"{dataset.name}, not {batch_size}"
        )


def main() -> None:
    with flags.user_errors():
        config = flags.parse(EvaluatorConfig, sys.argv[1:], description=__doc__)
        jax.devices()  # Raises an error here, and not in training, if JAX does not start.
        tests = [
            data.load(config.dataset, split="test", image_shape=shape)
            for shape in evaluator.EVALUATED[config.dataset]
        ]
        training = data.load(config.dataset)
        check_batch_size(config.batch_size, training)
    variables = train(config, training)
    out = Path(config.out)
    with flags.user_errors():
        weights.write(out, variables)
    for test in tests:
        shape = "x".join(map(str, test.images.shape[1:]))
        print(f"test set, {shape}: {summary(accuracy(variables, test))}")
    print(out)


if __name__ == "__main__":
    main()
