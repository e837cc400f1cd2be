"""Adversarial losses (logits -> scalar) and gradient penalties, as pure functions.

Below, logits are float [batch]: the discriminator's raw output for each image. x is a real image
and G(z) a fake one. Losses are minimised, and expectations E are means over the batch. Logits of
another rank raise an AssertionError (from chex).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

# Images [batch, ...] -> logits [batch].
Discriminator = Callable[[jax.Array], jax.Array]


class AdversarialLoss(NamedTuple):
    """The losses of both players of one game.

    Attributes:
        discriminator: (real_logits, fake_logits, label_smoothing) -> scalar.
        generator: (fake_logits) -> scalar; of a paired loss (real_logits, fake_logits) -> scalar.
        probability: logits -> float [batch] in [0, 1], the discriminator's probability that each
            image is real. It is 1/2 for all images if both players play optimally. Of a paired loss
            it takes differences of logits, and is the probability that an image is more real than
            the other one of its pair.
        smooths_labels: whether the loss compares with labels, which label_smoothing can smooth.
        is_paired: whether the loss compares each real image with one generated image.
    """

    discriminator: Callable[[jax.Array, jax.Array, float], jax.Array]
    generator: Callable[..., jax.Array]
    probability: Callable[[jax.Array], jax.Array]
    smooths_labels: bool
    is_paired: bool = False


def cross_entropy_discriminator(
    real_logits: jax.Array, fake_logits: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """-E[(1 - s) log D(x) + s log(1 - D(x))] - E[log(1 - D(G(z)))], D = sigmoid(logit).

    Goodfellow et al. 2014 (arXiv 1406.2661), equation 1. With s = label_smoothing > 0 the label of
    a real image is 1 - s and that of a fake stays 0: one-sided smoothing, Salimans et al. 2016
    (arXiv 1606.03498), section 3.4.
    """
    _check_logits(real_logits, fake_logits)
    real = (1 - label_smoothing) * jax.nn.softplus(-real_logits)
    real += label_smoothing * jax.nn.softplus(real_logits)
    return jnp.mean(real) + jnp.mean(jax.nn.softplus(fake_logits))


def non_saturating_generator(fake_logits: jax.Array) -> jax.Array:
    """-E[log D(G(z))]. Goodfellow et al. 2014, end of section 3."""
    _check_logits(fake_logits)
    return jnp.mean(jax.nn.softplus(-fake_logits))


def minimax_generator(fake_logits: jax.Array) -> jax.Array:
    """E[log(1 - D(G(z)))], the loss of the zero-sum game. Goodfellow et al. 2014, equation 1."""
    _check_logits(fake_logits)
    return -jnp.mean(jax.nn.softplus(fake_logits))


def least_squares_discriminator(
    real_logits: jax.Array, fake_logits: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """E[(D(x) - (1 - s))^2] / 2 + E[D(G(z))^2] / 2, D the raw output, s = label_smoothing.

    Mao et al. 2017 (arXiv 1611.04076), equation 9 (a = 0, b = c = 1).
    """
    _check_logits(real_logits, fake_logits)
    real = jnp.square(real_logits - (1 - label_smoothing))
    return (jnp.mean(real) + jnp.mean(jnp.square(fake_logits))) / 2


def least_squares_generator(fake_logits: jax.Array) -> jax.Array:
    """E[(D(G(z)) - 1)^2] / 2. Mao et al. 2017 (arXiv 1611.04076), equation 9."""
    _check_logits(fake_logits)
    return jnp.mean(jnp.square(fake_logits - 1)) / 2


def wasserstein_discriminator(
    real_logits: jax.Array, fake_logits: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """E[D(G(z))] - E[D(x)], the negative of the estimated earth mover's distance.

    Arjovsky et al. 2017 (arXiv 1701.07875), equation 2. The estimate holds for a discriminator
    that is 1-Lipschitz, to which `gradient_penalty` drives it.

    Raises:
        ValueError: label_smoothing is not 0, but this loss has no labels.
    """
    _check_logits(real_logits, fake_logits)
    _check_no_smoothing(label_smoothing)
    return jnp.mean(fake_logits) - jnp.mean(real_logits)


def hinge_discriminator(
    real_logits: jax.Array, fake_logits: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))].

    Lim and Ye 2017 (arXiv 1705.02894).

    Raises:
        ValueError: label_smoothing is not 0, but this loss has no labels.
    """
    _check_logits(real_logits, fake_logits)
    _check_no_smoothing(label_smoothing)
    return jnp.mean(jax.nn.relu(1 - real_logits)) + jnp.mean(jax.nn.relu(1 + fake_logits))


def linear_generator(fake_logits: jax.Array) -> jax.Array:
    """-E[D(G(z))], the generator's loss in the Wasserstein game and in the hinge game."""
    _check_logits(fake_logits)
    return -jnp.mean(fake_logits)


def relativistic_discriminator(
    real_logits: jax.Array, fake_logits: jax.Array, label_smoothing: float = 0.0
) -> jax.Array:
    """E[log(1 + exp(D(G(z)) - D(x)))], over pairs of a real and a generated image.

    Jolicoeur-Martineau 2018 (arXiv 1807.00734), as Huang et al. 2024 (R3GAN, arXiv 2501.05441),
    section 2, have it. Trained with the penalties `r1` and `r2` at every step, it converges.

    Raises:
        ValueError: label_smoothing is not 0, but this loss has no labels.
    """
    _check_logits(real_logits, fake_logits)
    _check_no_smoothing(label_smoothing)
    return jnp.mean(jax.nn.softplus(fake_logits - real_logits))


