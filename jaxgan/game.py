"""The whole method in one file: players that take turns (Goodfellow et al. 2014, algorithm 1)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxgan.options import with_own_options

PyTree = Any
Metrics = dict[str, jax.Array]
Decay = float | Callable[[jax.Array], PyTree]
Axis = str | None
# The uses of randomness: the run's key is folded with one of these numbers for each use.
INIT, ORDER, NOISE, DRAWING, EVALUATION, ROWS = range(6)


class Player(flax.struct.PyTreeNode):
    """A network in training: its params, its other Flax collections, its optimiser's state."""

    params: PyTree
    collections: PyTree
    optimizer_state: PyTree


class TrainState(flax.struct.PyTreeNode):
    """The whole state of a run between two steps. A step makes a new state.

    Attributes:
        step: int32 scalar, the number of steps done.
        key: the run's typed PRNG key, which never changes. The noise of a step is keyed by (key,
            step, turn, index of the example in the global batch), an epoch's order by (key, epoch).
        players: the networks by name.
        averages: the moving averages of some players' variables, by the player's name.
        numbers: float32 scalars that belong to no network, by name, such as a running mean.
    """

    step: jax.Array
    key: jax.Array
    players: dict[str, Player]
    averages: dict[str, PyTree]
    numbers: dict[str, jax.Array]

    def variables(self, player: str) -> dict[str, PyTree]:
        """A player's variables {"params": ..., other collections}, as `Module.apply` takes them."""
        return {"params": self.players[player].params, **self.players[player].collections}

    def with_player(self, name: str, **changes: PyTree) -> "TrainState":
        """A copy of this state in which some attributes of a player are replaced."""
        return self.replace(players={**self.players, name: self.players[name].replace(**changes)})


class Outcome(NamedTuple):
    """What a loss returns beside its value; `take_turn` averages it over the devices. It has
    scalars to log, the new collections of each player that the loss called in training mode (also
    of players whose turn it is not), and new values for some of the state's numbers."""

    metrics: Mapping[str, jax.Array] = {}
    collections: Mapping[str, PyTree] = {}
    numbers: Mapping[str, jax.Array] = {}


Loss = Callable[[TrainState, PyTree, PyTree, Axis], tuple[jax.Array, Outcome]]


@dataclasses.dataclass(frozen=True)
class Turn:
    """A move of one player: a gradient step on a loss, by the player's optimiser.

    Attributes:
        player: the name of the player that moves.
        loss: (state, batch, noise, axis_name) -> (scalar, Outcome), a pure function. Its gradient
            is taken with respect to the moving player's params in the state. The loss must be a
            mean over the batch: a mean over devices is then the mean over the global batch. Other
            statistics of a batch must be averaged over `axis_name`, unless it is None.
        noise: (key, data) -> the random numbers of one example, a pytree. Data is the data set,
            arrays [N, ...], whose rows it may pick, but for those of images that are streamed.
            "last": the numbers of the turn before.
        times: how often a step takes the turn, each time with new noise; a "last" batch is reused.
        every: the turn is taken only at steps that are multiples of this number.
        batch: "next" of the epoch; "last", of the turn before; "drawn" from data with replacement.
    """

    player: str
    loss: Loss
    noise: Callable[[jax.Array, Mapping[str, jax.Array]], PyTree] | Literal["last"]
    times: int = 1
    every: int = 1
    batch: Literal["next", "last", "drawn"] = "next"


@dataclasses.dataclass(frozen=True, eq=False)
class GAN:
    """A system, as the core sees it. Raises a ValueError if a turn cannot get the batch it names.

    Attributes:
        init: key -> each player's variables, as `Module.init` gives them, by the player's name.
        optimizers: the optax transformation of each player by name.
        turns: the turns of a step, in order.
        averages: the decay of each moving average by the player's name: a number in [0, 1), which
            is warmed up as min(decay, (1 + step) / (10 + step)), or a function of the step, which
            may give a decay for each kind of variables: {"params": ..., other collections}.
        numbers: the initial values of the state's numbers.
        images: the arrays of a batch that are images: uint8 in data, float32 in [-1, 1] in losses.
    """

    init: Callable[[jax.Array], Mapping[str, PyTree]]
    optimizers: Mapping[str, optax.GradientTransformation]
    turns: tuple[Turn, ...]
    averages: Mapping[str, Decay] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, float] = dataclasses.field(default_factory=dict)
    images: tuple[str, ...] = ()

    def __post_init__(self):
        for own in ("batch", "noise"):
            if self.turns and getattr(self.turns[0], own) == "last":
                raise ValueError(f"the first turn of a step has no last {own}: give another {own}=")
        if any(turn.batch == "next" and turn.every > 1 for turn in self.turns):
            raise ValueError('a turn with every= takes no "next" batch: "last" or "drawn"')


@with_own_options
def init(gan: GAN, key: jax.Array) -> TrainState:
    """The state before the first step, a pure function of the key (typed, a scalar)."""
    return begin(gan, key, gan.init(jax.random.fold_in(key, INIT)))


@with_own_options
def begin(gan: GAN, key: jax.Array, variables: Mapping[str, PyTree]) -> TrainState:
    """The state before the first step of players that have these variables.

    Args:
        gan, key: as in `init`.
        variables: each player's, as `gan.init` gives them. The moving averages begin with them.
    """
    players = {}
    for name, its in variables.items():
        collections = {kind: value for kind, value in its.items() if kind != "params"}
        players[name] = Player(its["params"], collections, gan.optimizers[name].init(its["params"]))
    averages = {name: jax.tree.map(jnp.copy, variables[name]) for name in gan.averages}
    numbers = {name: jnp.float32(value) for name, value in gan.numbers.items()}
    return TrainState(jnp.zeros((), jnp.int32), key, players, averages, numbers)


