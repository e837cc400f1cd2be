import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.stylegan2.networks import (
    BUFFERS,
    DISCRIMINATOR_KINDS,
    GENERATOR_KINDS,
    Discriminator,
    Generator,
    label_vectors,
    pyramid,
)

LATENTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
SMALL = Generator(3, (8, 8, 3), (), 5, 2, 16, 2)


@pytest.fixture(scope="module")
def variables():
    return jax.jit(SMALL.init)(jax.random.key(0), LATENTS[:1])


@pytest.fixture(scope="module")
def render():
    return jax.jit(
        lambda variables, styles, keys: SMALL.apply(
            variables, styles, "random", keys, method="render"
        )
    )


def of(variables, method, *arguments, **options):
    return SMALL.apply(variables, *arguments, method=method, **options)


def test_the_mean_style_moves_a_two_hundredth_of_the_way(variables):
    style, new = of(variables, "style", LATENTS, None, True, mutable=[BUFFERS])
    before, after = (each[BUFFERS]["mapping"]["w_average"] for each in (variables, new))
    np.testing.assert_array_equal(before, 0)
    np.testing.assert_allclose(after, 0.005 * np.mean(style, axis=0), rtol=1e-5)
    # What else is in the collection stays: it replaces the old one.
    assert jax.tree.structure(new[BUFFERS]) == jax.tree.structure(variables[BUFFERS])


def test_truncation_and_its_cutoff(variables):
    style = of(variables, "style", LATENTS)
    mean = np.arange(5, dtype=np.float32)
    buffers = {**variables[BUFFERS], "mapping": {"w_average": mean}}
    moved = {**variables, BUFFERS: buffers}
    plain = np.repeat(np.asarray(style)[:, None], 4, axis=1)
    np.testing.assert_array_equal(of(moved, "spread", style), plain)
    truncated = of(moved, "spread", style, 0.7)
    np.testing.assert_allclose(truncated, mean + 0.7 * (plain - mean), rtol=1e-5, atol=1e-6)
    cut = of(moved, "spread", style, 0.7, 3)
    np.testing.assert_array_equal(cut[:, :3], truncated[:, :3])
    np.testing.assert_array_equal(cut[:, 3:], plain[:, 3:])


def test_noise_is_of_the_key_of_the_example(variables, render):
    strong = jax.tree_util.tree_map_with_path(
        lambda path, x: x + 1 if "noise_strength" in jax.tree_util.keystr(path) else x, variables
    )
    styles = of(variables, "spread", of(variables, "style", LATENTS))
    keys = jax.random.split(jax.random.key(1), 4)
    images = render(strong, styles, keys)
    # Without strength there is none, as at the start of training.
    np.testing.assert_array_equal(
        render(variables, styles, keys), render(variables, styles, keys[::-1])
    )
    assert np.abs(images - render(strong, styles, keys[::-1])).max() > 0.1
    # The place in the batch does not matter.
    turned = render(strong, styles[::-1], keys[::-1])
    np.testing.assert_allclose(images, turned[::-1], atol=1e-5)


def test_images_for_people_are_cut_to_their_range(variables):
    loud = jax.tree.map(lambda x: 10 * x, variables)
    images = jax.jit(SMALL.apply)(loud, LATENTS)
    assert images.shape == (4, 8, 8, 3) and np.abs(images).max() == 1


@pytest.mark.parametrize("kind", GENERATOR_KINDS)
def test_shapes_of_generators(kind):
    generator = Generator(3, (40, 16, 1), (2, 3), 5, 2, 64, 4, kind)
    codes = jnp.zeros((1, 2), jnp.int32)
    shapes = jax.eval_shape(generator.init, jax.random.key(0), LATENTS[:1], codes)
    synthesis = shapes["params"]["synthesis"]
    assert synthesis["b4"]["const"].shape == (10, 4, 4)
    assert shapes["params"]["mapping"]["fc0"]["kernel"].shape == (3 + 5, 5)
    assert ("torgb" in synthesis["b4"]) == (kind == "skip")
    assert ("skip" in synthesis["b8"]) == (kind == "resnet")
    assert generator.num_styles == 6
    image = jax.eval_shape(generator.apply, shapes, LATENTS, jnp.zeros((4, 2), jnp.int32))
    assert image.shape == (4, 40, 16, 1)


@pytest.mark.parametrize("kind", DISCRIMINATOR_KINDS)
def test_shapes_of_discriminators(kind):
    discriminator = Discriminator((40, 16, 1), (3,), 64, 4, kind, num_deviations=2)
    images, labels = jnp.zeros((8, 40, 16, 1)), jnp.zeros((8, 3))
    shapes = jax.eval_shape(discriminator.init, jax.random.key(0), images, labels)
    params = shapes["params"]
    assert params["b4"]["conv"]["kernel"].shape == (3, 3, 4 + 2, 4)
    assert params["b4"]["fc"]["kernel"].shape == (10 * 4 * 4, 4)
    assert ("skip" in params["b8"]) == (kind == "resnet")
    assert ("fromrgb" in params["b4"]) == (kind == "skip")
    assert jax.eval_shape(discriminator.apply, shapes, images, labels).shape == (8,)


@pytest.mark.parametrize("shape", [(4, 4, 3), (30, 32, 3), (32, 36, 3), (6, 64, 3)])
def test_shapes_that_cannot_be_halved(shape):
    with pytest.raises(ValueError, match="--image-shape .* must be 4 to 7 times"):
        pyramid(shape, 1024, 64)


def test_channels_of_a_pyramid():
    assert pyramid((64, 64, 3), 1024, 64) == ((4, 4), [64, 64, 64, 32, 16])
    assert pyramid((28, 28, 1), 64, 64) == ((7, 7), [16, 8, 4])
    with pytest.raises(ValueError, match="--channel-base must be 64 or more"):
        pyramid((64, 64, 3), 63, 64)


def test_no_labels_have_no_vectors():
    assert label_vectors(None, ()) is None


def blocks(images):
    """Each 2x2 pixels beside each other, row by row: [n, h, w, c] -> [n, h/2, w/2, 4 c]."""
    return np.concatenate([images[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)


def test_blocks_of_pixels_are_the_channels_of_images_half_as_high():
    shared = {"style_size": 5, "mapping_layers": 2, "channel_base": 16, "channel_max": 2}
    small = Generator(3, (8, 12, 12), **shared)
    large = Generator(3, (16, 24, 3), **shared, block_size=2)
    assert large.num_styles == small.num_styles == 4
    params = jax.jit(small.init)(jax.random.key(0), LATENTS[:1])
    images = np.asarray(large.apply(params, LATENTS))
    np.testing.assert_array_equal(blocks(images), small.apply(params, LATENTS))

    judge = Discriminator((8, 12, 12), channel_base=16, channel_max=2)
    params = jax.jit(judge.init)(jax.random.key(1), blocks(images))
    of_blocks = Discriminator((16, 24, 3), channel_base=16, channel_max=2, block_size=2)
    np.testing.assert_array_equal(
        of_blocks.apply(params, images), judge.apply(params, blocks(images))
    )
