"""Assembles the page to play with: a trained pair, real images, the history of the training."""

import html
import json
import math
import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import data
from jaxgan.checks import check_params
from jaxgan.latents import NOISES
from jaxgan.layers import chain
from jaxgan.losses import ADVERSARIAL_LOSSES
from jaxgan.playground.packing import Pack, round_weights
from jaxgan.run import checkpoints, images
from jaxgan.run.workdir import PICTURE_SCALE, Workdir
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.registry import load_config
from jaxgan.weights import pretrained

PyTree = Any

IMAGE_SHAPE = (28, 28, 1)
# How far the rounding of weights may move a pixel in [0, 1] or a probability. The page promises
# twice as much, for what JavaScript computes differently.
TOLERANCE = 0.005
REAL_IMAGES = 300
DIRECTIONS = 6
MOST_FRAMES = 30
# The rows and columns of a frame. A conditional run has a column for each of its first classes.
FRAME_ROWS, FRAME_COLUMNS = 6, 6
MOST_FRAME_CLASSES = 10
MOST_ROWS = 400
CURVES = ("generator_loss", "discriminator_loss", "d_real", "d_fake")
# In the order in which the page runs them: a script may use what an earlier one defines.
_SCRIPTS = ("words", "networks", "drawing", "counterfeiter", "police", "you", "story", "main")
# How many latents the error of rounded weights is measured on.
_MEASURED = 200


class Story(NamedTuple):
    """The history of a run's training.

    Attributes:
        epochs: the epoch of each frame.
        frames: uint8 [frames, images, 28, 28]. All frames are made from the same latents.
        rows: of metrics.csv; each row has "epoch" and the four CURVES.
        columns: how many images of a frame stand side by side.
    """

    epochs: list[int]
    frames: np.ndarray
    rows: list[dict[str, float]]
    columns: int = FRAME_COLUMNS


class Pair(NamedTuple):
    """A trained generator and discriminator, and the data that their page needs.

    Attributes:
        name: what the page calls the pair.
        config: the settings that the pair was trained with.
        generator: the variables that the generator's `apply` takes.
        discriminator: the variables that the discriminator's `apply` takes.
        real: uint8 [n, 28, 28, 1], real images that the pair was not trained on.
        story: None if the history of the training was not kept.
        labels: int32 [n, k], the class of each real image in each of the k attributes of
            `config.classes`; None for an unconditional pair.
    """

    name: str
    config: LatentGANConfig
    generator: PyTree
    discriminator: PyTree
    real: np.ndarray
    story: Story | None
    labels: np.ndarray | None = None


def of_package() -> Pair:
    """The pair that ships with the package. The history of its training does not ship with it."""
    return Pair(
        name="jaxgan.pretrained",
        config=MLPGANConfig(),
        generator=pretrained("mnist_gan"),
        discriminator=pretrained("mnist_gan", player="discriminator"),
        real=data.load(split="test").images[:REAL_IMAGES],
        story=None,
    )


def of_run(workdir: str | Path) -> Pair:
    """The pair of a run, from its newest checkpoint.

    Raises:
        FileNotFoundError: the run, its checkpoint or its data set does not exist.
        ValueError: the playground cannot show such a run, or a file of the run is damaged.
        OSError: a file cannot be read.
    """
    workdir = Path(workdir)
    held = load_config(workdir)
    held.check_playable(workdir)
    # The check refuses the runs of all other systems.
    config = cast(LatentGANConfig, held)
    test = config.load_dataset("test")
    names = [name for name, _ in config.classes]
    _, players = checkpoints.Checkpoints(workdir / "checkpoints").load("generator", "discriminator")
    pair = Pair(
        name=str(workdir),
        config=config,
        **players,
        real=test.images[:REAL_IMAGES],
        story=_read_story(workdir, config),
        labels=test.codes(names)[:REAL_IMAGES] if names else None,
    )
    labels = [jax.ShapeDtypeStruct((1, len(names)), jnp.int32)] if names else []
    for player, size in (("generator", (config.latent_size,)), ("discriminator", IMAGE_SHAPE)):
        inputs = jax.ShapeDtypeStruct((1, *size), jnp.float32)
        try:
            check_params(getattr(pair, player), getattr(config, player)(), inputs, *labels)
        except ValueError as error:
            raise ValueError(
                f"the {player} in the checkpoint of {workdir} is not the one of its config.json"
            ) from error
    return pair


