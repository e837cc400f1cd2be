"""Networks with and without collections, called in training."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.training_call import call


class Adds(nn.Module):
    """What is given plus a number, and how often that was done in training, on an axis."""

    @nn.compact
    def __call__(self, x, train=False, axis_name=None):
        seen = self.variable("seen", "times", lambda: jnp.zeros(()))
        if train and not self.is_initializing():
            seen.value += 1 if axis_name is None else jax.lax.psum(1, axis_name)
        return x + self.param("w", nn.initializers.ones, ())


class AddsPlainly(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + self.param("w", nn.initializers.ones, ())


def test_call_hands_collections_on_and_needs_none():
    counting, plain = (module.init(jax.random.key(0), 0.0) for module in (Adds(), AddsPlainly()))
    assert call(AddsPlainly(), plain, 2.0, axis_name="devices") == (3.0, {})
    given, collections = call(Adds(), counting, 2.0, axis_name=None)
    assert given == 3.0 and collections == {"seen": {"times": 1.0}}
    assert counting["seen"] == {"times": 0.0}


def test_call_hands_the_axis_on():
    variables = Adds().init(jax.random.key(0), 0.0)

    def called(x):
        return call(Adds(), variables, x, axis_name="devices")[1]["seen"]["times"]

    assert jax.vmap(called, axis_name="devices")(jnp.zeros(4)).tolist() == [4.0] * 4
