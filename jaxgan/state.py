"""The immutable state of a training run."""

from typing import Any

import flax.struct
import jax

PyTree = Any


@flax.struct.dataclass
class Player:
    """One of the two networks and what its learning needs.

    Attributes:
        params: trainable parameters, as in Flax's "params" collection.
        collections: the module's other collections (batch statistics, spectral norms ...), {} if
            it has none.
        optimizer_state: as the player's optax transformation made it.
    """

    params: PyTree
    collections: PyTree
    optimizer_state: PyTree

    @property
    def variables(self) -> dict[str, PyTree]:
        """What `module.apply` takes."""
        return {"params": self.params, **self.collections}


@flax.struct.dataclass
class TrainState:
    """Everything a run is, between two steps. A step makes a new one.

    Attributes:
        step: int32 scalar, generator updates done.
        key: the run's typed PRNG key. It never changes: what is random in a step is keyed by
            (key, step, index of the example in the global batch).
        generator: the counterfeiter.
        discriminator: the police.
        ema_params: exponential moving average of the generator's params; what is sampled from.
        ema_collections: the same of its other collections.
    """

    step: jax.Array
    key: jax.Array
    generator: Player
    discriminator: Player
    ema_params: PyTree
    ema_collections: PyTree

    @property
    def ema_variables(self) -> dict[str, PyTree]:
        """What the generator's `apply` takes to draw from the average."""
        return {"params": self.ema_params, **self.ema_collections}