def assemble(pair: Pair) -> str:
    """Assembles the page of a pair.

    Returns:
        HTML that needs no other file. The same pair gives the same page.

    Raises:
        ValueError: a weight is NaN or infinite.
    """
    pack = Pack()
    config = pair.config
    # In float32 like the page, even if the networks were trained in bfloat16.
    generator = config.generator().clone(dtype=jnp.float32)
    discriminator = config.discriminator().clone(dtype=jnp.float32)
    probability = ADVERSARIAL_LOSSES[config.loss].probability
    real = pair.real / np.float32(127.5) - 1
    latents = NOISES[config.noise](jax.random.key(0), (_MEASURED, config.latent_size))
    asked_for = None
    if pair.labels is not None:
        asked_for = jnp.asarray(pair.labels)[jnp.arange(_MEASURED) % len(pair.labels)]
    generated = jax.jit(generator.apply)(pair.generator, latents, *_given(asked_for))
    shown, told = jnp.concatenate([generated, real]), None
    if pair.labels is not None:
        # Each image is judged twice: with its own labels, and with those of another image.
        assert asked_for is not None  # Set where there are labels.
        told = jnp.concatenate([asked_for, pair.labels])
        told = jnp.concatenate([told, jnp.roll(told, 1, axis=0)])
        shown = jnp.tile(shown, (2, 1, 1, 1))
    logits = jax.jit(discriminator.apply)(pair.discriminator, shown, *_given(told))

    def made(layers: list[chain.Layer], latents: jax.Array, conditions: jax.Array) -> jax.Array:
        images = chain.apply(layers, jnp.concatenate([latents, conditions], axis=1))
        return (images.reshape(-1, *IMAGE_SHAPE) + 1) / 2

    def judged(layers: list[chain.Layer], images: jax.Array, conditions: jax.Array) -> jax.Array:
        outputs = chain.apply(layers, images)
        return probability(outputs[:, 0] + jnp.sum(outputs[:, 1:] * conditions, axis=1))

    layers = {
        "generator": config.generator_chain(pair.generator),
        "discriminator": config.discriminator_chain(pair.discriminator),
    }
    plays = {
        "generator": (made, (generated + 1) / 2, latents, _conditions(config, asked_for, latents)),
        "discriminator": (judged, probability(logits), shown, _conditions(config, told, shown)),
    }
    for player, play in plays.items():
        _add_network(pack, player, layers[player], *play)
    directions = principal_directions(generator, pair.generator, latents, asked_for)
    pack.add("directions", directions)
    pack.add("real", pair.real)
    story = None
    if pair.story is not None:
        pack.add_nibbles("frames", np.rint(pair.story.frames / 17).astype(np.uint8))
        story = {
            "epochs": pair.story.epochs,
            "columns": pair.story.columns,
            # All columns of a conditional run are made from the same latents.
            "latents": pair.story.frames.shape[1] // (pair.story.columns if config.classes else 1),
            "curves": {
                name: [float(f"{row[name]:.4g}") for row in pair.story.rows]
                for name in ("epoch", *CURVES)
            },
        }
    facts = {
        "run": pair.name,
        "noise": config.noise,
        "loss": config.loss,
        "probability": "clip" if config.loss == "least_squares" else "sigmoid",
        "noun": "digit" if config.dataset == "mnist" else "image",
        "dataset": "MNIST" if config.dataset == "mnist" else config.dataset,
        "isNormalised": "batch_stats" in pair.discriminator,
        "attributes": [{"name": name, "classes": list(its)} for name, its in config.classes],
        "labels": [[]] * len(pair.real) if pair.labels is None else pair.labels.tolist(),
        "layers": {
            player: [{"kind": layer.kind, "activation": layer.activation} for layer in its]
            for player, its in layers.items()
        },
        "story": story,
        "pack": pack.index(),
    }
    return _fill(
        {
            "run": html.escape(pair.name),
            "style": _source("style.css"),
            "script": "\n".join(_source(f"{name}.js") for name in _SCRIPTS),
            # A "<" in a name could end the element that holds the facts.
            "facts": json.dumps(facts, allow_nan=False).replace("<", "\\u003c"),
            "pack": pack.text(),
        }
    )


def principal_directions(
    generator: nn.Module, params: PyTree, latents: jax.Array, labels: jax.Array | None = None
) -> np.ndarray:
    """The directions in latent space that change images most.

    They are the first eigenvectors of E[J^T J], where J is the Jacobian of the image with respect
    to the latent. A small step along the first one has the largest mean squared effect on the
    pixels of all steps of that length. Wang and Ponce 2021 (arXiv 2101.06006) find them for a
    perceptual distance between images; here it is the distance of pixels.

    Args:
        generator: the module.
        params: the variables that its `apply` takes.
        latents: float32 [n, latent_size]; the mean E is over them.
        labels: int32 [n, k], the labels of each latent; None for an unconditional generator.

    Returns:
        float32 [min(DIRECTIONS, latent_size), latent_size], orthonormal rows, the strongest
        direction first. The component of each row that is largest in size is positive.
    """

    def image(latent: jax.Array, label: list[jax.Array]) -> jax.Array:
        images = generator.apply(params, latent[None], *(each[None] for each in label))
        # `apply` gives a tuple only where it is given mutable=.
        return cast(jax.Array, images).ravel()

    def add(total: jax.Array, inputs: tuple) -> tuple[jax.Array, None]:
        jacobian = jax.jacfwd(image)(*inputs)
        return total + jacobian.T @ jacobian, None

    size = generator.latent_size
    inputs = (latents, _given(labels))
    total, _ = jax.jit(lambda z: jax.lax.scan(add, jnp.zeros((size, size)), z))(inputs)
    _, vectors = np.linalg.eigh(np.asarray(total, np.float64))
    directions = vectors[:, ::-1].T[:DIRECTIONS]
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    return (directions * signs[:, None]).astype(np.float32)


