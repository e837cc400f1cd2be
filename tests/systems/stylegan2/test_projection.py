import functools

import jax
import numpy as np
import pytest
from small_style_gan import CONDITIONAL, SMALL, random_variables

from jaxgan.systems.stylegan2.projection import (
    learning_rate_share,
    noise_correlation,
    project,
    style_noise_share,
)
from jaxgan.systems.stylegan2.styles import render, styles_of

VARIABLES = random_variables(SMALL)
rng = np.random.default_rng(0)


@functools.cache
def targets():
    latents = rng.normal(size=(2, 3)).astype(np.float32)
    styles = styles_of(VARIABLES, latents, generator=SMALL)
    return np.asarray(render(VARIABLES, 5 * np.asarray(styles), generator=SMALL))


@functools.cache
def found(space):
    return project(
        VARIABLES,
        targets(),
        jax.random.key(0),
        space=space,
        steps=40,
        num_frames=4,
        generator=SMALL,
    )


@pytest.mark.parametrize("space", ["w", "w+"])
def test_the_search_comes_nearer_to_the_images(space):
    projection = found(space)
    assert projection.styles.shape == (2, 6, 4) and projection.film.shape == (4, 2, 16, 16, 3)
    errors = np.mean((projection.film - targets()) ** 2, axis=(2, 3, 4))
    assert (errors[-1] < 0.7 * errors[0]).all()
    again = render(VARIABLES, projection.styles, noise=projection.noise, generator=SMALL)
    np.testing.assert_allclose(projection.film[-1], again, atol=1e-4)
    is_one = np.ptp(projection.styles, axis=1).max() == 0
    assert is_one == (space == "w")
    for level in jax.tree.leaves(projection.noise):
        np.testing.assert_allclose(np.mean(level, axis=(1, 2)), 0, atol=1e-5)
        np.testing.assert_allclose(np.mean(level**2, axis=(1, 2)), 1, rtol=1e-4)


def test_each_image_is_searched_by_itself():
    alone = project(
        VARIABLES, targets()[:1], jax.random.key(0), steps=40, num_frames=4, generator=SMALL
    )
    np.testing.assert_allclose(alone.film[:, 0], found("w").film[:, 0], atol=1e-3)


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


def test_features_count():
    def brightness(images):
        return images.mean(axis=(1, 2, 3))[:, None]

    # The pixels count for nothing, so only the brightness is found.
    projection = project(
        VARIABLES,
        targets()[:1],
        jax.random.key(0),
        embed=brightness,
        pixel_weight=0.0,
        feature_weight=1.0,
        noise_weight=0.0,
        steps=40,
        num_frames=2,
        generator=SMALL,
    )
    errors = np.abs(projection.film.mean(axis=(2, 3, 4)) - targets()[:1].mean())[:, 0]
    assert errors[-1] < 0.01 and errors[-1] < errors[0]


def test_the_schedule_of_the_search():
    steps = 1000
    for step in (0, 10, 50, 400, 750, 900, 999):
        done = step / steps
        fall = 0.5 - 0.5 * np.cos(np.pi * min(1.0, (1 - done) / 0.25))
        rise = min(1.0, done / 0.05)
        np.testing.assert_allclose(learning_rate_share(step, steps), fall * rise, rtol=1e-4)
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
        ({"images": np.zeros((1, 8, 8, 3))}, r"images must have the shape \(n, 16, 16, 3\)"),
        ({"images": np.zeros((1, 16, 16, 3), int)}, "images must be float in"),
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
        "images": np.zeros((1, 16, 16, 3), np.float32),
        "key": jax.random.key(0),
        **options,
    }
    with pytest.raises(ValueError, match=message):
        project(**options, generator=SMALL)
