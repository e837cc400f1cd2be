"""StyleGAN2 beside NVIDIA's PyTorch code (NVlabs/stylegan2-ada-pytorch)."""

import dataclasses
import functools
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan import game, schedules
from jaxgan.game import GAN, TrainState, Turn
from jaxgan.layers.equalised import (
    activated,
    modulated_convolution,
    resampling_convolution,
    with_unit_second_moment,
)
from jaxgan.layers.filtering import BINOMIAL, resample
from jaxgan.layers.minibatch import with_deviation
from jaxgan.systems.reference import (
    Case,
    Compared,
    Entry,
    Exported,
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
)
from jaxgan.systems.stylegan2 import augmentation, published
from jaxgan.systems.stylegan2.augmentation import PIPELINES, AtQuantile
from jaxgan.systems.stylegan2.config import StyleGAN2Config
from jaxgan.systems.stylegan2.losses import LENGTH, StyleGame, played
from jaxgan.systems.stylegan2.networks import (
    BUFFERS,
    LABEL_LAYERS,
    MEAN_DECAY,
    MULTIPLIER,
    Discriminator,
    Generator,
    pyramid,
)
from jaxgan.systems.stylegan2.styles import latents_of_seeds

PyTree = Any
_GENERATOR = "a generator of StyleGAN2's PyTorch code"
_FILTER = "resample_filter"
# Tolerances, as shares of the largest number of an array: ten times the differences that another
# implementation had from the same numbers.
_OPERATION, _STYLE, _IMAGE, _LOGIT, _LOSS = 2e-6, 2e-6, 1e-5, 1e-4, 1e-5
_AUGMENTED = 1e-5
# The gradients of the turns. That of R1 is tiny in some discriminators. A norm's tolerance is a
# share of itself and of a ten-thousandth of the largest norm.
_GRADIENT = {"Gmain": 2e-5, "Greg": 2e-5, "Dmain": 2e-5, "Dreg": 2e-4}
_NORM = {"Gmain": 4e-5, "Greg": 6e-3, "Dmain": 4e-5, "Dreg": 6e-3}
_SMALL = 1e-4
# Of the root mean square of an update in the steps. Adam's first steps have the size of the rate
# even where a gradient is only a rounding error, so some numbers may go the other way.
_UPDATE, _OTHER_WAY = 3e-3, 0.01
# Float32 numbers have steps of half this share. Mapping weights are 10,000 times their update.
_ROUNDING = 2.4e-7
# The seed whose latents a case has.
_SEED = re.compile(r"seed(\d+)_z")
_ADAM = {"beta1": 0.0, "beta2": 0.99, "epsilon": 1e-8}
_PHASES = ("Gmain", "Greg", "Dmain", "Dreg")
# Arguments of the official constructors that all networks here have the same.
_USUAL: Mapping[str, Any] = {
    "activation": "lrelu",
    "lr_multiplier": MULTIPLIER,
    "use_noise": True,
    "kernel_size": 3,
}
# The latents of a mean style.
_MANY = 10_000


def generator_table(generator: Generator) -> Table:
    """An entry for each key of the reference's generator, but for those of the filters."""
    table: dict[str, Entry] = {}
    style, latent, label = generator.style_size, generator.latent_size, sum(generator.num_classes)
    _mapping_entries(
        table,
        style,
        generator.mapping_layers,
        latent,
        label,
        generator.mapping_hidden,
        generator.mapping_embedded,
    )
    table["mapping.w_avg"] = Entry((style,), (BUFFERS, "mapping", "w_average"))
    (height, width), widths = pyramid(
        generator.image_shape, generator.channel_base, generator.channel_max
    )
    channels = generator.image_shape[-1]
    for i, after in enumerate(widths):
        key = f"synthesis.b{4 << i}"
        before = widths[i - 1] if i else after
        if not i:
            table[f"{key}.const"] = Entry(
                (after, height, width),
                _path(f"{key}.const"),
                lambda const: const.transpose(1, 2, 0),
            )
        for name, inputs in (("conv0", before), ("conv1", after)):
            if name == "conv0" and not i:
                continue
            layer = f"{key}.{name}"
            _convolution_entries(table, layer, inputs, after, 3)
            _dense_entries(table, f"{layer}.affine", style, inputs)
            table[f"{layer}.noise_const"] = Entry(
                (height << i, width << i), (BUFFERS, *layer.split("."), "noise")
            )
            table[f"{layer}.noise_strength"] = Entry((), _path(f"{layer}.noise_strength"))
        if i and generator.kind == "resnet":
            _convolution_entries(table, f"{key}.skip", before, after, 1, has_bias=False)
        if i == len(widths) - 1 or generator.kind == "skip":
            _convolution_entries(table, f"{key}.torgb", after, channels, 1)
            _dense_entries(table, f"{key}.torgb.affine", style, after)
    return table


