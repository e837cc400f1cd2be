"""A trained pair, what it was trained on and how that went, put together into one page."""

import html
import json
import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import checkpoints, data, images
from jaxgan.latents import NOISES
from jaxgan.losses import ADVERSARIAL_LOSSES
from jaxgan.mlp_gan import MLPGANConfig
from jaxgan.networks import mlp
from jaxgan.playground.packing import Pack, round_weights
from jaxgan.weights import pretrained
from jaxgan.workdir import PICTURE_SCALE, Workdir

PyTree = Any

IMAGE_SHAPE = (28, 28, 1)
# Half of what is promised of the page's networks, images in [0, 1] and probabilities.
TOLERANCE = 0.005
REAL_IMAGES = 300
DIRECTIONS = 6
MOST_FRAMES, FRAME_IMAGES = 30, 36
MOST_ROWS = 400
CURVES = ("generator_loss", "discriminator_loss", "d_real", "d_fake")
# In this order: each may use what those before it define.
_SCRIPTS = ("words", "networks", "drawing", "counterfeiter", "police", "you", "story", "main")
_MEASURED = 200  # latents


class Story(NamedTuple):
    """How a run went.

    Attributes:
        epochs: of each frame.
        frames: uint8 [frames, images, 28, 28], images of the same latents at each of the epochs.
        rows: as in metrics.csv; each has epoch and the four CURVES.
    """

    epochs: list[int]
    frames: np.ndarray
    rows: list[dict[str, float]]


class Pair(NamedTuple):
    """What a page is about.

    Attributes:
        name: what it is called in the page.
        config: its settings.
        generator: what `networks.mlp.Generator.apply` takes.
        discriminator: what `networks.mlp.Discriminator.apply` takes.
        real: uint8 [n, 28, 28, 1], images that neither has seen.
        story: None for a pair whose training left no history.
    """

    name: str
    config: MLPGANConfig
    generator: PyTree
    discriminator: PyTree
    real: np.ndarray
    story: Story | None


