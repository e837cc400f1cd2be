"""A trained run: its settings and its weights together, whatever it was trained with."""

import json
import shutil

import jax
import numpy as np
import pytest
from small_run import first_state, save_run

import jaxgan
from jaxgan import weights
from jaxgan.run.checkpoints import Checkpoints, load_params
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.trained import load_pretrained

KEY = jax.random.key(4)
CLASSES = (("hair", ("black", "blond", "grey")), ("eyes", ("wide", "bow")))
CONFIGS = {
    "normal": MLPGANConfig(generator_widths=(16,), discriminator_widths=(16,)),
    "uniform": MLPGANConfig(
        noise="uniform",
        latent_size=5,
        generator_widths=(16, 8),
        discriminator_widths=(16,),
        image_shape=(8, 10, 3),
    ),
    "conditional": DCGANConfig(
        image_shape=(8, 8, 1), latent_size=3, width=2, conditional=True, classes=CLASSES
    ),
    "translation": Pix2PixConfig(image_shape=(16, 16, 3), width=2),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Work dirs of each of the configurations, whose averages are not their generators."""
    folder = tmp_path_factory.mktemp("runs")
    for name, config in CONFIGS.items():
        state = first_state(config)
        averages = {"generator": jax.tree.map(lambda x: x + 0.01, state.averages["generator"])}
        save_run(config, folder / name, state.replace(step=np.int32(12), averages=averages))
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_is_its_settings_and_its_weights(folder, name):
    run = jaxgan.load_run(str(folder / name))
    assert isinstance(run, jaxgan.Run)
    assert type(run.config) is type(CONFIGS[name]) and run.workdir == folder / name
    # Not where it was trained, but where it is.
    assert run.config.workdir == str(folder / name)
    assert run.config.differences(CONFIGS[name]) == []
    assert run.step == 12
    for mine, theirs in zip(
        jax.tree.leaves(run.params), jax.tree.leaves(load_params(folder / name)), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    expected = first_state(CONFIGS[name]).variables("discriminator")
    for mine, theirs in zip(
        jax.tree.leaves(run.player("discriminator")), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("name", ["normal", "uniform"])
def test_samples_are_of_the_runs_own_noise_and_networks(folder, name):
    run, config = jaxgan.load_run(folder / name), CONFIGS[name]
    images = run.sample(KEY, 7)
    expected = jaxgan.sample(
        load_params(folder / name),
        KEY,
        num_samples=7,
        noise=config.noise,
        generator=config.generator(),
    )
    assert images.shape == (7, *config.image_shape) and images.dtype == np.float32
    np.testing.assert_array_equal(images, expected)
    assert run.sample(KEY).shape == (64, *config.image_shape)
    other = {"normal": "uniform", "uniform": "normal"}[config.noise]
    wrong = jaxgan.sample(run.params, KEY, num_samples=7, noise=other, generator=config.generator())
    assert np.abs(images - wrong).max() > 1e-4


def test_samples_of_labels(folder):
    run = jaxgan.load_run(folder / "conditional")
    labels = np.array([[0, 1], [2, 0], [1, 1]])
    images = run.sample(KEY, 3, labels=labels)
    expected = jaxgan.sample(
        run.params, KEY, labels=labels, generator=CONFIGS["conditional"].generator()
    )
    np.testing.assert_array_equal(images, expected)
    assert images.shape == (3, 8, 8, 1)


def test_translations(folder):
    run = jaxgan.load_run(folder / "translation")
    inputs = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), dtype=np.uint8)
    expected = jaxgan.translate(
        run.params, inputs, KEY, generator=CONFIGS["translation"].generator()
    )
    np.testing.assert_array_equal(run.translate(inputs, KEY), expected)


@pytest.mark.parametrize(
    ("name", "ask", "said"),
    [
        ("normal", lambda run: run.sample(KEY, 0), "num_samples must be a whole number of 1"),
        ("normal", lambda run: run.sample(KEY, 2, labels=[[1], [2]]), "takes no labels"),
        ("conditional", lambda run: run.sample(KEY, 2), "is conditional: give labels="),
        ("conditional", lambda run: run.sample(KEY, 1, labels=[[3, 0]]), "from 0 to below 3"),
        ("conditional", lambda run: run.sample(KEY, 2, labels=[[1, 0]]), "of the shape"),
        ("normal", lambda run: run.translate(None, KEY), "makes no images of images: python "),
        ("normal", lambda run: run.edit(None, None), "edits no images: python "),
        ("conditional", lambda run: run.recognise(None), "edits no images: python "),
        ("translation", lambda run: run.edit(None, None), "edits no images: python "),
        ("translation", lambda run: run.sample(KEY, 2), "no images from noise alone: python "),
        ("normal", lambda run: run.player("critic"), "critic"),
    ],
)
def test_what_a_run_cannot_do_is_refused_in_one_line(folder, name, ask, said):
    with pytest.raises(ValueError, match=said) as error:
        ask(jaxgan.load_run(folder / name))
    assert "\n" not in str(error.value)


def test_a_run_without_a_checkpoint_is_read_but_has_no_weights(tmp_path):
    CONFIGS["normal"].save(tmp_path)
    run = jaxgan.load_run(tmp_path)
    for ask in (
        lambda: run.params,
        lambda: run.step,
        lambda: run.sample(KEY),
        lambda: run.player("generator"),
    ):
        with pytest.raises(FileNotFoundError, match="there is no checkpoint in") as error:
            ask()
        assert "\n" not in str(error.value)


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in") as error:
        jaxgan.load_run(tmp_path / "absent")
    assert "\n" not in str(error.value)


def test_a_run_of_an_unknown_system(tmp_path):
    (tmp_path / "config.json").write_text('{"system": "stylegan"}')
    with pytest.raises(ValueError, match="config.json cannot be used: .*'stylegan'") as error:
        jaxgan.load_run(tmp_path)
    assert "\n" not in str(error.value)


def test_weights_and_step_are_of_one_checkpoint(tmp_path):
    config = CONFIGS["normal"]
    older = save_run(config, tmp_path)
    newer = older.replace(step=older.step + 60)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(newer, config.to_json())
    checkpoints.close()
    shutil.rmtree(tmp_path / "checkpoints" / str(newer.step) / "generator" / "d")
    assert jaxgan.load_run(tmp_path).step == older.step


def test_a_seed_gives_the_same_images_whatever_random_numbers_the_process_has(tmp_path):
    with jax.default_prng_impl("rbg"):
        save_run(CONFIGS["normal"], tmp_path)
        expected = jaxgan.load_run(tmp_path).sample(jax.random.key(1), 2)
    run = jaxgan.load_run(tmp_path)
    np.testing.assert_array_equal(run.sample(run.key(1), 2), expected)
    assert not np.array_equal(run.sample(jax.random.key(1), 2), expected)


def test_what_ships_is_a_run_of_its_own_settings_and_weights():
    run = load_pretrained("mnist_gan")
    assert isinstance(run.config, MLPGANConfig) and run.config.recipe == "default"
    for player in ("generator", "discriminator"):
        expected = jaxgan.pretrained("mnist_gan", player=player)
        mine = run.params if player == "generator" else run.player(player)
        assert jax.tree.all(jax.tree.map(np.array_equal, mine, expected))
    np.testing.assert_array_equal(run.sample(KEY, 2), jaxgan.sample(run.params, KEY, num_samples=2))
    with pytest.raises(ValueError, match="there is no pretrained 'faces'"):
        load_pretrained("faces")


def test_weights_in_a_file_have_the_players_that_were_written(tmp_path):
    config, path = CONFIGS["normal"], tmp_path / "gan.npz"
    generator = first_state(config).averages["generator"]
    weights.write(path, {"generator": generator})
    path.with_suffix(".json").write_text(json.dumps(config.to_json()))
    run = jaxgan.load_run(path)
    for given in (run.params, run.player("generator")):
        assert jax.tree.all(jax.tree.map(np.array_equal, given, generator))
    assert run.step == 0
    with pytest.raises(ValueError, match="gan.npz has no discriminator") as error:
        run.player("discriminator")
    assert "\n" not in str(error.value)
