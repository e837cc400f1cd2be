"""pix2pix beside the authors' PyTorch port (junyanz/pytorch-CycleGAN-and-pix2pix)."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game, losses, schedules
from jaxgan.game import GAN, TrainState
from jaxgan.layers.training_call import call
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.pix2pix.losses import paired_gan
from jaxgan.systems.pix2pix.networks import PatchDiscriminator, UNet, num_halvings
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
Networks = tuple[UNet, PatchDiscriminator]
_KERNEL = (4, 4)
_U_NET = "the U-Net of pix2pix's PyTorch port"
# The reference's losses: our name, the weight that makes it the reference's, and a logit of a real
# image with which D loses nothing.
_MODES = {
    "vanilla": ("non_saturating", 1.0, 1e4),
    "lsgan": ("least_squares", 2.0, 1.0),
    "wgangp": ("wasserstein", 1.0, 0.0),
}
_L1_WEIGHT = 100.0
# Tolerances. A loss that is a mean of numbers of both signs may be near 0: hence its absolute one.
_OUTPUT = {"absolute": 1e-4}
_LOSS = {"absolute": 1e-6, "relative": 1e-5}
_NORM = {"absolute": 1e-5, "relative": 1e-4}
# A bias in front of a normalisation has no gradient. The port's is of rounding errors alone.
_NOTHING = {"absolute": 1e-4}
# The gradient of LeakyReLU jumps where a unit is near 0, so rounding errors in the images that the
# penalty is taken at move it by more than themselves: by 8e-6 in a case of 256x256.
_PENALTY = {"relative": 1e-4}


def generator_table(generator: UNet) -> Table:
    """An entry for each key of the port's U-Net.

    Its blocks are nested. A block is the encoder's layer, the block inside, the decoder's layer.
    """
    channels = generator.image_shape[-1]
    halvings = num_halvings(generator.image_shape, generator.halvings)
    widths = [generator.width * min(1 << i, 8) for i in range(halvings)]
    is_batch = generator.norm == "batch"
    table: dict[str, Entry] = {}
    prefix, norm = "model.model", 0

    def bias(key: str, size: int, name: str, *, is_normalised: bool) -> None:
        if not is_batch:
            # In front of an instance normalisation a bias has no effect.
            path: tuple[str, ...] = () if is_normalised else ("params", name, "bias")
            table[f"{key}.bias"] = Entry((size,), path)

    prefixes = []
    for i in range(halvings):
        prefixes.append(prefix)
        key, name = f"{prefix}.{min(i, 1)}", f"Conv_{i}"
        before = widths[i - 1] if i else generator.input_channels
        table[f"{key}.weight"] = Entry(
            (widths[i], before, *_KERNEL), ("params", name, "kernel"), convolution
        )
        is_normalised = 0 < i < halvings - 1
        bias(key, widths[i], name, is_normalised=is_normalised)
        if is_normalised:
            if is_batch:
                table |= batch_norm(f"{prefix}.2", widths[i], f"BatchNorm_{norm}")
                norm += 1
        prefix = f"{prefix}.{1 if i == 0 else 3}.model"
    for i in reversed(range(halvings)):
        is_inner, is_outer = i == halvings - 1, i == 0
        position = 3 if is_inner or is_outer else 5
        key, name = f"{prefixes[i]}.{position}", f"Conv_{2 * halvings - 1 - i}"
        after = channels if is_outer else widths[i - 1]
        before = widths[i] if is_inner else 2 * widths[i]
        convert = transposed_convolution if is_inner else _with_halves_changed
        table[f"{key}.weight"] = Entry(
            (before, after, *_KERNEL), ("params", name, "kernel"), convert
        )
        if is_outer:
            table[f"{key}.bias"] = Entry((after,), ("params", name, "bias"))
            continue
        bias(key, after, name, is_normalised=True)
        if is_batch:
            table |= batch_norm(f"{prefixes[i]}.{position + 1}", after, f"BatchNorm_{norm}")
            norm += 1
    return table


def discriminator_table(discriminator: PatchDiscriminator) -> Table:
    """An entry for each key of the port's discriminator of patches."""
    halvings, is_batch = discriminator.halvings, discriminator.norm == "batch"
    widths = [discriminator.width * min(1 << i, 8) for i in range(halvings + 1)]
    before = discriminator.input_channels + discriminator.image_shape[-1]
    table: dict[str, Entry] = {}
    position = 0
    for i, after in enumerate([*widths, 1]):
        key, name = f"model.{position}", f"Conv_{i}"
        table[f"{key}.weight"] = Entry(
            (after, before, *_KERNEL), ("params", name, "kernel"), convolution
        )
        is_normalised = 0 < i <= halvings
        if not (is_normalised and is_batch):
            path: tuple[str, ...] = () if is_normalised else ("params", name, "bias")
            table[f"{key}.bias"] = Entry((after,), path)
        elif is_batch:
            table |= batch_norm(f"model.{position + 1}", after, f"BatchNorm_{i - 1}")
        position += 3 if is_normalised else 2
        before = after
    return table


