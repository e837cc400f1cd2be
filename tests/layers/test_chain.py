import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import chain
from jaxgan.layers.convolutions import downsample, upsample
from jaxgan.options import enable_x64

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 6), (4, 4, 3, 6)])
def test_batch_normalisation_is_folded_as_flax_applies_it(shape):
    with enable_x64(True):
        kernel = RNG.standard_normal(shape)
        params = {"scale": RNG.uniform(0.5, 2, 6), "bias": RNG.standard_normal(6)}
        statistics = {"mean": RNG.standard_normal(6), "var": RNG.uniform(0.1, 3, 6)}
        given = chain.fold(kernel, params, statistics, 1e-5)
        assert all(x.dtype == np.float64 for x in given)
        x = RNG.standard_normal((7, *shape[:-1]))
        axes = len(shape) - 1
        y = np.tensordot(x, kernel, axes)
        norm = nn.BatchNorm(use_running_average=True, epsilon=1e-5, dtype=jnp.float64)
        expected = norm.apply({"params": params, "batch_stats": statistics}, y)
        assert expected.dtype == jnp.float64
        np.testing.assert_allclose(
            np.tensordot(x, given[0], axes) + given[1], expected, rtol=0, atol=1e-12
        )


def test_batch_normalisation_of_a_dense_layers_maps_is_folded_channel_by_channel():
    kernel = RNG.standard_normal((5, 2 * 2 * 3))
    params = {"scale": RNG.uniform(0.5, 2, 3), "bias": RNG.standard_normal(3)}
    statistics = {"mean": RNG.standard_normal(3), "var": RNG.uniform(0.1, 3, 3)}
    folded, bias = chain.fold(kernel, params, statistics, 1e-5)
    x = RNG.standard_normal((7, 5))
    maps = (x @ kernel).reshape(7, 2, 2, 3)
    expected = (maps - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5)
    expected = expected * params["scale"] + params["bias"]
    np.testing.assert_allclose((x @ folded + bias).reshape(7, 2, 2, 3), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "module", "inputs"),
    [
        ("dense", nn.Dense(6), (12,)),
        ("downsample", downsample(6), (8, 8, 3)),
        ("upsample", upsample(6), (4, 4, 3)),
    ],
)
@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("leaky", lambda x: nn.leaky_relu(x, 0.2)),
        ("relu", nn.relu),
        ("tanh", jnp.tanh),
        ("none", lambda x: x),
    ],
)
def test_a_layer_is_the_module_of_its_kind_and_its_activation(
    kind, module, inputs, activation, function
):
    x = jnp.asarray(RNG.standard_normal((5, *inputs)), jnp.float32)
    params = module.init(jax.random.key(0), x)["params"] | {"bias": RNG.standard_normal(6)}
    layer = chain.layer(kind, activation, **params)
    assert layer.kernel.dtype == layer.bias.dtype == np.float32
    expected = function(module.apply({"params": params}, x)).reshape(5, -1)
    for given in (x, x.reshape(5, -1)):
        np.testing.assert_allclose(chain.apply([layer], given), expected, atol=1e-5)


def test_layers_follow_each_other():
    sizes = [("dense", (3, 4 * 4 * 2)), ("upsample", (4, 4, 2, 5)), ("dense", (8 * 8 * 5, 1))]
    layers = [
        chain.layer(kind, "tanh", RNG.standard_normal(shape), RNG.standard_normal(shape[-1]))
        for kind, shape in sizes
    ]
    x = RNG.standard_normal((7, 3)).astype(np.float32)
    given = chain.apply(layers, x)
    assert given.shape == (7, 1)
    for layer in layers:
        x = chain.apply([layer], x)
    np.testing.assert_allclose(given, x, atol=1e-6)


@pytest.mark.parametrize("kind", ["dense", "downsample", "upsample"])
def test_the_matrix_of_a_layer_makes_its_product(kind):
    inputs, outputs = 3, 2
    shape = (inputs, outputs) if kind == "dense" else (4, 4, inputs, outputs)
    kernel = RNG.standard_normal(shape).astype(np.float32)
    matrix = chain.as_matrix(kind, kernel)
    layer = chain.layer(kind, "none", kernel, np.zeros(outputs))
    if kind == "downsample":
        x = RNG.standard_normal((6, 6, inputs)).astype(np.float32)
        given = chain.apply([layer], x[None]).reshape(3, 3, outputs)[1, 1]
        np.testing.assert_allclose(x[1:5, 1:5].ravel() @ matrix, given, atol=1e-5)
    elif kind == "upsample":
        x = np.zeros((3, 3, inputs), np.float32)
        x[1, 1] = RNG.standard_normal(inputs)
        given = chain.apply([layer], x[None]).reshape(6, 6, outputs)
        reached = np.zeros_like(given)
        reached[1:5, 1:5] = (x[1, 1] @ matrix).reshape(4, 4, outputs)
        np.testing.assert_allclose(given, reached, atol=1e-5)
    else:
        np.testing.assert_array_equal(matrix, kernel)
