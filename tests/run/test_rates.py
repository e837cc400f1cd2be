"""Adam whose rates fall, as several systems' settings have it."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from jaxgan.run.rates import FallingRates


@dataclasses.dataclass
class Settings(FallingRates):
    decay_after_kimg: float = 0.02
    decay_kimg: float = 0.04
    beta1: float = 0.0
    beta2: float = 0.5
    adam_epsilon: float = 1e-3


def moves(settings):
    """What Adam adds to a parameter at each of eight updates of ten images, gradient 2."""
    adam = settings.falling_adam(0.5, 10)
    state, found = adam.init(jnp.zeros(())), []
    for _ in range(8):
        update, state = adam.update(jnp.float32(2), state)
        found.append(float(update))
    return found


def test_the_rate_is_constant_for_some_images_and_falls_linearly_to_0_in_others():
    # 20 images at the whole rate, then a quarter less for each 10 images.
    rates = 0.5 * np.array([1, 1, 1, 0.75, 0.5, 0.25, 0, 0])
    # Without a first moment Adam's step is the gradient over its size, 2, and epsilon.
    np.testing.assert_allclose(moves(Settings()), -rates * 2 / (2 + 1e-3), rtol=1e-5)
    constant = Settings(decay_kimg=0.0, beta2=0.9)
    np.testing.assert_allclose(moves(constant), np.full(8, -0.5 * 2 / (2 + 1e-3)), rtol=1e-5)
