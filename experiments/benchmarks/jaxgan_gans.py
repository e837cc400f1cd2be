"""jaxgan's side of the benchmarks. Everything that they use of its training is in this module."""

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from interleaving import Report

from jaxgan import game, training
from jaxgan.game import GAN, TrainState
from jaxgan.layers.products import product
from jaxgan.run import compilation_cache, experiment
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.config import RunConfig
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.stargan.config import StarGANConfig
from jaxgan.systems.stylegan2.config import StyleGAN2Config

EPOCHS = 1_000_000  # no row trains so long
# What PyTorch's game of a system is told of the settings.
TOLD = {
    StyleGAN2Config: (
        *("latent_size", "style_size", "mapping_layers", "channel_base", "channel_max"),
        *(
            "block_size",
            "group_size",
            "gamma",
            "penalty_interval",
            "length_weight",
            "length_interval",
            "mixing",
        ),
        *("learning_rate", "discriminator_learning_rate", "beta1", "beta2", "adam_epsilon"),
    ),
    BigGANConfig: (
        *("latent_size", "shared_size", "width", "discriminator_width"),
        *("spectral_epsilon", "norm_epsilon"),
        *("generator_learning_rate", "discriminator_learning_rate"),
        *("beta1", "beta2", "adam_epsilon"),
    ),
}


class Case(NamedTuple):
    """What is trained: a system, by its name in `config_of`, on a data set's images.

    The width of its networks is the system's own, if it is None.
    """

    system: str
    dataset: str
    image_shape: tuple[int, int, int]
    width: int | None = None

    def __str__(self) -> str:
        of_width = f", {self.width} wide" if self.width else ""
        return f"{self.system} {'x'.join(map(str, self.image_shape))}{of_width}"


def config_of(case: Case, batch_size: int, precision: str = "float32") -> RunConfig:
    """A script's settings, without what PyTorch's twins lack.

    The twins of the MLP GAN, the DCGAN and pix2pix have no gradient penalties. Nobody's twin has
    augmentations, clamps, or rates that fall, and the discriminator has a turn for each of the
    generator's.
    """
    settings = dict(dataset=case.dataset, image_shape=case.image_shape)
    settings |= dict(batch_size=batch_size, precision=precision)
    if case.system == "mlp":
        return MLPGANConfig(recipe="textbook", **settings)
    if case.system == "dcgan":
        settings |= dict(biases="unnormalised", fakes="new")
        return DCGANConfig(recipe="textbook", conditional=True, **settings)
    if case.system == "stargan":
        settings |= dict(width=case.width, discriminator_width=case.width, halvings=5, flip=0.0)
        settings |= dict(decay_kimg=0.0)
        return StarGANConfig(recipe="textbook", discriminator_steps=1, **settings)
    if case.system == "stylegan2":
        return StyleGAN2Config(augmentations="none", clamp=0.0, **settings)
    if case.system == "biggan":
        settings |= dict(translation=0, decay_after_kimg=0.0, decay_kimg=0.0)
        return BigGANConfig(discriminator_steps=1, **settings)
    return Pix2PixConfig(**settings)


def layer_shapes() -> list[list[tuple[int, int]]]:
    """(units in, units out) of the layers of the chapter's generator, and of its discriminator."""
    config = MLPGANConfig()
    pixels = int(np.prod(config.image_shape))
    generator = (config.latent_size, *config.generator_widths, pixels)
    discriminator = (pixels, *config.discriminator_widths, 1)
    return [list(itertools.pairwise(widths)) for widths in (generator, discriminator)]


class Plan(NamedTuple):
    """What training needs: the system, its data set's arrays [N, ...] and the batch size.

    PyTorch's game is made with `sizes`: the shape of images; of systems with labels the numbers of
    classes; of a StarGAN the width. And with `settings`, by their names.
    """

    gan: GAN
    arrays: Mapping[str, np.ndarray]
    batch_size: int
    sizes: tuple = ()
    settings: Mapping[str, Any] = {}

    @property
    def period(self) -> int:
        """After so many steps each turn has had its share of steps, if it is not in every one."""
        return math.lcm(*(turn.every for turn in self.gan.turns))

    def schedule(self) -> training.Schedule:
        """How an epoch is cut into compiled calls on this platform."""
        sizes = len(self.arrays["images"]), self.batch_size
        return training.schedule(*sizes, self.gan, jax.devices()[0].platform)

    def first_state(self) -> TrainState:
        return jax.jit(partial(game.init, self.gan))(jax.random.key(0))


def plan_of(config: RunConfig, images: int, *, sgd: bool = False) -> Plan:
    """The training of a configuration on the first images; `sgd` puts SGD in Adam's place."""
    experiment.use_multi_output_fusion(config)
    system = config.system(config.load_dataset())
    stage = system.stages[0]
    arrays = {name: array[:images] for name, array in stage.data.items()}
    classes = [its] if (its := getattr(system.config, "num_classes", ())) else []
    gan = stage.gan
    if sgd:
        optimizers = {player: optax.sgd(2e-4) for player in gan.optimizers}
        gan = dataclasses.replace(gan, optimizers=optimizers)
    if isinstance(system.config, StarGANConfig):
        classes = [tuple(len(names) for _, names in system.config.classes), system.config.width]
    sizes = (config.image_shape, *classes)
    return Plan(gan, arrays, stage.batch_size, sizes, told(system.config))


def told(config: RunConfig) -> dict[str, Any]:
    """The settings that PyTorch's game of a system is made with, by name."""
    return {name: getattr(config, name) for name in TOLD.get(type(config), ())}