def discriminator_table(discriminator: Discriminator) -> Table:
    """An entry for each key of the reference's discriminator, but for those of the filters."""
    its, table = discriminator, dict[str, Entry]()
    (height, width), widths = pyramid(its.image_shape, its.channel_base, its.channel_max)
    channels = its.image_shape[-1]
    for i in reversed(range(1, len(widths))):
        key, before, after = f"b{4 << i}", widths[i], widths[i - 1]
        if i == len(widths) - 1 or its.kind == "skip":
            _convolution_entries(table, f"{key}.fromrgb", channels, before, 1)
        _convolution_entries(table, f"{key}.conv0", before, before, 3)
        _convolution_entries(table, f"{key}.conv1", before, after, 3)
        if its.kind == "resnet":
            _convolution_entries(table, f"{key}.skip", before, after, 1, has_bias=False)
    last, label = widths[0], sum(its.num_classes)
    out = (its.label_width or last) if label else 1
    if label:
        _mapping_entries(
            table, out, its.label_layers, 0, label, its.label_hidden, its.label_embedded
        )
    if its.kind == "skip":
        _convolution_entries(table, "b4.fromrgb", channels, last, 1)
    _convolution_entries(table, "b4.conv", last + its.num_deviations, last, 3)

    def of_map(matrix: np.ndarray) -> np.ndarray:
        """The reference flattens maps by channel, row and column; here channels come last."""
        return matrix.reshape(last, last, height, width).transpose(2, 3, 1, 0).reshape(-1, last)

    _dense_entries(table, "b4.fc", last * height * width, last)
    table["b4.fc.weight"] = table["b4.fc.weight"]._replace(convert=of_map)
    _dense_entries(table, "b4.out", last, out)
    return table


def _mapping_entries(
    table: dict[str, Entry],
    width: int,
    layers: int,
    latent_size: int,
    label_size: int,
    hidden: int | None,
    embedded: int | None,
) -> None:
    before = latent_size
    if label_size:
        _dense_entries(table, "mapping.embed", label_size, embedded or width)
        before += embedded or width
    for i in range(layers):
        after = width if i == layers - 1 else hidden or width
        _dense_entries(table, f"mapping.fc{i}", before, after)
        before = after


def _dense_entries(table: dict[str, Entry], key: str, before: int, after: int) -> None:
    table[f"{key}.weight"] = Entry((after, before), _path(f"{key}.kernel"), np.transpose)
    table[f"{key}.bias"] = Entry((after,), _path(f"{key}.bias"))


def _convolution_entries(
    table: dict[str, Entry], key: str, before: int, after: int, size: int, has_bias: bool = True
) -> None:
    table[f"{key}.weight"] = Entry((after, before, size, size), _path(f"{key}.kernel"), convolution)
    if has_bias:
        table[f"{key}.bias"] = Entry((after,), _path(f"{key}.bias"))


def _path(key: str) -> tuple[str, ...]:
    return ("params", *key.split("."))


def imported(state: StateDict) -> Imported:
    """A generator of NVIDIA's PyTorch code, such as G_ema of a network-snapshot.

    Args:
        state: the state dict.

    Returns:
        The settings are those of recipe `auto`, with the sizes of the state dict. It does not tell
        the clamp of the activations: none is taken. Labels get the names class_0 and so on.

    Raises:
        ValueError: the state dict is not such a generator; the message names the first key that is
            missing, extra or misshapen, or the filter that is not StyleGAN2's.
    """
    state = _without_filters(state)
    blocks = 0
    while f"synthesis.b{4 << blocks}.conv1.weight" in state:
        blocks += 1
    widths = [
        shape_of(state, f"synthesis.b{4 << i}.conv1.weight", 4, _GENERATOR)[0]
        for i in range(max(blocks, 2))
    ]
    _, height, width = shape_of(state, "synthesis.b4.const", 3, _GENERATOR)
    last = f"synthesis.b{4 << blocks >> 1}"
    channels, *_ = shape_of(state, f"{last}.torgb.weight", 4, _GENERATOR)
    (style_size,) = shape_of(state, "mapping.w_avg", 1, _GENERATOR)
    layers = 0
    while f"mapping.fc{layers}.weight" in state:
        layers += 1
    hidden, latent_size = shape_of(state, "mapping.fc0.weight", 2, _GENERATOR)
    embedded = count = 0
    if "mapping.embed.weight" in state:
        embedded, count = shape_of(state, "mapping.embed.weight", 2, _GENERATOR)
        latent_size -= embedded
    if channels not in (1, 3) or latent_size < 1:
        raise ValueError(
            f"this is not {_GENERATOR}: it makes images of {channels} channels from latents of "
            f"{latent_size} numbers"
        )
    kind = "orig"
    if "synthesis.b4.torgb.weight" in state:
        kind = "skip"
    elif "synthesis.b8.skip.weight" in state:
        kind = "resnet"
    names = tuple(f"class_{i}" for i in range(count))
    config = StyleGAN2Config(
        recipe="auto",
        dataset="published",
        image_shape=(height << (blocks - 1), width << (blocks - 1), channels),
        conditional=bool(count),
        attributes=("label",) if count else (),
        classes=(("label", names),) if count else (),
        latent_size=latent_size,
        style_size=style_size,
        mapping_layers=layers,
        mapping_hidden=hidden if layers > 1 and hidden != style_size else 0,
        mapping_embedded=embedded if embedded != style_size else 0,
        # The widths of the largest blocks tell the base, that of the smallest the bound.
        channel_base=widths[-1] * (4 << (blocks - 1)),
        channel_max=max(widths),
        generator_kind=kind,
        clamp=0.0,
    )
    return Imported(config, carried_over(state, generator_table(config.generator())))


