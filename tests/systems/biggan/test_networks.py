"""The networks of BigGAN and BigGAN-deep: their blocks, attention, classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.spectral import SPECTRAL
from jaxgan.systems.biggan.networks import (
    Attention,
    Discriminator,
    Generator,
    check_attention,
    class_weights,
    discriminator_steps,
    generator_steps,
    num_doublings,
    vectors_of_classes,
)

RANDOM = np.random.default_rng(0)


def widths(steps):
    return [step[:2] for step in steps]


def test_blocks_of_32x32():
    steps = generator_steps((32, 32, 3))
    assert widths(steps) == [(4, 4)] * 3 and [step.side for step in steps] == [8, 16, 32]
    stages = discriminator_steps((32, 32, 3))
    blocks = [step for (step,) in stages]
    assert widths(blocks) == [(0, 4), (4, 4), (4, 4), (4, 4)]
    assert [step.resamples for step in blocks] == [True, True, False, False]
    # All maps count as half as high, so attention at 16 follows each of them.
    assert [step.side for step in blocks] == [16] * 4


@pytest.mark.parametrize(
    ("side", "of_generator", "of_discriminator"),
    [
        (64, (16, 16, 8, 4, 2), (0, 1, 2, 4, 8, 16)),
        (128, (16, 16, 8, 4, 2, 1), (0, 1, 2, 4, 8, 16, 16)),
        (256, (16, 16, 8, 8, 4, 2, 1), (0, 1, 2, 4, 8, 8, 16, 16)),
    ],
)
def test_blocks_of_larger_images(side, of_generator, of_discriminator):
    steps = generator_steps((side, side, 3))
    assert widths(steps) == list(zip(of_generator, of_generator[1:], strict=False))
    assert steps[-1].side == side and steps[0].side == 8
    blocks = [step for (step,) in discriminator_steps((side, side, 3))]
    assert widths(blocks) == list(zip(of_discriminator, of_discriminator[1:], strict=False))
    assert [step.resamples for step in blocks] == [True] * (len(blocks) - 1) + [False]
    assert blocks[0].side == side // 2 and [step.side for step in blocks[-2:]] == [4, 4]


def test_blocks_of_the_deep_networks():
    steps = generator_steps((64, 64, 3), 2)
    assert widths(steps[:4]) == [(16, 16), (16, 16), (16, 16), (16, 8)]
    assert [step.resamples for step in steps] == [False, True] * 4
    assert [step.side for step in steps] == [0, 8, 0, 16, 0, 32, 0, 64]
    stages = discriminator_steps((64, 64, 3), 2)
    assert [widths(stage) for stage in stages] == [
        [(before, after), (after, after)] for before, after in ((1, 2), (2, 4), (4, 8), (8, 16))
    ]
    assert [[step.resamples for step in stage] for stage in stages] == [[True, False]] * 4
    assert [[step.side for step in stage] for stage in stages] == [
        [0, 32],
        [0, 16],
        [0, 8],
        [0, 4],
    ]
    small = discriminator_steps((32, 32, 3), 2)
    assert [stage[0].resamples for stage in small] == [True, True, False]


def size_of(module, *inputs):
    variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return sum(x.size for x in jax.tree.leaves(variables["params"]))


# The shapes of some of them are in test_reference.py, which takes no time.
@pytest.mark.slow
def test_parameters_of_the_papers_networks():
    """Those of the authors' code at 128x128, ch 96: 70.4 and 88.0 million."""
    latents = jax.ShapeDtypeStruct((1, 120), jnp.float32)
    images = jax.ShapeDtypeStruct((1, 128, 128, 3), jnp.float32)
    labels = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    assert round(size_of(Generator(), latents, labels) / 1e6, 1) == 70.4
    assert round(size_of(Discriminator(), images, labels) / 1e6, 1) == 88.0


def test_sizes():
    # 4 to 7 pixels of the shorter side are doubled.
    shapes = [(8, 8), (28, 28), (40, 40), (32, 64), (56, 48), (512, 512)]
    assert [num_doublings((*shape, 3)) for shape in shapes] == [1, 2, 3, 3, 3, 7]


