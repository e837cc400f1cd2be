"""Standing statistics, walks, and truncated samples."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.data import Attribute, Dataset
from jaxgan.layers.normalisation import BatchNorm
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.biggan.drawing import standing_statistics

RANDOM = np.random.default_rng(0)


class Normed(nn.Module):
    """Batch normalisation of latents, and a count of the calls in training."""

    momentum: float = 0.9
    is_unbiased: bool = True

    @nn.compact
    def __call__(self, latents, labels, train=False, axis_name=None):
        calls = self.variable("spectral", "calls", lambda: jnp.float32(0))
        if train and not self.is_initializing():
            calls.value = calls.value + 1
        norm = BatchNorm(
            use_running_average=not train,
            momentum=self.momentum,
            is_unbiased=self.is_unbiased,
            use_fast_variance=False,
        )
        return norm(latents + labels)


def test_standing_statistics_are_means_of_the_batches_statistics():
    latents = RANDOM.normal(size=(3, 6, 2)).astype(np.float32)
    labels = np.arange(3, dtype=np.int32)[:, None, None] + np.zeros((3, 6, 1), np.int32)
    module = Normed()
    variables = module.init(jax.random.key(0), latents[0], labels[0])
    gathered = standing_statistics(variables, latents, labels, generator=module)
    its = np.float64(latents) + labels
    statistics = gathered["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(statistics["mean"], its.mean(axis=1).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(statistics["var"], its.var(axis=1).mean(axis=0), rtol=1e-5)
    assert gathered["spectral"]["calls"] == 3
    jax.tree.map(np.testing.assert_array_equal, gathered["params"], variables["params"])


FACES = Dataset(
    "faces",
    RANDOM.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8),
    {"hat": Attribute(("no", "yes"), np.arange(20, dtype=np.int32) % 2)},
    (),
)
TINY = BigGANConfig(
    image_shape=(8, 8, 3), width=1, discriminator_width=1, latent_size=4, shared_size=2, standing=2
)


@pytest.fixture(scope="module")
def trained():
    """(settings, a generator's variables)."""
    config = TINY.for_dataset(FACES)
    key, labels = jax.random.key(0), jnp.zeros((1, 1), jnp.int32)
    return config, jax.jit(config.generator().init)(key, jnp.zeros((1, 4)), labels)


@pytest.mark.slow
def test_a_walk_goes_through_the_samples_and_between_classes(trained):
    config, params = trained
    key, labels = jax.random.key(1), np.array([[0], [1]])
    walk = np.asarray(config.walk(params, key, 2, 3, labels=labels))
    samples = config.sample(params, key, 2, labels=labels)
    assert walk.shape == (6, 8, 8, 3)
    np.testing.assert_allclose(walk[::3], samples, atol=1e-5)
    assert len(np.unique(walk.reshape(6, -1), axis=0)) == 6


@pytest.mark.slow
def test_truncated_samples_have_statistics_of_their_own(trained):
    config, params = trained
    key, labels = jax.random.key(1), np.zeros((4, 1), np.int32)
    truncated = config.truncated(0.5)
    images = truncated.sample(params, key, 4, labels=labels)
    parts = np.concatenate(list(truncated.sample_in_parts(params, key, 4, labels=labels)))
    np.testing.assert_array_equal(parts, images)
    of_training = dataclasses.replace(truncated, standing=0).sample(params, key, 4, labels=labels)
    assert not np.allclose(images, of_training, atol=1e-4)
    whole = config.sample(params, key, 4, labels=labels)
    assert not np.allclose(of_training, whole, atol=1e-4)
