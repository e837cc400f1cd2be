"""BigGAN beside the authors' PyTorch code (ajbrock/BigGAN-PyTorch)."""

import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import game, schedules
from jaxgan.game import GAN, TrainState
from jaxgan.layers.spectral import SPECTRAL
from jaxgan.layers.training_call import call
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.biggan.drawing import standing_statistics
from jaxgan.systems.biggan.losses import BigGame, big_gan, orthogonal_regularisation
from jaxgan.systems.biggan.networks import (
    Discriminator,
    Generator,
    discriminator_steps,
    generator_steps,
    num_doublings,
    vectors_of_classes,
)
from jaxgan.systems.reference import (
    Case,
    Compared,
    Entry,
    Exported,
    Imported,
    Shape,
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
)

PyTree = Any
Path = tuple[str, ...]
_GENERATOR = "a generator of BigGAN's PyTorch code"
_DISCRIMINATOR = "a discriminator of BigGAN's PyTorch code"
# The authors' own batch normalisation is a layer inside of the others.
_INNER_NORM = re.compile(r"\.bn\.(?=stored_|accumulation_)")
_COUNTER = "accumulation_counter"
_BOTTOM = 4
_ORTHO = 1e-4
# Tolerances: shares of the largest number of an array, but for losses.
_OUTPUT = {"absolute": 1e-4}
_LOSS = {"absolute": 1e-6, "relative": 1e-5}
_BUFFER, _GRADIENT, _REGULARISATION = 1e-4, 1e-4, 1e-5
# A norm's tolerance is a share of itself and of a thousandth of the network's largest norm, to
# which the reference's own numbers have been checked.
_NORM, _SMALL = 1e-4, 1e-3
# After steps of Adam. The largest difference that was measured in three steps is 1e-6, but for the
# biases that have no gradient.
_TRAINED = 1e-5


def generator_table(generator: Generator) -> Table:
    """An entry for each key of the reference's generator."""
    table: dict[str, Entry] = {}
    classes = sum(generator.num_classes) or 1
    shared = generator.shared_size
    steps = generator_steps(generator.image_shape, generator.depth)
    width = generator.width
    first, told = generator.latent_size, shared or classes
    if generator.is_hierarchical and generator.depth:
        first = told = first + shared
    elif generator.is_hierarchical:
        first //= len(steps) + 1
        told += first
    if shared:
        table["shared.weight"] = Entry((classes, shared), ("params", "shared", "embedding"))

    channels = steps[0].before * width
    count = num_doublings(generator.image_shape)
    height, breadth = (side >> count for side in generator.image_shape[:2])

    def of_map(units: np.ndarray) -> np.ndarray:
        """The reference's units are ordered by channel, row and column; here channels are last."""
        rest = units.shape[1:]
        units = units.reshape(channels, height, breadth, *rest)
        return np.moveaxis(units, 0, 2).reshape(-1, *rest)

    units = channels * height * breadth
    _spectral(table, "linear", (units, first), ("linear",), lambda weight: of_map(weight).T)
    for end in ("bias", "u0"):
        entry = table[f"linear.{end}"]
        table[f"linear.{end}"] = entry._replace(convert=lambda x: of_map(x.reshape(-1)))

    def norm(key: str, width: int, path: Path) -> None:
        for end, kind in (("stored_mean", "mean"), ("stored_var", "var")):
            table[f"{key}.{end}"] = Entry((width,), ("batch_stats", *path, kind))

    for i, step in enumerate(steps):
        before, after = width * step.before, width * step.after
        hidden = before // 4
        sizes: list[tuple[str, int, int, int]]
        if generator.depth:
            norms = [before, hidden, hidden, hidden]
            sizes = [("conv1", hidden, before, 1), ("conv2", hidden, hidden, 3)]
            sizes += [("conv3", hidden, hidden, 3), ("conv4", after, hidden, 1)]
        else:
            norms = [before, after]
            sizes = [("conv1", after, before, 3), ("conv2", after, after, 3)]
            sizes += [("conv_sc", after, before, 1)]
        key, block = f"blocks.{i}.0", f"block_{i}"
        _convolutions(table, key, block, sizes)
        for j, each in enumerate(norms):
            own = f"bn{j + 1}"
            norm(f"{key}.{own}", each, (block, own, "norm"))
            for name in ("gain", "bias"):
                path = (block, own, name)
                if shared:
                    _spectral(table, f"{key}.{own}.{name}", (each, told), path, has_bias=False)
                else:
                    table[f"{key}.{own}.{name}.weight"] = Entry(
                        (classes, each), ("params", *path, "embedding")
                    )
        if step.side in generator.attention:
            _attention(table, f"blocks.{i}.1", f"attention_{i}", after)
    last = width * steps[-1].after
    norm("output_layer.0", last, ("norm",))
    table["output_layer.0.gain"] = Entry((last,), ("params", "norm", "scale"))
    table["output_layer.0.bias"] = Entry((last,), ("params", "norm", "bias"))
    _convolution(table, "output_layer.2", (generator.image_shape[-1], last, 3), ("image",))
    return table


