"""A small GAN, its training on a few images, and how states are compared."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jaxgan import game, training
from jaxgan.schedules import ADAM_EPSILON
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.systems.mlp_gan import networks as mlp
from jaxgan.training import examples

BATCH = 32
STEPS = 20


@functools.cache
def small_gan(**settings):
    optimizer = optax.adam(5e-4, b1=0.5, eps=ADAM_EPSILON)
    return latent_gan(
        mlp.Generator(16, (32, 64), (8, 8, 1)),
        mlp.Discriminator((64, 32), (8, 8, 1)),
        optimizer,
        optimizer,
        **settings,
    )


def small_images(count=BATCH * STEPS):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)


def train(
    gan,
    *,
    num_devices=1,
    seed=0,
    last_step=STEPS,
    state=None,
    data=None,
    pieces=1,
    schedule=None,
    streamed=False,
):
    """The state on the host after training up to a step, and the metrics of all steps."""
    if state is None:
        state = training.on_host(game.init(gan, jax.random.key(seed)))
    if data is None:
        data = {"images": small_images(BATCH * STEPS * examples.batches_per_step(gan))}
    schedule = schedule or training.Schedule(STEPS, STEPS // pieces, STEPS // pieces)
    rows = []
    for replicated, metrics in training.train(
        gan,
        state,
        data,
        schedule,
        devices=jax.devices()[:num_devices],
        batch_size=BATCH,
        last_step=last_step,
        streamed=streamed,
    ):
        rows.append(metrics)
        state = training.unreplicate(replicated)
    return state, jax.tree.map(lambda *x: np.concatenate(x), *rows)


def relative_distance(a, b):
    """|a - b| / |b| in the L2 norm: the largest of both players' and of the average's."""
    vectors = ([ravel_pytree(part)[0] for part in parameters(state)] for state in (a, b))
    return max(jnp.linalg.norm(x - y) / jnp.linalg.norm(y) for x, y in zip(*vectors, strict=True))


def parameters(state):
    players, average = state.players, state.averages["generator"]
    return players["generator"].params, players["discriminator"].params, average["params"]


def states_of(gan, seeds):
    return [training.on_host(game.init(gan, jax.random.key(seed))) for seed in seeds]


def assert_same_bits(a, b):
    chex.assert_trees_all_equal(
        *(state.replace(key=jax.random.key_data(state.key)) for state in (a, b)), strict=True
    )
