"""Trains the evaluator that samples of a data set are scored by, on its training set.

python experiments/train_evaluator.py --dataset mnist --out jaxgan/embedded/evaluator.npz
python experiments/train_evaluator.py --dataset toon_faces --epochs 20 --batch-size 64 \\
    --out jaxgan/embedded/evaluator-toon_faces.npz
"""

import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from jaxgan import data, weights
from jaxgan.data import Dataset
from jaxgan.metrics import evaluator
from jaxgan.run import flags

EMA_DECAY = 0.998


@dataclasses.dataclass(frozen=True)
class EvaluatorConfig:
    """How the evaluator is trained."""

    dataset: Literal["mnist", "toon_faces"] = "mnist"
    """Whose images it is to judge."""
    out: str = "evaluator.npz"
    """The file to write."""
    epochs: int = 14
    """Passes over the training set."""
    batch_size: int = 128
    """Images in a step."""
    learning_rate: float = 3e-3
    """Adam's, at its highest; it rises over the first tenth and falls to 0."""
    seed: int = 0
    """Of everything random."""

    def __post_init__(self):
        if self.epochs < 1:
            raise ValueError(f"--epochs must be 1 or more, not {self.epochs}")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size must be 1 or more, not {self.batch_size}")


def distort_digits(key: jax.Array, images: jax.Array) -> jax.Array:
    """Shifts, turns, scales and shears each image [n, 28, 28, 1] at random, bilinearly."""

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
    """Shifts, blurs and makes noisy each image [n, 64, 64, 3] at random, a little.

    Every second image is one of 32x32 then, as the evaluator sees those: each of its pixels, the
    average of four, four times.
    """
    key, noise_key = jax.random.split(key)
    # The same for all images, up to its strength: to draw it for each takes as long as a step.
    noise = jax.random.normal(noise_key, images.shape[1:])

    def one(key: jax.Array, image: jax.Array) -> jax.Array:
        shift_key, blur_key, strength_key, size_key = jax.random.split(key, 4)
        shift = jax.random.uniform(shift_key, (2,), minval=-1, maxval=1)
        deviation = jax.random.uniform(blur_key, minval=0.25, maxval=0.6)
        # Each row, and each column, is a Gaussian average about where it was.
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


def train(config: EvaluatorConfig, dataset: Dataset) -> dict:
    """Trains on a data set as `data.load` has it; gives the averaged variables."""
    model = evaluator.evaluator(config.dataset)
    distort = DISTORTIONS[config.dataset]
    steps_per_epoch = len(dataset.images) // config.batch_size
    steps = config.epochs * steps_per_epoch
    optimizer = optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 10, steps),
        weight_decay=1e-2,
    )
    init_key, key = jax.random.split(jax.random.key(config.seed))
    variables = model.init(init_key, jnp.zeros((1, *model.image_shape)))
    images = jnp.asarray(dataset.images)
    codes = jnp.asarray(dataset.codes(tuple(evaluator.ATTRIBUTES[config.dataset])))

    def loss(params, batch_stats, x, codes):
        (_, logits), changed = model.apply(
            {"params": params, "batch_stats": batch_stats}, x, train=True, mutable=["batch_stats"]
        )
        losses = [
            optax.softmax_cross_entropy(
                each, optax.smooth_labels(jax.nn.one_hot(of_each, each.shape[-1]), 0.05)
            ).mean()
            for each, of_each in zip(logits, codes.T, strict=True)
        ]
        return sum(losses) / len(losses), changed["batch_stats"]

    # A jit a step, no scan: on CPUs XLA's convolutions are several times slower inside a loop.
    @partial(jax.jit, donate_argnums=0)
    def step(state, rows, key):
        variables, averaged, optimizer_state = state
        x = distort(key, images[rows].astype(jnp.float32) / 255)
        (value, batch_stats), gradients = jax.value_and_grad(loss, has_aux=True)(
            variables["params"], variables["batch_stats"], x, codes[rows]
        )
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, variables["params"])
        params = optax.apply_updates(variables["params"], updates)
        variables = {"params": params, "batch_stats": batch_stats}
        averaged = optax.incremental_update(variables, averaged, 1 - EMA_DECAY)
        return (variables, averaged, optimizer_state), value

    state = (variables, jax.tree.map(jnp.copy, variables), optimizer.init(variables["params"]))
    with tqdm(total=steps, unit="step") as bar:
        for epoch_key in jax.random.split(key, config.epochs):
            order_key, distortion_key = jax.random.split(epoch_key)
            order = jax.random.permutation(order_key, len(images))
            rows = order[: steps_per_epoch * config.batch_size].reshape(-1, config.batch_size)
            for batch, step_key in zip(
                rows, jax.random.split(distortion_key, steps_per_epoch), strict=True
            ):
                state, value = step(state, batch, step_key)
                bar.update()
            bar.set_postfix(loss=f"{value:.4f}")
    return state[1]


def accuracy(variables: dict, dataset: Dataset) -> dict[str, float]:
    """The share of a data set's images that each attribute is told right of."""
    attributes = evaluator.ATTRIBUTES[dataset.name]
    model = evaluator.evaluator(dataset.name)

    @jax.jit
    def tell(images: jax.Array) -> jax.Array:
        images = evaluator.enlarge(images, model.image_shape)
        return jnp.stack([each.argmax(-1) for each in model.apply(variables, images)[1]], axis=1)

    parts = np.array_split(dataset.images, len(dataset.images) // 1000)
    told = np.concatenate([tell(part.astype(np.float32) / 255) for part in parts])
    right = np.mean(told == dataset.codes(tuple(attributes)), axis=0)
    return dict(zip(attributes, map(float, right), strict=True))


def main() -> None:
    with flags.user_errors():
        config = flags.parse(EvaluatorConfig, sys.argv[1:], description=__doc__)
        tests = [
            data.load(config.dataset, split="test", image_shape=shape)
            for shape in evaluator.EVALUATED[config.dataset]
        ]
        training = data.load(config.dataset)
        if config.batch_size > len(training.images):
            raise ValueError(
                f"--batch-size must be {len(training.images)} or less, which are all images of "
                f"{config.dataset}, not {config.batch_size}"
            )
    variables = train(config, training)
    out = Path(config.out)
    with flags.user_errors():
        weights.write(out, variables)
    for test in tests:
        shares = accuracy(variables, test)
        each = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
        mean = sum(shares.values()) / len(shares)
        shape = "x".join(map(str, test.images.shape[1:]))
        print(f"test set, {shape}: {mean:.2%} told right ({each})")
    print(out)


if __name__ == "__main__":
    main()
