import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.augmentation import draw_cut, draw_shift, enlarged_and_cut, mirrored, shift


def test_images_move_down_and_right_and_repeats_the_edge():
    images = np.random.default_rng(0).normal(size=(6, 5, 7, 2)).astype(np.float32)
    shifts = np.array([[0, 0], [2, 0], [-1, 0], [0, 2], [1, -2], [-2, 1]])
    got = shift(jnp.asarray(images), jnp.asarray(shifts), 2)
    for image, (down, right), moved in zip(images, shifts, got, strict=True):
        for row in range(5):
            for column in range(7):
                source = np.clip(row - down, 0, 4), np.clip(column - right, 0, 6)
                np.testing.assert_array_equal(moved[row, column], image[source])


def test_the_gradient_goes_back_to_where_each_pixel_came_from():
    image = jnp.zeros((1, 4, 4, 1))
    weights = jnp.arange(16.0).reshape(1, 4, 4, 1)
    gradient = jax.grad(lambda x: jnp.sum(weights * shift(x, jnp.array([[1, 0]]), 1)))(image)
    # Row 0 is seen twice, in rows 0 and 1; row 3 has left the picture.
    expected = np.array([[4, 6, 8, 10], [8, 9, 10, 11], [12, 13, 14, 15], [0, 0, 0, 0]])
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


def test_shifts_are_uniform_and_as_often_as_asked():
    keys = jax.random.split(jax.random.key(0), 20_000)
    shifts = np.asarray(jax.vmap(lambda key: draw_shift(key, 2, 0.5))(keys))
    assert shifts.min() == -2 and shifts.max() == 2
    still = np.mean((shifts == 0).all(axis=1))
    # 4 standard errors about 1/2 + 1/2 * 1/25.
    assert still == pytest.approx(0.52, abs=4 * np.sqrt(0.25 / 20_000))
    moved = shifts[(shifts != 0).any(axis=1)]
    cells, counts = np.unique(moved, axis=0, return_counts=True)
    assert len(cells) == 24
    expected = len(moved) / 24
    # Chi squared with 23 degrees of freedom: 49.7 is its 99.9 % quantile.
    assert np.sum((counts - expected) ** 2 / expected) < 49.7


def test_no_shift_with_probability_zero():
    keys = jax.random.split(jax.random.key(1), 100)
    assert not jax.vmap(lambda key: draw_shift(key, 2, 0.0))(keys).any()


def test_a_shift_for_each_image_is_wanted():
    with pytest.raises(AssertionError):
        shift(jnp.zeros((3, 4, 4, 1)), jnp.zeros((1, 2), jnp.int32), 1)
    chex.assert_shape(shift(jnp.zeros((3, 4, 4, 1)), jnp.zeros((3, 2), jnp.int32), 1), (3, 4, 4, 1))


def test_a_cut_lies_within_the_margins():
    corners = jax.vmap(lambda key: draw_cut(key, (3, 5)))(jax.random.split(jax.random.key(0), 400))
    assert corners.dtype == jnp.int32
    for axis, margin in enumerate((3, 5)):
        assert set(np.unique(corners[:, axis])) == set(range(margin + 1))


def test_enlarged_images_are_those_of_pillow_and_each_is_cut_at_its_corner():
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 16, 8, 2)).astype(np.float32)
    corners, margins = np.array([[0, 0], [2, 1], [1, 0]]), (2, 1)
    given = jax.jit(enlarged_and_cut, static_argnums=2)(images, corners, margins)
    assert given.shape == images.shape
    for image, (top, left), its in zip(images, corners, given, strict=True):
        for channel in range(2):
            plane = Image.fromarray(image[..., channel], "F")
            large = np.asarray(plane.resize((9, 18), Image.Resampling.BICUBIC))
            cut = large[top : top + 16, left : left + 8]
            np.testing.assert_allclose(its[..., channel], np.clip(cut, -1, 1), atol=1e-5)


def test_what_overshoots_is_brought_back():
    images = np.where(np.arange(16) % 4 < 2, 1, -1).astype(np.float32)
    images = np.broadcast_to(images[None, :, None, None], (1, 16, 16, 1))
    given = enlarged_and_cut(images, np.array([[1, 1]]), (2, 2))
    assert np.abs(given).max() == 1


def test_mirrored():
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 1)).astype(np.float32)
    given = mirrored(images, np.array([True, False]))
    np.testing.assert_array_equal(given[0], images[0, :, ::-1])
    np.testing.assert_array_equal(given[1], images[1])