def _with_halves_changed(kernel: np.ndarray) -> np.ndarray:
    """The kernel behind a skip. The port puts the encoder's map first, jaxgan the decoder's."""
    encoder, decoder = np.split(kernel, 2)
    return transposed_convolution(np.concatenate([decoder, encoder]))


def imported(state: StateDict) -> Imported:
    """A generator of the PyTorch port, such as facades or edges2shoes.

    Args:
        state: the state dict of latest_net_G.pth.

    Returns:
        The settings are those of recipe `textbook`, for the size that the U-Net halves to 1x1. The
        port's dropout has no parameters. It is on, as in the port without --no_dropout.

    Raises:
        ValueError: the state dict is not the port's U-Net, or its images have other channels than
            1 or 3; the message names the first key that is missing, extra or misshapen.
    """
    width, input_channels, *_ = shape_of(state, "model.model.0.weight", 4, _U_NET)
    _, channels, *_ = shape_of(state, "model.model.3.weight", 4, _U_NET)
    halvings, prefix = 1, "model.model.1.model"
    while f"{prefix}.1.weight" in state:
        halvings, prefix = halvings + 1, f"{prefix}.3.model"
    if not 5 <= halvings <= 16:
        raise ValueError(f"this is not {_U_NET}: it halves {halvings} times, not 5 to 16 times")
    norm = "batch" if "model.model.1.model.2.weight" in state else "instance"
    side = 1 << halvings
    config = Pix2PixConfig(
        recipe="textbook",
        task="pairs",
        dataset="published",
        input_feature="input",
        input_channels=input_channels,
        image_shape=(side, side, channels),
        width=width,
        halvings=halvings,
        norm=norm,
    )
    return Imported(config, carried_over(state, generator_table(config.generator())))


def why_not_compared(name: str) -> str | None:
    """Why an array of a case is not compared; None if it is."""
    if name.startswith("meta."):
        return "a setting"
    return {
        "A_uint8": "an input",
        "B_uint8": "an input",
        "gp.alpha": "an input",
    }.get(name)


def compared(case: Case) -> Iterator[Compared]:
    """What jaxgan computes of a case of the PyTorch port.

    Args:
        case: case.npz with the arrays of the port's inputs and outputs, and weights.pt with {"G":
            state dict, "D": state dict}.

    Raises:
        ValueError, KeyError: the case lacks something, or its weights are of another network.
    """
    its = {name.removeprefix("meta."): case.arrays[name] for name in case.arrays}
    size, stride, halvings = (int(its[name]) for name in ("size", "stride", "num_downs"))
    shape = (size, size, int(its["output_nc"]))
    channels, norm = int(its["input_nc"]), str(its["norm"])
    generator = UNet(int(its["ngf"]), shape, channels, halvings=halvings, norm=norm, dropout="none")
    discriminator = PatchDiscriminator(
        int(its["ndf"]), shape, channels, halvings=int(its["n_layers_D"]), norm=norm
    )
    tables = {
        "G": generator_table(generator),
        "D": discriminator_table(discriminator),
    }
    weights = case.states["weights"]
    variables = {net: carried_over(weights[net], table) for net, table in tables.items()}
    inputs, real = (channels_last(case.arrays[name]) for name in ("A_uint8", "B_uint8"))
    examples = [slice(i, i + 1) for i in range(len(real))]

    @jax.jit
    def translated(variables: PyTree, inputs: Any) -> Any:
        return call(generator, variables, inputs, axis_name=None)[0]

    @jax.jit
    def judged(variables: PyTree, images: Any, inputs: Any) -> Any:
        return call(discriminator, variables, images, inputs, axis_name=None)[0]

    def logits(name: str, values: Any) -> Compared:
        return Compared(name, np.asarray(values)[:, None], **_OUTPUT)

    def images(name: str, values: Any) -> Compared:
        return Compared(name, channels_first(values, stride), **_OUTPUT)

    of_g, of_d = variables["G"], variables["D"]
    players = {"generator": of_g, "discriminator": of_d}
    fake = translated(of_g, inputs)
    yield images("fake_train_batch", fake)
    each = [translated(of_g, inputs[one]) for one in examples]
    yield images("fake_train_each", np.concatenate(each))
    evaluated = jax.jit(generator.apply)(of_g, inputs)
    yield images("fake_eval", evaluated)
    yield Compared("fake_eval_mean_abs", np.mean(np.abs(evaluated), dtype=np.float64), **_OUTPUT)
    yield logits("real_logits_train_batch", judged(of_d, real, inputs))
    each = [judged(of_d, real[one], inputs[one]) for one in examples]
    yield logits("real_logits_train_each", np.concatenate(each))
    yield logits("real_logits_eval", jax.jit(discriminator.apply)(of_d, real, inputs))

    batch = {"inputs": inputs, "images": real}
    networks = generator, discriminator
    for mode in _MODES:
        gan = _gan(networks, mode)
        state = first_state(gan, players)
        values = jax.jit(functools.partial(_values, networks, mode))(state, batch)
        # D's loss is half of a sum whose two parts may cancel.
        parts = max(abs(float(values[name])) for name in ("loss_D_fake", "loss_D_real"))
        for name, value in values.items():
            tolerance = {"absolute": 1e-5 * parts} if name == "loss_D" else _LOSS
            yield Compared(f"{mode}.{name}", np.float64(value), **tolerance)
        for net, turn in zip("DG", gan.turns, strict=True):
            slopes = jax.jit(functools.partial(gradients, turn))(state, batch, _noise(batch))
            for key, length in gradient_norms(slopes, tables[net]).items():
                tolerance = _NORM if length else _NOTHING
                yield Compared(f"{mode}.gradnorm.{net}.{key}", length, **tolerance)

    def of_pair(pair: jax.Array) -> jax.Array:
        inputs, image = jnp.split(pair, [generator.input_channels], axis=-1)
        return jnp.sum(judged(of_d, image, inputs), axis=(1, 2))

    of_real, of_fake = (jnp.concatenate([inputs, images], axis=-1) for images in (real, fake))
    share = jnp.asarray(case.arrays["gp.alpha"])
    penalty = losses.gradient_penalty(of_pair, of_real, of_fake, share)
    yield Compared("gp.lambda10", np.float64(10 * penalty), **_PENALTY)

    # Two optimisations, each of one image, the loss "vanilla".
    gan = _gan(networks, "vanilla")
    values_of = jax.jit(functools.partial(_values, networks, "vanilla"))
    discriminate, generate = (
        jax.jit(functools.partial(update, gan))
        for update in (game.update_discriminator, game.update_generator)
    )
    state, rows = first_state(gan, players), []
    for one in examples[:2]:
        its_batch = jax.tree.map(lambda x: x[one], batch)  # noqa: B023
        before = values_of(state, its_batch)
        state, _ = discriminate(state, its_batch, _noise(its_batch))
        between = values_of(state, its_batch)
        state, _ = generate(state, its_batch, _noise(its_batch))
        rows.append(
            [before[name] for name in ("loss_D_fake", "loss_D_real")]
            + [between[name] for name in ("loss_G_GAN", "loss_G_L1")]
        )
    yield Compared("steps.losses_Dfake_Dreal_GGAN_GL1", np.array(rows, np.float64), **_LOSS)
    inputs, real = inputs[:1], real[:1]
    after = translated(state.variables("generator"), inputs)
    yield images("steps.fake_train_of_0_after", after)
    after = judged(state.variables("discriminator"), real, inputs)
    yield logits("steps.real_logits_train_of_0_after", after)


