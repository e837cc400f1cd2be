"""The README's Python, run as it stands, gives what the README says."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgan
from jaxgan import game, training
from jaxgan.checkpoints import Checkpoints
from jaxgan.networks import mlp

README = (Path(__file__).parent.parent / "README.md").read_text()


def run_example(first_words, **names):
    """The names that hold after the example that begins with these words has run."""
    start = README.index(first_words)
    exec(README[start : README.index("```", start)], names)
    return names


@pytest.fixture
def in_a_folder_with_a_run(tmp_path, monkeypatch):
    config = jaxgan.MLPGANConfig()
    workdir = tmp_path / config.workdir
    workdir.mkdir(parents=True)
    config.save(workdir)
    checkpoints = Checkpoints(workdir / "checkpoints")
    state = training.on_host(game.init(config.gan(), jax.random.key(0)))
    checkpoints.save(state, config.to_json())
    checkpoints.close()
    monkeypatch.chdir(tmp_path)


def test_drawing_images(in_a_folder_with_a_run):
    names = run_example("import jax, jaxgan")
    assert names["images"].shape == (64, 28, 28, 1) and names["images"].dtype == np.float32
    assert names["more"].shape == (10_000, 28, 28, 1)
    assert names["walk"].shape == (16, 28, 28, 1)
    np.testing.assert_allclose(names["walk"][0], names["image"][0], atol=1e-5)
    drawn = run_example(
        "config = jaxgan.MLPGANConfig.load",
        jaxgan=jaxgan,
        params=names["params"],
        key=jax.random.key(0),
    )
    np.testing.assert_array_equal(drawn["images"], names["images"])


def test_other_networks_in_the_same_game():
    names = run_example(
        "gan = jaxgan.unconditional_gan(",
        jax=jax,
        jaxgan=jaxgan,
        optax=optax,
        MyGenerator=mlp.Generator,
        MyDiscriminator=mlp.Discriminator,
        images=jnp.zeros((8, 28, 28, 1)),
    )
    start = game.init(names["gan"], jax.random.key(0))
    moved = jax.tree.map(
        lambda a, b: bool(jnp.any(a != b)),
        names["state"].discriminator.params,
        start.discriminator.params,
    )
    assert all(jax.tree.leaves(moved))
    assert 0 < names["metrics"]["d_fake"] < 1
