import dataclasses

import jax
import numpy as np
import pytest
from small_style_gan import CONDITIONAL, SMALL, random_variables

from jaxgan.systems.stylegan2.styles import (
    coarse_layers,
    crossed,
    latents_of_seeds,
    layers_named,
    render,
    styles_of,
    walk,
    with_noise,
)

VARIABLES = random_variables(SMALL)
LATENTS = latents_of_seeds([3, 5], 3)
rng = np.random.default_rng(0)


def test_a_seed_draws_what_it_draws_in_the_official_tools():
    # The case has the latent of seed 5, which the official code has drawn.
    with np.load(f"{__file__.rpartition('/')[0]}/cases/unconditional_32.npz") as file:
        theirs = file["seed5_z"]
    ours = latents_of_seeds([4, 5], theirs.shape[1])
    np.testing.assert_array_equal(ours[1:], theirs.astype(np.float32))
    assert LATENTS.dtype == np.float32 and latents_of_seeds([], 3).shape == (0, 3)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="a seed must be from 0 to below"):
            latents_of_seeds([seed], 3)


def test_styles_are_truncated_as_the_generator_says():
    plain = np.asarray(styles_of(VARIABLES, LATENTS, generator=SMALL))
    assert plain.shape == (2, 6, 4)
    # By hand: a layer of the mapping.
    layer = VARIABLES["params"]["mapping"]["fc0"]
    z = LATENTS / np.sqrt(np.mean(LATENTS**2, axis=1, keepdims=True) + 1e-8)
    y = z @ layer["kernel"] * 0.01 / np.sqrt(3) + layer["bias"] * 0.01
    w = np.sqrt(2) * np.where(y > 0, y, 0.2 * y)
    np.testing.assert_allclose(plain, np.repeat(w[:, None], 6, axis=1), rtol=1e-4, atol=1e-7)
    generator = dataclasses.replace(SMALL, truncation=0.7, cutoff=2)
    cut = styles_of(VARIABLES, LATENTS, generator=generator)
    mean = VARIABLES["buffers"]["mapping"]["w_average"]
    np.testing.assert_allclose(cut[:, :2], (mean + 0.7 * (plain - mean))[:, :2], rtol=1e-5)
    np.testing.assert_array_equal(cut[:, 2:], plain[:, 2:])


def test_images_of_styles_with_the_constant_noise_and_with_their_own():
    styles = rng.normal(size=(2, 6, 4)).astype(np.float32)
    plain = np.asarray(render(VARIABLES, styles, generator=SMALL))
    raw = jax.jit(lambda x: SMALL.apply(VARIABLES, x, method="render"))(styles)
    np.testing.assert_allclose(plain, np.clip((raw + 1) / 2, 0, 1), atol=1e-5)
    held = VARIABLES["buffers"]["synthesis"]
    noise = jax.tree.map(lambda x: np.stack([x, -x]), held)
    made = render(VARIABLES, styles, noise=noise, generator=SMALL)
    np.testing.assert_allclose(made[0], plain[0], atol=1e-5)
    assert np.abs(made[1] - plain[1]).max() > 0.01
    other = with_noise(VARIABLES, jax.tree.map(lambda x: -x, held))
    np.testing.assert_allclose(render(other, styles, generator=SMALL)[1], made[1], atol=1e-5)


def test_a_walk_goes_straight_from_style_to_style_and_back():
    generator = dataclasses.replace(CONDITIONAL, truncation=0.5)
    variables = random_variables(generator)
    key, labels = jax.random.key(4), [[0, 2], [1, 0], [1, 1]]
    latents = jax.random.normal(key, (3, 3))
    stops = np.asarray(styles_of(variables, latents, labels=labels, generator=generator))
    ends = np.stack([stops, np.roll(stops, -1, axis=0)])
    path = np.stack([ends[0], ends.mean(axis=0)], axis=1).reshape(6, *stops.shape[1:])
    film = walk(variables, key, 3, 2, labels=labels, generator=generator)
    assert film.shape == (6, 8, 8, 1)
    np.testing.assert_allclose(film, render(variables, path, generator=generator), atol=1e-5)


def test_crossed_styles():
    rows, columns = rng.normal(size=(2, 6, 4)), rng.normal(size=(3, 6, 4))
    table = np.asarray(crossed(rows, columns, (0, 1, 4)))
    assert table.shape == (2, 3, 6, 4)
    for i in range(2):
        for j in range(3):
            for layer in range(6):
                own = columns[j] if layer in (0, 1, 4) else rows[i]
                np.testing.assert_allclose(table[i, j, layer], own[layer], rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "layers"),
    [(["0-3"], (0, 1, 2, 3)), (["5", "0-1", "1"], (0, 1, 5)), ([], ()), (["5-5"], (5,))],
)
def test_layers_by_their_names(words, layers):
    assert layers_named(words, 6) == layers


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("coarse", "layers are numbers, or FIRST-LAST such as 0-3, not 'coarse'"),
        ("-1", "layers are numbers"),
        ("4-6", "there are no layers 4-6: they are from 0 to 5"),
        ("3-2", "there are no layers 3-2"),
    ],
)
def test_names_of_no_layers(word, message):
    with pytest.raises(ValueError, match=message):
        layers_named([word], 6)


def test_coarse_layers_are_the_first_seven_of_eighteen():
    assert coarse_layers(18) == tuple(range(7)) and coarse_layers(10) == tuple(range(4))
    assert coarse_layers(4) == (0, 1)


STYLES = np.zeros((2, 6, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: styles_of(VARIABLES, LATENTS[0], generator=SMALL), r"the shape \(n, 3\)"),
        (lambda: styles_of(VARIABLES, LATENTS, labels=[0, 1], generator=SMALL), "not conditional"),
        (lambda: styles_of({"params": {}}, LATENTS, generator=SMALL), "params have no"),
        (lambda: render(VARIABLES, STYLES[:, 0], generator=SMALL), r"the shape \(n, 6, 4\)"),
        (lambda: render(VARIABLES, STYLES[:0], generator=SMALL), r"the shape \(n, 6, 4\)"),
        (
            lambda: render(
                VARIABLES, STYLES, noise=VARIABLES["buffers"]["synthesis"], generator=SMALL
            ),
            "the noise is of another generator",
        ),
        (lambda: with_noise(VARIABLES, {"b4": STYLES}), "the noise is of another generator"),
        (lambda: walk(VARIABLES, jax.random.key(0), 1, 5, generator=SMALL), "num_samples must be"),
        (lambda: walk(VARIABLES, jax.random.key(0), 2, 0, generator=SMALL), "num_steps must be"),
        (lambda: crossed(STYLES, STYLES[:, :3], (0,)), "rows and columns must have the shapes"),
        (lambda: crossed(STYLES, STYLES, (6,)), "layers must be from 0 to 5"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(ValueError, match=message):
        call()