def of_package() -> Pair:
    """The pair that ships with the package, whose training's history does not."""
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
        FileNotFoundError: there is no run, no checkpoint, or its data set is not there any more.
        ValueError: a run of other networks or other images, or a damaged one.
        OSError: something cannot be read.
    """
    workdir = Path(workdir)
    config = _load_config(workdir)
    if config.image_shape != IMAGE_SHAPE:
        shape = "x".join(map(str, config.image_shape))
        raise ValueError(f"the playground shows images of 28x28x1; {workdir} is a run on {shape}")
    test = data.load(
        config.dataset, split="test", image_shape=config.image_shape, data_dir=config.data_dir
    )
    return Pair(
        name=str(workdir),
        config=config,
        generator=checkpoints.load_params(workdir),
        discriminator=checkpoints.load_params(workdir, player="discriminator"),
        real=test.images[:REAL_IMAGES],
        story=_read_story(workdir),
    )


def assemble(pair: Pair) -> str:
    """The page: HTML that needs nothing else. The same pair gives the same page.

    Raises:
        ValueError: its weights are no numbers.
    """
    pack = Pack()
    modules = {
        # In float32 also where they were trained in less, as the page reckons.
        "generator": mlp.Generator(pair.config.latent_size, pair.config.generator_widths),
        "discriminator": mlp.Discriminator(pair.config.discriminator_widths),
    }
    latents = NOISES[pair.config.noise](jax.random.key(0), (_MEASURED, pair.config.latent_size))
    generated = modules["generator"].apply(pair.generator, latents)
    shown = jnp.concatenate([generated, pair.real / np.float32(127.5) - 1])
    probability = ADVERSARIAL_LOSSES[pair.config.loss].probability
    plays = {
        "generator": lambda params: (modules["generator"].apply(params, latents) + 1) / 2,
        "discriminator": lambda params: probability(modules["discriminator"].apply(params, shown)),
    }
    for player, params in (("generator", pair.generator), ("discriminator", pair.discriminator)):
        _add_network(pack, player, params, jax.jit(plays[player]))
    pack.add("directions", principal_directions(modules["generator"], pair.generator, latents))
    pack.add("real", pair.real)
    story = None
    if pair.story is not None:
        pack.add_nibbles("frames", np.rint(pair.story.frames / 17).astype(np.uint8))
        story = {
            "epochs": pair.story.epochs,
            "curves": {
                name: [float(f"{row[name]:.4g}") for row in pair.story.rows]
                for name in ("epoch", *CURVES)
            },
        }
    facts = {
        "run": pair.name,
        "noise": pair.config.noise,
        "loss": pair.config.loss,
        "probability": "clip" if pair.config.loss == "least_squares" else "sigmoid",
        "noun": "digit" if pair.config.dataset == "mnist" else "image",
        "dataset": "MNIST" if pair.config.dataset == "mnist" else pair.config.dataset,
        "story": story,
        "pack": pack.index(),
    }
    return _fill(
        {
            "run": html.escape(pair.name),
            "style": _source("style.css"),
            "script": "\n".join(_source(f"{name}.js") for name in _SCRIPTS),
            # A "<" could end the element that it is in.
            "facts": json.dumps(facts, allow_nan=False).replace("<", "\\u003c"),
            "pack": pack.text(),
        }
    )


def principal_directions(
    generator: mlp.Generator, params: PyTree, latents: jax.Array
) -> np.ndarray:
    """The directions in latent space that change images most.

    They are the first eigenvectors of E[J^T J], where J is the Jacobian of the image with respect
    to the latent: the unit steps whose squared effect on the pixels is largest on average.

    Args:
        generator: the module.
        params: what its `apply` takes.
        latents: float32 [n, latent_size], what to average over.

    Returns:
        float32 [DIRECTIONS, latent_size], or as many as a latent has numbers; orthonormal, the
        strongest first, the largest component of each positive.
    """

    def image(latent: jax.Array) -> jax.Array:
        return generator.apply(params, latent[None]).ravel()

    def add(total: jax.Array, latent: jax.Array) -> tuple[jax.Array, None]:
        jacobian = jax.jacfwd(image)(latent)
        return total + jacobian.T @ jacobian, None

    size = generator.latent_size
    total, _ = jax.jit(lambda z: jax.lax.scan(add, jnp.zeros((size, size)), z))(latents)
    _, vectors = np.linalg.eigh(np.asarray(total, np.float64))
    directions = vectors[:, ::-1].T[:DIRECTIONS]
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    return (directions * signs[:, None]).astype(np.float32)


def _add_network(pack: Pack, player: str, params: PyTree, play: Any) -> None:
    whole = np.asarray(play(params))

    def error(variables: PyTree) -> float:
        return float(np.abs(np.asarray(play(variables)) - whole).max())

    try:
        rounded = round_weights(params, error, TOLERANCE)
    except ValueError as wrong:
        raise ValueError(f"the {player} cannot be shown: {wrong}") from wrong
    layers = params["params"]
    for number in range(len(layers)):
        layer = f"Dense_{number}"
        bias = np.asarray(layers[layer]["bias"], np.float32)
        pack.add_rounded(f"{player}/{number}/kernel", *rounded[layer])
        pack.add(f"{player}/{number}/bias", bias)


def _load_config(workdir: Path) -> MLPGANConfig:
    try:
        return MLPGANConfig.load(workdir)
    except ValueError as error:
        raise ValueError(
            f"the playground plays with runs of experiments/{MLPGANConfig.experiment_name()}.py, "
            f"fully connected networks, alone: {error}"
        ) from error


def _read_story(workdir: Path) -> Story | None:
    held = Workdir(workdir, keep_checkpoints=1)
    try:
        rows = [row for row in held.rows() if {"epoch", *CURVES} <= row.keys()]
        rows = [row for row in rows if all(math.isfinite(row[name]) for name in CURVES)]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{held.metrics_csv} is damaged: {error}") from error
    grids = _spread(list(held.grids().items()), MOST_FRAMES)
    frames = [_read_frame(path) for _, path in grids]
    if not rows and not frames:
        return None
    return Story(
        epochs=[epoch for epoch, _ in grids],
        frames=np.array(frames, np.uint8).reshape(-1, FRAME_IMAGES, *IMAGE_SHAPE[:2]),
        rows=_spread(rows, MOST_ROWS),
    )


def _read_frame(path: Path) -> np.ndarray:
    """The first images of a run's grid, uint8 [FRAME_IMAGES, 28, 28]."""
    try:
        canvas = images.read_png(path)
    except (ValueError, SyntaxError) as error:  # Pillow's of broken files.
        raise ValueError(f"{path} is damaged: {error}") from error
    canvas = canvas[::PICTURE_SCALE, ::PICTURE_SCALE]
    if canvas.shape != (238, 238, 1):
        raise ValueError(f"{path} is not the grid of 8x8 images of 28x28 that a run draws")
    cells = [
        canvas[30 * row : 30 * row + 28, 30 * column : 30 * column + 28, 0]
        for row in range(8)
        for column in range(8)
    ]
    return np.stack(cells[:FRAME_IMAGES])


def _spread(items: list[Any], most: int) -> list[Any]:
    """At most so many of them, at equal distances, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[i] for i in np.linspace(0, len(items) - 1, most).round().astype(int)]


def _source(name: str) -> str:
    return resources.files("jaxgan.playground").joinpath(name).read_text(encoding="utf-8")


def _fill(values: Mapping[str, str]) -> str:
    # In one pass: what is put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], _source("page.html"))