def imported_file(path: str) -> Imported:
    """The networks of a file of NVIDIA's PyTorch code, or of its usual port.

    Args:
        path: as in `published.read`.

    Returns:
        As `imported`, with the clamp and the sizes of groups that the file tells. The averaged
        generator, and the discriminator if there is one of the settings' form. If the file has no
        mean style (checkpoints of the port's training), it is the mean of 10,000 latents' styles.

    Raises:
        FileNotFoundError, OSError: as `published.read`.
        ValueError: as `published.read`; or the generator is none that the settings describe.
    """
    found = published.read(path)
    state, arguments = found[published.GENERATOR]
    if wrong := _of_other_kind(arguments):
        raise ValueError(f"this is not {_GENERATOR} with its usual layers: {wrong}")
    has_mean = published.MEAN_STYLE in state
    if not has_mean:
        (style_size,) = shape_of(state, "mapping.fc0.bias", 1, _GENERATOR)
        state = {**state, published.MEAN_STYLE: np.zeros(style_size, np.float32)}
    config, generator, _ = imported(state)
    assert isinstance(config, StyleGAN2Config)
    # StyleGAN3's code has StyleGAN2's networks too, cut by default.
    default = 256 if "fused_modconv_default" in arguments else None
    clamp = arguments.get("conv_clamp", default) or 0.0
    if not isinstance(clamp, int | float) or not 0 <= clamp < 1e38:
        raise ValueError(f"conv_clamp is {reprlib.repr(clamp):.100}, no size")
    config = dataclasses.replace(config, clamp=float(clamp))
    if not has_mean:
        latents = jnp.asarray(latents_of_seeds([0], _MANY * config.latent_size))
        styles: Any = config.generator().apply(
            generator, latents.reshape(_MANY, config.latent_size), method="style"
        )
        generator[BUFFERS]["mapping"]["w_average"] = np.mean(styles, axis=0)
    if published.DISCRIMINATOR not in found:
        return Imported(config, generator)
    try:
        return Imported(*_with_discriminator(config, generator, found[published.DISCRIMINATOR]))
    except ValueError:
        # A discriminator of another form trains no further here; the images need none.
        return Imported(config, generator)


