"""Trains the evaluator that samples are scored by, on the embedded MNIST training set.

python experiments/train_evaluator.py --out jaxgan/embedded/evaluator.npz
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from jaxgan import data, flags, weights
from jaxgan.metrics.evaluator import Evaluator

EMA_DECAY = 0.998


@dataclasses.dataclass(frozen=True)
class EvaluatorConfig:
    """How the evaluator is trained."""

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
        if not 1 <= self.batch_size <= 60_000:
            raise ValueError(f"--batch-size must be from 1 to 60000, not {self.batch_size}")


def distort(key: jax.Array, images: jax.Array) -> jax.Array:
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


def train(config: EvaluatorConfig, images: np.ndarray, labels: np.ndarray) -> dict:
    """Trains on uint8 images [n, 28, 28, 1] and labels [n]; gives the averaged variables."""
    model = Evaluator()
    steps_per_epoch = len(images) // config.batch_size
    steps = config.epochs * steps_per_epoch
    optimizer = optax.adamw(
        optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, steps // 10, steps),
        weight_decay=1e-2,
    )
    init_key, key = jax.random.split(jax.random.key(config.seed))
    variables = model.init(init_key, jnp.zeros((1, 28, 28, 1)))
    images, labels = jnp.asarray(images), jnp.asarray(labels)

    def loss(params, batch_stats, x, y):
        (_, logits), changed = model.apply(
            {"params": params, "batch_stats": batch_stats}, x, train=True, mutable=["batch_stats"]
        )
        targets = optax.smooth_labels(jax.nn.one_hot(y, 10), 0.05)
        return optax.softmax_cross_entropy(logits, targets).mean(), changed["batch_stats"]

    # A jit a step, no scan: on CPUs XLA's convolutions are several times slower inside a loop.
    @partial(jax.jit, donate_argnums=0)
    def step(state, rows, key):
        variables, averaged, optimizer_state = state
        x = distort(key, images[rows].astype(jnp.float32) / 255)
        (value, batch_stats), gradients = jax.value_and_grad(loss, has_aux=True)(
            variables["params"], variables["batch_stats"], x, labels[rows]
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


def accuracy(variables: dict, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of uint8 images [n, 28, 28, 1] that are told right."""
    judge = jax.jit(lambda x: Evaluator().apply(variables, x)[1].argmax(-1))
    parts = np.array_split(images.astype(np.float32) / 255, len(images) // 1000)
    return float(np.mean(np.concatenate([judge(part) for part in parts]) == labels))


def main() -> None:
    with flags.user_errors():
        config = flags.parse(EvaluatorConfig, sys.argv[1:], description=__doc__)
        training, test = data.load("mnist"), data.load("mnist", split="test")
    variables = train(config, training.images, training.labels)
    out = Path(config.out)
    with flags.user_errors():
        weights.write(out, variables)
    print(f"{accuracy(variables, test.images, test.labels):.2%} of the test set told right: {out}")


if __name__ == "__main__":
    main()
