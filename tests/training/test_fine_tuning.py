"""A run that begins with trained weights: what is taken, what is not, and that it is said."""

import chex
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_gan import assert_same_bits, small_gan, states_of
from small_systems import small_config

from jaxgan import game
from jaxgan.systems import registry
from jaxgan.training.fine_tuning import MOST_NAMED, begin_from


def variables_of(state):
    return {name: state.variables(name) for name in state.players}


def test_all_that_fits_is_taken_and_all_else_begins_anew():
    gan = small_gan()
    fresh, other = states_of(gan, [0, 1])
    begun, lines = begin_from(gan, fresh, variables_of(other))
    assert lines == ["12 of 12 arrays are taken"]
    # As a new run of the other seed, but for the key.
    assert_same_bits(begun, other.replace(key=fresh.key))


def test_the_moving_average_begins_with_the_player_and_the_optimiser_is_of_its_weights():
    gan = small_gan()
    (fresh,) = states_of(gan, [0])
    trained = jax.tree.map(lambda x: x + 1, variables_of(fresh))
    begun, _ = begin_from(gan, fresh, trained)
    chex.assert_trees_all_equal(variables_of(begun), trained)
    chex.assert_trees_all_equal(begun.averages, {"generator": trained["generator"]})
    for player in begun.players.values():
        assert not any(np.any(x) for x in jax.tree.leaves(player.optimizer_state))
    assert int(begun.step) == 0


def test_what_is_of_another_shape_or_is_missing_is_listed():
    gan = small_gan()
    fresh, other = states_of(gan, [0, 1])
    trained = variables_of(other)
    kernel = np.zeros((5, 32), np.float32)
    own = trained["generator"]["params"]
    own = {**own, "Dense_0": {"kernel": kernel}}
    trained = {"generator": {"params": own}, "encoder": {"params": {"kernel": kernel}}}
    begun, lines = begin_from(gan, fresh, trained)
    assert lines == [
        "4 of 12 arrays are taken",
        "begun anew: all of discriminator; generator/params/Dense_0/bias (not there); "
        "generator/params/Dense_0/kernel (5x32 there, 16x32 here)",
        "not taken, since the run begins without: encoder",
    ]
    expected = {
        "discriminator": fresh.variables("discriminator"),
        "generator": {
            "params": {
                **other.players["generator"].params,
                "Dense_0": fresh.players["generator"].params["Dense_0"],
            }
        },
    }
    chex.assert_trees_all_equal(variables_of(begun), expected)


def layers_gan(count, name="layer_{}"):
    return game.GAN(
        init=lambda key: {
            "generator": {
                "params": {"kernel": jnp.zeros(2)},
                "spectral": {name.format(i): jnp.zeros(3) for i in range(count)},
            }
        },
        optimizers={"generator": optax.sgd(0.1)},
        turns=(),
    )


def test_of_many_arrays_the_first_are_named():
    gan = layers_gan(MOST_NAMED + 5)
    fresh = game.init(gan, jax.random.key(0))
    trained = {"generator": {"params": {"kernel": np.ones(2)}}}
    _, (_, line) = begin_from(gan, fresh, trained)
    assert line.count("(not there)") == MOST_NAMED and line.endswith("; and 5 more")


def test_a_name_with_slashes_is_found_as_a_file_of_weights_has_it():
    gan = layers_gan(1, "Conv_{}/kernel/u")
    fresh = game.init(gan, jax.random.key(0))
    held = {"Conv_0": {"kernel": {"u": np.ones(3)}}}
    begun, lines = begin_from(gan, fresh, {"generator": {"spectral": held}})
    assert begun.players["generator"].collections["spectral"]["Conv_0/kernel/u"].tolist() == [1] * 3
    assert lines[0] == "1 of 2 arrays are taken"


def test_nothing_that_fits_is_an_error():
    gan = small_gan()
    (fresh,) = states_of(gan, [0])
    for trained in ({}, {"generator": {"params": {"Dense_0": {"kernel": np.zeros((3, 3))}}}}):
        with pytest.raises(ValueError, match="no array there has a name and a shape of discr"):
            begin_from(gan, fresh, trained)


@pytest.mark.parametrize("name", registry.names())
def test_every_system_takes_all_collections_of_its_players(name):
    gan = small_config(name).gan()
    shapes = jax.eval_shape(lambda: game.init(gan, jax.random.key(0)))
    fresh = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes.replace(key=None))
    rng = np.random.default_rng(0)
    trained = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), variables_of(fresh))
    begun, lines = begin_from(gan, fresh.replace(key=jax.random.key(0)), trained)
    count = len(jax.tree.leaves(trained))
    assert lines == [f"{count} of {count} arrays are taken"]
    chex.assert_trees_all_equal(variables_of(begun), trained)
    chex.assert_trees_all_equal(begun.averages, {x: trained[x] for x in begun.averages})
    kinds = {path[1] for path in flax.traverse_util.flatten_dict(trained)}
    assert kinds == {
        "biggan": {"params", "batch_stats", "spectral"},
        "pix2pix": {"params", "batch_stats"},
        "stylegan2": {"params", "buffers"},
    }.get(name, kinds)
