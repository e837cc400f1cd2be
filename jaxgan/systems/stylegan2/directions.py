"""Directions of styles that change an attribute of images, found in samples. Pure functions."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxgan.options import with_own_options
from jaxgan.systems.stylegan2.styles import layer_mask

# What is added to the variances of classes: those of an attribute add up to 1, so their covariance
# has no inverse.
RIDGE = 1e-4
# A class that a smaller share of the samples shows has a direction of mere chance.
LEAST_SHARE = 0.005


@with_own_options
def class_directions(
    styles: ArrayLike, probabilities: Mapping[str, ArrayLike]
) -> dict[str, jax.Array]:
    """The directions in which images come to show each class of some attributes.

    The styles of samples are explained by the classes that a classifier sees in their images, by
    linear regression on the classes of all attributes at once. So a direction of blond hair has no
    part in it that belongs to the beards that blond faces happen to have, if beards are among the
    attributes.

    Args:
        styles: float [n, style_size], the styles of samples, without truncation.
        probabilities: for each attribute those of its classes in the images of the samples, float
            [n, classes], as `metrics.evaluator.load_attribute_classifier` gives them.

    Returns:
        For each attribute float32 [classes, style_size]: the difference of the mean style of the
        images that show the class, and that of all others, with all other attributes alike. To add
        it once to a style of the others should show the class.

    Raises:
        ValueError: the arrays do not go together, there are no attributes or fewer than two
            samples, or a class is seen in none of the samples or in all of them.
    """
    styles = jnp.asarray(styles, jnp.float32)
    seen = {name: jnp.asarray(each, jnp.float32) for name, each in probabilities.items()}
    shapes = {name: each.shape for name, each in seen.items()}
    if not seen or styles.ndim != 2 or len(styles) < 2:
        raise ValueError(
            "directions want attributes, and the styles of two samples or more, [n, style_size], "
            f"not {styles.shape} and {shapes}"
        )
    if any(len(shape) != 2 or shape[0] != len(styles) for shape in shapes.values()):
        raise ValueError(
            f"probabilities must have the shape ({len(styles)}, classes) each, not {shapes}"
        )
    shares = {name: each.mean(axis=0) for name, each in seen.items()}
    for name, share in shares.items():
        if not isinstance(share, jax.core.Tracer) and not ((share > 0) & (share < 1)).all():
            raise ValueError(
                f"a class of {name} is seen in none of the samples or in all of them: it has no "
                "direction"
            )
    classes = jnp.concatenate([seen[name] - shares[name] for name in seen], axis=1)
    size = classes.shape[1]
    with jax.default_matmul_precision("highest"):
        covariance = classes.T @ classes / len(styles) + RIDGE * jnp.eye(size)
        effects = jnp.linalg.solve(
            covariance, classes.T @ (styles - styles.mean(axis=0)) / len(styles)
        )
    found, first = {}, 0
    for name, share in shares.items():
        own = effects[first : first + len(share)]
        first += len(share)
        others = (share @ own - share[:, None] * own) / (1 - share)[:, None]
        found[name] = own - others
    return found


def moved(
    styles: ArrayLike,
    direction: ArrayLike,
    strengths: ArrayLike,
    layers: Sequence[int] | None = None,
) -> jax.Array:
    """Moves styles along a direction.

    Args:
        styles: float [n, layers, style_size].
        direction: float [style_size].
        strengths: float [s], how often the direction is added; a negative number takes it away.
        layers: the layers whose styles move; None for all.

    Returns:
        float32 [n, s, layers, style_size].

    Raises:
        ValueError: the arrays do not go together, or there is no such layer.
    """
    styles, direction, strengths = (
        jnp.asarray(x, jnp.float32) for x in (styles, direction, strengths)
    )
    if styles.ndim != 3 or direction.shape != styles.shape[2:] or strengths.ndim != 1:
        raise ValueError(
            "styles, direction and strengths must have the shapes (n, layers, style_size), "
            f"(style_size,) and (s,), not {styles.shape}, {direction.shape} and {strengths.shape}"
        )
    steps = strengths[:, None, None] * layer_mask(layers, styles.shape[1])[:, None] * direction
    return styles[:, None] + steps
