"""Learning rates, betas and decays as functions of the number of images that a run has seen.

A schedule that is counted in images, and not in steps or epochs, means the same for every batch
size and every length of the run. So a finished run can be continued for more epochs.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

# Adam divides a gradient by its size, however small it is. With the usual 1e-8 it turns rounding
# errors in a gradient into full steps, and runs on different numbers of devices drift apart.
ADAM_EPSILON = 1e-6

# A function: the number of images seen -> a number.
OfImages = Callable[[jax.Array], jax.Array]


def in_images(schedule: OfImages, images_per_update: int) -> optax.Schedule:
    """Turns a function of the images seen into an optax schedule, a function of the updates done.

    Args:
        schedule: the number of images seen -> a number.
        images_per_update: images of the data set that the run sees between two updates.
    """
    return lambda count: schedule(count * images_per_update)


def adam(
    learning_rate: float | OfImages,
    beta1: float | OfImages,
    beta2: float | OfImages,
    *,
    images_per_update: int,
    epsilon: float = ADAM_EPSILON,
) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) whose numbers may depend on the images seen.

    Args:
        learning_rate: a number, or a function of the images seen.
        beta1: decay of the first moment in [0, 1): a number, or a function of the images seen.
        beta2: decay of the second moment in [0, 1): a number, or a function of the images seen.
        images_per_update: images of the data set that the run sees between two updates.
        epsilon: added to the square root of the second moment.
    """

    def scheduled(value: float | OfImages) -> float | optax.Schedule:
        return in_images(value, images_per_update) if callable(value) else value

    if callable(beta1) or callable(beta2):
        # optax takes schedules for the betas only through `inject_hyperparams`.
        make = optax.inject_hyperparams(optax.adam, static_args=("eps",))
        return make(*map(scheduled, (learning_rate, beta1, beta2)), eps=epsilon)
    return optax.adam(scheduled(learning_rate), beta1, beta2, epsilon)


def halving(start: float, *, after: float, half_life: float) -> float | OfImages:
    """A number that falls exponentially with the images seen.

    Args:
        start: the value at the beginning.
        after: the number of images seen when the value begins to fall.
        half_life: the number of images in which the value then halves; 0 for a constant value.

    Returns:
        A function of the images seen; `start` itself if half_life is 0.
    """
    if not half_life:
        return start
    return optax.exponential_decay(
        start, transition_steps=half_life, decay_rate=0.5, transition_begin=after
    )


def falling(start: float, *, after: float, over: float) -> float | OfImages:
    """A number that is constant at first, and then falls linearly to 0 with the images seen.

    Args:
        start: the value at the beginning.
        after: the number of images seen when the value begins to fall.
        over: the number of images in which it falls to 0, where it stays; 0 for a constant value.

    Returns:
        A function of the images seen; `start` itself if `over` is 0.
    """
    if not over:
        return start
    return lambda images: start * jnp.clip(1 - (images - after) / over, 0, 1)


def average_decay(
    half_life: float, *, images_per_step: int, ramp_up: float = 0.0
) -> Callable[[jax.Array], jax.Array]:
    """The decay of a moving average with a half-life in images.

    The decay is 0.5^(images per step / half-life), as in the official code of Karras et al. 2020
    (arXiv 1912.04958).

    Args:
        half_life: the number of images after which a step's share of the average has halved.
        images_per_step: images of the data set that a step sees.
        ramp_up: if positive, the half-life is at most this times the images seen before the step,
            so the first step's average is a copy; 0 for no limit.

    Returns:
        A function: step (int32 scalar) -> decay (float32 scalar in [0, 1)).
    """

    def decay(step: jax.Array) -> jax.Array:
        images = jnp.float32(half_life)
        if ramp_up:
            seen = step * images_per_step
            images = jnp.minimum(images, jnp.maximum(seen * ramp_up, 1e-8))
        return 0.5 ** (images_per_step / images)

    return decay