def _with_discriminator(
    config: StyleGAN2Config, generator: PyTree, network: published.Network
) -> tuple[StyleGAN2Config, PyTree, PyTree]:
    """The settings with those of a discriminator, and both players.

    Raises:
        ValueError: it is none that the settings describe.
    """
    state, arguments = network
    if wrong := _of_other_kind(arguments):
        raise ValueError(wrong)
    kind = "orig"
    if "b4.fromrgb.weight" in state:
        kind = "skip"
    elif "b8.skip.weight" in state:
        kind = "resnet"
    size = arguments.get("mbstd_group_size", config.group_size)
    if type(size) is not int or size < 1:
        raise ValueError(f"mbstd_group_size is {reprlib.repr(size):.100}, no size")
    config = dataclasses.replace(
        config,
        discriminator_kind=kind,
        group_size=size,
        batch_size=size * max(1, config.batch_size // size),
    )
    table = discriminator_table(config.discriminator())
    return config, generator, carried_over(_without_filters(state), table)


def _of_other_kind(arguments: Mapping[str, Any]) -> str:
    """How the layers of a network differ from all that are known here; "" if they do not."""
    for name, usual in _USUAL.items():
        if arguments.get(name, usual) != usual:
            return f"{name} is {reprlib.repr(arguments[name]):.100}, not {usual!r}"
    return ""


def exported(config: StyleGAN2Config, players: Mapping[str, PyTree]) -> Exported:
    """Trained networks as NVIDIA's PyTorch code names them.

    Args:
        config: the settings that they were trained with.
        players: the variables of "generator", and of "discriminator" if it is wanted too.

    Returns:
        State dicts "G_ema" and "D" of float32 arrays, with the filters, so that the official
        modules' `load_state_dict` takes them; and their constructors' arguments. `imported` makes
        the same variables of the state dict.

    Raises:
        ValueError: the official networks make no images of this shape.
    """
    height, width, channels = config.image_shape
    if height != width or height & (height - 1):
        raise ValueError(
            f"NVIDIA's code makes square images of 8, 16, 32 and so on pixels, not {height}x{width}"
        )
    if config.block_size > 1:
        raise ValueError(
            f"NVIDIA's code makes no blocks of pixels, as --block-size {config.block_size} does"
        )
    generator, discriminator = config.generator(), config.discriminator()
    shared = {
        "c_dim": sum(config.num_classes),
        "img_resolution": height,
        "img_channels": channels,
    }
    sizes = {
        "channel_base": config.channel_base,
        "channel_max": config.channel_max,
        "conv_clamp": config.clamp or None,
        "num_fp16_res": 0,
    }
    arguments: dict[str, Any] = {
        published.GENERATOR: {
            "z_dim": config.latent_size,
            "w_dim": config.style_size,
            **shared,
            "mapping_kwargs": {
                "num_layers": config.mapping_layers,
                "layer_features": generator.mapping_hidden,
                "embed_features": generator.mapping_embedded,
            },
            "synthesis_kwargs": {**sizes, "architecture": config.generator_kind},
        },
        published.DISCRIMINATOR: {
            **shared,
            **sizes,
            "architecture": config.discriminator_kind,
            "epilogue_kwargs": {"mbstd_group_size": config.group_size},
        },
    }
    tables = {
        published.GENERATOR: ("generator", generator_table(generator)),
        published.DISCRIMINATOR: ("discriminator", discriminator_table(discriminator)),
    }
    states = {
        net: _with_filters(state_dict(players[player], table))
        for net, (player, table) in tables.items()
        if player in players
    }
    return Exported(states, {net: arguments[net] for net in states})


def _with_filters(state: StateDict) -> dict[str, np.ndarray]:
    """A state dict with the filters of all blocks and convolutions that have one."""
    layers = {
        key.removesuffix(".weight")
        for key, array in state.items()
        if np.ndim(array) == 4 and not key.endswith("torgb.weight")
    }
    # The discriminator's last block, b4, has none of its own.
    blocks = {layer.rpartition(".")[0] for layer in layers} - {"b4"}
    taps = np.outer(BINOMIAL, BINOMIAL).astype(np.float32)
    return {**state, **{f"{name}.{_FILTER}": taps for name in sorted(layers | blocks)}}


def _without_filters(state: StateDict) -> StateDict:
    """A state dict without the filters, which are the same for all networks.

    Raises:
        ValueError: a filter is another one.
    """
    taps = np.outer(BINOMIAL, BINOMIAL)
    for key, array in state.items():
        if key.endswith(_FILTER) and not (
            np.shape(array) == taps.shape and np.allclose(array, taps, atol=1e-6)
        ):
            raise ValueError(f"{key} is not the filter of [1, 3, 3, 1], the only one known here")
    return {key: array for key, array in state.items() if not key.endswith(_FILTER)}


def why_not_compared(name: str) -> str | None:
    """Why an array of a case is not compared; None if it is."""
    stem, _, last = name.rpartition("/")
    inputs: Mapping[str, tuple[str, ...]] = {
        "": ("z", "c", "c_reals", "reals_uint8", "pl_noise", "pl_mean_before"),
        "steps": ("z", "c", "c_reals", "reals_uint8", "pl_noise"),
        "ops": (
            *("x", "w1", "w3", "styles", "noise_up1", "noise_up2", "b", "mbstd_x"),
            "filter_1235",
        ),
        "augment": ("images_16_uint8", "images_32_uint8", "images_grey_16_uint8", "percentiles"),
    }
    if last in inputs.get(stem, ()):
        return "an input"
    if name == "steps/phases_run":
        return "names: the steps stop with an error if jaxgan takes other turns"
    return None


def compared(case: Case) -> Iterator[Compared]:
    """What jaxgan computes of a case of NVIDIA's code.

    Args:
        case: case.npz with its inputs and outputs, case.json with "config", the constructors'
            arguments, and "gradient_names"; weights.pt with {"G": state dict, "D": state dict};
            steps.npz and steps.json of a training; ops.npz and augment.npz. Each may be absent.

    Raises:
        ValueError, KeyError: the case lacks something, or its weights are of another network.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    for name, array in case.arrays.items():
        stem, _, last = name.rpartition("/")
        parts.setdefault(stem, {})[last] = array
    computed: Mapping[str, Callable[..., Iterator[Compared]]] = {
        "ops": _operations,
        "augment": _augmentations,
    }
    for stem, of in computed.items():
        if stem in parts:
            yield from _named(of(parts[stem]), stem)
    if "" in parts or "steps" in parts:
        networks = _Networks.of(case)
        if "" in parts:
            yield from _of_case(networks, parts[""], case.settings["case"])
        if "steps" in parts:
            yield from _named(_steps(networks, parts["steps"], case.settings["steps"]), "steps")


def _named(compared: Iterator[Compared], stem: str) -> Iterator[Compared]:
    return (each._replace(name=f"{stem}/{each.name}") for each in compared)


def _near(name: str, ours: Any, theirs: np.ndarray, share: float) -> Compared:
    """A comparison whose tolerance is a share of the largest number."""
    return Compared(name, ours, absolute=share * float(np.abs(theirs).max(initial=0)))


def _nhwc(maps: np.ndarray) -> jax.Array:
    return jnp.asarray(maps.transpose(0, 2, 3, 1))


def _operations(arrays: Mapping[str, np.ndarray]) -> Iterator[Compared]:
    """The operations of ops.npz."""
    x, styles = _nhwc(arrays["x"]), jnp.asarray(arrays["styles"])
    kernels = {size: jnp.asarray(convolution(arrays[f"w{size}"])) for size in (1, 3)}
    taps = {"1331": np.array(BINOMIAL), "sym6": augmentation.SMOOTH}
    # The filter is an outer product whose sum is 1, so its rows' sums are its taps.
    taps["1235"] = np.float64(arrays["filter_1235"]).sum(axis=1)
    maps: dict[str, Callable[[], jax.Array]] = {}
    for name, each in taps.items():
        count = len(each)
        grown, shrunk = ((count + 1) // 2, (count - 2) // 2), ((count - 1) // 2, (count - 2) // 2)
        kept = count // 2, (count - 1) // 2
        by = functools.partial(resample, x, each)
        maps[f"upsample2d_{name}"] = functools.partial(
            by, up=(2, 2), padding=(grown, grown), gain=4
        )
        down = functools.partial(by, down=(2, 2), padding=(shrunk, shrunk))
        maps[f"downsample2d_{name}"] = down
        maps[f"downsample2d_{name}_flipped"] = functools.partial(down, is_flipped=True)
        maps[f"filter2d_{name}"] = functools.partial(by, padding=(kept, kept))
    maps["upfirdn2d_general"] = lambda: resample(
        x, taps["1235"], up=(3, 2), down=(2, 3), padding=((1, 4), (2, -1)), gain=1.7
    )
    for size, kernel in kernels.items():
        for end, resampling in (("", ""), ("_up2", "up"), ("_down2", "down")):
            maps[f"conv{size}{end}"] = functools.partial(
                resampling_convolution, x, kernel, resampling, jnp.float32
            )
    modulated: dict[str, Callable[[], jax.Array]] = {
        "modulated": lambda: (
            modulated_convolution(x, kernels[3], styles) + arrays["noise_up1"][..., None]
        ),
        "modulated_up2": lambda: (
            modulated_convolution(x, kernels[3], styles, resampling="up")
            + arrays["noise_up2"][..., None]
        ),
        "modulated_torgb": lambda: modulated_convolution(
            x, kernels[1], styles, is_demodulated=False
        ),
    }
    for name, of in modulated.items():
        maps |= {f"{name}_fused": of, f"{name}_unfused": of}
    biased = x + arrays["b"]
    maps["bias_lrelu"] = lambda: activated(biased)
    # The reference's gain and clamp are wholes here, not factors of the root of 2.
    root = math.sqrt(2)
    maps["bias_lrelu_gain_clamp"] = lambda: activated(biased, gain=1 / root, clamp=0.6 * root)
    maps["bias_linear_clamp"] = lambda: activated(biased, is_linear=True, clamp=0.6)
    batch = _nhwc(arrays["mbstd_x"])
    maps["mbstd_group4"] = lambda: with_deviation(batch, 4)
    maps["mbstd_group2_channels3"] = lambda: with_deviation(batch, 2, 3)
    maps["mbstd_whole"] = lambda: with_deviation(batch, None)
    made: dict[str, Any] = {
        "filter_1331": np.outer(BINOMIAL, BINOMIAL),
        "filter_sym6": taps["sym6"],
        "normalize_2nd_moment": with_unit_second_moment(jnp.asarray(arrays["x"][:, :, 0, 0])),
    }
    # One program compiles faster than each step of each operation by itself.
    wanted = {name: of for name, of in maps.items() if name in arrays}
    computed = jax.jit(lambda: {name: of() for name, of in wanted.items()})()
    made |= {name: channels_first(each) for name, each in computed.items()}
    for name, value in made.items():
        yield _near(name, value, arrays[name], _OPERATION)


def _augmentations(arrays: Mapping[str, np.ndarray]) -> Iterator[Compared]:
    """The augmentations of augment.npz, each random number at the same quantile."""
    yield _near("Hz_fbank", augmentation.filter_bank(), arrays["Hz_fbank"], _OPERATION)
    quantiles = [float(each) for each in arrays["percentiles"]]
    for operation in dict.fromkeys(name.partition(".")[0] for name in arrays if "." in name):
        whole, _, which = operation.partition("_")
        if whole in PIPELINES and which:
            operations, images = PIPELINES[whole], arrays[f"images_{which}_uint8"]
        else:
            operations = (operation,)
            images = arrays["images_32_uint8" if operation == "imgfilter" else "images_16_uint8"]
        images = channels_last(images[: len(arrays[f"{operation}.0"])])
        augmented = jax.jit(functools.partial(_at_quantile, operations))
        for i, quantile in enumerate(quantiles):
            name = f"{operation}.{i}"
            ours = channels_first(augmented(images, quantile))
            yield _near(name, ours, arrays[name], _AUGMENTED)


def _at_quantile(operations: tuple[str, ...], images: jax.Array, quantile: jax.Array) -> jax.Array:
    def of_one(image: jax.Array) -> jax.Array:
        source = AtQuantile(quantile)
        return augmentation.augmented(image, source, jnp.float32(1), operations)

    return jax.vmap(of_one)(images)


@dataclasses.dataclass(frozen=True)
class _Networks:
    """The networks of a case, and its weights."""

    generator: Generator
    discriminator: Discriminator
    gamma: float
    tables: Mapping[str, Table]
    players: Mapping[str, PyTree]

    @classmethod
    def of(cls, case: Case) -> "_Networks":
        """The networks that the case's configuration says."""
        its = case.settings["case"]["config"]
        size, classes = its["img_resolution"], its["c_dim"]
        shape = (size, size, its["img_channels"])
        num_classes = (classes,) if classes else ()
        mapping = its.get("mapping_kwargs", {})
        synthesis = its.get("synthesis_kwargs", {})
        its_d = its.get("D_kwargs", {})
        epilogue, label = its_d.get("epilogue_kwargs", {}), its_d.get("mapping_kwargs", {})
        generator = Generator(
            its["z_dim"],
            shape,
            num_classes,
            its["w_dim"],
            mapping.get("num_layers", 8),
            synthesis.get("channel_base", 32768),
            synthesis.get("channel_max", 512),
            synthesis.get("architecture", "skip"),
            synthesis.get("conv_clamp"),
            mapping_hidden=mapping.get("layer_features"),
            mapping_embedded=mapping.get("embed_features"),
            mapping_multiplier=mapping.get("lr_multiplier", MULTIPLIER),
            mean_decay=mapping.get("w_avg_beta", MEAN_DECAY),
        )
        discriminator = Discriminator(
            shape,
            num_classes,
            its_d.get("channel_base", 32768),
            its_d.get("channel_max", 512),
            its_d.get("architecture", "resnet"),
            its_d.get("conv_clamp"),
            group_size=epilogue.get("mbstd_group_size", 4),
            num_deviations=epilogue.get("mbstd_num_channels", 1),
            label_layers=label.get("num_layers", LABEL_LAYERS),
            label_width=its_d.get("cmap_dim"),
            label_hidden=label.get("layer_features"),
            label_embedded=label.get("embed_features"),
            label_multiplier=label.get("lr_multiplier", MULTIPLIER),
        )
        tables = {"G": generator_table(generator), "D": discriminator_table(discriminator)}
        weights = case.states["weights"]
        players = {
            player: carried_over(_without_filters(weights[net]), tables[net])
            for net, player in (("G", "generator"), ("D", "discriminator"))
        }
        return cls(generator, discriminator, its["r1_gamma"], tables, players)

    def game(self, batch_size: int, length_interval: int, penalty_interval: int) -> "_Given":
        """The reference's game, with the noise of the buffers, unmixed and not augmented."""
        return _Given(
            self.generator,
            self.discriminator,
            batch_size,
            gamma=self.gamma,
            penalty_interval=penalty_interval,
            length_interval=length_interval,
            mixing=0.0,
            operations=(),
            noise="const",
        )

    def gan(self, game_: StyleGame, rate: float, average: Callable[[jax.Array], jax.Array]) -> GAN:
        """The reference's system: one learning rate for both players."""
        return played(game_, dict.fromkeys(self.players, rate), _ADAM, average)


class _Given(StyleGame):
    """The game with directions and labels that are given, not drawn."""

    def _directions(self, noise: PyTree) -> jax.Array:
        return noise["direction"]

    def _labels(self, held: PyTree) -> jax.Array | None:
        return held["labels"] if self.generator.num_classes else None


def _noise(latents: ArrayLike, labels: ArrayLike, **more: Any) -> PyTree:
    """The noise of a turn. No augmentation takes place, so its keys are numbers."""
    latents = jnp.asarray(latents)
    nothing = jnp.zeros(len(latents))
    return {
        "latent": latents,
        "labels": jnp.asarray(labels),
        "augmented": nothing,
        "augmented_real": nothing,
        **more,
    }


def _twice(array: ArrayLike) -> jax.Array:
    """Each example twice. The turn on path lengths takes every second one."""
    return jnp.repeat(jnp.asarray(array), 2, axis=0)


def _of_case(
    networks: _Networks, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]
) -> Iterator[Compared]:
    """The networks, the losses and their gradients on one batch."""
    latents, labels = arrays["z"], arrays["c"]
    count = len(latents)
    game_ = networks.game(count, length_interval=1, penalty_interval=1)
    gan = networks.gan(game_, 0.0, lambda step: jnp.zeros(()))
    state = first_state(gan, networks.players)
    state = state.replace(numbers={LENGTH: jnp.float32(arrays["pl_mean_before"])})
    for name in arrays:
        if match := _SEED.fullmatch(name):
            theirs = arrays[name]
            yield Compared(
                name, np.random.RandomState(int(match[1])).randn(*theirs.shape), absolute=1e-12
            )
    real = {"images": jnp.asarray(channels_last(arrays["reals_uint8"]))}
    real["labels"] = jnp.asarray(arrays["c_reals"])
    noise = _noise(latents, labels)

    made = jax.jit(functools.partial(_made, game_))(state, noise, real)
    for name, (value, share) in _outputs(game_, made, arrays).items():
        if name in arrays:
            yield _near(name, value, arrays[name], share)

    half = count // 2
    directions = _nhwc(arrays["pl_noise"])
    of_lengths = _noise(_twice(latents[:half]), _twice(labels[:half]))
    of_lengths["direction"] = _twice(directions)
    lengths, _ = jax.jit(game_.path_lengths)(
        state, _noise(latents[:half], labels[:half], direction=directions)
    )
    after = arrays["pl_mean_before"] + 0.01 * (np.mean(lengths) - arrays["pl_mean_before"])
    penalties = np.square(lengths - after)
    for name, value in {
        "pl_lengths": lengths,
        "pl_mean_after": after,
        "pl_penalty": penalties,
        "loss_G_reg": game_.length_weight * penalties,
    }.items():
        yield _near(name, value, arrays[name], _LOSS)

    few = jax.tree.map(lambda x: x[:count], real)
    inputs = {
        "Gmain": (few, noise),
        "Greg": (few, of_lengths),
        "Dmain": (few, noise),
        "Dreg": (real, _noise(np.zeros((len(real["images"]), 1)), real["labels"])),
    }
    for phase, turn in zip(_PHASES, gan.turns, strict=True):
        slopes = jax.jit(functools.partial(gradients, turn))(state, *inputs[phase])
        yield from _of_slopes(phase, slopes, networks, arrays, settings["gradient_names"][phase])


