"""The search for latents: what it finds, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgan
from jaxgan.systems.age_cgan.inversion import FACES, ages, encode, invert
from jaxgan.systems.age_cgan.networks import Encoder, Generator

SHAPE = (8, 8, 3)
GENERATOR = Generator(4, 8, SHAPE, (3,))
ENCODER = Encoder(4, 2, SHAPE)
KEY = jax.random.key(0)
LABELS = np.array([0, 2, 1])


def larger(variables, factor):
    """Weights that have an effect, as trained ones do."""
    return {**variables, "params": jax.tree.map(lambda x: factor * x, variables["params"])}


PARAMS = larger(GENERATOR.init(KEY, jnp.zeros((1, 4)), jnp.zeros((1, 1), jnp.int32)), 3)
LATENTS = np.asarray(jax.random.normal(jax.random.key(1), (3, 4)))
IMAGES = np.asarray(
    jaxgan.generate(PARAMS, LATENTS, labels=LABELS, generator=GENERATOR)  # float in [0, 1]
)
search = functools.partial(invert, PARAMS, IMAGES, LABELS, KEY, generator=GENERATOR)


def errors(found):
    made = jaxgan.generate(PARAMS, found, labels=LABELS, generator=GENERATOR)
    return np.asarray(jnp.mean((made - IMAGES) ** 2, axis=(1, 2, 3)))


def embed(images):
    """Features that know no absolute brightness."""
    return (images - images.mean(axis=(1, 2, 3), keepdims=True)).reshape(len(images), -1)[:, ::3]


def test_the_latents_of_generated_images_are_found():
    start = LATENTS + 0.3
    found = search(start=start, steps=30, prior_weight=0.0)
    assert found.shape == (3, 4) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, LATENTS, atol=1e-3)


def test_an_embedding_will_do_in_the_place_of_pixels():
    start = LATENTS + 0.3
    found = search(embed=embed, start=start, steps=30, pixel_weight=0.0, prior_weight=0.0)
    assert (errors(found) < 0.05 * errors(start)).all()


def test_identity_can_be_asked_for_in_every_group():
    start = LATENTS + 0.3

    def error(found):
        """The mean square of features over all groups, which the search should lower."""
        made = ages(PARAMS, found, generator=GENERATOR).reshape(-1, *SHAPE)
        known = np.repeat(embed(IMAGES), 3, axis=0)
        return np.asarray(np.mean((embed(made) - known) ** 2, axis=1).reshape(3, 3).mean(axis=1))

    options = {"embed": embed, "start": start, "steps": 30, "prior_weight": 0.0}
    own, every = (
        error(search(in_every_group=chosen, pixel_weight=0.0, **options))
        for chosen in (False, True)
    )
    assert (every < own).all() and (every < 0.95 * error(start)).all()
    # Pixels are compared in the image's own group in either case.
    options |= {"identity_weight": 0.0}
    np.testing.assert_allclose(search(in_every_group=True, **options), search(**options), atol=1e-3)
    # Without features there is nothing to compare in other groups.
    options |= {"embed": None}
    np.testing.assert_array_equal(search(in_every_group=True, **options), search(**options))


def test_every_group_wants_a_single_label():
    two = Generator(4, 8, SHAPE, (3, 2))
    labels = np.zeros((3, 2), np.int32)
    params = two.init(KEY, jnp.zeros((1, 4)), jnp.zeros((1, 2), jnp.int32))
    with pytest.raises(ValueError, match="in_every_group wants a generator that is told one label"):
        invert(params, IMAGES, labels, KEY, in_every_group=True, generator=two)


def test_no_steps_give_the_start_within_the_bound():
    start = np.linspace(-9, 9, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(search(start=start, steps=0), np.clip(start, -3, 3))
    found = search(start=start, steps=2, bound=0.5)
    assert np.abs(found).max() <= 0.5


def test_the_key_draws_the_start_of_each_image():
    found = search(steps=0)
    np.testing.assert_array_equal(found, search(steps=0))
    other = invert(PARAMS, IMAGES, LABELS, jax.random.key(9), steps=0, generator=GENERATOR)
    assert not np.array_equal(found, other)
    # Of one image alone as among others.
    one = invert(PARAMS, IMAGES[:1], LABELS[:1], KEY, steps=0, generator=GENERATOR)
    np.testing.assert_array_equal(one, found[:1])


def test_the_prior_draws_latents_to_0():
    start = LATENTS + 0.3
    found = search(start=start, steps=10, prior_weight=1e3)
    assert np.abs(found).max() < 1e-2


def test_it_can_be_used_inside_jit():
    start = LATENTS + 0.3

    @jax.jit
    def found(params, images, labels):
        return invert(params, images, labels, KEY, start=start, steps=3, generator=GENERATOR)

    expected = search(start=start, steps=3)
    np.testing.assert_allclose(found(PARAMS, IMAGES, LABELS), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": IMAGES[:, :4]}, r"images must have the shape \(n, 8, 8, 3\), not \(3, 4, 8, 3"),
        ({"images": IMAGES.astype(np.int32)}, "float in .0, 1. or uint8, not int32"),
        ({"labels": np.array([0, 1, 3])}, "labels must be from 0 to below 3 in column 0"),
        ({"labels": np.array([0, 1])}, "labels must be integers of the shape"),
        ({"labels": None}, "this generator is conditional"),
        ({"start": np.zeros((3, 5))}, r"start must have the shape \(3, 4\), not \(3, 5\)"),
        ({"steps": -1}, "steps must be 0 or more, not -1"),
        ({"key": 3}, "key must be one PRNG key"),
        ({"generator": FACES}, "generator"),
    ],
)
def test_what_it_refuses(changes, message):
    given = {"params": PARAMS, "images": IMAGES, "labels": LABELS, "key": KEY}
    if changes.get("generator") is FACES:
        changes = {**changes, "images": np.zeros((3, *FACES.image_shape), np.uint8)}
    given |= {"generator": GENERATOR, "steps": 1, **changes}
    with pytest.raises(ValueError, match=message):
        jaxgan.invert(**given)


def test_the_guess_of_an_encoder():
    params = ENCODER.init(KEY, jnp.zeros((1, *SHAPE)))
    guess = encode(params, IMAGES, encoder=ENCODER)
    assert guess.shape == (3, 4)
    np.testing.assert_allclose(guess, ENCODER.apply(params, 2 * IMAGES - 1), atol=1e-5)
    as_bytes = np.rint(255 * IMAGES).astype(np.uint8)
    rounded = encode(params, as_bytes, encoder=ENCODER)
    exact = encode(params, as_bytes / np.float32(255), encoder=ENCODER)
    np.testing.assert_allclose(rounded, exact, atol=1e-6)


def test_each_latent_in_every_group():
    aged = ages(PARAMS, LATENTS, generator=GENERATOR)
    assert aged.shape == (3, 3, *SHAPE)
    np.testing.assert_allclose(aged[np.arange(3), LABELS], IMAGES, atol=1e-6)
    assert np.abs(aged[:, 0] - aged[:, 1]).max() > 1e-3
