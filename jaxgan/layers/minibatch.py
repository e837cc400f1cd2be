"""What a discriminator sees of the variety of a batch."""

import chex
import jax
import jax.numpy as jnp

EPSILON = 1e-8


def with_deviation(
    x: jax.Array,
    group_size: int | None,
    num_channels: int = 1,
    axis_name: str | None = None,
    parts: int = 1,
) -> jax.Array:
    """Appends the deviations within groups of examples as channels: minibatch standard deviation.

    Karras et al. 2017 (arXiv 1710.10196), section 3. The examples of a group are not neighbours: a
    batch of N has N / G groups of G, and group j has the examples j, j + N / G, j + 2 N / G and so
    on. The deviation over a group is averaged over pixels and over a share of the channels. The
    batch is the global one: over several devices the maps are gathered, so that groups, and all
    numbers, are those of one device.

    Args:
        x: float32 [parts * batch, height, width, channels], this device's share of each batch.
        group_size: G, or the whole batch if that is smaller; None for the whole batch.
        num_channels: how many channels are appended, a divisor of `channels`. Each is the mean over
            as many neighbouring channels.
        axis_name: the pmap axis that a batch is spread over; None for one device.
        parts: how many batches follow each other in `x`. No group has examples of two.

    Returns:
        float32 [parts * batch, height, width, channels + num_channels].

    Raises:
        ValueError: the group size does not divide the global batch, or num_channels the channels.
    """
    chex.assert_rank(x, 4)
    _, height, width, channels = x.shape
    whole = x.reshape(parts, -1, height, width, channels)
    batch = whole.shape[1]
    if axis_name is not None:
        whole = jax.lax.all_gather(whole, axis_name, axis=1, tiled=True)
    count = whole.shape[1]
    size = count if group_size is None else min(group_size, count)
    if count % size or channels % num_channels:
        raise ValueError(
            f"a batch of {count} with {channels} channels has no groups of {size} with "
            f"{num_channels} deviations: both must divide"
        )
    groups = whole.reshape(parts, size, count // size, height, width, num_channels, -1)
    deviations = jnp.sqrt(jnp.var(groups, axis=1) + EPSILON)
    means = jnp.tile(jnp.mean(deviations, axis=(2, 3, 5)), (1, size, 1))
    if axis_name is not None:
        first = jax.lax.axis_index(axis_name) * batch
        means = jax.lax.dynamic_slice_in_dim(means, first, batch, axis=1)
    means = means.reshape(-1, 1, 1, num_channels)
    planes = jnp.broadcast_to(means, (x.shape[0], height, width, num_channels))
    return jnp.concatenate([x, planes], axis=-1)