def _made(game_: StyleGame, state: TrainState, noise: PyTree, real: PyTree) -> PyTree:
    """All that the networks make of a batch."""
    # `apply` has types that fit all its uses.
    of_generator: Callable[..., Any] = game_.generator.apply
    of_discriminator: Callable[..., Any] = game_.discriminator.apply
    variables, judge = (state.variables(name) for name in ("generator", "discriminator"))
    labels = game_._labels(noise)

    def spread(truncation: float, cutoff: int | None = None) -> Any:
        return of_generator(variables, style, truncation, cutoff, method="spread")

    style = of_generator(variables, noise["latent"], labels, method="style")
    styles, truncated = spread(1.0), spread(0.7)
    mixed = jnp.where(jnp.arange(styles.shape[1])[:, None] >= 2, styles[-1], styles[0])
    # A program of fewer and larger calls takes less long to compile.
    count = len(styles)
    every, in_generator = of_generator(
        variables,
        jnp.concatenate([styles, truncated[:2], mixed[None]]),
        "const",
        method="render",
        capture_intermediates=True,
    )
    images = every[:count]
    logits, in_discriminator = of_discriminator(
        judge, real["images"], game_._labels(real), capture_intermediates=True
    )
    # The reference judges as many real images as generated ones: other groups, other deviations.
    few = jax.tree.map(lambda x: x[:count], real)
    both = None if labels is None else jnp.concatenate([labels, few["labels"]])
    fake_logits, few_logits = jnp.split(
        of_discriminator(judge, jnp.concatenate([images, few["images"]]), both, None, 2), 2
    )
    _, new = game_._styles(state, noise)
    squares, _ = game_.squared_norms(state, real, {"augmented_real": None})
    return {
        "ws": styles,
        "ws_psi0.7": truncated,
        "ws_psi0.5_cutoff3": spread(0.5, 3),
        "images_const": images,
        "images_none": of_generator(variables, styles[:2], "none", method="render"),
        "images_psi0.7_const": every[count : count + 2],
        "images_mixed_cutoff2": every[count + 2 :],
        "logits_reals": logits,
        "logits_fakes": fake_logits,
        "logits_few": few_logits,
        "r1_penalty": squares,
        "w_avg_before": variables[BUFFERS]["mapping"]["w_average"],
        "w_avg_after_one_update": new[BUFFERS]["mapping"]["w_average"],
        "of_generator": in_generator["intermediates"]["synthesis"],
        "of_discriminator": in_discriminator["intermediates"],
    }


