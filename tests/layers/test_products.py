import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers.products import dense

X, KERNEL, BIAS, SLOPE = (
    np.random.default_rng(i).normal(size=shape)
    for i, shape in enumerate([(6, 5), (5, 4), (4,), (6, 4)])
)
# A product of bfloat16 operands: each is rounded to 8 significant bits.
TOLERANCES = {"float32": 1e-6, "bfloat16": 2**-7}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCES)


def variables():
    return {"params": {"kernel": jnp.float32(KERNEL), "bias": jnp.float32(BIAS)}}


def apply(dtype, params, x):
    return dense(4, jnp.dtype(dtype)).apply(params, x)


def close(got, expected, dtype):
    assert got.dtype == jnp.float32
    bound = TOLERANCES[dtype] * np.abs(expected).max() * 4
    np.testing.assert_allclose(got, expected, rtol=0, atol=bound)


@DTYPES
def test_forward_pass(dtype):
    got = apply(dtype, variables(), jnp.asarray(X, jnp.float32))
    close(got, X @ KERNEL + BIAS, dtype)


@DTYPES
def test_gradients_equal_those_worked_by_hand(dtype):
    def value(params, x):
        return jnp.sum(apply(dtype, params, x) * SLOPE.astype(np.float32))

    params, x = jax.jit(jax.grad(value, argnums=(0, 1)))(variables(), jnp.asarray(X, jnp.float32))
    close(params["params"]["kernel"], X.T @ SLOPE, dtype)
    close(params["params"]["bias"], SLOPE.sum(axis=0), dtype)
    close(x, SLOPE @ KERNEL.T, dtype)


@DTYPES
def test_the_gradient_of_a_gradient_penalty_equals_that_worked_by_hand(dtype):
    # For y = (x K + b) S' summed, the gradient of x is S K', whose squares' sum has the gradient
    # 2 (S K')' S of K.
    def penalty(params, x):
        slopes = jax.grad(lambda x: jnp.sum(apply(dtype, params, x) * SLOPE.astype(np.float32)))(x)
        return jnp.sum(jnp.square(slopes))

    got = jax.jit(jax.grad(penalty))(variables(), jnp.asarray(X, jnp.float32))
    close(got["params"]["kernel"], 2 * (SLOPE @ KERNEL.T).T @ SLOPE, dtype)


def test_forward_mode():
    params, x = variables(), jnp.asarray(X, jnp.float32)
    jacobian = jax.jacfwd(lambda x: apply("float32", params, x))(x)
    np.testing.assert_allclose(jacobian, np.einsum("ik,lj->ijkl", np.eye(6), KERNEL), atol=1e-6)
    tangent = jax.tree.map(jnp.ones_like, params)
    _, along = jax.jvp(lambda p: apply("float32", p, x), (params,), (tangent,))
    np.testing.assert_allclose(along, np.repeat(X.sum(1)[:, None] + 1, 4, axis=1), rtol=1e-5)


# Older JAX has it elsewhere.
_HOME = jax.extend.core if hasattr(jax.extend.core, "jaxprs_in_params") else jax.core


def products(jaxpr):
    """All dot_general equations of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in _HOME.jaxprs_in_params(equation.params):
            yield from products(inner)


@DTYPES
def test_all_products_of_a_gradient_have_operands_of_the_dtype_and_float32_sums(dtype):
    def value(params, x):
        return jnp.sum(jnp.square(apply(dtype, params, x)))

    gradient = jax.grad(value, argnums=(0, 1))
    found = list(products(jax.make_jaxpr(gradient)(variables(), jnp.zeros((6, 5))).jaxpr))
    assert len(found) == 3
    for equation in found:
        assert {operand.aval.dtype for operand in equation.invars} == {jnp.dtype(dtype)}
        assert equation.outvars[0].aval.dtype == jnp.float32


@DTYPES
def test_on_a_cpu_the_kernels_gradient_is_a_plain_product(dtype):
    params = {
        "params": {
            "kernel": jax.ShapeDtypeStruct((96, 80), jnp.float32),
            "bias": jax.ShapeDtypeStruct((80,), jnp.float32),
        }
    }
    layer = dense(80, jnp.dtype(dtype))
    gradient = jax.grad(lambda params, x: jnp.sum(jnp.sin(layer.apply(params, x))))
    x = jax.ShapeDtypeStruct((64, 96), jnp.float32)
    program = jax.jit(gradient).lower(params, x).compile().as_text()
    assert "lhs_contracting_dims={1}" in program
    assert "lhs_contracting_dims={0}" not in program


def test_layers_of_more_than_one_axis_are_refused():
    with pytest.raises(AssertionError):
        apply("float32", variables(), jnp.zeros((2, 6, 5)))
