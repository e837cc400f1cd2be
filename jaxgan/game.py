"""The whole method on a page: two players, taking turns (Goodfellow et al. 2014, algorithm 1)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

PyTree = Any
Metrics = dict[str, jax.Array]
# What a run's key is folded with, for each thing that is random.
INIT, ORDER, NOISE, DRAWING, EVALUATION = range(5)


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


Loss = Callable[
    [PyTree, TrainState, PyTree, PyTree, str | None], tuple[jax.Array, tuple[Metrics, PyTree]]
]


@dataclasses.dataclass(frozen=True)
class GAN:
    """A pair of modules and a pair of losses: all that the rest of the library knows of a system.

    Both losses are pure: (params of the player that moves, state, batch, noise, axis_name) ->
    (scalar, (metrics, that player's new mutable collections)). They are means over the batch they
    are given, so that the mean over devices is the mean over the global batch; what is no mean of
    an example each, such as batch statistics, is averaged over `axis_name` unless that is None.

    Attributes:
        generator: the counterfeiter's module.
        discriminator: the police's module.
        init: key -> (generator's variables, discriminator's variables), as `Module.init` returns.
        noise: key -> pytree, the random numbers that one example needs in one update (latents, for
            one). A loss is given them stacked over the batch. They are keyed by the example's
            index in the global batch, so they are the same on any number of devices.
        generator_loss: the counterfeiter's objective.
        discriminator_loss: the police's objective.
        generator_optimizer: optax transformation.
        discriminator_optimizer: optax transformation.
        discriminator_steps: discriminator updates before each generator update.
        ema_decay: decay of the moving average of the generator, once warm. In [0, 1).
    """

    generator: nn.Module
    discriminator: nn.Module
    init: Callable[[jax.Array], tuple[PyTree, PyTree]]
    noise: Callable[[jax.Array], PyTree]
    generator_loss: Loss
    discriminator_loss: Loss
    generator_optimizer: optax.GradientTransformation
    discriminator_optimizer: optax.GradientTransformation
    discriminator_steps: int = 1
    ema_decay: float = 0.999


def init(gan: GAN, key: jax.Array) -> TrainState:
    """The state before the first step. A pure function of the key."""

    def player(variables: PyTree, optimizer: optax.GradientTransformation) -> Player:
        collections = {name: value for name, value in variables.items() if name != "params"}
        return Player(variables["params"], collections, optimizer.init(variables["params"]))

    variables, of_discriminator = gan.init(jax.random.fold_in(key, INIT))
    generator = player(variables, gan.generator_optimizer)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key,
        generator=generator,
        discriminator=player(of_discriminator, gan.discriminator_optimizer),
        ema_params=jax.tree.map(jnp.copy, generator.params),
        ema_collections=jax.tree.map(jnp.copy, generator.collections),
    )


def update_discriminator(
    gan: GAN, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
) -> tuple[TrainState, Metrics]:
    """The police's turn: one gradient step of the discriminator, the generator held still.

    Args:
        gan: the system.
        state: before the turn.
        batch: this device's part of a global batch, leaves [batch, ...].
        noise: `gan.noise` of each example of the batch, leaves [batch, ...].
        axis_name: the pmap axis to average gradients, collections and metrics over, if any.

    Returns:
        (state after the turn, metrics of the turn as scalars).
    """
    player, metrics = _descend(
        gan.discriminator_loss,
        gan.discriminator_optimizer,
        state.discriminator,
        (state, batch, noise),
        axis_name,
    )
    return state.replace(discriminator=player), metrics


def update_generator(
    gan: GAN, state: TrainState, batch: PyTree, noise: PyTree, axis_name: str | None = None
) -> tuple[TrainState, Metrics]:
    """The counterfeiter's turn: one gradient step of the generator, the discriminator held still.

    The moving average follows, with decay min(ema_decay, (1 + step) / (10 + step)), so that it
    forgets the untrained network soon. `state.step` goes up by one.

    Args and returns as in `update_discriminator`.
    """
    player, metrics = _descend(
        gan.generator_loss,
        gan.generator_optimizer,
        state.generator,
        (state, batch, noise),
        axis_name,
    )
    decay = jnp.minimum(gan.ema_decay, (1 + state.step) / (10 + state.step))
    ema_params, ema_collections = optax.incremental_update(
        (player.params, player.collections), (state.ema_params, state.ema_collections), 1 - decay
    )
    state = state.replace(
        step=state.step + 1,
        generator=player,
        ema_params=ema_params,
        ema_collections=ema_collections,
    )
    return state, metrics


def train_step(
    gan: GAN, state: TrainState, batches: PyTree, noises: PyTree, axis_name: str | None = None
) -> tuple[TrainState, Metrics]:
    """`gan.discriminator_steps` turns of the police, then one of the counterfeiter.

    Args:
        gan: the system.
        state: before the step.
        batches: a batch for each discriminator update, leaves [discriminator_steps, batch, ...].
            The generator's loss is given the last.
        noises: leaves [discriminator_steps + 1, batch, ...], the generator's the last.
        axis_name: the pmap axis to average over, if any.

    Returns:
        (state after the step, metrics of both players as scalars; the discriminator's are the
        mean over its updates).
    """

    def turn(state: TrainState, inputs: tuple[PyTree, PyTree]) -> tuple[TrainState, Metrics]:
        return update_discriminator(gan, state, *inputs, axis_name)

    first_noises = jax.tree.map(lambda x: x[:-1], noises)
    last_batch, last_noise = jax.tree.map(lambda x: x[-1], (batches, noises))
    state, discriminator_metrics = jax.lax.scan(turn, state, (batches, first_noises))
    state, generator_metrics = update_generator(gan, state, last_batch, last_noise, axis_name)
    return state, jax.tree.map(jnp.mean, discriminator_metrics) | generator_metrics


def call(
    module: nn.Module, variables: PyTree, *inputs: PyTree, axis_name: str | None
) -> tuple[PyTree, PyTree]:
    """Applies a network in training, whether or not it has mutable collections.

    One that has them is given train=True and axis_name.

    Returns:
        (what it gives, its collections afterwards, {} if it has none).
    """
    collections = [name for name in variables if name != "params"]
    if not collections:
        return module.apply(variables, *inputs), {}
    return module.apply(variables, *inputs, train=True, axis_name=axis_name, mutable=collections)


def _descend(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    player: Player,
    inputs: tuple[TrainState, PyTree, PyTree],
    axis_name: str | None,
) -> tuple[Player, Metrics]:
    gradients, (metrics, collections) = jax.grad(loss, has_aux=True)(
        player.params, *inputs, axis_name
    )
    if axis_name is not None:
        gradients, metrics, collections = jax.lax.pmean(
            (gradients, metrics, collections), axis_name
        )
    updates, optimizer_state = optimizer.update(gradients, player.optimizer_state, player.params)
    return Player(
        optax.apply_updates(player.params, updates), collections, optimizer_state
    ), metrics