def _gan(networks: Networks, mode: str, l1_weight: float = _L1_WEIGHT) -> GAN:
    """The port's game. The weights make up for the factor of our `losses`, and halve D's."""
    loss, weight, _ = _MODES[mode]
    return paired_gan(
        *networks,
        *(schedules.adam(2e-4, 0.5, 0.999, images_per_update=1, epsilon=1e-8) for _ in networks),
        ema_decay=0.0,
        same_fakes=True,
        loss=loss,
        adversarial_weight=weight,
        l1_weight=l1_weight,
        discriminator_weight=weight / 2,
    )


def _noise(batch: PyTree) -> PyTree:
    """Keys of a dropout that is off."""
    return {"key": jax.random.split(jax.random.key(0), len(batch["images"]))}


def _values(
    networks: Networks, mode: str, state: TrainState, batch: PyTree
) -> dict[str, jax.Array]:
    """The port's losses by their names there."""
    loss, weight, perfect = _MODES[mode]
    of_discriminator, of_generator = _gan(networks, mode).turns
    without_l1 = _gan(networks, mode, l1_weight=0.0).turns[1]
    inputs = state, batch, _noise(batch), None
    of_both, outcome = of_generator.loss(*inputs)
    fake, _ = call(networks[0], state.variables("generator"), batch["inputs"], axis_name=None)

    def judged(images: jax.Array) -> jax.Array:
        variables = state.variables("discriminator")
        return call(networks[1], variables, images, batch["inputs"], axis_name=None)[0].reshape(-1)

    adversarial, logits = losses.adversarial_loss(loss), judged(fake)
    return {
        "loss_D_fake": weight * adversarial.discriminator(0 * logits + perfect, logits, 0.0),
        # The port asks of real images in D's turn what it asks of generated ones in G's turn.
        "loss_D_real": weight * adversarial.generator(judged(batch["images"])),
        "loss_D": of_discriminator.loss(*inputs)[0],
        "loss_G_GAN": without_l1.loss(*inputs)[0],
        # The metric is of pixels in [0, 1], the loss of numbers in [-1, 1].
        "loss_G_L1": 2 * _L1_WEIGHT * outcome.metrics["l1"],
        "loss_G": of_both,
    }
