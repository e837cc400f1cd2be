import functools

import jax
import numpy as np
import pytest
from small_run import slow
from small_style_gan import CONDITIONAL, random_variables

from jaxgan.systems.stylegan2.networks import Generator
from jaxgan.systems.stylegan2.projection import (
    learning_rate_share,
    noise_correlation,
    pixel_distance,
    project,
    style_noise_share,
)
from jaxgan.systems.stylegan2.styles import render, styles_of

SMALL = Generator(3, (8, 8, 3), (), 4, 1, 64, 4)
rng = np.random.default_rng(0)


def quiet(path, x):
    """Noise that does not drown the image, and images that are not cut to their range."""
    name = jax.tree_util.keystr(path)
    if name.endswith(("noise_strength']", "bias']")):
        return 0.1 * x
    return 2 * x if name.endswith("['torgb']['kernel']") else x


VARIABLES = jax.tree_util.tree_map_with_path(quiet, random_variables(SMALL))


@functools.cache
def targets():
    """Images of two styles, the same in all layers."""
    styles = np.repeat(2 * rng.normal(size=(2, 1, 4)), 4, axis=1)
    return np.asarray(render(VARIABLES, styles, generator=SMALL))


def brightness(images):
    return images.mean(axis=(1, 2, 3))[:, None]


# Each space is compiled once.
EMBEDS = {"w": None, "w+": brightness}


def projected(space, images, **options):
    return project(
        VARIABLES,
        images,
        jax.random.key(0),
        embed=EMBEDS[space],
        space=space,
        steps=60,
        num_frames=4,
        generator=SMALL,
        **options,
    )


@pytest.mark.parametrize("space", ["w", slow("w+")])
def test_the_search_comes_nearer_to_the_images(space):
    projection = projected(space, targets())
    assert projection.styles.shape == (2, 4, 4) and projection.film.shape == (4, 2, 8, 8, 3)
    start = render(VARIABLES, np.zeros((2, 4, 4)), generator=SMALL)
    before, *_, after = (
        np.mean((each - targets()) ** 2, axis=(1, 2, 3)) for each in (start, *projection.film)
    )
    assert after.max() < 0.3 * before.max()
    again = render(VARIABLES, projection.styles, noise=projection.noise, generator=SMALL)
    np.testing.assert_allclose(projection.film[-1], again, atol=1e-4)
    is_one = np.ptp(projection.styles, axis=1).max() == 0
    assert is_one == (space == "w")
    for level in jax.tree.leaves(projection.noise):
        np.testing.assert_allclose(np.mean(level, axis=(1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(np.mean(level**2, axis=(1, 2)), 1, rtol=1e-4)


def test_each_image_is_searched_by_itself():
    both = projected("w", targets())
    other = projected("w", np.stack([targets()[0], np.zeros_like(targets()[0])]))
    np.testing.assert_allclose(both.film[:, 0], other.film[:, 0], atol=1e-5)
    assert np.abs(both.film[-1, 1] - other.film[-1, 1]).max() > 0.01


@pytest.mark.slow
def test_features_count():
    # The pixels count for nothing, so only the brightness is found.
    options = {"pixel_weight": 0.0, "feature_weight": 1.0, "noise_weight": 0.0}
    projection = projected("w+", targets()[::-1], **options)
    start = render(VARIABLES, np.zeros((2, 4, 4)), generator=SMALL)
    before, after = (
        np.abs(brightness(np.asarray(each)) - brightness(targets()[::-1]))
        for each in (start, projection.film[-1])
    )
    assert after.max() < 0.3 * before.max()


def test_pixels_are_compared_at_several_scales():
    made, image = rng.normal(size=(2, 16, 24, 3))
    difference = made - image
    halved = difference.reshape(8, 2, 12, 2, 3).mean(axis=(1, 3))
    expected = (np.mean(difference**2) + np.mean(halved**2)) / 2
    found = pixel_distance(made.astype(np.float32), image.astype(np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_search_begins_at_the_mean_style_of_the_label():
    variables = random_variables(CONDITIONAL)
    labels = np.array([[1, 2]])
    # The learning rate of the first step is 0.
    start = project(
        variables,
        np.zeros((1, 8, 8, 1), np.float32),
        jax.random.key(0),
        labels=labels,
        steps=1,
        generator=CONDITIONAL,
    )
    latents = rng.normal(size=(4000, 3)).astype(np.float32)
    styles = styles_of(
        variables, latents, labels=np.repeat(labels, 4000, axis=0), generator=CONDITIONAL
    )[:, 0]
    error = 5 * np.std(styles, axis=0) * np.sqrt(1 / 4000 + 1 / 10_000)
    assert (np.abs(start.styles[0] - np.mean(styles, axis=0)) < error).all()


def test_the_schedule_of_the_search():
    steps = 1000
    for step in (0, 10, 50, 400, 750, 900, 999):
        done = step / steps
        fall = 0.5 - 0.5 * np.cos(np.pi * min(1.0, (1 - done) / 0.25))
        rise = min(1.0, done / 0.05)
        np.testing.assert_allclose(learning_rate_share(step, steps), fall * rise, rtol=1e-3)
        noise = 0.05 * max(0.0, 1 - done / 0.75) ** 2
        np.testing.assert_allclose(style_noise_share(step, steps), noise, rtol=1e-4, atol=1e-9)


def test_the_correlation_of_noise():
    maps = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 6), (8, 8), (16, 24))]
    expected = 0.0
    for level in maps:
        while True:
            for axis in (0, 1):
                expected += np.mean(level * np.roll(level, 1, axis)) ** 2
            if min(level.shape) <= 8:
                break
            level = (level[::2] + level[1::2])[:, ::2] / 4 + (level[::2] + level[1::2])[:, 1::2] / 4
    np.testing.assert_allclose(noise_correlation(dict(enumerate(maps))), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": np.zeros((1, 8, 9, 3))}, r"images must have the shape \(n, 8, 8, 3\)"),
        ({"images": np.zeros((1, 8, 8, 3), int)}, "images must be float in"),
        ({"labels": [0]}, "it is not conditional"),
        ({"key": 3}, "key must be one PRNG key"),
        ({"space": "z"}, "space must be one of w, w\\+, not 'z'"),
        ({"steps": 5, "num_frames": 6}, "num_frames must be from 1 to the 5 steps, not 6"),
        ({"steps": 0}, "num_frames must be from 1 to the 0 steps"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"params": {"params": {}}}, "params have no"),
    ],
)
def test_mistakes(options, message):
    options = {
        "params": VARIABLES,
        "images": np.zeros((1, 8, 8, 3), np.float32),
        "key": jax.random.key(0),
        **options,
    }
    with pytest.raises(ValueError, match=message):
        project(**options, generator=SMALL)
