"""The styles of given images: a search in the space of styles. The functions are pure."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from numpy.typing import ArrayLike

from jaxgan.checks import as_typed_key, checked_images
from jaxgan.latents import normal
from jaxgan.options import with_own_options
from jaxgan.systems.latent import drawing
from jaxgan.systems.stylegan2 import styles as of_styles
from jaxgan.systems.stylegan2.networks import BUFFERS, Generator

PyTree = Any
# Images [n, H, W, C] in [0, 1] -> what a network knows of each, [n, features].
Embed = Callable[[jax.Array], jax.Array]
# The spaces of the search: one style for all layers of an image, or one for each layer.
SPACES = ("w", "w+")
# The generator of the default recipe on toon faces.
FACES = Generator(64, style_size=64, mapping_layers=2, channel_base=1024, channel_max=64)
# Latents that the mean and the deviation of styles are taken of.
MAPPED = 10_000
# The share of the steps in which the learning rate rises, that in which it falls, and that in which
# noise is added to the style; and how strong the noise is, in deviations of styles (appendix D).
_RISE, _FALL, _NOISY, _NOISE = 0.05, 0.25, 0.75, 0.05
_BETAS = (0.9, 0.999)
# The side of the smallest maps and images that are compared.
_SMALLEST = 8
# Images whose styles are searched at a time: a share of those that are drawn at a time, as the
# gradient keeps the activations of all layers.
_SHARE = 8


class Projection(NamedTuple):
    """Where a search has ended.

    Attributes:
        styles: float32 [n, layers, style_size]. In the space "w" all layers have the same one.
        noise: the noise of the pixels of each layer, as `render` takes it: leaves float32
            [n, height, width].
        film: float32 [frames, n, height, width, channels] in [0, 1]: the images after equal parts
            of the steps. The last ones are those of `styles` and `noise`.
    """

    styles: jax.Array
    noise: PyTree
    film: jax.Array


@with_own_options
def project(
    params: PyTree,
    images: ArrayLike,
    key: jax.Array,
    *,
    labels: ArrayLike | None = None,
    embed: Embed | None = None,
    space: str = "w",
    steps: int = 1000,
    num_frames: int = 1,
    learning_rate: float = 0.1,
    pixel_weight: float = 1.0,
    feature_weight: float = 0.01,
    noise_weight: float = 1e5,
    generator: Generator = FACES,
) -> Projection:
    """Searches the styles w, and the noise n, of which a generator makes given images x.

    Each image by itself, Adam lowers

        pixel_weight * P(G(w, n), x) + feature_weight * mean((F(G(w, n)) - F(x))^2)
        + noise_weight * R(n)

    from the mean style on. P is the mean squared difference of pixels, averaged over the image and
    its halvings down to a side of 8. R is the correlation of the noise with itself, shifted by a
    pixel: it keeps the image out of the noise. Karras et al. 2020 (arXiv 1912.04958), appendix D,
    whose distance is LPIPS in the place of P and F. As there, noise is added to w at first, the
    learning rate rises and falls, and n is normalised after each step.

    Args:
        params: the generator's variables, {"params": ..., "buffers": ...}.
        images: x, [n, height, width, channels], n at least 1: float in [0, 1], or uint8.
        key: a PRNG key, of the noise and of the latents whose styles give the mean.
        labels: int [n, k] as `jaxgan.sample` takes them; None if the generator is not conditional.
        embed: F, a pure function: images float32 [m, height, width, channels] in [0, 1] ->
            float32 [m, features]. None: there is no such term.
        space: "w", one style for all layers, which stays editable; or "w+", one for each layer,
            which comes nearer to the image.
        steps: steps of Adam, 1 or more.
        num_frames: the frames of the film, from 1 to `steps`.
        learning_rate: Adam's, between its rise and its fall; above 0.
        pixel_weight, feature_weight, noise_weight: 0 or more; that of features counts only with
            `embed`.
        generator: the module that params belong to; by default that of the default recipe of
            experiments/stylegan2.py. Its truncation does not count.

    Returns:
        The styles, the noise, and the film.

    Raises:
        ValueError: params belong to another network, the key is none, an array has another shape
            or dtype, the generator does not accept the labels, or a number is out of its range.
    """
    of_styles.check_params(params, generator)
    images = checked_images(images, generator.image_shape)
    labels = drawing.checked_labels(labels, len(images), generator)
    key = as_typed_key(key)
    if space not in SPACES:
        raise ValueError(f"space must be one of {', '.join(SPACES)}, not {space!r}")
    if not 1 <= num_frames <= steps:
        raise ValueError(f"num_frames must be from 1 to the {steps} steps, not {num_frames}")
    if learning_rate <= 0:
        raise ValueError(f"learning_rate must be above 0, not {learning_rate}")
    weights = jnp.asarray([pixel_weight, feature_weight, noise_weight], jnp.float32)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images)))
    rate = jnp.float32(learning_rate)
    sizes = steps, num_frames, space == "w+"
    return _project(params, images, labels, keys, weights, rate, sizes, embed, generator)


def noise_correlation(noise: PyTree) -> jax.Array:
    """How much noise goes together with itself, shifted by a pixel (appendix D).

    Args:
        noise: a tree of maps, float32 [height, width] each. A side above 8 is even, and so are its
            halves above 8.

    Returns:
        The sum, over all maps and their averages of 2x2 pixels down to a side of 8, of the squared
        mean of a map times itself shifted by a pixel, to the right and down. float32 scalar.
    """
    total = jnp.zeros(())
    for level in jax.tree.leaves(noise):
        while True:
            for axis in (0, 1):
                total += jnp.mean(level * jnp.roll(level, 1, axis)) ** 2
            if min(level.shape) <= _SMALLEST:
                break
            level = _halved(level[..., None])[..., 0]
    return total


def pixel_distance(made: jax.Array, image: jax.Array) -> jax.Array:
    """The mean squared difference of two images, averaged over the images and their halvings.

    Args:
        made, image: float32 [height, width, channels]; a side above 8 is even, and so are its
            halves above 8.

    Returns:
        float32 scalar. The smallest images compared have a side of 8 or less.
    """
    difference, found = made - image, []
    while True:
        found.append(jnp.mean(difference**2))
        if min(difference.shape[:2]) <= _SMALLEST:
            return jnp.mean(jnp.stack(found))
        difference = _halved(difference)


def learning_rate_share(step: jax.Array, steps: int) -> jax.Array:
    """The share of the learning rate at a step: it rises along a line, and falls along a cosine."""
    done = step / steps
    fall = 0.5 - 0.5 * jnp.cos(jnp.pi * jnp.minimum(1, (1 - done) / _FALL))
    return fall * jnp.minimum(1, done / _RISE)


def style_noise_share(step: jax.Array, steps: int) -> jax.Array:
    """How strong the noise on a style is at a step, in deviations of styles."""
    return _NOISE * jnp.maximum(0, 1 - step / steps / _NOISY) ** 2


def _halved(image: jax.Array) -> jax.Array:
    """[2h, 2w, channels] -> [h, w, channels], the means of the blocks of 2x2 pixels."""
    height, width, channels = image.shape
    return image.reshape(height // 2, 2, width // 2, 2, channels).mean(axis=(1, 3))


@functools.partial(jax.jit, static_argnames=("sizes", "embed", "generator"))
def _project(
    params: PyTree,
    images: jax.Array,
    labels: jax.Array | None,
    keys: jax.Array,
    weights: jax.Array,
    learning_rate: jax.Array,
    sizes: tuple[int, int, bool],
    embed: Embed | None,
    generator: Generator,
) -> Projection:
    steps, num_frames, is_of_each_layer = sizes
    adam = optax.scale_by_adam(*_BETAS)
    # After which steps the frames are drawn.
    ends = [round((i + 1) * steps / num_frames) for i in range(num_frames)]

    def one(inputs: tuple[jax.Array, jax.Array | None, jax.Array]) -> Projection:
        image, label, key = inputs
        mean_key, noise_key, step_key = jax.random.split(key, 3)
        mean, deviation = _mapped(params, mean_key, label, generator)
        start = jnp.broadcast_to(
            mean, (generator.num_styles if is_of_each_layer else 1, *mean.shape)
        )
        noise = _drawn(noise_key, params[BUFFERS]["synthesis"])
        known = jnp.zeros(()) if embed is None else embed(image[None])

        def made_of(style: jax.Array, noise: PyTree) -> jax.Array:
            styles = jnp.broadcast_to(style, (generator.num_styles, generator.style_size))
            return of_styles.applied(params, styles[None], noise, generator)

        def value(searched: tuple[jax.Array, PyTree], added: jax.Array) -> jax.Array:
            style, noise = searched
            made = made_of(style + added, noise)
            terms = [pixel_distance(made[0], image), jnp.zeros(()), noise_correlation(noise)]
            if embed is not None:
                terms[1] = jnp.mean((embed(made) - known) ** 2)
            return jnp.stack(terms) @ weights

        def step(i: jax.Array, state: Any) -> Any:
            searched, moments = state
            drawn = jax.random.normal(jax.random.fold_in(step_key, i), start.shape, jnp.float32)
            added = deviation * style_noise_share(i, steps) * drawn
            slopes = jax.grad(value)(searched, added)
            change, moments = adam.update(slopes, moments)
            rate = learning_rate * learning_rate_share(i, steps)
            style, noise = jax.tree.map(lambda x, c: x - rate * c, searched, change)
            return (style, jax.tree.map(_normalised, noise)), moments

        def part(state: Any, span: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
            state = jax.lax.fori_loop(*span, step, state)
            return state, jnp.clip(made_of(*state[0])[0], 0, 1)

        searched = start, noise
        spans = jnp.asarray([0, *ends[:-1]]), jnp.asarray(ends)
        ((style, noise), _), film = jax.lax.scan(part, (searched, adam.init(searched)), spans)
        styles = jnp.broadcast_to(style, (generator.num_styles, generator.style_size))
        return Projection(styles, noise, film)

    block = max(1, drawing.block_size(generator) // _SHARE)
    found = jax.lax.map(one, (images, labels, keys), batch_size=block)
    return found._replace(film=jnp.swapaxes(found.film, 0, 1))


def _mapped(
    params: PyTree, key: jax.Array, label: jax.Array | None, generator: Generator
) -> tuple[jax.Array, jax.Array]:
    """The mean style of a label, and the root of the mean squared distance from it."""
    latents = normal(key, (MAPPED, generator.latent_size))
    labels = None if label is None else jnp.broadcast_to(label, (MAPPED, *label.shape))
    styles = of_styles.mapped(params, latents, labels, generator)
    mean = jnp.mean(styles, axis=0)
    return mean, jnp.sqrt(jnp.sum((styles - mean) ** 2) / MAPPED)


def _drawn(key: jax.Array, like: PyTree) -> PyTree:
    """Noise of N(0, 1) of the shapes of a tree."""
    leaves, tree = jax.tree.flatten(like)
    keys = jax.random.split(key, len(leaves))
    drawn = [normal(key, jnp.shape(x)) for key, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, drawn)


def _normalised(noise: jax.Array) -> jax.Array:
    """The same, with the mean 0 and the mean square 1."""
    noise = noise - jnp.mean(noise)
    return noise / jnp.sqrt(jnp.mean(noise**2))
