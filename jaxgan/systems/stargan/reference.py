"""StarGAN beside the authors' PyTorch code (yunjey/stargan)."""

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import game, losses, schedules
from jaxgan.data.classes import HAIR_COLOURS, YES_OR_NO
from jaxgan.game import GAN, TrainState
from jaxgan.systems.reference import (
    Case,
    Compared,
    Entry,
    Imported,
    StateDict,
    Table,
    carried_over,
    channels_first,
    channels_last,
    convolution,
    first_state,
    gradient_norms,
    gradients,
    shape_of,
    state_dict,
    transposed_convolution,
)
from jaxgan.systems.stargan.config import StarGANConfig
from jaxgan.systems.stargan.labels import Coding
from jaxgan.systems.stargan.losses import EditingGame, editing_gan
from jaxgan.systems.stargan.networks import Discriminator, Generator

PyTree = Any
_GENERATOR = "a generator of StarGAN's PyTorch code"
# The attributes of the published generators of CelebA, in their order.
_PUBLISHED = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
_STATISTICS = ("running_mean", "running_var")
# Tolerances. A loss that is a mean of numbers of both signs may be near 0: hence its absolute one.
_OUTPUT = {"absolute": 1e-4}
_LOSS = {"absolute": 1e-6, "relative": 1e-5}
_GRADIENT = {"absolute": 1e-5, "relative": 1e-4}
_TRAINING_LOSS = {"absolute": 1e-4}
# Adam takes a full step on the rounding errors of a gradient that is nearly 0. Up to 1.2 % of the
# numbers of a generator's kernel did; the median of the differences is 5e-7.
_TRAINED = {"absolute": 2e-5, "exceptions": 0.02}


def generator_table(generator: Generator) -> Table:
    """An entry for each key of the reference's generator."""
    channels, widths = generator.image_shape[-1], [generator.width << i for i in range(3)]
    table: dict[str, Entry] = {}
    counts = {"norm": 0, "conv": 0}

    def norm(key: str, width: int) -> None:
        name = f"InstanceNorm_{counts['norm']}"
        counts["norm"] += 1
        table[f"{key}.weight"] = Entry((width,), ("params", name, "scale"))
        table[f"{key}.bias"] = Entry((width,), ("params", name, "bias"))
        # The reference gathers these and never uses them: it stays in training mode.
        for end in _STATISTICS:
            table[f"{key}.{end}"] = Entry((width,), ())

    def conv(
        key: str, before: int, after: int, size: int, *, name: str = "", transposed: bool = False
    ) -> None:
        if not name:
            name = f"Conv_{counts['conv']}"
            counts["conv"] += 1
        shape = (before, after) if transposed else (after, before)
        convert = transposed_convolution if transposed else convolution
        table[f"{key}.weight"] = Entry((*shape, size, size), ("params", name, "kernel"), convert)

    conv("main.0", channels + generator.label_size, widths[0], 7, name="_LabelledConvolution_0")
    norm("main.1", widths[0])
    for i in (1, 2):
        conv(f"main.{3 * i}", widths[i - 1], widths[i], 4)
        norm(f"main.{3 * i + 1}", widths[i])
    for i in range(generator.num_blocks):
        for j in (0, 3):
            conv(f"main.{9 + i}.main.{j}", widths[2], widths[2], 3)
            norm(f"main.{9 + i}.main.{j + 1}", widths[2])
    first = 9 + generator.num_blocks
    for i in (0, 1):
        conv(f"main.{first + 3 * i}", widths[2 - i], widths[1 - i], 4, transposed=True)
        norm(f"main.{first + 3 * i + 1}", widths[1 - i])
    conv(f"main.{first + 6}", widths[0], channels, 7)
    return table


def discriminator_table(discriminator: Discriminator) -> Table:
    """An entry for each key of the reference's discriminator."""
    height, width, before = discriminator.image_shape
    halvings = discriminator.num_halvings
    table: dict[str, Entry] = {}
    for i in range(halvings):
        after, name = discriminator.width << i, f"Conv_{i}"
        key = f"main.{2 * i}"
        table[f"{key}.weight"] = Entry(
            (after, before, 4, 4), ("params", name, "kernel"), convolution
        )
        table[f"{key}.bias"] = Entry((after,), ("params", name, "bias"))
        before = after
    table["conv1.weight"] = Entry(
        (1, before, 3, 3), ("params", f"Conv_{halvings}", "kernel"), convolution
    )
    size = height >> halvings, width >> halvings
    count = discriminator.class_size
    table["conv2.weight"] = Entry(
        (count, before, *size),
        ("params", "Dense_0", "kernel"),
        lambda kernel: convolution(kernel).reshape(-1, count),
    )
    return table