@with_own_options
def take_turn(
    gan: GAN, turn: Turn, state: TrainState, batch: PyTree, noise: PyTree, axis_name: Axis = None
) -> tuple[TrainState, Metrics]:
    """One gradient step of the turn's player. The params of the other players stay as they are.

    Args:
        gan, turn: the system, and one of its turns.
        state: the state before the turn.
        batch: this device's part of a global batch, leaves [batch, ...].
        noise: `turn.noise` of each example of the batch, leaves [batch, ...].
        axis_name: the pmap axis to average the gradients and the outcome over; None for none.

    Returns:
        (state after the turn, metrics of the turn as scalars).
    """
    mover = state.players[turn.player]

    def loss(params: PyTree) -> tuple[jax.Array, Outcome]:
        return turn.loss(state.with_player(turn.player, params=params), batch, noise, axis_name)

    gradients, outcome = jax.grad(loss, has_aux=True)(mover.params)
    outcome = Outcome(*map(dict, outcome))
    if axis_name is not None:
        gradients, outcome = jax.lax.pmean((gradients, outcome), axis_name)
    update = gan.optimizers[turn.player].update
    updates, optimizer_state = update(gradients, mover.optimizer_state, mover.params)
    params = optax.apply_updates(mover.params, updates)
    state = state.with_player(turn.player, params=params, optimizer_state=optimizer_state)
    for name, collections in outcome.collections.items():
        state = state.with_player(name, collections=collections)
    return state.replace(numbers={**state.numbers, **outcome.numbers}), outcome.metrics


@with_own_options
def end_step(gan: GAN, state: TrainState) -> TrainState:
    """Ends a step after its turns: updates the moving averages and adds one to `state.step`."""

    def mixed(decay: jax.Array, new: PyTree, average: PyTree) -> PyTree:
        return optax.incremental_update(new, average, 1 - decay)

    averages = {}
    warm = (1 + state.step) / (10 + state.step)  # It forgets the untrained network soon.
    for name, given in gan.averages.items():
        decay = given(state.step) if callable(given) else jnp.minimum(given, warm)
        averages[name] = jax.tree.map(mixed, decay, state.variables(name), state.averages[name])
    return state.replace(step=state.step + 1, averages=averages)


def update_discriminator(
    gan: GAN, state: TrainState, batch: PyTree, noise: PyTree, axis_name: Axis = None
) -> tuple[TrainState, Metrics]:
    """Takes the first turn of "discriminator". Args and returns are as in `take_turn`."""
    turn = next(turn for turn in gan.turns if turn.player == "discriminator")
    return take_turn(gan, turn, state, batch, noise, axis_name)


def update_generator(
    gan: GAN, state: TrainState, batch: PyTree, noise: PyTree, axis_name: Axis = None
) -> tuple[TrainState, Metrics]:
    """Takes the first turn of "generator" and ends the step; otherwise as `take_turn`."""
    turn = next(turn for turn in gan.turns if turn.player == "generator")
    state, metrics = take_turn(gan, turn, state, batch, noise, axis_name)
    return end_step(gan, state), metrics


def train_step(
    gan: GAN,
    state: TrainState,
    batches: tuple[PyTree, ...],
    noises: tuple[PyTree, ...],
    axis_name: Axis = None,
) -> tuple[TrainState, Metrics]:
    """Takes all turns of a step, then ends the step.

    Args:
        gan, state: the system, and its state before the step.
        batches: the batches of each turn, leaves [times, batch, ...]; None if it uses the "last".
        noises: the noise of each turn, leaves [times, batch, ...].
        axis_name: the pmap axis to average over; None for none.

    Returns:
        (state after the step, metrics). A metric is a scalar, the mean over the turn's `times`. If
        the turn has every > 1, it is float [2]: (value, 1) at a step with the turn, else (0, 0).
    """
    metrics: Metrics = {}
    last = None
    for turn, own, noise in zip(gan.turns, batches, noises, strict=True):
        if own is None:
            own = jax.tree.map(lambda x: jnp.stack([x] * turn.times), last)  # noqa: B023
        last = jax.tree.map(lambda x: x[-1], own)
        state, measured = _take_if_due(gan, turn, state, (own, noise), axis_name)
        metrics |= measured
    return end_step(gan, state), metrics


def _take_if_due(
    gan: GAN, turn: Turn, state: TrainState, inputs: tuple[PyTree, PyTree], axis_name: Axis
) -> tuple[TrainState, Metrics]:
    def once(state: TrainState, inputs: tuple[PyTree, PyTree]) -> tuple[TrainState, Metrics]:
        return take_turn(gan, turn, state, *inputs, axis_name)

    def take(state: TrainState) -> tuple[TrainState, Metrics]:
        if turn.times == 1:
            return once(state, jax.tree.map(lambda x: x[0], inputs))
        state, metrics = jax.lax.scan(once, state, inputs)
        return state, jax.tree.map(jnp.mean, metrics)

    if turn.every == 1:
        return take(state)
    nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(take, state)[1])
    is_due = state.step % turn.every == 0
    state, metrics = jax.lax.cond(is_due, take, lambda state: (state, nothing), state)
    return state, {name: jnp.stack([x, is_due.astype(x.dtype)]) for name, x in metrics.items()}