def train(plan: Plan, *, streamed: bool = False) -> Iterator[tuple[TrainState, Any]]:
    """`training.train` on one device: a compiled call at a time, its metrics fetched, checked."""
    state, schedule = training.on_host(plan.first_state()), plan.schedule()
    settings = dict(devices=jax.devices()[:1], batch_size=plan.batch_size, streamed=streamed)
    settings |= dict(last_step=schedule.steps_per_epoch * EPOCHS)
    return training.train(plan.gan, state, plan.arrays, schedule, **settings)


def train_plainly(plan: Plan) -> Iterator[tuple[TrainState, Any]]:
    """The same training and numbers by `jax.jit` alone, without `training`'s parallel layer."""
    gan, arrays, size, *_ = plan
    schedule = plan.schedule()
    police, _ = gan.turns

    @jax.jit
    def order_of(state: TrainState) -> jax.Array:
        epoch = state.step // schedule.steps_per_epoch
        key = reduce(jax.random.fold_in, (game.ORDER, epoch), state.key)
        rows = jax.random.permutation(key, len(arrays["images"]))
        taken = schedule.steps_per_epoch * police.times * size
        return rows[:taken].reshape(-1, police.times, size)

    def step(data: Any, state: TrainState, rows: jax.Array) -> tuple[TrainState, Any]:
        def noise(turn: jax.Array, example: jax.Array) -> Any:
            numbers = game.NOISE, state.step, turn, example
            return police.noise(reduce(jax.random.fold_in, numbers, state.key), data)

        each = jax.vmap(jax.vmap(noise, (None, 0)), (0, None))
        moves = jnp.arange(police.times), jnp.arange(police.times, police.times + 1)
        noises = tuple(each(numbers, jnp.arange(size)) for numbers in moves)
        batch = {
            name: x[rows].astype(jnp.float32) / 127.5 - 1 if name in gan.images else x[rows]
            for name, x in data.items()
        }
        return game.train_step(gan, state, (batch, None), noises)

    @partial(jax.jit, donate_argnums=0)
    def call(state: TrainState, data: Any, order: jax.Array) -> tuple[TrainState, Any]:
        first = state.step % schedule.steps_per_epoch
        rows = jax.lax.dynamic_slice_in_dim(order, first, schedule.steps_per_call)
        return jax.lax.scan(partial(step, data), state, rows)

    state, data = plan.first_state(), jax.device_put(arrays, jax.devices()[0])
    for number in itertools.count():
        if number % (schedule.steps_per_epoch // schedule.steps_per_call) == 0:
            order = order_of(state)
        state, metrics = jax.block_until_ready(call(state, data, order))
        yield state, metrics


def products_alone(batch_size: int, precision: str, steps: int) -> Callable[[int], Any]:
    """A function that does all matrix products of so many steps of the chapter's GAN, n times."""
    key, multiply = jax.random.key(0), product(jnp.dtype(precision))
    players = [
        [jax.random.normal(key, shape) / shape[0] ** 0.5 for shape in shapes]
        for shapes in layer_shapes()
    ]
    latents = jax.random.normal(key, (steps, batch_size, len(players[0][0])))

    def losses(players: Any, latents: jax.Array) -> jax.Array:
        generator, discriminator = players
        fake = jax.lax.stop_gradient(reduce(multiply, generator, latents))
        logits = reduce(multiply, discriminator, jnp.concatenate([fake, -fake]))
        fresh = reduce(multiply, generator, 1 - latents)
        replies = reduce(multiply, jax.lax.stop_gradient(discriminator), fresh)
        return (logits**2).sum() + (replies**2).sum()

    def step(players: Any, latents: jax.Array) -> tuple[Any, None]:
        # The gradients are used, so that no product can be left out.
        slopes = jax.grad(losses)(players, latents)
        return jax.tree.map(lambda x, slope: x + 1e-9 * slope, players, slopes), None

    call = jax.jit(lambda players: jax.lax.scan(step, players, latents)[0])
    return lambda count: [jax.block_until_ready(call(players)) for _ in range(count)]


def run_script(report: Report, config: MLPGANConfig, workdir: str) -> None:
    """All that mnist_gan.py does, in a new work dir; a turn is an epoch, and reports images/s."""
    original = experiment.train_seeds

    def train_in_turns(gan: GAN, states: Any, arrays: Any, schedule: Any, **settings: Any):
        calls = original(gan, states, arrays, schedule, **settings)
        report(None)
        yield next(calls)
        report(None)
        while True:
            started = time.perf_counter()
            # The script asks for more calls when it has done its own work after the last one.
            yield from itertools.islice(calls, schedule.steps_per_epoch // schedule.steps_per_call)
            report(schedule.steps_per_epoch * config.batch_size / (time.perf_counter() - started))

    experiment.train_seeds = train_in_turns
    config = dataclasses.replace(config, workdir=workdir, devices="1", epochs=EPOCHS)
    experiment.use_multi_output_fusion(config)
    with compilation_cache.in_use():
        experiment.Experiment(config).run()


def checkpoints(workdir: Path) -> list[str]:
    """The names of a run's checkpoints that are whole, oldest first."""
    return [str(step) for step in Checkpoints(workdir / "checkpoints").steps()]


def generator_of(workdir: Path, checkpoint: str) -> dict[str, Any]:
    """The averaged generator of a checkpoint, as `jaxgan.sample` takes it."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(workdir / "checkpoints" / checkpoint / "generator")
