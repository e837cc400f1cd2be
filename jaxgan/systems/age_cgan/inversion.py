"""The latents of given faces, and the faces in every group of age. The functions are pure."""

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from numpy.typing import ArrayLike

from jaxgan import checks
from jaxgan.checks import as_typed_key, checked_images
from jaxgan.options import with_own_options
from jaxgan.systems.age_cgan.networks import Generator
from jaxgan.systems.latent import drawing

PyTree = Any
# Images [n, H, W, C] in [0, 1] -> what a network knows of each, [n, features].
Embed = Callable[[jax.Array], jax.Array]
# The generator of the default recipe on toon faces.
FACES = Generator(image_shape=(32, 32, 3), num_classes=(3,), conditioning="last_norm")
# Pixels of the images that are handled at a time.
BLOCK = 64 * 64 * 64 * 3
# The objectives of the paper, and the weights of pixels and identity: section 2.3 has the first
# two, and the conclusion proposes both at once. "in every group" is ours. Features of the
# recogniser that ships differ from face to face by 6.3 in the mean square, pixels by 0.06.
_BOTH = {"pixel_weight": 1.0, "identity_weight": 0.01}
OBJECTIVES: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "pixelwise": {"pixel_weight": 1.0, "identity_weight": 0.0},
        "identity-preserving": {"pixel_weight": 0.0, "identity_weight": 0.01},
        "both": _BOTH,
        "in every group": {**_BOTH, "in_every_group": True},
    }
)
# How many of the last steps L-BFGS remembers, and the most points of a line search.
_MEMORY, _LINE = 10, 8


@with_own_options
def invert(
    params: PyTree,
    images: ArrayLike,
    labels: ArrayLike,
    key: jax.Array,
    *,
    embed: Embed | None = None,
    start: ArrayLike | None = None,
    steps: int = 100,
    pixel_weight: float = 1.0,
    identity_weight: float = 0.01,
    in_every_group: bool = False,
    prior_weight: float = 1e-3,
    bound: float = 3.0,
    generator: nn.Module = FACES,
) -> jax.Array:
    """Searches latents z of which a generator makes given images x, told their labels y.

    Each image by itself, L-BFGS with optax's zoom line search lowers

        pixel_weight * mean((G(z, y) - x)^2) + identity_weight * mean((FR(G(z, y)) - FR(x))^2)
        + prior_weight * mean(z^2) / 2

    from the start given. Antipov et al. 2017 (arXiv 1702.01983), section 2.3, compare the pixel
    term alone ("pixelwise") with the identity term alone ("identity-preserving"), and propose both.
    With `in_every_group` the identity term is the mean over all groups of age, not y alone: FR has
    to be blind to age, and then the search also asks that the aged faces are of the same person.

    Args:
        params: the generator's variables, {"params": ..., other collections}.
        images: x, [n, height, width, channels], n at least 1: float in [0, 1], or uint8.
        labels: y, int [n, k] as `jaxgan.sample` takes them; [n] will do if k is 1.
        key: a PRNG key, which draws the latents to start from if no `start` is given.
        embed: FR, a pure function: images float32 [m, height, width, channels] in [0, 1] ->
            float32 [m, features]. None: there is no identity term.
        start: the latents to start from, float [n, latent_size], such as `Encoder` gives them.
            None: they are drawn from N(0, 1).
        steps: how many steps of L-BFGS to take, 0 or more.
        pixel_weight: 0 or more.
        identity_weight: 0 or more; counts only with `embed`.
        in_every_group: whether identity is compared in every group, which takes as many times as
            long as there are groups. It counts only with `embed`.
        prior_weight: 0 or more.
        bound: each number of a latent is clipped to [-bound, bound].
        generator: the module that params belong to; by default that of the default recipe of
            experiments/age_cgan.py.

    Returns:
        float32 [n, latent_size]: of each image the best latents found, which are those of the start
        if none were better.

    Raises:
        ValueError: params belong to another network, the key is none, an array has another shape
            or dtype, the generator does not accept the labels, or it has more than one label and
            every group is asked for.
    """
    images = checked_images(images, generator.image_shape)
    key = as_typed_key(key)
    shape = len(images), generator.latent_size

    def made() -> jax.Array:
        return drawing.generate(params, jnp.zeros(shape), labels=labels, generator=generator)

    jax.eval_shape(made)  # Checks params and labels, and computes nothing.
    labels = jnp.asarray(labels, jnp.int32).reshape(len(images), -1)
    if in_every_group and len(generator.num_classes) != 1:
        raise ValueError(
            "in_every_group wants a generator that is told one label, the group, not "
            f"{len(generator.num_classes)}"
        )
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, not {steps}")
    if start is None:
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(shape[0]))
        start = jax.vmap(lambda key: jax.random.normal(key, shape[1:]))(keys)
    start = jnp.asarray(start, jnp.float32)
    if start.shape != shape:
        raise ValueError(f"start must have the shape {shape}, not {start.shape}")
    start = jnp.clip(start, -bound, bound)
    if not steps:
        return start
    weights = jnp.asarray([pixel_weight, identity_weight, prior_weight], jnp.float32)
    groups = embed is not None and in_every_group
    return _invert(params, images, labels, start, weights, bound, steps, embed, groups, generator)