@pytest.mark.parametrize("side", [4, 9, 36, 1024])
def test_sizes_that_cannot_be(side):
    with pytest.raises(ValueError, match="BigGAN makes images whose height and width are 4 to 7"):
        num_doublings((side, side, 3))


def test_attention_beside_numpy():
    x = RANDOM.normal(size=(2, 4, 4, 16)).astype(np.float32)
    options = {"init_kernel": "orthogonal", "epsilon": 1e-12, "dtype": jnp.float32}
    layer = Attention(options)
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    apply = jax.jit(layer.apply)
    np.testing.assert_array_equal(apply(variables, x), x)  # gamma is 0
    params = {**variables["params"], "gamma": jnp.float32(0.8)}
    y = apply({**variables, "params": params}, x)

    def convolved(name, x):
        kernel, u = np.float64(params[name]["kernel"])[0, 0], variables[SPECTRAL][name]["u"]
        v = kernel @ np.float64(u)
        v /= np.linalg.norm(v)
        return x @ (kernel / np.linalg.norm(v @ kernel))

    def pooled(x):
        return x.reshape(2, 2, 2, 2, 2, -1).max(axis=(2, 4)).reshape(2, 4, -1)

    its = np.float64(x)
    theta = convolved("theta", its).reshape(2, 16, 2)
    phi, g = pooled(convolved("phi", its)), pooled(convolved("g", its))
    shares = np.exp(theta @ phi.transpose(0, 2, 1))
    shares /= shares.sum(axis=2, keepdims=True)
    expected = its + 0.8 * convolved("o", (shares @ g).reshape(2, 4, 4, 8))
    np.testing.assert_allclose(y, expected, atol=1e-5)


TINY = Generator(4, 1, (8, 8, 1), (2, 3), 5, attention=())


@pytest.fixture(scope="module")
def tiny():
    latents = RANDOM.normal(size=(4, 4)).astype(np.float32)
    labels = np.array([[0, 2], [1, 0], [0, 1], [1, 1]], np.int32)
    return jax.jit(TINY.init)(jax.random.key(0), latents, labels), latents, labels


def test_vectors_of_several_labels_are_added_up(tiny):
    variables, _, labels = tiny
    table = variables["params"]["shared"]["embedding"]
    assert table.shape == (5, 5)
    vectors = vectors_of_classes(variables, labels, TINY)
    np.testing.assert_allclose(vectors, table[labels[:, 0]] + table[2 + labels[:, 1]], rtol=1e-6)


def test_images_are_of_labels_or_of_vectors_between_them(tiny):
    variables, latents, labels = tiny
    make = jax.jit(lambda classes: TINY.apply(variables, latents, classes=classes))
    vectors = vectors_of_classes(variables, labels, TINY)
    np.testing.assert_allclose(
        make(vectors), jax.jit(TINY.apply)(variables, latents, labels), atol=1e-6
    )
    assert not np.allclose(make(vectors), make((vectors + vectors[::-1]) / 2), atol=1e-3)


def test_without_labels_there_is_one_class():
    np.testing.assert_array_equal(class_weights(None, (), 3), np.ones((3, 1)))
    np.testing.assert_array_equal(class_weights(jnp.array([[1, 2]]), (2, 3), 1), [[0, 1, 0, 0, 1]])
    shapes = jax.eval_shape(
        Generator(4, 1, (8, 8, 1), (), 5, attention=()).init,
        jax.random.key(0),
        jnp.zeros((1, 4)),
    )
    assert shapes["params"]["shared"]["embedding"].shape == (1, 5)


@pytest.mark.parametrize(
    ("width", "sides", "message"),
    [
        (4, ((10,), ()), "the generator has no map of the height 10 for attention: one of 8, 16"),
        (4, ((), (32,)), "the discriminator has no map of the height 32 for attention: one of 16"),
        (1, ((16,), ()), "attention at 16 wants 8 channels or more, and the generator's map has 4"),
    ],
)
def test_attention_that_cannot_be(width, sides, message):
    check_attention(4, (32, 32, 3), (16,), (16,), 0)
    with pytest.raises(ValueError, match=message):
        check_attention(width, (32, 32, 3), *sides, 0)
