"""dcgan beside PyTorch's example (pytorch/examples, dcgan)."""

import functools
from collections.abc import Iterator
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game, losses, schedules
from jaxgan.layers.training_call import call
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.dcgan.networks import Discriminator, Generator, num_halvings
from jaxgan.systems.latent.losses import latent_gan
from jaxgan.systems.reference import (
    Case,
    Compared,
    Entry,
    Imported,
    StateDict,
    Table,
    batch_norm,
    carried_over,
    channels_first,
    channels_last,
    convolution,
    first_state,
    gradient_norms,
    gradients,
    shape_of,
    transposed_convolution,
)

PyTree = Any
_KERNEL = (4, 4)
_GENERATOR = "the generator of PyTorch's DCGAN example"
# Tolerances.
_OUTPUT = {"absolute": 1e-4}
_LOSS = {"absolute": 1e-6, "relative": 1e-5}
_NORM = {"absolute": 1e-5, "relative": 1e-4}


def generator_table(generator: Generator) -> Table:
    """An entry for each key of the example's generator."""
    halvings = num_halvings(generator.image_shape)
    widths = [generator.width << i for i in reversed(range(halvings))]
    table = {
        "main.0.weight": Entry(
            (generator.latent_size, widths[0], *_KERNEL), ("params", "Dense_0", "kernel"), _to_map
        )
    } | batch_norm("main.1", widths[0], "BatchNorm_0")
    for i, (before, after) in enumerate(
        zip(widths, [*widths[1:], generator.image_shape[-1]], strict=True)
    ):
        table[f"main.{3 * i + 3}.weight"] = Entry(
            (before, after, *_KERNEL), ("params", f"Conv_{i}", "kernel"), transposed_convolution
        )
        if i < halvings - 1:
            table |= batch_norm(f"main.{3 * i + 4}", after, f"BatchNorm_{i + 1}")
    return table


def discriminator_table(discriminator: Discriminator) -> Table:
    """An entry for each key of the example's discriminator."""
    halvings = num_halvings(discriminator.image_shape)
    widths = [discriminator.width << i for i in range(halvings)]
    table: dict[str, Entry] = {}
    position = 0
    for i, (before, after) in enumerate(
        zip([discriminator.image_shape[-1], *widths], widths, strict=False)
    ):
        table[f"main.{position}.weight"] = Entry(
            (after, before, *_KERNEL), ("params", f"Conv_{i}", "kernel"), convolution
        )
        if i:
            table |= batch_norm(f"main.{position + 1}", after, f"BatchNorm_{i - 1}")
        position += 3 if i else 2
    table[f"main.{position}.weight"] = Entry(
        (1, widths[-1], *_KERNEL), ("params", "Dense_0", "kernel"), _from_map
    )
    return table


def _to_map(kernel: np.ndarray) -> np.ndarray:
    """The first transposed convolution, of a map of 1x1 -> a product that gives a map of 4x4."""
    return kernel.transpose(0, 2, 3, 1).reshape(len(kernel), -1)


def _from_map(kernel: np.ndarray) -> np.ndarray:
    """The last convolution, of a map of 4x4 -> a product that gives a number."""
    return kernel.transpose(2, 3, 1, 0).reshape(-1, 1)


def imported(state: StateDict) -> Imported:
    """A generator of the example.

    Args:
        state: the state dict of netG_epoch_N.pth.

    Returns:
        The settings are those of recipe `textbook`, for the size and the widths of the weights.

    Raises:
        ValueError: the state dict is not the example's generator, or its images have other channels
            than 1 or 3; the message names the first key that is missing, extra or misshapen.
    """
    latent_size, *_ = shape_of(state, "main.0.weight", 4, _GENERATOR)
    halvings = 1
    while f"main.{3 * halvings + 3}.weight" in state:
        halvings += 1
    if halvings > 16:
        raise ValueError(
            f"this is not {_GENERATOR}: it doubles {halvings} times, not 1 to 16 times"
        )
    width, channels, *_ = shape_of(state, f"main.{3 * halvings}.weight", 4, _GENERATOR)
    side = 4 << halvings
    config = DCGANConfig(
        recipe="textbook",
        dataset="published",
        image_shape=(side, side, channels),
        latent_size=latent_size,
        width=width,
    )
    return Imported(config, carried_over(state, generator_table(config.generator())))


