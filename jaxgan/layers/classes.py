"""Labels as one-hot vectors."""

import chex
import jax
import jax.numpy as jnp


def one_hot(
    labels: jax.Array | None, num_classes: tuple[int, ...], batch: int | None = None
) -> jax.Array:
    """The one-hot vectors of each example's labels, one after another.

    Args:
        labels: int [batch, len(num_classes)], each from 0 to below its number of classes.
        num_classes: how many classes each label has; at least one label.
        batch: the number of examples; None for any number.

    Returns:
        float32 [batch, sum(num_classes)].

    Raises:
        AssertionError: labels are None or have another shape (from chex).
    """
    chex.assert_shape(labels, (batch, len(num_classes)))
    assert labels is not None  # None has no such shape.
    vectors = [
        jax.nn.one_hot(labels[:, i], count, dtype=jnp.float32)
        for i, count in enumerate(num_classes)
    ]
    return jnp.concatenate(vectors, axis=1)
