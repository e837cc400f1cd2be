import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.systems.mlp_gan import networks as mlp

LAYERS = {
    mlp.Generator: [(100, 256), (256, 512), (512, 1024), (1024, 784)],
    mlp.Discriminator: [(784, 1024), (1024, 512), (512, 256), (256, 1)],
}
# The sums of (inputs + 1) * outputs over the layers above, by hand.
PARAMETER_COUNTS = {mlp.Generator: 1_486_352, mlp.Discriminator: 1_460_225}
BATCHES = {mlp.Generator: (5, 100), mlp.Discriminator: (5, 28, 28, 1)}
MODULES = pytest.mark.parametrize("module", [mlp.Generator, mlp.Discriminator])

# Everything that can be set, set to something else than its default.
SMALL = {
    mlp.Generator: (mlp.Generator(5, (7, 11), (3, 2, 3)), (4, 5), (4, 3, 2, 3)),
    mlp.Discriminator: (mlp.Discriminator((7, 11), (3, 2, 3)), (4, 3, 2, 3), (4,)),
}


def kernel_shapes(variables) -> list[tuple[int, ...]]:
    layers = variables["params"]
    return [layers[f"Dense_{i}"]["kernel"].shape for i in range(len(layers))]


def inputs_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def random_variables(module, inputs):
    """Parameters whose biases are not 0: a forgotten bias would not show else."""
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(module.init, jax.random.key(0), inputs)
    return jax.tree.map(
        lambda leaf: rng.normal(scale=leaf.shape[0] ** -0.5, size=leaf.shape).astype(leaf.dtype),
        shapes,
    )


def forward_in_numpy(variables, inputs) -> np.ndarray:
    """The last layer's output of a LeakyReLU(0.2) network, float64 [batch, outputs]."""
    layers = variables["params"]
    x = np.asarray(inputs, np.float64).reshape(len(inputs), -1)
    for i in range(len(layers)):
        if i:
            x = np.where(x >= 0, x, 0.2 * x)
        layer = layers[f"Dense_{i}"]
        x = x @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)
    return x


@MODULES
def test_default_layers_are_the_chapters(module):
    inputs = jax.ShapeDtypeStruct(BATCHES[module], jnp.float32)
    variables = jax.eval_shape(module().init, jax.random.key(0), inputs)
    assert set(variables) == {"params"}
    assert kernel_shapes(variables) == LAYERS[module]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == PARAMETER_COUNTS[module]


@MODULES
def test_forward_pass_equals_numpy(module):
    inputs = inputs_of(BATCHES[module])
    variables = random_variables(module(), inputs)
    outputs = jax.jit(module().apply)(variables, inputs)
    expected = forward_in_numpy(variables, inputs)
    if module is mlp.Generator:
        expected = np.tanh(expected).reshape(5, 28, 28, 1)
    else:
        expected = expected[:, 0]
    assert outputs.shape == expected.shape
    assert outputs.dtype == jnp.float32
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


@MODULES
def test_fields_set_the_sizes(module):
    network, input_shape, output_shape = SMALL[module]
    inputs = inputs_of(input_shape)
    variables = random_variables(network, inputs)
    first, last = (5, 18) if module is mlp.Generator else (18, 1)
    assert kernel_shapes(variables) == [(first, 7), (7, 11), (11, last)]
    expected = forward_in_numpy(variables, inputs)
    expected = np.tanh(expected) if module is mlp.Generator else expected
    np.testing.assert_allclose(
        jax.jit(network.apply)(variables, inputs),
        expected.reshape(output_shape),
        rtol=1e-5,
        atol=1e-6,
    )


def test_generated_images_stay_in_range_however_large_the_latents_are():
    network = mlp.Generator(5, (7,), (3, 2, 1))
    latents = 1e6 * np.vstack([np.eye(5), -np.eye(5)]).astype(np.float32)
    images = jax.jit(network.apply)(random_variables(network, latents), latents)
    assert images.min() == -1
    assert images.max() == 1


@MODULES
def test_bfloat16_keeps_float32_at_both_ends(module):
    network, input_shape, output_shape = SMALL[module]
    inputs = inputs_of(input_shape)
    variables = random_variables(network, inputs)
    half = network.clone(dtype=jnp.bfloat16)
    new = jax.eval_shape(half.init, jax.random.key(0), inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(new)} == {jnp.dtype("float32")}
    outputs = jax.jit(half.apply)(variables, inputs)
    exact = jax.jit(network.apply)(variables, inputs)
    assert outputs.dtype == jnp.float32
    # bfloat16 has 8 significant bits: 2**-8 a rounding, a few roundings one after the other.
    np.testing.assert_allclose(outputs, exact, rtol=0, atol=4 * 2**-8 * np.abs(exact).max())


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (mlp.Generator(), (4, 99)),
        (mlp.Generator(), (100,)),
        (mlp.Generator(), (4, 100, 1)),
        (mlp.Discriminator(), (4, 784)),
        (mlp.Discriminator(), (28, 28, 1)),
        # As many numbers an image as are wanted, but laid out in another way.
        (mlp.Discriminator(), (4, 1, 28, 28)),
        (mlp.Discriminator(), (4, 28, 28, 3)),
    ],
)
def test_another_input_shape_is_refused(network, shape):
    with pytest.raises(AssertionError):
        jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))