def imported(state: StateDict) -> Imported:
    """A generator of the authors' code, such as the published 200000-G.ckpt.

    Args:
        state: the state dict. The running statistics in it, which the authors' code never uses,
            are left out.

    Returns:
        The settings are those of recipe `textbook`. A state dict does not name its attributes: five
        are taken for the paper's of CelebA, other numbers get the names attribute_0 and so on. It
        does not tell the size of the images either, which may be any multiple of 4: it is 128, as
        in the paper. All attributes are taken for a yes or a no.

    Raises:
        ValueError: the state dict is not such a generator; the message names the first key that is
            missing, extra or misshapen.
    """
    width, inputs, *_ = shape_of(state, "main.0.weight", 4, _GENERATOR)
    blocks = 0
    while f"main.{9 + blocks}.main.0.weight" in state:
        blocks += 1
    channels, *_ = shape_of(state, f"main.{15 + blocks}.weight", 4, _GENERATOR)
    count = inputs - channels
    if channels not in (1, 3) or count < 1:
        raise ValueError(
            f"this is not {_GENERATOR}: it makes images of {channels} channels from {inputs}"
        )
    names = _PUBLISHED if count == len(_PUBLISHED) else [f"attribute_{i}" for i in range(count)]
    config = StarGANConfig(
        recipe="textbook",
        dataset="published",
        attributes=tuple(names),
        classes=tuple((name, YES_OR_NO) for name in names),
        image_shape=(128, 128, channels),
        width=width,
        blocks=blocks,
    )
    return Imported(config, carried_over(state, generator_table(config.generator())))


def why_not_compared(name: str) -> str | None:
    """Why an array of a case is not compared; None if it is."""
    last = name.rpartition("/")[2]
    if "after_one_call/" in name or last.endswith(_STATISTICS):
        return "running statistics, which the reference never uses"
    if name.startswith("eval_with_running_statistics/") or "/eval_with_running" in name:
        return "evaluation mode, which the reference never uses"
    if name.endswith(".names") or last in ("config_json", "loss_names"):
        return "a setting"
    if last in ("real_uint8_nchw", "label_org", "permutation", "c_org", "alpha"):
        return "an input"
    if last.endswith("num_batches_tracked"):
        return "a count, which the reference never uses"
    return None


def compared(case: Case) -> Iterator[Compared]:
    """What jaxgan computes of a case of the authors' code.

    Args:
        case: case.npz with its inputs and outputs, and weights.pt with {"G": state dict, "D": state
            dict}. A case of a training has after_training.pt, of the same form.

    Raises:
        ValueError, KeyError: the case lacks something, or its weights are of another network.
    """
    its = json.loads(str(case.arrays["config_json"]))
    sets = _sets(its)
    side, weights = int(its["image_size"]), case.states["weights"]
    shape = (side, side, 3)
    class_size = its["c_dim"] + (its["c2_dim"] if len(sets) == 2 else 0)
    label_size = class_size + (2 if len(sets) == 2 else 0)
    generator = Generator(its["g_conv_dim"], shape, label_size, its["g_repeat_num"])
    discriminator = Discriminator(its["d_conv_dim"], shape, class_size, its["d_repeat_num"])
    tables = {"G": generator_table(generator), "D": discriminator_table(discriminator)}
    variables = {net: carried_over(weights[net], table) for net, table in tables.items()}
    players = {"generator": variables["G"], "discriminator": variables["D"]}
    games = {
        name: EditingGame(
            generator,
            discriminator,
            coding,
            class_weight=its["lambda_cls"],
            reconstruction_weight=its["lambda_rec"],
            gradient_penalty=its["lambda_gp"],
        )
        for name, coding in sets.items()
    }
    if any(name.startswith("train/") for name in case.arrays):
        yield from _trained(case, its, games, players, tables)
        return
    for name, of in games.items():
        prefix = f"{name}/" if len(sets) == 2 else ""
        arrays = {
            key.removeprefix(prefix): array
            for key, array in case.arrays.items()
            if key.startswith(prefix)
        }
        gan = _gan(of, its, lambda update: 0.0)
        for each in _of_batch(arrays, of, gan, first_state(gan, players), tables):
            yield each._replace(name=prefix + each.name)