def why_not_compared(name: str) -> str | None:
    """Why an array of a case is not compared; None if it is."""
    if name.startswith("meta."):
        return "a setting"
    return {"latents": "an input", "real_uint8": "an input"}.get(name)


def compared(case: Case) -> Iterator[Compared]:
    """What jaxgan computes of a case of PyTorch's example.

    Args:
        case: case.npz with the arrays of the example's inputs and outputs, and weights.pt with
            {"G": state dict, "D": state dict}.

    Raises:
        ValueError, KeyError: the case lacks something, or its weights are of another network.
    """
    its = {name.removeprefix("meta."): case.arrays[name] for name in case.arrays}
    stride, channels = int(its["stride"]), int(its["nc"])
    shape = (*case.arrays["real_uint8"].shape[2:], channels)
    generator = Generator(int(its["nz"]), int(its["ngf"]), shape, has_bias=False, is_unbiased=True)
    discriminator = Discriminator(int(its["ndf"]), shape, has_bias=False, is_unbiased=True)
    tables = {"G": generator_table(generator), "D": discriminator_table(discriminator)}
    weights = case.states["weights"]
    variables = {net: carried_over(weights[net], table) for net, table in tables.items()}
    latents, real = case.arrays["latents"], channels_last(case.arrays["real_uint8"])

    @jax.jit
    def made(variables: PyTree) -> tuple[PyTree, PyTree]:
        return call(generator, variables, latents, axis_name=None)

    @jax.jit
    def judged(variables: PyTree, images: Any) -> tuple[PyTree, PyTree]:
        return call(discriminator, variables, images, axis_name=None)

    def images(name: str, values: Any) -> Compared:
        return Compared(name, channels_first(values, stride), **_OUTPUT)

    def probabilities(name: str, logits: Any) -> Compared:
        return Compared(name, jax.nn.sigmoid(logits), **_OUTPUT)

    of_g, of_d = variables["G"], variables["D"]
    yield images("fake_eval", jax.jit(generator.apply)(of_g, latents))
    yield probabilities("d_real_eval", jax.jit(discriminator.apply)(of_d, real))
    fake, collections = made(of_g)
    yield images("fake_train", fake)
    moved = flax.traverse_util.flatten_dict(collections)
    for key, entry in tables["G"].items():
        if entry.path in moved:
            yield Compared(f"running_after.G.{key}", moved[entry.path], **_OUTPUT)
    real_logits, fake_logits = (judged(of_d, images)[0] for images in (real, fake))
    yield probabilities("d_real_train", real_logits)
    yield probabilities("d_fake_train", fake_logits)

    # One step: D, then G against the new D, of the same fakes.
    gan = latent_gan(
        generator,
        discriminator,
        *(schedules.adam(2e-4, 0.5, 0.999, images_per_update=1, epsilon=1e-8) for _ in "GD"),
        same_fakes=True,
        ema_decay=0.0,
    )
    discriminate, generate = (
        jax.jit(functools.partial(update, gan))
        for update in (game.update_discriminator, game.update_generator)
    )
    batch, noise = {"images": real}, {"latent": latents}
    state = first_state(gan, {"generator": of_g, "discriminator": of_d})
    of_turns = []
    for net, turn, update in zip("DG", gan.turns, (discriminate, generate), strict=True):
        slopes = jax.jit(functools.partial(gradients, turn))(state, batch, noise)
        for key, length in gradient_norms(slopes, tables[net]).items():
            yield Compared(f"gradnorm.{net}.{key}", length, **_NORM)
        state, metrics = update(state, batch, noise)
        of_turns.append(metrics)
    of_discriminator, of_generator = of_turns
    # D's loss of real images is what G's loss asks of generated ones, and its loss of generated
    # images is what the generator of the zero-sum game makes large.
    of_real = losses.non_saturating_generator(real_logits)
    of_fake = -losses.minimax_generator(fake_logits)
    errors = [of_real, of_fake, of_generator["generator_loss"]]
    yield Compared("step.errD_real_errD_fake_errG", np.array(errors, np.float64), **_LOSS)
    after = jax.nn.sigmoid(judged(state.variables("discriminator"), fake)[0])
    means = [of_discriminator["d_real"], of_discriminator["d_fake"], jnp.mean(after)]
    yield Compared("step.Dx_DGz1_DGz2", np.array(means, np.float64), **_OUTPUT)
    yield images("step.fake_train_after", made(state.variables("generator"))[0])
