"""Rates, betas and averages as functions of the images that a run has seen.

Counted in images rather than in steps or epochs, a schedule means the same whatever the batch is,
and a run may be told to go on for longer than it was.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

# Adam divides by the gradient's size, however small: with the usual 1e-8 it makes full steps of
# what is rounding noise in a gradient, and runs on different numbers of devices drift apart.
ADAM_EPSILON = 1e-6

# Images seen -> a number.
OfImages = Callable[[jax.Array], jax.Array]


def in_images(schedule: OfImages, images_per_update: int) -> optax.Schedule:
    """An optax schedule, of the updates done, from one of the images seen."""
    return lambda count: schedule(count * images_per_update)


def adam(
    learning_rate: float | OfImages,
    beta1: float | OfImages,
    beta2: float | OfImages,
    *,
    images_per_update: int,
    epsilon: float = ADAM_EPSILON,
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980), each number of which may follow the images seen.

    Args:
        learning_rate: a number, or a function of the images seen.
        beta1: decay of the first moment, in [0, 1); the same.
        beta2: decay of the second moment, in [0, 1); the same.
        images_per_update: images of the data set that the run sees between two updates.
        epsilon: added to the square root of the second moment.
    """

    def scheduled(value: float | OfImages) -> float | optax.Schedule:
        return in_images(value, images_per_update) if callable(value) else value

    if callable(beta1) or callable(beta2):
        # optax takes schedules of the betas only so.
        make = optax.inject_hyperparams(optax.adam, static_args=("eps",))
        return make(*map(scheduled, (learning_rate, beta1, beta2)), eps=epsilon)
    return optax.adam(scheduled(learning_rate), beta1, beta2, epsilon)


def halving(start: float, *, after: float, half_life: float) -> float | OfImages:
    """A number that halves again and again.

    Args:
        start: its value at the beginning.
        after: images seen before it begins to fall.
        half_life: images in which it then halves; 0: it does not fall.
    """
    if not half_life:
        return start
    return optax.exponential_decay(
        start, transition_steps=half_life, decay_rate=0.5, transition_begin=after
    )


def average_decay(
    half_life: float, *, images_per_step: int, ramp_up: float = 0.0
) -> Callable[[jax.Array], jax.Array]:
    """step -> the decay of a moving average whose memory is counted in images.

    Karras et al. 2020 (arXiv 1912.04958), official code: beta = 0.5^(batch / half-life), where the
    half-life is at most `ramp_up` times the images seen.

    Args:
        half_life: images after which a step's share in the average has halved.
        images_per_step: images of the data set that a step sees.
        ramp_up: the half-life as a share of the images seen, while that is shorter; 0: none.
    """

    def decay(step: jax.Array) -> jax.Array:
        images = jnp.float32(half_life)
        if ramp_up:
            seen = (step + 1) * images_per_step
            images = jnp.minimum(images, jnp.maximum(seen * ramp_up, 1e-8))
        return 0.5 ** (images_per_step / images)

    return decay