def discriminator_table(discriminator: Discriminator) -> Table:
    """An entry for each key of the reference's discriminator."""
    table: dict[str, Entry] = {}
    stages = discriminator_steps(discriminator.image_shape, discriminator.depth)
    width, channels = discriminator.width, discriminator.image_shape[-1]
    if discriminator.depth:
        first = width * stages[0][0].before
        _convolution(table, "input_conv", (first, channels, 3), ("input",))
    after = 0
    for i, stage in enumerate(stages):
        for j, step in enumerate(stage):
            before, after = width * step.before or channels, width * step.after
            hidden = after // 4
            sizes: list[tuple[str, int, int, int]]
            if discriminator.depth:
                sizes = [("conv1", hidden, before, 1), ("conv2", hidden, hidden, 3)]
                sizes += [("conv3", hidden, hidden, 3), ("conv4", after, hidden, 1)]
                if after > before:
                    sizes.append(("conv_sc", after - before, before, 1))
            else:
                sizes = [("conv1", after, before, 3), ("conv2", after, after, 3)]
                if before != after or step.resamples:
                    sizes.append(("conv_sc", after, before, 1))
            name = f"block_{i}_{j}" if discriminator.depth else f"block_{i}"
            _convolutions(table, f"blocks.{i}.{j}", name, sizes)
            if step.side in discriminator.attention:
                _attention(table, f"blocks.{i}.{len(stage)}", f"attention_{i}", after)
    _spectral(table, "linear", (1, after), ("linear",))
    classes = sum(discriminator.num_classes) or 1
    _spectral(table, "embed", (classes, after), ("embed",), np.asarray, has_bias=False)
    table["embed.weight"] = table["embed.weight"]._replace(path=("params", "embed", "embedding"))
    return table


def _spectral(
    table: dict[str, Entry],
    key: str,
    shape: Shape,
    path: Path,
    convert: Any = np.transpose,
    has_bias: bool = True,
) -> None:
    """The entries of a layer with spectral norm, whose weight has the outputs first."""
    table[f"{key}.weight"] = Entry(shape, ("params", *path, "kernel"), convert)
    if has_bias:
        table[f"{key}.bias"] = Entry(shape[:1], ("params", *path, "bias"))
    table[f"{key}.u0"] = Entry((1, shape[0]), (SPECTRAL, *path, "u"), np.ravel)
    table[f"{key}.sv0"] = Entry((1,), (SPECTRAL, *path, "sigma"), lambda x: x.reshape(()))


def _convolution(
    table: dict[str, Entry], key: str, sizes: tuple[int, int, int], path: Path, **options: Any
) -> None:
    """The entries of a convolution of (outputs, inputs, height of the kernel)."""
    after, before, size = sizes
    _spectral(table, key, (after, before, size, size), path, convolution, **options)


def _convolutions(
    table: dict[str, Entry], key: str, block: str, sizes: Sequence[tuple[str, int, int, int]]
) -> None:
    for name, after, before, size in sizes:
        _convolution(table, f"{key}.{name}", (after, before, size), (block, name))