@with_own_options
def encode(params: PyTree, images: ArrayLike, *, encoder: nn.Module) -> jax.Array:
    """Guesses the latents of images, each by itself.

    Args:
        params: the encoder's variables, {"params": ..., other collections}.
        images: [n, height, width, channels], n at least 1: float in [0, 1], or uint8.
        encoder: the module that params belong to; that of a run is `AgeCGANConfig.encoder()`.

    Returns:
        float32 [n, latent_size].

    Raises:
        ValueError: params belong to another network, or images have another shape or dtype.
    """
    images = checked_images(images, encoder.image_shape)
    shape = jax.ShapeDtypeStruct((1, *encoder.image_shape), jnp.float32)
    checks.check_params(params, encoder, shape)
    return _encode(params, images, encoder)


@with_own_options
def ages(params: PyTree, latents: ArrayLike, *, generator: nn.Module = FACES) -> jax.Array:
    """Makes the image of each latent in every group of age.

    Args:
        params: the generator's variables.
        latents: float [n, latent_size].
        generator: the module that params belong to. It has a single label, the group.

    Returns:
        float32 [n, groups, height, width, channels] in [0, 1], the groups in their order.

    Raises:
        ValueError: as `jaxgan.generate`.
    """
    (count,) = generator.num_classes
    latents = jnp.asarray(latents)
    repeated = jnp.repeat(latents, count, axis=0)
    labels = jnp.tile(jnp.arange(count), len(latents))
    images = drawing.generate(params, repeated, labels=labels, generator=generator)
    return images.reshape(len(latents), count, *images.shape[1:])


@functools.partial(jax.jit, static_argnames="encoder")
def _encode(params: PyTree, images: jax.Array, encoder: nn.Module) -> jax.Array:
    def one(image: jax.Array) -> jax.Array:
        return cast(jax.Array, encoder.apply(params, 2 * image[None] - 1))[0]

    return jax.lax.map(one, images, batch_size=_block(encoder))


def _block(module: nn.Module) -> int:
    return max(1, BLOCK // math.prod(module.image_shape))


@functools.partial(jax.jit, static_argnames=("embed", "in_every_group", "generator"))
def _invert(
    params: PyTree,
    images: jax.Array,
    labels: jax.Array,
    start: jax.Array,
    weights: jax.Array,
    bound: float,
    steps: int,
    embed: Embed | None,
    in_every_group: bool,
    generator: nn.Module,
) -> jax.Array:
    search = optax.lbfgs(
        memory_size=_MEMORY,
        linesearch=optax.scale_by_zoom_linesearch(_LINE, initial_guess_strategy="one"),
    )

    def one(inputs: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        image, label, first = inputs
        known = jnp.zeros(()) if embed is None else embed(image[None])
        shown, own = label[None], jnp.zeros((), jnp.int32)
        if in_every_group:
            shown, own = jnp.arange(generator.num_classes[0])[:, None], label[0]

        def value(latent: jax.Array) -> jax.Array:
            latent = jnp.clip(latent, -bound, bound)
            repeated = jnp.broadcast_to(latent, (len(shown), *latent.shape))
            made = (cast(jax.Array, generator.apply(params, repeated, shown)) + 1) / 2
            pixels = jnp.mean((made[own] - image) ** 2)
            terms = [pixels, jnp.zeros(()), jnp.mean(latent**2) / 2]
            if embed is not None:
                terms[1] = jnp.mean((embed(made) - known) ** 2)
            return jnp.stack(terms) @ weights

        def step(_: int, state: Any) -> Any:
            latent, searched, best, least, found, gradient = state
            change, searched = search.update(
                gradient, searched, latent, value=found, grad=gradient, value_fn=value
            )
            latent = optax.apply_updates(latent, change)
            # The line search has computed both where it ended. Under `vmap`, optax's
            # `value_and_grad_from_state` would compute them again at every step.
            found, gradient = (optax.tree.get(searched, name) for name in ("value", "grad"))
            best = jnp.where(found < least, latent, best)
            return latent, searched, best, jnp.minimum(found, least), found, gradient

        found, gradient = jax.value_and_grad(value)(first)
        state = first, search.init(first), first, found, found, gradient
        best = jax.lax.fori_loop(0, steps, step, state)[2]
        return jnp.clip(best, -bound, bound)

    # The line searches of a block end when the slowest does, and a search in a block computes both
    # branches of its conditions. On CPUs, where a block saves little, each is a search by itself.
    block = None if jax.default_backend() == "cpu" else _block(generator)
    return jax.lax.map(one, (images, labels, start), batch_size=block)