def _of_batch(
    arrays: Mapping[str, np.ndarray],
    of: EditingGame,
    gan: GAN,
    state: TrainState,
    tables: Mapping[str, Table],
) -> Iterator[Compared]:
    """What jaxgan computes of one batch of one set."""
    batch, noise = _inputs(
        arrays["real_uint8_nchw"], arrays["label_org"], arrays["permutation"], arrays["alpha"]
    )
    own, target = batch["labels"], noise["target"]
    yield Compared("label_trg", target.reshape(arrays["label_trg"].shape))
    wanted = of.coding.encode(jnp.asarray(target))
    yield Compared("c_trg", wanted)

    made = jax.jit(functools.partial(_made, of))(state, batch, noise)
    yield Compared("fake", channels_first(made["fake"]), **_OUTPUT)
    yield Compared("reconstruction", channels_first(made["reconstruction"]), **_OUTPUT)
    for name in ("real", "fake"):
        patches, classes = made[f"judged_{name}"]
        yield Compared(f"d_src_{name}", np.asarray(patches)[:, None], **_OUTPUT)
        yield Compared(f"d_cls_{name}", classes, **_OUTPUT)
    yield Compared("gp_gradient_norm", made["gradient_norm"], **_GRADIENT)
    terms = jax.jit(functools.partial(_terms, of))(state, batch, noise)
    for name, turn in zip("dg", gan.turns, strict=True):
        value = jax.jit(turn.loss, static_argnums=3)(state, batch, noise, None)[0]
        # The sum's terms may cancel.
        parts = max(abs(float(terms[key])) for key in terms if key.startswith(f"{name}_"))
        yield Compared(f"loss/{name}", np.float64(value), absolute=1e-5 * parts, relative=1e-5)
    for name, value in terms.items():
        yield Compared(f"loss/{name}", np.float64(value), **_LOSS)

    penalty = dataclasses.replace(of, class_weight=0.0, gradient_penalty=1.0)
    for net, turn in zip("DG", gan.turns, strict=True):
        slopes = jax.jit(functools.partial(gradients, turn))(state, batch, noise)
        yield from _of_slopes(f"grad_norm/{net}", f"grad/{net}", slopes, tables[net], arrays)
        if net == "D":
            slopes = jax.jit(jax.grad(functools.partial(_penalty, penalty, state)))(
                state.players["discriminator"].params, batch, noise
            )
            name = "grad_norm_of_penalty/D"
            yield from _of_slopes(name, None, slopes, tables[net], arrays)
    for name, array in arrays.items():
        if name == "test_labels":
            yield Compared(name, _of_samples(of.coding, own).reshape(array.shape))


def _of_slopes(
    norms: str,
    whole: str | None,
    slopes: PyTree,
    table: Table,
    arrays: Mapping[str, np.ndarray],
) -> Iterator[Compared]:
    """The norms of gradients, in the order that the case names, and some gradients as a whole."""
    lengths = gradient_norms(slopes, table)
    order = [name for name, _ in json.loads(str(arrays[f"{norms}.names"]))]
    yield Compared(norms, np.array([lengths[name] for name in order]), **_GRADIENT)
    if whole is not None:
        for key, slope in state_dict({"params": slopes}, table).items():
            if (name := f"{whole}/{key}") in arrays:
                # Elements may be near 0: the bound is relative to the largest.
                bound = 1e-4 * float(np.abs(arrays[name]).max())
                yield Compared(name, slope, absolute=bound)