def _attention(table: dict[str, Entry], key: str, name: str, channels: int) -> None:
    table[f"{key}.gamma"] = Entry((), ("params", name, "gamma"))
    for own, after, before in (
        ("theta", channels // 8, channels),
        ("phi", channels // 8, channels),
        ("g", channels // 2, channels),
        ("o", channels, channels // 2),
    ):
        _convolution(table, f"{key}.{own}", (after, before, 1), (name, own), has_bias=False)


def imported(state: StateDict) -> Imported:
    """A generator of the authors' code, such as G_ema.pth.

    Args:
        state: the state dict.

    Returns:
        The settings are those of recipe `textbook`, or `cifar` if there is no shared table of
        classes, with the sizes of the state dict. It does not tell how many blocks a map of
        BigGAN-deep has: two are taken, as in the paper. Classes get the names class_0 and so on.

    Raises:
        ValueError: the state dict is not such a generator; the message names the first key that is
            missing, extra or misshapen.
    """
    state = _plain(state)
    is_deep = "blocks.0.0.conv3.weight" in state
    blocks = 0
    while f"blocks.{blocks}.0.conv1.weight" in state:
        blocks += 1
    depth = 2 if is_deep else 0
    count, left = divmod(blocks, depth or 1)
    if left or not 1 <= count <= 7:
        raise ValueError(
            f"this is not {_GENERATOR}: it has {blocks} blocks, for 1 to 7 doublings"
            + (" of two blocks each" if is_deep else "")
        )
    units, first = shape_of(state, "linear.weight", 2, _GENERATOR)
    channels, *_ = shape_of(state, "output_layer.2.weight", 4, _GENERATOR)
    side = _BOTTOM << count
    image_shape = (side, side, channels)
    widths = generator_steps(image_shape, depth)[0].before * _BOTTOM**2
    if units % widths or channels not in (1, 3):
        raise ValueError(
            f"this is not {_GENERATOR}: it makes images of {channels} channels, and its first map "
            f"has {units} numbers, which are no multiple of {widths}"
        )
    if "shared.weight" in state:
        classes, shared = shape_of(state, "shared.weight", 2, _GENERATOR)
        _, told = shape_of(state, "blocks.0.0.bn1.gain.weight", 2, _GENERATOR)
    else:
        classes, told = shape_of(state, "blocks.0.0.bn1.gain.weight", 2, _GENERATOR)
        shared = told = 0
    is_hierarchical = told > shared
    latent_size = first
    if is_hierarchical:
        latent_size = first - shared if is_deep else first * (blocks + 1)
    attention = tuple(
        (2 * _BOTTOM) << (i // (depth or 1))
        for i in range(blocks)
        if f"blocks.{i}.1.gamma" in state
    )
    config = BigGANConfig(
        recipe="textbook" if shared else "cifar",
        dataset="published",
        image_shape=image_shape,
        attributes=("label",),
        classes=(("label", tuple(f"class_{i}" for i in range(classes))),),
        latent_size=latent_size,
        shared_size=shared,
        hierarchical=is_hierarchical,
        width=units // widths,
        discriminator_width=units // widths,
        generator_attention=attention or (0,),
        # That of the discriminator is not known.
        discriminator_attention=(0,),
        depth=depth,
    )
    return Imported(config, carried_over(*_with_sigmas(state, generator_table(config.generator()))))


def imported_discriminator(state: StateDict, config: BigGANConfig) -> tuple[BigGANConfig, PyTree]:
    """A discriminator of the authors' code, such as D.pth, of the run of a generator.

    Args:
        state: the state dict.
        config: the settings of the generator, from `imported`.

    Returns:
        (the settings with the discriminator's width and attention, its variables).

    Raises:
        ValueError: the state dict is not such a discriminator.
    """
    key = "input_conv.weight" if config.depth else "blocks.0.0.conv1.weight"
    channels, *_ = shape_of(state, key, 4, _DISCRIMINATOR)
    stages = discriminator_steps(config.image_shape, config.depth)
    first = stages[0][0].before if config.depth else stages[0][0].after
    attention = {
        stage[-1].side
        for i, stage in enumerate(stages)
        if f"blocks.{i}.{len(stage)}.gamma" in state
    }
    changes: dict[str, Any] = {
        "discriminator_width": channels // first,
        "discriminator_attention": tuple(sorted(attention)) or (0,),
    }
    config = dataclasses.replace(config, **changes)
    table = discriminator_table(config.discriminator())
    return config, carried_over(*_with_sigmas(state, table))


def exported(config: BigGANConfig, players: Mapping[str, PyTree]) -> Exported:
    """Trained networks as the authors' code names them.

    Args:
        config: the settings that they were trained with.
        players: the variables of "generator", and of "discriminator" if it is wanted too.

    Returns:
        State dicts "G" and "D" of float32 arrays, and the arguments of the constructors in the
        authors' BigGAN.py, or BigGANdeep.py with --depth. `imported` and `imported_discriminator`
        make the same variables of them.

    Raises:
        ValueError: the authors' networks make no images of this shape, or have no such labels.
    """
    height, width, channels = config.image_shape
    if height != width or height & (height - 1) or channels != 3:
        shape = "x".join(map(str, config.image_shape))
        raise ValueError(
            f"the authors' code makes square colour images of 32, 64 and so on pixels, not {shape}"
        )
    if len(config.num_classes) > 1:
        names = " ".join(config.attribute_names)
        raise ValueError(f"the authors' networks are told a single label, not {names}")
    generator = config.generator()

    def attention(heights: tuple[int, ...]) -> str:
        return "_".join(map(str, heights)) or "0"

    shared = {
        "resolution": height,
        "n_classes": sum(config.num_classes) or 1,
        "SN_eps": config.spectral_epsilon,
        # Nothing is to be drawn or trained: weights are loaded, and no optimiser is made.
        "skip_init": True,
        "no_optim": True,
    }
    arguments: dict[str, dict[str, Any]] = {
        "G": {
            "G_ch": config.width,
            "dim_z": generator.latent_size,
            "G_attn": attention(generator.attention),
            "G_shared": bool(config.shared_size),
            "shared_dim": config.shared_size,
            "hier": bool(config.hierarchical),
            "BN_eps": config.norm_epsilon,
            **shared,
        },
        "D": {
            "D_ch": config.discriminator_width,
            "D_attn": attention(config.discriminator().attention),
            **shared,
        },
    }
    if config.depth:
        for net, its in arguments.items():
            its[f"{net}_depth"] = config.depth
    tables = {
        "G": ("generator", generator_table(generator)),
        "D": ("discriminator", discriminator_table(config.discriminator())),
    }
    states = {
        net: state_dict(players[player], table)
        for net, (player, table) in tables.items()
        if player in players
    }
    return Exported(states, {net: arguments[net] for net in states})


def _plain(state: StateDict) -> StateDict:
    """A state dict whose batch normalisations are the usual ones."""
    names = {key: _INNER_NORM.sub(".", key) for key in state}
    return {name: state[key] for key, name in names.items() if not name.endswith(_COUNTER)}


def _with_sigmas(state: StateDict, table: Table) -> tuple[StateDict, Table]:
    """Weights that were converted from the paper's own have no logged sigmas: they become 1."""
    missing = {key for key in table if key.endswith(".sv0") and key not in state}
    return {**state, **{key: np.ones(1, np.float32) for key in missing}}, table


def why_not_compared(name: str) -> str | None:
    """Why an array of a case is not compared; None if it is."""
    stem, _, last = name.rpartition("/")
    if last == "config_json" and stem in ("", "step"):
        return "a setting"
    if last.endswith(".names"):
        return "the names of the numbers of another array"
    inputs: Mapping[str, tuple[str, ...]] = {
        "": ("z", "y", "real_uint8_nchw", "y_real"),
        "standing": ("z", "y", "test_z", "test_y"),
        "step": ("z", "y", "real_uint8_nchw", "y_real"),
    }
    return "an input" if last in inputs.get(stem, ()) else None


def compared(case: Case) -> Iterator[Compared]:
    """What jaxgan computes of a case of the authors' code.

    Args:
        case: case.npz with its inputs and outputs, weights.pt with {"G": state dict, "D": state
            dict}, and after_steps.pt of a training.

    Raises:
        ValueError, KeyError: the case lacks something, or its weights are of another network.
    """
    its = json.loads(str(case.arrays["config_json"]))
    weights = case.states["weights"]
    generator, discriminator = _networks(its, weights["G"])
    tables = {"G": generator_table(generator), "D": discriminator_table(discriminator)}
    variables = {net: carried_over(weights[net], table) for net, table in tables.items()}
    of = BigGame(generator, discriminator)
    players = {"generator": variables["G"], "discriminator": variables["D"]}
    if "z" in case.arrays:
        yield from _of_batch(case.arrays, of, players, tables)
    if "standing/z" in case.arrays:
        yield from _standing(case.arrays, generator, variables["G"], tables["G"])
    if "step/z" in case.arrays:
        yield from _trained(case, its, of, players, tables)


def _networks(its: Mapping[str, Any], weights: StateDict) -> tuple[Generator, Discriminator]:
    """The networks of a case's configuration."""
    shape = (its["resolution"], its["resolution"], 3)
    deep = its.get("deep", False)
    is_shared = its["G_shared"]
    is_hierarchical = bool(its["hier"] and is_shared)
    latent_size = its["dim_z"]
    if is_hierarchical and not deep:
        parts = len(generator_steps(shape)) + 1
        latent_size = latent_size // parts * parts

    def attention(text: str) -> tuple[int, ...]:
        return tuple(int(side) for side in str(text).split("_") if int(side))

    generator = Generator(
        latent_size=latent_size,
        width=its["G_ch"],
        image_shape=shape,
        num_classes=(its["n_classes"],),
        # The size that is asked for may be 0, which stands for the latents'.
        shared_size=shape_of(weights, "shared.weight", 2, _GENERATOR)[1] if is_shared else 0,
        is_hierarchical=is_hierarchical,
        attention=attention(its["G_attn"]),
        depth=its["G_depth"] if deep else 0,
        spectral_epsilon=its["SN_eps"],
        norm_epsilon=its["BN_eps"],
    )
    discriminator = Discriminator(
        width=its["D_ch"],
        image_shape=shape,
        num_classes=(its["n_classes"],),
        attention=attention(its["D_attn"]),
        depth=its["D_depth"] if deep else 0,
        spectral_epsilon=its["SN_eps"],
    )
    return generator, discriminator


def _near(name: str, ours: Any, theirs: np.ndarray, share: float) -> Compared:
    """A comparison whose tolerance is a share of the largest number."""
    return Compared(name, ours, absolute=share * float(np.abs(theirs).max(initial=0)))


def _packed(
    name: str,
    arrays: Mapping[str, np.ndarray],
    ours: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of several arrays as a case has them: (ours, theirs), in its order."""
    mine, theirs, first = [], [], 0
    for key, shape in json.loads(str(arrays[f"{name}.names"])):
        array = np.asarray(ours[key], np.float64)
        if array.shape != tuple(shape):
            raise ValueError(f"{name}: {key} has the shape {array.shape}, not {tuple(shape)}")
        mine.append(array.ravel())
        theirs.append(arrays[name][first : first + array.size])
        first += array.size
    return np.concatenate(mine), np.concatenate(theirs)


def _buffers(
    name: str,
    arrays: Mapping[str, np.ndarray],
    params: PyTree,
    collections: PyTree,
    table: Table,
    more: Mapping[str, np.ndarray] = {},
) -> Compared:
    """The buffers of a network after calls in training."""
    ours = state_dict({"params": params, **collections}, table)
    packed, _ = _packed(name, arrays, {**ours, **more})
    return Compared(name, packed, absolute=_BUFFER, relative=_BUFFER)


def _of_batch(
    arrays: Mapping[str, np.ndarray],
    of: BigGame,
    players: Mapping[str, PyTree],
    tables: Mapping[str, Table],
) -> Iterator[Compared]:
    """What jaxgan computes of one batch."""
    noise, batch = _noise(arrays["z"], arrays["y"]), _batch(arrays)
    gan = _gan(of)
    state = first_state(gan, players)
    made = jax.jit(functools.partial(_evaluated, of))(state, batch, noise)
    if "eval/embedding" in arrays:
        yield Compared("eval/embedding", made["embedding"], **_OUTPUT)
    yield Compared("eval/fake", channels_first(made["fake"]), **_OUTPUT)
    for name in ("d_fake", "d_real"):
        yield Compared(f"eval/{name}", made[name], **_OUTPUT)

    turns = dict(zip("DG", gan.turns, strict=True))

    @jax.jit
    def of_turns(state: TrainState, batch: PyTree, noise: PyTree) -> tuple[Any, ...]:
        # One program for all: what its parts share is computed and compiled once.
        slopes = {net: gradients(turn, state, batch, noise) for net, turn in turns.items()}
        return (
            _judged(of, state, batch, noise),
            turns["G"].loss(state, batch, noise, None),
            slopes,
        )

    (fake, logits, moved), (value, outcome), slopes = of_turns(state, batch, noise)
    yield Compared("train/fake", channels_first(fake), **_OUTPUT)
    fake_logits, real_logits = jnp.split(logits, (len(fake),))
    yield Compared("train/d_fake", fake_logits, **_OUTPUT)
    yield Compared("train/d_real", real_logits, **_OUTPUT)
    names = {"G": "generator", "D": "discriminator"}
    for net, player in names.items():
        params = players[player]["params"]
        yield _buffers(f"train/{net}", arrays, params, moved[player], tables[net])
    halves = _halves(logits, len(fake))
    for name, half in zip(("d_real", "d_fake"), halves, strict=True):
        yield Compared(f"loss/{name}", np.float64(half), **_LOSS)
    yield Compared("loss/g", np.float64(value), **_LOSS)
    params = players["discriminator"]["params"]
    moved_again = outcome.collections["discriminator"]
    yield _buffers("train_g_turn/D", arrays, params, moved_again, tables["D"])

    regularised = orthogonal_regularisation(_ORTHO)
    for net, player in names.items():
        own, table = players[player], tables[net]
        yield from _of_slopes("grad", net, slopes[net], own, table, arrays, _GRADIENT)
        zeros = jax.tree.map(np.zeros_like, own["params"])
        added = jax.jit(regularised.update)(zeros, optax.EmptyState(), own["params"])[0]
        yield from _of_slopes("ortho", net, added, own, table, arrays, _REGULARISATION)


def _evaluated(of: BigGame, state: TrainState, batch: PyTree, noise: PyTree) -> dict[str, Any]:
    """What both networks give in evaluation."""
    generator, discriminator = map(state.variables, ("generator", "discriminator"))
    fake: Any = of.generator.apply(generator, noise["latent"], noise["labels"])

    def judged(images: jax.Array, labels: jax.Array) -> Any:
        return of.discriminator.apply(discriminator, images, labels)

    return {
        "embedding": vectors_of_classes(generator, noise["labels"], of.generator),  # type: ignore[arg-type]
        "fake": fake,
        "d_fake": judged(fake, noise["labels"]),
        "d_real": judged(batch["images"], batch["labels"]),
    }


def _of_slopes(
    kind: str,
    net: str,
    slopes: PyTree,
    variables: PyTree,
    table: Table,
    arrays: Mapping[str, np.ndarray],
    share: float,
) -> Iterator[Compared]:
    """The norms of gradients, in the order that the case names, and some gradients as a whole."""
    name = f"{kind}_norm/{net}"
    lengths, theirs = _packed(name, arrays, gradient_norms(slopes, table))
    yield Compared(name, lengths, absolute=_NORM * _SMALL * theirs.max(), relative=_NORM)
    for key, slope in state_dict({**variables, "params": slopes}, table).items():
        if (name := f"{kind}/{net}/{key}") in arrays:
            yield _near(name, slope, arrays[name], share)


def _standing(
    arrays: Mapping[str, np.ndarray], generator: Generator, variables: PyTree, table: Table
) -> Iterator[Compared]:
    """Statistics gathered by several calls, and images that they give."""
    latents, labels = arrays["standing/z"], arrays["standing/y"].astype(np.int32)[..., None]
    count = len(latents)
    gathered = jax.jit(functools.partial(standing_statistics, generator=generator))(
        variables, latents, labels
    )
    sums = {
        **gathered,
        "batch_stats": jax.tree.map(lambda x: count * x, gathered["batch_stats"]),
    }
    counters = {
        key: np.array([count])
        for key, _ in json.loads(str(arrays["standing/G.names"]))
        if key.endswith(_COUNTER)
    }
    collections = {kind: its for kind, its in sums.items() if kind != "params"}
    yield _buffers("standing/G", arrays, variables["params"], collections, table, counters)
    noise = _noise(arrays["standing/test_z"], arrays["standing/test_y"])
    fake = jax.jit(generator.apply)(gathered, noise["latent"], noise["labels"])
    yield Compared("standing/fake", channels_first(fake), **_OUTPUT)


def _trained(
    case: Case,
    its: Mapping[str, Any],
    of: BigGame,
    players: Mapping[str, PyTree],
    tables: Mapping[str, Table],
) -> Iterator[Compared]:
    """The losses of the reference's own training, and the variables after it."""
    own = json.loads(str(case.arrays["step/config_json"]))
    parts = {"D": own["num_D_accumulations"], "G": own["num_G_accumulations"]}
    size, turns = own["batch_size"], own["num_D_steps"]
    gans = {net: _gan(of, {**its, **own}, count) for net, count in parts.items()}
    update = {
        net: jax.jit(functools.partial(game.take_turn, gan, gan.turns["DG".index(net)]))
        for net, gan in gans.items()
    }
    end = jax.jit(functools.partial(game.end_step, gans["G"]))
    judged = jax.jit(functools.partial(_judged, of))
    generate = jax.jit(of.generator_loss, static_argnums=3)
    state = first_state(gans["D"], players)
    rows = []
    for i in range(own["iterations"]):
        images = channels_last(case.arrays["step/real_uint8_nchw"][i])
        labels = case.arrays["step/y_real"][i].astype(np.int32)[:, None]
        noises = [
            _noise(z, y)
            for z, y in zip(case.arrays["step/z"][i], case.arrays["step/y"][i], strict=True)
        ]
        batches = [
            {"images": images[first : first + size], "labels": labels[first : first + size]}
            for first in range(0, len(images), size)
        ]
        row = np.zeros(3)
        for turn in range(turns):
            which = slice(turn * parts["D"], (turn + 1) * parts["D"])
            # The discriminator's turn takes the first of the latents, if there are more.
            drawn = [jax.tree.map(lambda x: x[:size], noise) for noise in noises[which]]
            current = state
            for batch, noise in zip(batches[which], drawn, strict=True):
                _, logits, moved = judged(current, batch, noise)
                current = _moved(current, moved)
            row[:2] = _halves(logits, size)
            state, _ = update["D"](state, _interleaved(batches[which]), _interleaved(drawn))
        drawn = noises[turns * parts["D"] :][: parts["G"]]
        current = state
        for noise in drawn:
            value, outcome = generate(current, batches[0], noise, None)
            current = _moved(current, outcome.collections)
        row[2] = value / parts["G"]
        state, _ = update["G"](state, _interleaved(drawn), _interleaved(drawn))
        state = end(state)
        rows.append(row)
    yield Compared("step/losses", np.array(rows), **_LOSS)
    noisy = _without_gradient(of.generator)  # type: ignore[arg-type]
    variables = {
        "G": state.variables("generator"),
        "D": state.variables("discriminator"),
        "G_ema": state.averages["generator"],
    }
    for net, held in variables.items():
        for key, array in state_dict(held, tables[net[0]]).items():
            name = f"after_steps/{net}/{key}"
            # Adam takes steps on the rounding errors of gradients that are 0 in truth.
            moved = its["G_lr"] * own["iterations"] if net[0] == "G" and key in noisy else 0.0
            yield Compared(name, array, absolute=max(moved, _TRAINED))


def _judged(
    of: BigGame, state: TrainState, batch: PyTree, noise: PyTree
) -> tuple[jax.Array, jax.Array, dict[str, PyTree]]:
    """One call of each network in training, as in the discriminator's turn.

    Returns:
        (fakes; logits of the fakes and of the real images; the collections of both networks).
    """
    variables = {name: state.variables(name) for name in state.players}
    fake, of_generator = call(
        of.generator, variables["generator"], noise["latent"], noise["labels"], axis_name=None
    )
    images = jnp.concatenate([fake, batch["images"]])
    labels = jnp.concatenate([noise["labels"], batch["labels"]])
    logits, collections = call(
        of.discriminator, variables["discriminator"], images, labels, axis_name=None
    )
    return fake, logits, {"generator": of_generator, "discriminator": collections}


def _halves(logits: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The hinge losses of the real images and of the fakes, of which there are `count`."""
    fake, real = jnp.split(logits, (count,))
    return jnp.mean(jax.nn.relu(1 - real)), jnp.mean(jax.nn.relu(1 + fake))


def _gan(of: BigGame, its: Mapping[str, Any] = {}, parts: int = 1) -> GAN:
    """The reference's game; without settings only its losses are of use."""

    def adam(net: str) -> Any:
        return schedules.adam(
            its.get(f"{net}_lr", 1e-4),
            its.get(f"{net}_B1", 0.0),
            its.get(f"{net}_B2", 0.999),
            images_per_update=1,
            epsilon=its.get("adam_eps", 1e-8),
        )

    return big_gan(
        of.generator,
        of.discriminator,
        adam("G"),
        adam("D"),
        parts=parts,
        ema_decay=its.get("ema_decay", 0.0),
        ema_start=its.get("ema_start", 1),
        generator_ortho=its.get("G_ortho", 0.0),
        discriminator_ortho=its.get("D_ortho", 0.0),
    )


def _noise(latents: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return {"latent": latents, "labels": labels.astype(np.int32)[:, None]}


def _batch(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    images, labels = arrays["real_uint8_nchw"], arrays["y_real"]
    return {"images": channels_last(images), "labels": labels.astype(np.int32)[:, None]}


def _interleaved(parts: Sequence[PyTree]) -> PyTree:
    """A batch whose parts, as `in_parts` makes them, are the given ones."""
    return jax.tree.map(
        lambda *arrays: np.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:]), *parts
    )


def _moved(state: TrainState, collections: Mapping[str, PyTree]) -> TrainState:
    for name, its in collections.items():
        state = state.with_player(name, collections=its)
    return state


def _without_gradient(generator: Generator) -> frozenset[str]:
    """The biases of a generator that batch normalisation takes away, and the means that see them.

    A constant that is added to a channel passes through shortcuts as a constant, up to the last
    batch normalisation. Only attention sees it.
    """
    steps = generator_steps(generator.image_shape, generator.depth)
    seen = [i for i, step in enumerate(steps) if step.side in generator.attention]
    first = max(seen, default=-1) + 1
    inner, outer = (["conv1"], ["conv2", "conv_sc"])
    if generator.depth:
        inner, outer = (["conv1", "conv2", "conv3"], ["conv4"])
    keys = set()
    for i in range(len(steps)):
        key = f"blocks.{i}.0"
        keys |= {f"{key}.{name}.bias" for name in inner + (outer if i >= first else [])}
        norms = range(1 if i > first else 2, len(inner) + 2)
        keys |= {f"{key}.bn{j}.stored_mean" for j in norms}
    return frozenset(keys | ({"output_layer.0.stored_mean"} if first < len(steps) else set()))
