"""Where the time of a training step goes: the step, less and less of it, and the wall.

python experiments/benchmark_step.py --batch-sizes 128 512

In one process, in turns; medians of the turns' fractions of the wall, which is what a product of
square matrices reaches in the same turn.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxgan import data, game, training
from jaxgan.run import flags
from jaxgan.run.config import Precision
from jaxgan.run.experiment import use_multi_output_fusion
from jaxgan.systems.mlp_gan.config import MLPGANConfig

GENERATOR = ((100, 256), (256, 512), (512, 1024), (1024, 784))
DISCRIMINATOR = ((784, 1024), (1024, 512), (512, 256), (256, 1))
EXAMPLE = 15.97e6  # multiply-adds, as experiments/benchmark.py counts them
SIDE = 2048

# Does some work, and returns how many examples' worth of multiply-adds it was.
Run = Callable[[], float]


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """What to take apart."""

    batch_sizes: tuple[int, ...] = (64, 128, 512)
    """Of training."""
    precision: Precision = "float32"
    """Of the matrix products, the wall's too."""
    turns: int = 9
    """How often each is measured."""

    def __post_init__(self):
        if not self.batch_sizes or not all(1 <= size <= 60_000 for size in self.batch_sizes):
            raise ValueError("--batch-sizes must be from 1 to 60000 each")
        if self.turns < 1:
            raise ValueError(f"--turns must be 1 or more, not {self.turns}")


def training_run(batch_size: int, precision: str, *, adam: bool) -> Run:
    """Calls of training as `mnist_gan.py --recipe textbook` makes them, without the host's work."""
    gan = MLPGANConfig(recipe="textbook", batch_size=batch_size, precision=precision).gan()
    if not adam:
        plain = optax.sgd(2e-4)
        gan = dataclasses.replace(gan, generator_optimizer=plain, discriminator_optimizer=plain)
    devices = jax.devices()[:1]
    images = data.load().images
    cut = training.schedule(len(images), batch_size, 1, devices[0].platform)
    program = training.compile_epoch(
        gan,
        devices,
        num_images=len(images),
        batch_size=batch_size,
        steps_per_epoch=cut.steps_per_epoch,
        steps_per_call=cut.steps_per_call,
    )
    state = training.replicate(training.on_host(game.init(gan, jax.random.key(0))), devices)
    dataset = training.replicate({"images": images}, devices)
    order = program.order(state)

    def run() -> float:
        nonlocal state
        state, metrics = program.train(state, dataset, order)
        jax.block_until_ready(metrics)
        return cut.steps_per_call * batch_size

    return run


def products_run(batch_size: int, precision: str, steps: int = 40) -> Run:
    """The matrix products of as many steps, forward and back, and nothing between them."""
    key = jax.random.key(0)
    kernels = [
        jax.random.normal(jax.random.fold_in(key, i), shape) / shape[0] ** 0.5
        for i, shape in enumerate(GENERATOR + DISCRIMINATOR)
    ]

    def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
        a, b = a.astype(precision), b.astype(precision)
        return jnp.matmul(a, b, preferred_element_type=jnp.float32)

    def forward(x: jax.Array, layers: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        inputs = []
        for kernel in layers:
            inputs.append(x)
            x = multiply(x, kernel)
        return x, inputs

    def backward(slope, inputs, layers, *, kernels: bool, to_input: bool):
        gradients = []
        for i in reversed(range(len(layers))):
            if kernels:
                # As jaxgan.layers.products does it.
                across = jax.lax.optimization_barrier(inputs[i].astype(precision).T)
                gradients.append(multiply(across, slope))
            if i or to_input:
                slope = multiply(slope, layers[i].T)
        return slope, gradients[::-1]

    def step(kernels, latents):
        generator, discriminator = kernels[:4], kernels[4:]
        fake, _ = forward(latents, generator)
        logits, inputs = forward(jnp.concatenate([fake, -fake]), discriminator)
        _, of_discriminator = backward(logits, inputs, discriminator, kernels=True, to_input=False)
        fake, generator_inputs = forward(1 - latents, generator)
        logits, inputs = forward(fake, discriminator)
        slope, _ = backward(logits, inputs, discriminator, kernels=False, to_input=True)
        _, of_generator = backward(slope, generator_inputs, generator, kernels=True, to_input=False)
        # So that no product can be left out.
        moved = [
            k + 1e-9 * g for k, g in zip(kernels, of_generator + of_discriminator, strict=True)
        ]
        return moved, None

    latents = jax.random.normal(key, (steps, batch_size, GENERATOR[0][0]))
    call = jax.jit(lambda kernels: jax.lax.scan(step, kernels, latents)[0])

    def run() -> float:
        jax.block_until_ready(call(kernels))
        return steps * batch_size

    return run


def wall_run(precision: str, count: int = 10) -> Run:
    """Products of square matrices."""
    square = jax.random.normal(jax.random.key(0), (SIDE, SIDE), precision)
    product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.float32))

    def run() -> float:
        for _ in range(count):
            result = product(square)
        result.block_until_ready()
        return count * SIDE**3 / EXAMPLE

    return run


def main() -> None:
    with flags.user_errors():
        config = flags.parse(StepConfig, sys.argv[1:], description=__doc__)
    use_multi_output_fusion()
    print("| batch | | examples/s | of the wall |\n| --- | --- | --- | --- |")
    for batch_size in config.batch_sizes:
        runs = {
            "matrix products, square": wall_run(config.precision),
            "the step's products alone": products_run(batch_size, config.precision),
            "the step, SGD for Adam": training_run(batch_size, config.precision, adam=False),
            "the step": training_run(batch_size, config.precision, adam=True),
        }
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(config.turns + 1):
            for name, run in runs.items():
                started = time.perf_counter()
                examples = run()
                if turn:  # The first compiles.
                    rates[name].append(examples / (time.perf_counter() - started))
        wall = next(iter(rates.values()))
        for name, values in rates.items():
            fraction = statistics.median(x / y for x, y in zip(values, wall, strict=True))
            print(f"| {batch_size} | {name} | {statistics.median(values):,.0f} | {fraction:.3f} |")


if __name__ == "__main__":
    main()