def _trained(
    case: Case,
    its: Mapping[str, Any],
    games: Mapping[str, EditingGame],
    players: Mapping[str, PyTree],
    tables: Mapping[str, Table],
) -> Iterator[Compared]:
    """The losses of the reference's own loop, and the weights after it."""
    names = [str(name) for name in case.arrays["train/loss_names"]]
    permutations, shares = case.arrays["train/permutation"], case.arrays["train/alpha"]
    steps, count = len(permutations), its["n_critic"]
    # The rate of each iteration, from 0, and the one after the last.
    falls = [
        i + 1 > its["num_iters"] - its["num_iters_decay"] and (i + 1) % its["lr_update_step"] == 0
        for i in range(steps)
    ]
    shares_left = 1 - np.concatenate([[0], np.cumsum(falls)]) / its["num_iters_decay"]
    rates = jnp.asarray(shares_left, jnp.float32)
    sets = len(games)
    gans = {
        name: _gan(
            of,
            its,
            lambda update: rates[update // sets],
            lambda update: rates[(update // sets) * count + count - 1],
        )
        for name, of in games.items()
    }
    terms = {name: jax.jit(functools.partial(_terms, of)) for name, of in games.items()}
    updates = {
        (name, player): jax.jit(functools.partial(update, gan))
        for name, gan in gans.items()
        for player, update in (("D", game.update_discriminator), ("G", game.update_generator))
    }
    state = first_state(next(iter(gans.values())), players)
    rows = np.full((steps, sets, len(names)), np.nan)
    used: list[jax.Array] = []
    for step in range(steps):
        for index, name in enumerate(games):
            batch, noise = _inputs(
                case.arrays[f"train/{name}/real_uint8_nchw"][step],
                case.arrays[f"train/{name}/label_org"][step],
                permutations[step, index],
                shares[step, index],
            )
            found = terms[name](state, batch, noise)
            state, _ = updates[name, "D"](state, batch, noise)
            if (step + 1) % count == 0:
                after = terms[name](state, batch, noise)
                found |= {key: after[key] for key in after if key.startswith("g_")}
                state, _ = updates[name, "G"](state, batch, noise)
                coding = games[name].coding
                used += [coding.encode(batch["labels"]), coding.encode(noise["target"])]
            else:
                found = {key: found[key] for key in found if key.startswith("d_")}
            for key, value in found.items():
                rows[step, index, names.index(f"{key[0].upper()}/loss_{key[2:]}")] = value
    yield Compared("train/losses", rows, **_TRAINING_LOSS)
    yield Compared(
        "train/final_learning_rates",
        np.array([its["d_lr" if net == "D" else "g_lr"] for net in "GD"]) * shares_left[-1],
        absolute=1e-9,
    )
    never = np.concatenate(used).max(axis=0) == 0
    for net, player in (("G", "generator"), ("D", "discriminator")):
        for key, array in state_dict(state.variables(player), tables[net]).items():
            name = f"after_training/{net}/{key}"
            if net == "G" and key == "main.0.weight" and name in case.arrays:
                array = _without_noise(array, case.arrays[name], never)
            yield Compared(name, array, **_TRAINED)


def _without_noise(ours: np.ndarray, theirs: np.ndarray, never: np.ndarray) -> np.ndarray:
    """The generator's first kernel, with the reference's numbers where gradients are only noise.

    They are the centre tap of the label channels (a constant plane through it is a constant, which
    the instance normalisation takes away), and the channels of labels that are always 0.
    """
    ours, first = ours.copy(), ours.shape[1] - len(never)
    centre = ours.shape[-1] // 2
    ours[:, first:, centre, centre] = theirs[:, first:, centre, centre]
    ours[:, first:][:, never] = theirs[:, first:][:, never]
    return ours


def _inputs(
    images: np.ndarray, labels: np.ndarray, permutation: np.ndarray, share: np.ndarray
) -> tuple[PyTree, PyTree]:
    """The batch and the noise of a turn."""
    codes = labels.astype(np.int32).reshape(len(labels), -1)
    batch = {"images": channels_last(images), "labels": codes}
    return batch, {"target": codes[permutation], "mix": share}


def _gan(of: EditingGame, its: Mapping[str, Any], rate: Any, rate_of_generator: Any = None) -> GAN:
    """The reference's game, with rates that are shares of its own, by the update from 0."""

    def adam(start: float, share: Any) -> Any:
        return schedules.adam(
            lambda update: start * share(update),
            its["beta1"],
            its["beta2"],
            images_per_update=1,
            epsilon=1e-8,
        )

    return editing_gan(
        of.generator,
        of.discriminator,
        adam(its["g_lr"], rate_of_generator or rate),
        adam(its["d_lr"], rate),
        discriminator_steps=1,
        **{
            field.name: getattr(of, field.name)
            for field in dataclasses.fields(of)
            if field.name not in ("generator", "discriminator")
        },
    )


def _judged(of: EditingGame, params: PyTree, images: jax.Array) -> tuple[jax.Array, jax.Array]:
    return of.discriminator.apply({"params": params}, images)  # type: ignore[return-value]


def _edited(of: EditingGame, state: TrainState, images: Any, codes: Any) -> jax.Array:
    labels = of.coding.encode(codes)
    return of.generator.apply(state.variables("generator"), images, labels)  # type: ignore[return-value]


def _made(of: EditingGame, state: TrainState, batch: PyTree, noise: PyTree) -> dict[str, Any]:
    """The images and the judgements of a batch."""
    real, params = batch["images"], state.players["discriminator"].params
    fake = _edited(of, state, real, noise["target"])
    share = noise["mix"][:, None, None, None]
    squared = losses.squared_gradient_norm(
        lambda images: jnp.sum(_judged(of, params, images)[0], axis=(1, 2)),
        share * real + (1 - share) * fake,
    )
    return {
        "fake": fake,
        "reconstruction": _edited(of, state, fake, batch["labels"]),
        "judged_real": _judged(of, params, real),
        "judged_fake": _judged(of, params, fake),
        "gradient_norm": jnp.sqrt(squared),
    }


def _penalty(
    of: EditingGame, state: TrainState, params: PyTree, batch: PyTree, noise: PyTree
) -> jax.Array:
    """The gradient penalty alone, without its weight."""
    return losses.gradient_penalty(
        lambda images: jnp.sum(_judged(of, params, images)[0], axis=(1, 2)),
        batch["images"],
        _edited(of, state, batch["images"], noise["target"]),
        noise["mix"],
    )


def _terms(
    of: EditingGame, state: TrainState, batch: PyTree, noise: PyTree
) -> dict[str, jax.Array]:
    """The reference's terms of both losses by their names there, without weights."""
    params = state.players["discriminator"].params
    made = _made(of, state, batch, noise)
    (real, of_real), (fake, of_fake) = made["judged_real"], made["judged_fake"]
    return {
        "d_real": -jnp.mean(real),
        "d_fake": jnp.mean(fake),
        "d_cls": of.coding.cross_entropy(of_real, batch["labels"]),
        "d_gp": _penalty(of, state, params, batch, noise),
        "g_fake": -jnp.mean(fake),
        "g_rec": jnp.mean(jnp.abs(batch["images"] - made["reconstruction"])),
        "g_cls": of.coding.cross_entropy(of_fake, noise["target"]),
    }


def _of_samples(coding: Coding, codes: np.ndarray) -> np.ndarray:
    """The labels of the reference's sample pictures: [targets, batch, numbers of the set].

    Each class of a single attribute in turn; of several attributes each in turn the other class,
    but a colour of hair is always a yes.
    """
    if isinstance(coding, _Part):
        coding = coding.own
    own = jnp.asarray(codes)
    if isinstance(coding, _OneOf):
        (name, names), *_ = coding.classes
        return np.stack(
            [coding.encode(coding.changed(own, name, code)) for code in range(len(names))]
        )
    columns = []
    for i, name in enumerate(coding.names):
        flipped = own.at[:, i].set(1 - own[:, i])
        columns.append(coding.changed(own, name, 1) if name in HAIR_COLOURS else flipped)
    return np.stack([coding.encode(column) for column in columns])


class _OneOf(Coding):
    """A coding of a single attribute as a one-hot vector, even of two classes."""

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(names) for _, names in self.classes)


@dataclasses.dataclass(frozen=True)
class _Part(Coding):
    """The labels of one of two data sets: zeros in the place of the other's, and a mask of two.

    Attributes:
        own: the coding of the set.
        first: where the set's numbers begin.
        total: the numbers of both sets.
        position: of the set's 1 in the mask.
    """

    own: Coding
    first: int
    total: int
    position: int

    @property
    def size(self) -> int:
        return self.total

    def encode(self, codes: jax.Array) -> jax.Array:
        own = self.own.encode(codes)
        mask = jnp.zeros((len(own), 2)).at[:, self.position].set(1)
        after = self.total - self.first - self.own.size
        return jnp.concatenate([jnp.pad(own, ((0, 0), (self.first, after))), mask], axis=1)

    def split(self, numbers: jax.Array) -> Iterator[jax.Array]:
        return self.own.split(numbers[:, self.first : self.first + self.own.size])


def _sets(its: Mapping[str, Any]) -> dict[str, Coding]:
    """The coding of each data set of a case, by the set's name in it."""
    binary = Coding(tuple((name, YES_OR_NO) for name in its["selected_attrs"]))

    def one_of(count: int) -> Coding:
        return _OneOf((("label", tuple(map(str, range(count)))),))

    if its["dataset"] == "CelebA":
        return {"celeba": binary}
    if its["dataset"] == "RaFD":
        return {"rafd": one_of(its["c_dim"])}
    single = one_of(its["c2_dim"])
    total = binary.size + single.size
    return {
        "celeba": _Part(binary.classes, binary, 0, total, 0),
        "rafd": _Part(single.classes, single, binary.size, total, 1),
    }