def _outputs(
    game_: StyleGame, made: PyTree, arrays: Mapping[str, np.ndarray]
) -> dict[str, tuple[Any, float]]:
    """What the networks make, by the reference's names and in its layout, with tolerances."""
    outputs: dict[str, tuple[Any, float]] = {}
    for name, value in made.items():
        if name.startswith("images"):
            outputs[name] = channels_first(value), _IMAGE
        elif name.startswith("logits"):
            outputs[name] = np.asarray(value)[:, None], _LOGIT
        elif name.startswith(("ws", "w_avg")):
            outputs[name] = value, _STYLE
    fake, real = (
        np.asarray(made[f"logits_{kind}"], np.float64)[:, None] for kind in ("fakes", "few")
    )
    outputs["loss_G_main"] = np.logaddexp(0, -fake), _LOSS
    outputs["loss_D_main"] = np.logaddexp(0, fake) + np.logaddexp(0, -real), _LOSS
    outputs["r1_penalty"] = made["r1_penalty"], _LOSS
    outputs["loss_D_reg"] = game_.gamma / 2 * made["r1_penalty"], _LOSS
    for block, captured in made["of_generator"].items():
        if block.startswith("b"):
            ((x, image),) = captured["__call__"]
            for end, value in (("x", x), ("img", image)):
                if value is not None:
                    name = f"activations.G.{block}.{end}"
                    outputs[name] = channels_first(value[:1]), _IMAGE
    for block, captured in made["of_discriminator"].items():
        if block.startswith("b") and block != "b4":
            ((x, image),) = captured["__call__"]
            outputs[f"activations.D.{block}.x"] = channels_first(x[:1]), _IMAGE
            if image is not None:
                outputs[f"activations.D.{block}.img"] = channels_first(image[:1]), _IMAGE
    (judged,) = made["of_discriminator"]["b4"]["__call__"]
    outputs["activations.D.b4"] = np.asarray(judged)[:, None], _LOGIT
    return outputs


