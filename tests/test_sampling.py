import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.sampling import generate, interpolate, sample
from jaxgan.systems.dcgan import networks as dcgan
from jaxgan.systems.latent import drawing
from jaxgan.systems.mlp_gan import networks as mlp

SMALL = mlp.Generator(3, (4, 5), (2, 3, 1))


def random_params(generator):
    """Parameters larger than a new network's, so that images are neither grey nor alike."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(
        generator.init, jax.random.key(0), jnp.zeros((1, generator.latent_size))
    )
    return jax.tree.map(
        lambda leaf: rng.normal(scale=1.5 * leaf.shape[0] ** -0.5, size=leaf.shape).astype("f4"),
        shapes,
    )


PARAMS = random_params(SMALL)
LATENTS = np.random.default_rng(1).normal(size=(5, 3))

sample_small = functools.partial(sample, generator=SMALL)
generate_small = functools.partial(generate, generator=SMALL)
interpolate_small = functools.partial(interpolate, generator=SMALL)


def images_in_numpy(params, drawn) -> np.ndarray:
    """What SMALL makes of latents, float64."""
    layers = params["params"]
    x = np.asarray(drawn, np.float64)
    for i in range(len(layers)):
        if i:
            x = np.where(x >= 0, x, 0.2 * x)
        layer = layers[f"Dense_{i}"]
        x = x @ np.float64(layer["kernel"]) + np.float64(layer["bias"])
    return (np.tanh(x).reshape(-1, 2, 3, 1) + 1) / 2


def assert_images(given, expected):
    assert given.dtype == jnp.float32
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)


def test_sample_by_default_draws_64_digits():
    generator = mlp.Generator()
    params = random_params(generator)
    images = sample(params, jax.random.key(0))
    assert images.shape == (64, 28, 28, 1)
    assert images.dtype == jnp.float32
    assert images.min() >= 0
    assert images.max() <= 1
    drawn = jax.random.normal(jax.random.key(0), (64, 100))
    expected = (jax.jit(generator.apply)(params, drawn) + 1) / 2
    np.testing.assert_allclose(images, expected, atol=1e-6)


@pytest.mark.parametrize("noise", ["normal", "uniform"])
@pytest.mark.parametrize("num_samples", [1, 7, 1000, 2300])
def test_sample_is_the_generator_at_latents_of_the_noise(noise, num_samples, monkeypatch):
    # A thousand images at a time.
    monkeypatch.setattr(drawing, "BLOCK", 6000)
    images = sample_small(PARAMS, jax.random.key(5), num_samples=num_samples, noise=noise)
    shape = (num_samples, 3)
    if noise == "normal":
        drawn = jax.random.normal(jax.random.key(5), shape)
    else:
        drawn = 2 * jax.random.uniform(jax.random.key(5), shape) - 1
    assert_images(images, images_in_numpy(PARAMS, drawn))


def test_the_key_alone_decides():
    images = sample_small(PARAMS, jax.random.key(0))
    np.testing.assert_array_equal(images, sample_small(PARAMS, jax.random.key(0)))
    assert not np.any(images == sample_small(PARAMS, jax.random.key(1)))


@pytest.mark.parametrize("as_numpy", [False, True])
def test_an_old_style_key_draws_what_the_typed_one_does(as_numpy):
    # One with other words than a seed's, too.
    for old, typed in (
        (jax.random.PRNGKey(0), jax.random.key(0)),
        (jax.random.split(jax.random.PRNGKey(0))[1], jax.random.split(jax.random.key(0))[1]),
    ):
        images = sample_small(PARAMS, np.asarray(old) if as_numpy else old)
        np.testing.assert_array_equal(images, sample_small(PARAMS, typed))


def test_a_key_of_another_generator_of_random_numbers_is_taken():
    key = jax.random.key(0, impl="rbg")
    drawn = jax.random.normal(key, (2, 3))
    assert_images(sample_small(PARAMS, key, num_samples=2), images_in_numpy(PARAMS, drawn))


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_sample_inside_a_callers_jit_and_vmap(make_key):
    keys = [make_key(seed) for seed in range(3)]

    def draw(params, key):
        return sample_small(params, key, num_samples=2)

    expected = np.stack([draw(PARAMS, key) for key in keys])
    assert_images(jax.jit(draw)(PARAMS, keys[0]), expected[0])
    assert_images(jax.vmap(draw, in_axes=(None, 0))(PARAMS, jnp.stack(keys)), expected)
    assert_images(jax.jit(jax.vmap(draw, in_axes=(None, 0)))(PARAMS, jnp.stack(keys)), expected)


def test_generate():
    assert_images(generate_small(PARAMS, LATENTS), images_in_numpy(PARAMS, LATENTS))


def test_gradients_through_generate():
    target = np.random.default_rng(2).uniform(size=(5, 2, 3, 1))

    def distance(params, points):
        return jnp.sum((generate_small(params, points) - target) ** 2)

    def distance_in_numpy(params, points):
        return np.sum((images_in_numpy(params, points) - target) ** 2)

    to_params, to_latents = jax.jit(jax.grad(distance, argnums=(0, 1)))(
        PARAMS, jnp.asarray(LATENTS, jnp.float32)
    )
    step = 1e-6
    for index in np.ndindex(LATENTS.shape):
        nudge = np.zeros_like(LATENTS)
        nudge[index] = step
        up, down = (distance_in_numpy(PARAMS, LATENTS + sign * nudge) for sign in (1, -1))
        np.testing.assert_allclose(to_latents[index], (up - down) / (2 * step), rtol=1e-4)
    # Of the parameters, along one direction.
    rng = np.random.default_rng(3)
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape), PARAMS)
    up, down = (
        distance_in_numpy(
            jax.tree.map(lambda x, y, s=sign: np.float64(x) + s * step * y, PARAMS, direction),
            LATENTS,
        )
        for sign in (1, -1)
    )
    products = jax.tree.map(lambda x, y: np.sum(np.float64(x) * y), to_params, direction)
    np.testing.assert_allclose(sum(jax.tree.leaves(products)), (up - down) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_interpolate(noise):
    start, end = LATENTS[:2]
    images = interpolate_small(PARAMS, start, end, num_steps=6, noise=noise)
    fractions = np.linspace(0, 1, 6)[:, None]
    if noise == "uniform":
        path = (1 - fractions) * start + fractions * end
    else:
        angle = np.arccos(start @ end / np.linalg.norm(start) / np.linalg.norm(end))
        first, second = np.sin((1 - fractions) * angle), np.sin(fractions * angle)
        path = (first * start + second * end) / np.sin(angle)
    assert_images(images, images_in_numpy(PARAMS, path))
    np.testing.assert_allclose(
        images[np.array([0, -1])], generate_small(PARAMS, LATENTS[:2]), atol=1e-6
    )


def test_interpolate_takes_16_steps_by_default_and_no_fewer_than_its_ends():
    start, end = LATENTS[:2]
    assert len(interpolate_small(PARAMS, start, end)) == 16
    two = interpolate_small(PARAMS, start, end, num_steps=2)
    assert_images(two, images_in_numpy(PARAMS, LATENTS[:2]))


def test_interpolate_inside_a_callers_jit_and_vmap():
    starts, ends = jnp.asarray(LATENTS[:2], "f4"), jnp.asarray(LATENTS[2:4], "f4")

    def walk(start, end):
        return interpolate_small(PARAMS, start, end, num_steps=3)

    expected = np.stack([walk(*pair) for pair in zip(starts, ends, strict=True)])
    assert_images(jax.jit(jax.vmap(walk))(starts, ends), expected)


def test_bfloat16_samples_are_float32_in_range():
    half = SMALL.clone(dtype=jnp.bfloat16)
    images = sample(PARAMS, jax.random.key(0), generator=half)
    assert images.dtype == jnp.float32
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_allclose(images, sample_small(PARAMS, jax.random.key(0)), atol=0.05)


def changed_params(layer, name, value):
    layers = dict(PARAMS["params"])
    layers[layer] = {**layers.get(layer, {}), name: value}
    return {"params": layers}


def params_without(layer, name):
    changed = changed_params(layer, name, None)
    del changed["params"][layer][name]
    return changed


WRONG_PARAMS = {
    # Two leaves are wrong, and the first is named.
    "other shapes": (
        {
            "params": PARAMS["params"]
            | {
                "Dense_1": {"bias": np.zeros(5), "kernel": np.zeros((4, 6))},
                "Dense_2": {"bias": np.zeros(7), "kernel": np.zeros((6, 7))},
            }
        },
        ["params/Dense_1/kernel", "(4, 6)", "(4, 5)"],
    ),
    "missing": (params_without("Dense_2", "bias"), ["params/Dense_2/bias", "(6,)"]),
    "extra": (
        changed_params("Dense_3", "bias", np.zeros(8)),
        ["params/Dense_3/bias", "(8,)"],
    ),
    "extra collection": (
        {**PARAMS, "batch_stats": {"mean": np.zeros(9)}},
        ["batch_stats/mean", "(9,)"],
    ),
    "no params level": (PARAMS["params"], ["params/Dense_0/bias"]),
    "empty": ({}, ["params/Dense_0/bias"]),
    "none": (None, ["params/Dense_0/bias"]),
}


@pytest.mark.parametrize(("params", "named"), WRONG_PARAMS.values(), ids=WRONG_PARAMS)
@pytest.mark.parametrize("function", ["sample", "generate", "interpolate"])
def test_params_of_another_network_are_refused_by_name(function, params, named):
    call = {
        "sample": lambda: sample_small(params, jax.random.key(0)),
        "generate": lambda: generate_small(params, LATENTS),
        "interpolate": lambda: interpolate_small(params, *LATENTS[:2]),
    }[function]
    with pytest.raises(ValueError) as error:
        call()
    for part in named:
        assert part in str(error.value)


@pytest.mark.parametrize("count", [0, -1, True, 2.5, 3.0, "4"])
@pytest.mark.parametrize("name", ["num_samples", "num_steps"])
def test_counts_that_are_none_are_refused(name, count):
    with pytest.raises(ValueError, match=f"{name} must be a whole number .* not {count!r}"):
        if name == "num_samples":
            sample_small(PARAMS, jax.random.key(0), num_samples=count)
        else:
            interpolate_small(PARAMS, *LATENTS[:2], num_steps=count)


@pytest.mark.parametrize("count", [3, np.int64(3), np.uint8(3)], ids=lambda x: type(x).__name__)
def test_whole_numbers_of_python_and_numpy_are_counts(count):
    assert len(sample_small(PARAMS, jax.random.key(0), num_samples=count)) == 3
    assert len(interpolate_small(PARAMS, *LATENTS[:2], num_steps=count)) == 3


def test_a_walk_of_one_step_is_refused():
    with pytest.raises(ValueError, match="num_steps must be a whole number of 2 or more, not 1"):
        interpolate_small(PARAMS, *LATENTS[:2], num_steps=1)


NO_KEYS = {
    "a seed": lambda: 0,
    "None": lambda: None,
    "text": lambda: "key",
    "a list": lambda: [0, 0],
    "typed keys": lambda: jax.random.split(jax.random.key(0), 3),
    "old-style keys": lambda: jax.random.split(jax.random.PRNGKey(0), 3),
    "float32": lambda: np.zeros(2, np.float32),
    "int32": lambda: np.zeros(2, np.int32),
    "three words": lambda: np.zeros(3, np.uint32),
    "one word": lambda: np.uint32(0),
}


@pytest.mark.parametrize("make", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_key_is_refused(make):
    with pytest.raises(ValueError, match="key must be one PRNG key"):
        sample_small(PARAMS, make())


@pytest.mark.parametrize("function", ["sample", "interpolate"])
def test_unknown_noise_is_refused(function):
    with pytest.raises(ValueError, match="unknown noise 'gaussian': one of normal, uniform"):
        if function == "sample":
            sample_small(PARAMS, jax.random.key(0), noise="gaussian")
        else:
            interpolate_small(PARAMS, *LATENTS[:2], noise="gaussian")


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 1), ()])
def test_latents_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="latents must have the shape") as error:
        generate_small(PARAMS, np.zeros(shape))
    assert "(batch, 3)" in str(error.value)
    assert str(shape) in str(error.value)


@pytest.mark.parametrize("shape", [(4,), (1, 3), ()])
@pytest.mark.parametrize("name", ["start", "end"])
def test_ends_of_another_shape_are_refused(name, shape):
    ends = {"start": np.zeros(3), "end": np.zeros(3), name: np.zeros(shape)}
    with pytest.raises(ValueError, match=f"^{name} must have the shape") as error:
        interpolate_small(PARAMS, **ends)
    assert "(3,)" in str(error.value)
    assert str(shape) in str(error.value)


CONDITIONAL = dcgan.Generator(3, 4, (8, 8, 1), (4, 2))
LABELS = np.array([[0, 1], [3, 0], [2, 1], [3, 1], [1, 0]])


@functools.cache
def conditional_params():
    latents, labels = jnp.zeros((1, 3)), jnp.zeros((1, 2), jnp.int32)
    shapes = jax.eval_shape(CONDITIONAL.init, jax.random.key(0), latents, labels)
    rng = np.random.default_rng(0)
    # Variances are above 0.
    lows = {"params": -0.5, "batch_stats": 0.2}
    return {
        name: jax.tree.map(lambda x, n=name: rng.uniform(lows[n], 0.5, x.shape).astype("f4"), tree)
        for name, tree in shapes.items()
    }


def test_images_of_labels(monkeypatch):
    # Two at a time, and one beyond them.
    monkeypatch.setattr(drawing, "BLOCK", 128)
    params, key = conditional_params(), jax.random.key(0)
    latents = jax.random.normal(key, (5, 3))
    images = sample(params, key, labels=LABELS.tolist(), generator=CONDITIONAL)
    expected = (CONDITIONAL.apply(params, latents, jnp.asarray(LABELS)) + 1) / 2
    assert_images(images, expected)
    of_latents = generate(params, latents, labels=LABELS, generator=CONDITIONAL)
    assert_images(of_latents, expected)
    same = np.repeat(LABELS[:1], 5, axis=0)
    other = sample(params, key, labels=same, generator=CONDITIONAL)
    np.testing.assert_allclose(other[0], images[0], atol=1e-6)
    assert np.abs(other[1:] - images[1:]).reshape(4, -1).max(axis=1).min() > 1e-3
    walk = interpolate(
        params, latents[0], latents[1], num_steps=5, labels=same, generator=CONDITIONAL
    )
    assert_images(walk[0], expected[0])


def test_a_single_label_needs_no_second_axis():
    generator = dcgan.Generator(3, 2, (8, 8, 1), (4,))
    shapes = jax.eval_shape(
        generator.init, jax.random.key(0), jnp.zeros((1, 3)), jnp.zeros((1, 1), jnp.int32)
    )
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    draw = functools.partial(sample, params, jax.random.key(0), generator=generator)
    np.testing.assert_array_equal(draw(labels=[3, 0]), draw(labels=[[3], [0]]))


def test_labels_inside_a_callers_jit():
    def draw(labels):
        return sample(conditional_params(), jax.random.key(0), labels=labels, generator=CONDITIONAL)

    assert_images(jax.jit(draw)(LABELS), draw(LABELS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"conditional: give labels=, int32 \[64, 2\], each below 4, 2"),
        ({"labels": LABELS, "num_samples": 4}, r"of the shape \(4, 2\), not int64 of \(5, 2\)"),
        ({"labels": LABELS[:, 0]}, r"of the shape \(5, 2\), not int64 of \(5,\)"),
        ({"labels": LABELS / 2}, "must be integers .* not float64"),
        ({"labels": LABELS + [[1, 0]]}, "from 0 to below 4 in column 0, not 1 to 4"),
        ({"labels": LABELS - [[0, 1]]}, "from 0 to below 2 in column 1, not -1 to 0"),
        ({"labels": 3}, "num_samples must be a whole number of 1 or more, not 0"),
        ({"labels": []}, "num_samples must be a whole number of 1 or more, not 0"),
    ],
)
def test_labels_that_the_generator_does_not_take(options, message):
    with pytest.raises(ValueError, match=message):
        sample(conditional_params(), jax.random.key(0), generator=CONDITIONAL, **options)


def test_labels_for_a_generator_that_takes_none():
    with pytest.raises(ValueError, match="takes no labels: it is not conditional"):
        sample_small(PARAMS, jax.random.key(0), labels=[1])


@pytest.mark.parametrize("num_samples", [1, 6, 7, 12, 13, 40])
@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_parts_are_the_same_images(monkeypatch, num_samples, noise):
    monkeypatch.setattr(drawing, "BLOCK", 3 * 6)  # Blocks of three images, parts of six.
    monkeypatch.setattr(drawing, "BLOCKS_IN_PART", 2)
    jax.clear_caches()
    arguments = PARAMS, jax.random.key(4)
    options = {"num_samples": num_samples, "noise": noise, "generator": SMALL}
    parts = list(drawing.sample_in_parts(*arguments, **options))
    assert [len(part) for part in parts[:-1]] == [6] * (len(parts) - 1) and len(parts[-1]) <= 6
    np.testing.assert_array_equal(np.concatenate(parts), drawing.sample(*arguments, **options))
    jax.clear_caches()


def test_parts_of_a_conditional_generator(monkeypatch):
    monkeypatch.setattr(drawing, "BLOCK", 64 * 10)  # Blocks of ten images, parts of 160.
    jax.clear_caches()
    generator = dcgan.Generator(3, 2, (8, 8, 1), (3,))
    params = generator.init(jax.random.key(0), np.zeros((1, 3)), np.zeros((1, 1), int))
    labels = np.arange(500)[:, None] % 3
    arguments, options = (params, jax.random.key(4)), {"labels": labels, "generator": generator}
    parts = drawing.sample_in_parts(*arguments, num_samples=500, **options)
    whole = np.asarray(drawing.sample(*arguments, **options))
    first = 0
    for part in parts:
        np.testing.assert_array_equal(part, whole[first : first + len(part)])
        first += len(part)
    assert first == 500
    jax.clear_caches()


@pytest.mark.parametrize("count", [10**12, 10**30, np.int64(10**12)])
def test_more_images_than_there_is_memory_for(count):
    key = jax.random.key(0)
    draws = (
        lambda: sample_small(PARAMS, key, num_samples=count),
        lambda: drawing.sample_in_parts(PARAMS, key, num_samples=count, generator=SMALL),
        lambda: jax.jit(lambda key: sample_small(PARAMS, key, num_samples=count))(key),
        lambda: interpolate_small(PARAMS, np.zeros(3), np.ones(3), num_steps=count),
    )
    for draw in draws:
        with pytest.raises(ValueError, match="GB of memory, and there are") as error:
            draw()
        assert "\n" not in str(error.value)


def test_what_an_image_takes():
    assert drawing.sample_bytes(SMALL, 10) == 10 * 4 * (4 * 3 + 2 * 6)
    assert drawing.sample_bytes(SMALL, 10, whole=False) == 10 * 4 * 4 * 3