def _add_network(
    pack: Pack,
    player: str,
    layers: list[chain.Layer],
    play: Callable[..., jax.Array],
    whole: jax.Array,
    *inputs: jax.Array,
) -> None:
    """Packs a chain with its kernels rounded.

    The steps of the rounding keep `play(layers, *inputs)` within TOLERANCE of `whole`.
    """
    variables = {
        "params": {
            str(i): {"kernel": layer.kernel, "bias": layer.bias} for i, layer in enumerate(layers)
        }
    }

    @jax.jit
    def largest_error(variables: PyTree, whole: jax.Array, inputs: tuple) -> jax.Array:
        given = [
            layer._replace(kernel=variables["params"][str(i)]["kernel"])
            for i, layer in enumerate(layers)
        ]
        return jnp.abs(play(given, *inputs) - whole).max()

    def error(variables: PyTree) -> float:
        return float(largest_error(variables, whole, inputs))

    try:
        rounded = round_weights(variables, error, TOLERANCE)
    except ValueError as wrong:
        raise ValueError(f"the {player} cannot be shown: {wrong}") from wrong
    for i, layer in enumerate(layers):
        values, step = rounded[str(i)]
        pack.add_rounded(f"{player}/{i}/kernel", chain.as_matrix(layer.kind, values), step)
        pack.add(f"{player}/{i}/bias", layer.bias)


def _given(labels: jax.Array | None) -> list[jax.Array]:
    """The labels as the further arguments of a network's `apply`: one, or none without labels."""
    return [] if labels is None else [labels]


def _conditions(config: LatentGANConfig, labels: jax.Array | None, beside: jax.Array) -> jax.Array:
    """Labels int32 [n, attributes] as one-hot vectors, float32 [n, number of all classes].

    The vectors of an image's labels stand one after another. Without labels the result is [n, 0],
    where n is the length of `beside`.
    """
    one_hot = []
    if labels is not None:
        one_hot = [
            jax.nn.one_hot(labels[:, i], len(names)) for i, (_, names) in enumerate(config.classes)
        ]
    return jnp.concatenate([jnp.zeros((len(beside), 0)), *one_hot], axis=1)


def _read_story(workdir: Path, config: LatentGANConfig) -> Story | None:
    held = Workdir(workdir, keep_checkpoints=1)
    rows = [row for row in held.rows() if {"epoch", *CURVES} <= row.keys()]
    rows = [row for row in rows if all(math.isfinite(row[name]) for name in CURVES)]
    grids = _spread(list(held.grids().items()), MOST_FRAMES)
    shape = config.picture_shape
    columns, order = FRAME_COLUMNS, np.arange(FRAME_ROWS * FRAME_COLUMNS)
    if config.classes:
        # The grid has a row for each class of the first attribute, the frame a column.
        columns = min(shape[0], MOST_FRAME_CLASSES)
        order = np.arange(columns * shape[1]).reshape(columns, -1).T[:FRAME_ROWS].ravel()
    frames = [_read_frame(path, *shape)[order] for _, path in grids]
    if not rows and not frames:
        return None
    return Story(
        epochs=[epoch for epoch, _ in grids],
        frames=np.array(frames, np.uint8).reshape(-1, len(order), *IMAGE_SHAPE[:2]),
        rows=_spread(rows, MOST_ROWS),
        columns=columns,
    )


def _read_frame(path: Path, rows: int, columns: int) -> np.ndarray:
    """The images of a run's grid, uint8 [rows * columns, 28, 28]."""
    try:
        canvas = images.read_png(path)
    except (ValueError, SyntaxError) as error:  # Pillow raises both for broken files.
        raise ValueError(f"{path} is damaged: {error}") from error
    canvas = canvas[::PICTURE_SCALE, ::PICTURE_SCALE]
    if canvas.shape != (30 * rows - 2, 30 * columns - 2, 1):
        raise ValueError(
            f"{path} is not the grid of {rows}x{columns} images of 28x28 that a run draws"
        )
    cells = [
        canvas[30 * row : 30 * row + 28, 30 * column : 30 * column + 28, 0]
        for row in range(rows)
        for column in range(columns)
    ]
    return np.stack(cells)


def _spread(items: list[Any], most: int) -> list[Any]:
    """At most `most` of the items, at equal distances, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _source(name: str) -> str:
    return resources.files("jaxgan.playground").joinpath(name).read_text(encoding="utf-8")


def _fill(values: Mapping[str, str]) -> str:
    # In one pass, so that a name in double braces within a value stays as it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], _source("page.html"))
