"""The matrix product of a fully connected layer, and how its gradients are computed."""

from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def dense(width: int, dtype: Any, **options: Any) -> nn.Dense:
    """A fully connected layer: float32 [batch, n] -> float32 [batch, width].

    Args:
        width: the number of units.
        dtype: float32 or bfloat16. The operands of the layer's matrix products, and of those of its
            gradients, are rounded to this type; the sums, the parameters and the output are
            float32. A bfloat16 layer has no forward-mode derivative (`jax.jvp`, `jax.jacfwd`).
        **options: arguments of `nn.Dense`: use_bias, kernel_init, name.

    Returns:
        The layer, a Flax module.
    """
    multiply = product(dtype)

    def dot_general(x: jax.Array, kernel: jax.Array, *_, **__) -> jax.Array:
        chex.assert_rank([x, kernel], 2)
        return multiply(x, kernel)

    return nn.Dense(width, dot_general=dot_general, **options)


def product(dtype: Any) -> Callable[[jax.Array, jax.Array | np.ndarray], jax.Array]:
    """The matrix product of `dense`, with `dense`'s gradients.

    Args:
        dtype: as in `dense`.

    Returns:
        A function (float32 [n, m], float32 [m, k]) -> float32 [n, k].
    """
    return _float32_product if dtype == jnp.float32 else _bfloat16_product


@jax.custom_jvp
def _float32_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


def _float32_product_jvp(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[Any, Any]
) -> tuple[jax.Array, Any]:
    (x, kernel), (x_tangent, kernel_tangent) = primals, tangents
    terms = []
    if not isinstance(x_tangent, jax.custom_derivatives.SymbolicZero):
        terms.append(x_tangent @ kernel)
    if not isinstance(kernel_tangent, jax.custom_derivatives.SymbolicZero):
        terms.append(_times_tangent(x, kernel_tangent))
    return x @ kernel, sum(terms[1:], terms[0]) if terms else tangents[0]


def _times_tangent(x: jax.Array, tangent: jax.Array) -> jax.Array:
    """x @ tangent, written so that JAX transposes it to a product without transposed operands.

    That transpose is the kernel's gradient.
    """
    (n, m), k = x.shape, tangent.shape[1]
    if n * k + m * k < n * m:
        # The output's gradient and the kernel's together are smaller than x, so these two are
        # transposed in place of x. Convolutions are of this case: their x holds copies of pixels.
        y = jax.lax.dot_general(_transposed(tangent), x, (((1,), (1,)), ((), ())))
        return _transposed(y)
    return jax.lax.dot_general(_transposed(x), tangent, (((0,), (0,)), ((), ())))


_float32_product.defjvp(_float32_product_jvp, symbolic_zeros=True)


@jax.custom_vjp
def _bfloat16_product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    # On CPUs the product takes half the time if its result is float32 and not bfloat16.
    return jnp.matmul(
        x.astype(jnp.bfloat16),
        kernel.astype(jnp.bfloat16),
        preferred_element_type=jnp.float32,
    )


def _bfloat16_product_forward(
    x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # The operands are stored for the gradients as bfloat16, which takes half of the bytes.
    return _bfloat16_product(x, kernel), (x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))


def _bfloat16_product_backward(
    operands: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = operands
    return (
        _bfloat16_product(gradient, kernel.T.astype(jnp.float32)),
        _bfloat16_product(_transposed(x).astype(jnp.float32), gradient),
    )


_bfloat16_product.defvjp(_bfloat16_product_forward, _bfloat16_product_backward)


def _transposed(x: jax.Array) -> jax.Array:
    """The transpose of a matrix. On CPUs it is written to memory before it is used.

    Otherwise XLA fuses the transposition into the product that uses it, and on CPUs such a product
    runs in a slower library. The optimisation barrier prevents the fusion.
    """
    return jax.lax.platform_dependent(
        x, cpu=lambda x: jax.lax.optimization_barrier(x.T), default=lambda x: x.T
    )