def relativistic_generator(real_logits: jax.Array, fake_logits: jax.Array) -> jax.Array:
    """E[log(1 + exp(D(x) - D(G(z))))], over pairs, as `relativistic_discriminator`."""
    _check_logits(real_logits, fake_logits)
    return jnp.mean(jax.nn.softplus(real_logits - fake_logits))


ADVERSARIAL_LOSSES: Mapping[str, AdversarialLoss] = MappingProxyType(
    {
        "non_saturating": AdversarialLoss(
            cross_entropy_discriminator, non_saturating_generator, jax.nn.sigmoid, True
        ),
        "minimax": AdversarialLoss(
            cross_entropy_discriminator, minimax_generator, jax.nn.sigmoid, True
        ),
        "least_squares": AdversarialLoss(
            least_squares_discriminator,
            least_squares_generator,
            lambda logits: jnp.clip(logits, 0, 1),
            True,
        ),
        "wasserstein": AdversarialLoss(
            wasserstein_discriminator, linear_generator, jax.nn.sigmoid, False
        ),
        "hinge": AdversarialLoss(hinge_discriminator, linear_generator, jax.nn.sigmoid, False),
        "relativistic": AdversarialLoss(
            relativistic_discriminator, relativistic_generator, jax.nn.sigmoid, False, True
        ),
    }
)
UNPAIRED_LOSSES = tuple(name for name, loss in ADVERSARIAL_LOSSES.items() if not loss.is_paired)


def adversarial_loss(name: str, *, paired: bool = False) -> AdversarialLoss:
    """The loss of a name.

    Args:
        name: a key of `ADVERSARIAL_LOSSES`.
        paired: whether the game has a real logit for each generated one in both turns, so that the
            loss may be a paired one.

    Raises:
        ValueError: there is no such loss; the message lists the names.
    """
    names = tuple(ADVERSARIAL_LOSSES) if paired else UNPAIRED_LOSSES
    if name not in names:
        raise ValueError(f"unknown loss {name!r}: one of {', '.join(names)}")
    return ADVERSARIAL_LOSSES[name]


def judgement(
    loss: AdversarialLoss, real_logits: jax.Array, fake_logits: jax.Array
) -> dict[str, jax.Array]:
    """The discriminator's mean probabilities and its accuracy on a batch.

    Args:
        loss: the loss that says which probability a logit stands for.
        real_logits: logits of real images.
        fake_logits: logits of fake images.

    Returns:
        Scalars in [0, 1] by the name of a metric: d_real, the mean probability of the real images;
        d_fake, that of the fake images; and d_accuracy, the share of all these images whose
        probability is above 1/2 if they are real and below 1/2 if they are fake. A paired loss
        knows no probability of a single image: it is that of being more real than the other one.
    """
    _check_logits(real_logits, fake_logits)
    if loss.is_paired:
        real_logits, fake_logits = real_logits - fake_logits, fake_logits - real_logits
    d_real, d_fake = loss.probability(real_logits), loss.probability(fake_logits)
    told_right = jnp.concatenate([d_real > 0.5, d_fake < 0.5])
    return {
        "d_real": jnp.mean(d_real),
        "d_fake": jnp.mean(d_fake),
        "d_accuracy": jnp.mean(told_right.astype(jnp.float32)),
    }


def squared_gradient_norm(
    discriminator: Callable[[jax.Array], jax.Array], images: jax.Array
) -> jax.Array:
    """The squared L2 norm of the gradient of each image's logit with respect to its pixels.

    Args:
        discriminator: images [batch, ...] -> logits [batch].
        images: float [batch, ...].

    Returns:
        float [batch].
    """
    gradients = jax.grad(lambda x: jnp.sum(discriminator(x)))(images)
    return jnp.sum(jnp.square(gradients), axis=tuple(range(1, gradients.ndim)))


def zero_centred_penalty(
    discriminator: Callable[[jax.Array], jax.Array], images: jax.Array
) -> jax.Array:
    """E[|grad D|^2] / 2 at the images: R1 if they are real, R2 if they are fake.

    Mescheder et al. 2018 (arXiv 1801.04406), equations 9 and 10, for gamma = 1.

    Args:
        discriminator: images [batch, ...] -> logits [batch].
        images: float [batch, ...].

    Returns:
        A scalar.
    """
    return jnp.mean(squared_gradient_norm(discriminator, images)) / 2


def gradient_penalty(
    discriminator: Callable[[jax.Array], jax.Array],
    real: jax.Array,
    fake: jax.Array,
    mix: jax.Array,
) -> jax.Array:
    """E[(|grad D| - 1)^2] at points between real and fake images.

    Gulrajani et al. 2017 (arXiv 1704.00028), equation 3, for lambda = 1.

    Args:
        discriminator: images [batch, ...] -> logits [batch].
        real: float [batch, ...].
        fake: float [batch, ...].
        mix: float [batch] in [0, 1], the share of the real image in the point between.

    Returns:
        A scalar.
    """
    chex.assert_equal_shape([real, fake])
    chex.assert_shape(mix, (len(real),))
    share = mix.reshape(-1, *[1] * (real.ndim - 1))
    squared_norm = squared_gradient_norm(discriminator, share * real + (1 - share) * fake)
    # The derivative of sqrt is infinite at 0, and the gradient's norm is 0 if the discriminator is
    # constant, as a new one or one with dead units may be.
    tiny = jnp.finfo(squared_norm.dtype).tiny
    norm = jnp.sqrt(jnp.maximum(squared_norm, tiny))
    return jnp.mean(jnp.square(norm - 1))


def _check_logits(*logits: jax.Array) -> None:
    chex.assert_rank(logits, 1)


def _check_no_smoothing(label_smoothing: float) -> None:
    if label_smoothing:
        raise ValueError(f"this loss has no labels to smooth: label_smoothing {label_smoothing}")
