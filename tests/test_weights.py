import json
import os
from importlib import resources

import chex
import jax
import numpy as np
import pytest

from jaxgan import data, weights
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.metrics.modes import class_shares
from jaxgan.metrics.scoring import embed
from jaxgan.sampling import sample
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.mlp_gan.networks import Discriminator


def test_nested_variables_come_back_without_pickle(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    variables = {"a": {"params": {"Dense_0": {"kernel": rng.normal(size=(3, 2))}}}}
    (tmp_path / "embedded").mkdir()
    path = tmp_path / "embedded" / "some.npz"
    weights.write(path, variables, np.float16)
    with np.load(path, allow_pickle=False) as stored:
        assert stored.files == ["a/params/Dense_0/kernel"]
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    rounded = variables["a"]["params"]["Dense_0"]["kernel"].astype(np.float16)
    for read in (weights.read(path), weights.read_embedded("some.npz")):
        kernel = read["a"]["params"]["Dense_0"]["kernel"]
        assert kernel.dtype == np.float32
        np.testing.assert_array_equal(kernel, rounded)


def test_a_file_that_cannot_be_written_is_as_it_was(tmp_path):
    path = tmp_path / "some.npz"
    path.write_bytes(b"before")
    with pytest.raises(ValueError):
        weights.write(path, {"a": np.array(["no number"])})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_exported_is_read_back(tmp_path):
    path = tmp_path / "pair.npz"
    pair = {player: weights.pretrained(player=player) for player in ("generator", "discriminator")}
    weights.write(path, pair, np.float16)
    chex.assert_trees_all_equal(weights.read(str(path)), pair)


def test_what_is_no_file_of_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.npz is not there"):
        weights.read(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match="is no file of weights"):
        weights.read(tmp_path)
    with pytest.raises(ValueError, match="is no file of weights"):
        weights.read("/dev/zero")


def embedded(name):
    return resources.files("jaxgan").joinpath("embedded", name)


@pytest.fixture(scope="module")
def card():
    """What is said beside the pair that ships."""
    return json.loads(embedded("mnist_gan.json").read_text())


def test_the_shipped_pair_is_the_default_recipe_whole_and_small(card):
    settings = MLPGANConfig.from_json(card["settings"])
    assert settings.recipe == "default"
    as_it_stands = MLPGANConfig(seed=settings.seed)
    assert settings.differences(as_it_stands) == [] and settings.epochs == as_it_stands.epochs
    assert card["command"].endswith(f"mnist_gan.py --recipe default --seed {settings.seed}")
    sizes = [len(embedded(f"mnist_gan.{kind}").read_bytes()) for kind in ("npz", "json")]
    assert sum(sizes) < 6e6


@pytest.mark.slow
def test_the_shipped_generator_scores_as_is_said_beside_it(card):
    evaluator = load_evaluator()
    said = card["evaluation"]
    drawn = sample(
        weights.pretrained("mnist_gan"),
        jax.random.key(said["seed"]),
        num_samples=said["num_samples"],
    )
    seen = embed(drawn, evaluator)
    real = moments(embed(data.load("mnist").images, evaluator).features)
    # The scores are of weights that were not yet rounded to float16.
    fid = frechet_distance(real, moments(seen.features))
    assert fid == pytest.approx(said["scores"]["samples"]["fid"], rel=0.01)
    shares = class_shares(seen.probabilities, 10)
    np.testing.assert_allclose(shares, said["class_shares"]["samples"], atol=0.002)
    assert 0.07 < min(shares) and max(shares) < 0.13


def test_the_shipped_discriminator_tells_real_from_fake():
    police = weights.pretrained("mnist_gan", player="discriminator")

    def belief(images):
        return jax.nn.sigmoid(Discriminator().apply(police, 2 * images - 1)).mean()

    real = data.load("mnist", split="test").images.astype(np.float32) / 255
    fake = sample(weights.pretrained("mnist_gan"), jax.random.key(0), num_samples=10_000)
    noise = np.random.default_rng(0).random((1000, 28, 28, 1), np.float32)
    assert belief(real) > belief(fake) + 0.01
    assert belief(noise) < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnist"}, "there is no pretrained 'mnist': one of mnist_gan, stargan_faces"),
        ({"player": "police"}, "player must be one of generator, discriminator, not 'police'"),
    ],
)
def test_what_is_not_shipped(arguments, message):
    with pytest.raises(ValueError, match=message):
        weights.pretrained(**arguments)


def test_a_sparse_file_is_no_file_of_weights(tmp_path):
    weights.write(tmp_path / "a.npz", {"params": {"kernel": np.ones((2, 3), np.float32)}})
    os.truncate(tmp_path / "a.npz", 3 << 30)
    with pytest.raises(ValueError, match="a.npz is no file of weights: its .* bytes claim to be"):
        weights.read(tmp_path / "a.npz")