def _of_slopes(
    phase: str,
    slopes: PyTree,
    networks: _Networks,
    arrays: Mapping[str, np.ndarray],
    names: list[str],
) -> Iterator[Compared]:
    """The norms of the gradients of a turn, and some gradients as a whole."""
    table = networks.tables[phase[0]]
    table = {key: its for key, its in table.items() if its.path[0] == "params"}
    lengths = gradient_norms(slopes, table)
    name = f"gradient_norms.{phase}"
    bound, largest = _NORM[phase], float(np.max(arrays[name]))
    yield Compared(
        name,
        np.array([lengths[key] for key in names]),
        absolute=bound * _SMALL * largest,
        relative=bound,
    )
    for key, slope in state_dict({"params": slopes}, table).items():
        if (name := f"gradient.{phase}.{key}") in arrays:
            yield _near(name, slope, arrays[name], _GRADIENT[phase])


def _steps(
    networks: _Networks, arrays: Mapping[str, np.ndarray], its: Mapping[str, Any]
) -> Iterator[Compared]:
    """Some steps of the reference's training, from the case's weights.

    Raises:
        ValueError: jaxgan takes other turns than the reference.
    """
    batch_size, rate = its["batch"], its["lr"]
    game_ = networks.game(batch_size, its["G_reg_interval"], its["D_reg_interval"])
    average = schedules.average_decay(
        1000 * its["ema_kimg"], images_per_step=batch_size, ramp_up=its["ema_rampup"] or 0.0
    )
    gan = networks.gan(game_, rate, average)
    start = state = first_state(gan, networks.players)
    updates: list[Callable] = [
        jax.jit(functools.partial(_updated, gan, turn)) for turn in gan.turns
    ]
    half = batch_size // 2
    measured: dict[str, list[Any]] = {"ema_beta": [], "pl_mean": [], "w_avg": []}
    directions = iter(arrays["pl_noise"])
    for step in range(its["iterations"]):
        real = {"images": jnp.asarray(channels_last(arrays["reals_uint8"][step]))}
        real["labels"] = jnp.asarray(arrays["c_reals"][step])
        taken = []
        for phase, turn, update in zip(range(len(_PHASES)), gan.turns, updates, strict=True):
            if step % turn.every:
                continue
            latents, labels = arrays["z"][step, phase], arrays["c"][step, phase]
            noise = _noise(latents, labels)
            if _PHASES[phase] == "Greg":
                noise = _noise(
                    _twice(latents[:half]),
                    _twice(labels[:half]),
                    direction=_twice(_nhwc(next(directions))),
                )
            state = update(state, real, noise)
            taken.append(_PHASES[phase])
        if " ".join(taken) != str(arrays["phases_run"][step]):
            raise ValueError(f"step {step} has the turns {arrays['phases_run'][step]}, not {taken}")
        measured["ema_beta"].append(average(jnp.int32(step)))
        state = game.end_step(gan, state)
        measured["pl_mean"].append(state.numbers[LENGTH])
        measured["w_avg"].append(state.variables("generator")[BUFFERS]["mapping"]["w_average"])
    for name, values in measured.items():
        yield _near(name, np.array(values), arrays[name], _STYLE if name == "w_avg" else _LOSS)
    for net, before, after in (
        ("G", start.variables("generator"), state.variables("generator")),
        ("D", start.variables("discriminator"), state.variables("discriminator")),
        ("G_ema", start.averages["generator"], state.averages["generator"]),
    ):
        table = networks.tables[net[0]]
        first = state_dict(before, table)
        for key, array in state_dict(after, table).items():
            update_norm = np.linalg.norm(np.float64(array - first[key]).ravel())
            size = np.sqrt(np.mean(np.square(np.float64(array - first[key]))))
            if (name := f"norm.{net}.{key}") in arrays:
                yield Compared(
                    name,
                    np.linalg.norm(np.float64(array).ravel()),
                    absolute=_UPDATE * float(update_norm),
                    relative=_ROUNDING,
                )
            if (name := f"after.{net}.{key}") in arrays:
                yield Compared(
                    name,
                    array,
                    absolute=_UPDATE * float(size),
                    relative=_ROUNDING,
                    exceptions=_OTHER_WAY,
                )


def _updated(gan: GAN, turn: Turn, state: TrainState, batch: PyTree, noise: PyTree) -> TrainState:
    return game.take_turn(gan, turn, state, batch, noise)[0]
