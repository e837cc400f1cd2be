"""The two networks of StarGAN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.stargan.networks import Discriminator, Generator, _LabelledConvolution

IMAGES = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
LABELS = np.array([[0, 1, 0], [1, 0, 0.5]], np.float32)


def first(module, *inputs):
    return jax.jit(module.init)(jax.random.key(0), *inputs)


def size_of(variables):
    return sum(x.size for x in jax.tree.leaves(variables))


@pytest.mark.parametrize(("width", "millions"), [(16, (0.53, 0.71)), (32, (2.12, 2.80))])
def test_parameters_at_64x64_are_counted_as_in_the_reference(width, millions):
    generator, discriminator = Generator(width), Discriminator(width, (64, 64, 3), 5, 5)
    images = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
    labels = jax.ShapeDtypeStruct((1, 5), jnp.float32)
    key = jax.random.key(0)
    of_generator = jax.eval_shape(generator.init, key, images, labels)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    of_discriminator = jax.eval_shape(discriminator.init, key, images)
    counted = [round(size_of(each) / 1e6, 2) for each in (of_generator, of_discriminator)]
    assert tuple(counted) == millions


@pytest.mark.parametrize("shape", [(16, 16), (5, 9)])
def test_labels_are_constant_planes_behind_the_channels_with_zeros_around_them(shape):
    images = np.random.default_rng(1).uniform(-1, 1, (2, *shape, 3)).astype(np.float32)
    layer = _LabelledConvolution(4, 7, jnp.float32)
    variables = first(layer, images, LABELS)
    planes = np.broadcast_to(LABELS[:, None, None], (2, *shape, 3))
    together = np.concatenate([images, planes], axis=-1)
    padded = np.pad(np.float64(together), ((0, 0), (3, 3), (3, 3), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (7, 7), axis=(1, 2))
    kernel = np.float64(variables["params"]["kernel"])
    assert kernel.shape == (7, 7, 6, 4)
    expected = np.einsum("bhwcij,ijcf->bhwf", windows, kernel)
    np.testing.assert_allclose(layer.apply(variables, images, LABELS), expected, atol=1e-5)


@pytest.mark.parametrize("conditioning", ["planes", "norms"])
def test_the_labels_change_what_comes_out(conditioning):
    module = Generator(2, (16, 16, 3), 3, 1, conditioning=conditioning)
    variables = first(module, IMAGES, LABELS)
    if conditioning == "norms":  # they begin without any effect
        variables = jax.tree.map(
            lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), variables
        )
    made = [module.apply(variables, IMAGES, labels) for labels in (LABELS, LABELS[::-1])]
    assert made[0].shape == IMAGES.shape and np.abs(made[0]).max() <= 1
    assert np.abs(made[0] - made[1]).max() > 1e-3


def test_skips_add_the_maps_before_the_halving_to_those_after_the_doubling():
    options = {"output": "masked", "conditioning": "norms", "block_size": 2}
    module = Generator(2, (16, 16, 3), 3, 0, 1, 3, has_skips=True, **options)
    params = first(module, IMAGES, LABELS)["params"]
    # No doubled map gets anything from below, so what comes out is as without any halving.
    # In order: the first convolution, the halving, the doubling, the last convolution.
    params["Conv_2"] = jax.tree.map(jnp.zeros_like, params["Conv_2"])
    flat = Generator(2, (16, 16, 3), 3, 0, 0, 3, **options)
    kept = {**first(flat, IMAGES, LABELS)["params"]}
    kept |= {"Conv_0": params["Conv_0"], "Conv_1": params["Conv_3"]}
    expected = flat.apply({"params": kept}, IMAGES, LABELS)
    np.testing.assert_allclose(
        module.apply({"params": params}, IMAGES, LABELS), expected, atol=1e-6
    )
    # Without skips the last convolution gets nothing, and has its bias, which begins at 0.
    plain = Generator(2, (16, 16, 3), 3, 0, 1, 3, **options)
    np.testing.assert_allclose(
        plain.apply({"params": params}, IMAGES, LABELS), IMAGES / 2, atol=1e-6
    )


@pytest.mark.parametrize("block_size", [1, 2])
def test_a_mask_of_zeros_keeps_the_image_and_one_of_ones_replaces_it(block_size):
    module = Generator(2, (16, 16, 3), 3, 1, output="masked", block_size=block_size)
    variables = first(module, IMAGES, LABELS)
    last = max(name for name in variables["params"] if name.startswith("Conv"))
    bias = np.zeros(variables["params"][last]["bias"].shape, np.float32)
    assert bias.shape == (4 * block_size**2,)

    def with_mask(logit):
        # In each pixel of a block three colours come first, then the mask.
        its = bias.reshape(-1, 4) + np.array([0.5, 0.5, 0.5, logit], np.float32)
        params = {
            **variables["params"],
            last: {"kernel": 0 * variables["params"][last]["kernel"], "bias": its.ravel()},
        }
        return module.apply({"params": params}, IMAGES, LABELS)

    np.testing.assert_allclose(with_mask(-50.0), IMAGES, atol=1e-6)
    np.testing.assert_allclose(with_mask(50.0), np.full_like(IMAGES, np.tanh(0.5)), atol=1e-6)


def test_the_discriminator_halves_doubles_channels_and_has_two_heads():
    module = Discriminator(2, (16, 16, 3), 7, 3)
    variables = first(module, IMAGES)
    patches, classes = module.apply(variables, IMAGES)
    assert patches.shape == (2, 2, 2) and classes.shape == (2, 7)
    params = variables["params"]
    assert [params[f"Conv_{i}"]["kernel"].shape[-1] for i in range(4)] == [2, 4, 8, 1]
    assert params["Dense_0"]["kernel"].shape == (2 * 2 * 8, 7) and "bias" not in params["Conv_3"]
    # The initialisation of PyTorch: uniform in +-1 / sqrt(inputs), biases too.
    for i, inputs in enumerate((48, 32, 64)):
        for values in params[f"Conv_{i}"].values():
            assert np.abs(values).max() <= inputs**-0.5
        kernel = np.asarray(params[f"Conv_{i}"]["kernel"])
        np.testing.assert_allclose(kernel.std(), (3 * inputs) ** -0.5, rtol=0.15)


def test_a_discriminator_with_branches_has_a_third_head():
    module = Discriminator(2, (16, 16, 3), 7, 3, num_branches=9)
    variables = first(module, IMAGES)
    patches, classes, branches = module.apply(variables, IMAGES)
    assert branches.shape == (2, 9)
    assert variables["params"]["Dense_1"]["kernel"].shape == (2 * 2 * 8, 9)
    plain = Discriminator(2, (16, 16, 3), 7, 3)
    params = {name: x for name, x in variables["params"].items() if name != "Dense_1"}
    for ours, expected in zip(
        (patches, classes), plain.apply({"params": params}, IMAGES), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def test_other_shapes_are_refused():
    module = Generator(2, (16, 16, 3), 3, 1)
    with pytest.raises(AssertionError):
        first(module, IMAGES[:, :8], LABELS)
    with pytest.raises(AssertionError):
        first(module, IMAGES, LABELS[:1])


@pytest.mark.parametrize("conditioning", ["planes", "norms"])
def test_operands_of_bfloat16(conditioning):
    """Both networks, and a gradient of a gradient, as penalties take it."""

    def values(dtype):
        options = {"conditioning": conditioning, "dtype": dtype}
        generator = Generator(2, (16, 16, 3), 3, 1, **options)
        discriminator = Discriminator(2, (16, 16, 3), 4, 2, dtype, "he")
        variables = first(generator, IMAGES, LABELS), first(discriminator, IMAGES)

        @jax.jit
        def both(variables):
            made = generator.apply(variables[0], IMAGES, LABELS)

            def patches(images):
                return jnp.sum(discriminator.apply(variables[1], images)[0])

            def penalty(variables):
                slopes = jax.grad(lambda x: jnp.sum(discriminator.apply(variables, x)[0]))(made)
                return jnp.sum(jnp.square(slopes))

            return made, patches(made), jax.grad(penalty)(variables[1])["params"]["Conv_0"]

        return both(variables)

    exact, rounded = values(jnp.float32), values(jnp.bfloat16)
    for x, y in zip(jax.tree.leaves(exact), jax.tree.leaves(rounded), strict=True):
        assert x.dtype == y.dtype == jnp.float32
        # 8 significant bits in each product.
        bound = 0.1 * max(float(jnp.abs(x).max()), 1e-3)
        np.testing.assert_allclose(y, x, atol=bound)
    assert np.abs(exact[0] - rounded[0]).max() > 1e-4
