import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.pix2pix import translation
from jaxgan.systems.pix2pix.networks import UNet
from jaxgan.systems.pix2pix.translation import translate

GENERATOR = UNet(2, (16, 16, 3), 1)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)
KEY = jax.random.key(3)


@functools.cache
def params():
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(GENERATOR.init, jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    return jax.tree.map(lambda x: rng.normal(scale=0.3, size=x.shape).astype("f4"), shapes)


def by_hand(images, key=KEY):
    keys = jnp.stack([jax.random.fold_in(key, i) for i in range(len(images))])
    return (GENERATOR.apply(params(), jnp.float32(2 * images - 1), keys) + 1) / 2


translate_small = functools.partial(translate, generator=GENERATOR)


def assert_images(given, expected):
    assert given.shape == (len(expected), 16, 16, 3) and given.dtype == jnp.float32
    assert 0 <= given.min() and given.max() <= 1
    np.testing.assert_allclose(given, expected, atol=2e-5)


def test_it_is_the_generator_with_a_key_for_each_image():
    expected = by_hand(IMAGES / 255)
    given = translate_small(params(), IMAGES, KEY)
    assert_images(given, expected)
    # With the noise, which is no rounding.
    assert np.abs(given - by_hand(IMAGES / 255, jax.random.key(4))).max() > 0.01
    assert np.asarray(given).std(axis=(1, 2, 3)).min() > 0.01
    for floats in (IMAGES / np.float32(255), (IMAGES / 255).tolist()):
        assert_images(translate_small(params(), floats, KEY), expected)


def test_the_same_key_gives_the_same_images():
    given = translate_small(params(), IMAGES, KEY)
    np.testing.assert_array_equal(given, translate_small(params(), IMAGES, KEY))
    old = jax.random.key_data(KEY)
    np.testing.assert_array_equal(given, translate_small(params(), IMAGES, old))
    assert np.abs(given - translate_small(params(), IMAGES, jax.random.key(4))).max() > 0.01


@pytest.mark.parametrize("images_at_a_time", [1, 2, 5])
def test_how_many_are_translated_at_a_time_changes_nothing(images_at_a_time, monkeypatch):
    monkeypatch.setattr(translation, "BLOCK", images_at_a_time * 16 * 16 * 3)
    translation._translate.clear_cache()
    assert_images(translate_small(params(), IMAGES, KEY), by_hand(IMAGES / 255))
    translation._translate.clear_cache()


def test_an_image_is_what_it_is_whatever_comes_after_it():
    given = translate_small(params(), IMAGES, KEY)
    np.testing.assert_allclose(translate_small(params(), IMAGES[:2], KEY), given[:2], atol=2e-5)


def test_gradients_go_through():
    slopes = jax.grad(lambda images: translate_small(params(), images, KEY)[0].sum())(
        jnp.float32(IMAGES / 255)
    )
    assert np.abs(slopes[0]).max() > 1e-3 and (slopes[1:] == 0).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[0], r"shape \(n, 16, 16, 1\), not \(16, 16, 1\)"),
        (IMAGES[:, :8], r"shape \(n, 16, 16, 1\), not \(5, 8, 16, 1\)"),
        (IMAGES.repeat(3, -1), r"shape \(n, 16, 16, 1\), not \(5, 16, 16, 3\)"),
        (IMAGES[:0], r"shape \(n, 16, 16, 1\), not \(0, 16, 16, 1\)"),
        (IMAGES.astype(np.int32), r"float in \[0, 1\] or uint8, not int32"),
        (IMAGES > 0, r"float in \[0, 1\] or uint8, not bool"),
    ],
)
def test_images_of_another_shape_or_dtype(images, message):
    with pytest.raises(ValueError, match=message):
        translate_small(params(), images, KEY)


def test_params_of_another_network():
    with pytest.raises(
        ValueError, match=r"Conv_0/bias has the shape \(2,\), but the generator wants \(32,\)"
    ):
        translate(params(), np.zeros((1, 64, 64, 1)), KEY)


def test_no_key():
    with pytest.raises(ValueError, match="key"):
        translate_small(params(), IMAGES, 3)


def test_more_than_there_is_memory_for(monkeypatch):
    monkeypatch.setattr("jaxgan.memory._SMALL", 0)
    # Inputs, outputs, and the maps of 8x8 of a block of five images, two channels three times.
    least = 4 * (5 * 16 * 16 * (1 + 3) + 5 * 3 * 2 * 8 * 8)
    monkeypatch.setattr("jaxgan.memory.available", lambda device=None: least)
    translate_small(params(), IMAGES, KEY)
    monkeypatch.setattr("jaxgan.memory.available", lambda device=None: least - 1)
    with pytest.raises(ValueError, match="translating 5 images of 16x16x3 needs at least"):
        translate_small(params(), IMAGES, KEY)


def test_in_evaluation_mode_there_is_no_noise_and_the_running_statistics_are_used():
    generator = UNet(2, (16, 16, 3), 1, norm="batch")
    shapes = jax.eval_shape(generator.init, jax.random.key(0), jnp.zeros((1, 16, 16, 1)))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: rng.uniform(0.1, 0.5, x.shape).astype("f4"), shapes)
    inputs = 2 * jnp.float32(IMAGES[:2] / 255) - 1
    given = translate(variables, IMAGES[:2], None, generator=generator)
    assert_images(given, (jax.jit(generator.apply)(variables, inputs) + 1) / 2)
    # With a key each image is normalised by itself, as in training with batches of one image.
    given = translate(variables, IMAGES[:2], KEY, generator=generator)
    in_training = functools.partial(generator.apply, train=True, mutable=["batch_stats"])
    for i in range(2):
        key = jax.random.fold_in(KEY, i)[None]
        made, _ = jax.jit(in_training)(variables, inputs[i : i + 1], key)
        assert_images(given[i : i + 1], (made + 1) / 2)
