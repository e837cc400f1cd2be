"""Batch normalisation whose running variance is unbiased, as PyTorch's is."""

import flax.linen as nn
import jax
import jax.numpy as jnp

EPSILON = 1e-5
_VARIANCE = "batch_stats", "var"


class BatchNorm(nn.BatchNorm):
    """`flax.linen.BatchNorm` with a choice of the variance that is averaged over the steps.

    Ioffe and Szegedy 2015 (arXiv 1502.03167), algorithm 2: the running variance is the mean of
    unbiased variances, n / (n - 1) times that of a batch, where n counts the numbers of a channel
    in the batch on all devices. Flax leaves the factor out, PyTorch does not. The numbers of the
    batch itself are divided by the biased deviation in either case.

    Attributes:
        is_unbiased: whether the running variance has the factor.
    """

    is_unbiased: bool = False

    def __call__(self, x: jax.Array) -> jax.Array:  # type: ignore[override]
        """Normalises float32 [..., channels] over all axes but the last; returns the same shape."""
        before: jax.Array = self.get_variable(*_VARIANCE)
        y = super().__call__(x)
        if self.is_unbiased and not self.use_running_average and not self.is_initializing():
            count = x.size // x.shape[-1]
            if self.axis_name is not None:
                count = jax.lax.psum(count, self.axis_name)
            # What this batch has added to the average, without and with the factor.
            added = self.get_variable(*_VARIANCE) - self.momentum * before
            # A single number has no unbiased variance; PyTorch refuses such a batch.
            factor = count / jnp.maximum(count - 1, 1)
            self.put_variable(*_VARIANCE, self.momentum * before + factor * added)
        return y
