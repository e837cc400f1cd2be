"""The README's Python, run as it stands, gives what the README says."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgan
from jaxgan import game, training
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.systems.mlp_gan import networks as mlp

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


def test_drawing_images():
    names = run_example("import jax, jaxgan")
    assert names["images"].shape == (64, 28, 28, 1) and names["images"].dtype == np.float32
    assert names["more"].shape == (10_000, 28, 28, 1)
    assert names["walk"].shape == (16, 28, 28, 1)
    np.testing.assert_allclose(names["walk"][0], names["image"][0], atol=1e-5)
    # They are digits, and the evaluator is sure of most.
    sure = load_evaluator()(names["images"]).probabilities.max(axis=1) > 0.5
    assert sure.mean() > 0.9


def test_drawing_images_of_a_run(in_a_folder_with_a_run):
    key = jax.random.key(0)
    names = run_example("params = jaxgan.load_params(", jaxgan=jaxgan, key=key)
    expected = jaxgan.sample(jaxgan.load_params("runs/mnist_gan"), key)
    np.testing.assert_array_equal(names["images"], expected)


def test_scores_by_features_of_ones_own(capsys):
    rng = np.random.default_rng(0)
    real, generated = rng.random((2, 600, 4, 4, 3)).astype(np.float32)
    names = run_example(
        "from jaxgan.metrics.scoring",
        my_network=lambda images: images.reshape(500, -1),
        real=real,
        generated=generated,
    )
    features = [x.reshape(600, -1) for x in (real, generated)]
    expected = frechet_distance(*map(moments, features))
    np.testing.assert_allclose(names["scores"]["fid"], expected, rtol=1e-6)
    assert capsys.readouterr().out.startswith(str(names["scores"]["fid"]))


def test_other_networks_in_the_same_game():
    names = run_example(
        "gan = jaxgan.latent_gan(",
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
