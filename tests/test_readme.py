"""The Python of the texts, run as it stands, gives what the texts say."""

import dataclasses
import functools
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgan
from jaxgan import data, training
from jaxgan.metrics.evaluator import load_evaluator
from jaxgan.metrics.frechet import frechet_distance, moments
from jaxgan.run import config as run_config
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.program import serialised
from jaxgan.systems.age_cgan.recognition import load_recogniser
from jaxgan.systems.mlp_gan import networks as mlp
from jaxgan.systems.stargan.editing import ATTRIBUTES, FACES_CODING
from jaxgan.systems.stylegan2 import config as stylegan2
from jaxgan.systems.stylegan2.styles import crossed

ROOT = Path(__file__).parent.parent
# How many examples each text has. Each is run below, but for the one that
# tests/test_add_your_own_gan.py runs, and those of the Vietnamese text, which are the README's.
EXAMPLES = {
    "README.md": 4,
    "experiments/README.md": 1,
    "experiments/README.vi.md": 4,
    "jaxgan/metrics/README.md": 1,
    "jaxgan/systems/README.md": 2,
    "jaxgan/systems/age_cgan/README.md": 1,
    "jaxgan/systems/dcgan/README.md": 2,
    "jaxgan/systems/mlp_gan/README.md": 2,
    "jaxgan/systems/pix2pix/README.md": 1,
    "jaxgan/systems/stargan/README.md": 1,
    "jaxgan/systems/stylegan2/README.md": 1,
}


def examples(text):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / text).read_text(), re.DOTALL | re.MULTILINE)


def run_example(text, number, **names):
    """The names that hold after an example of a text has run."""
    exec(examples(text)[number], names)
    return names


@pytest.fixture
def folder_with_run(monkeypatch, tmp_path):
    """(settings) -> saves an untrained run of them, and goes to the folder that the texts' commands
    are given in."""

    def save(config, gan=None):
        workdir = tmp_path / config.workdir
        workdir.mkdir(parents=True)
        config.save(workdir)
        checkpoints = Checkpoints(workdir / "checkpoints")
        gan = config.gan() if gan is None else gan
        state = jax.jit(lambda key: jaxgan.init(gan, key))(jax.random.key(0))
        checkpoints.save(training.on_host(state), config.to_json())
        checkpoints.close()
        monkeypatch.chdir(tmp_path)

    return save


def test_every_example_is_known():
    texts = [ROOT / "README.md", *(ROOT / "experiments").rglob("*.md")]
    texts += [*(ROOT / "jaxgan").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
    counts = {str(text.relative_to(ROOT)): len(examples(text)) for text in texts}
    assert {text: count for text, count in counts.items() if count} == EXAMPLES


def test_the_vietnamese_text_has_the_examples_of_the_readme():
    assert examples("experiments/README.vi.md") == examples("README.md")


def check_digits(images):
    """They are digits, and the evaluator is sure of most."""
    assert images.shape == (64, 28, 28, 1) and images.dtype == np.float32
    sure = load_evaluator()(images).probabilities.max(axis=1) > 0.5
    assert sure.mean() > 0.9


def test_drawing_images():
    check_digits(run_example("README.md", 0)["images"])


def test_drawing_more_images():
    names = run_example("jaxgan/systems/mlp_gan/README.md", 0)
    check_digits(names["images"])
    assert names["more"].shape == (10_000, 28, 28, 1)
    assert names["walk"].shape == (16, 28, 28, 1)
    np.testing.assert_allclose(names["walk"][0], names["image"][0], atol=1e-5)


def test_drawing_images_of_a_run(folder_with_run):
    folder_with_run(jaxgan.MLPGANConfig())
    names = run_example("README.md", 1, jax=jax, jaxgan=jaxgan)
    params = jaxgan.load_params("runs/mnist_gan")
    expected = jaxgan.sample(params, jax.random.key(1), num_samples=100)
    np.testing.assert_array_equal(names["images"], expected)
    start, end = jax.random.normal(jax.random.key(2), (2, 100))
    names = run_example(
        "jaxgan/systems/mlp_gan/README.md", 1, jax=jax, jaxgan=jaxgan, start=start, end=end
    )
    expected = jaxgan.sample(params, jax.random.key(0), num_samples=100)
    np.testing.assert_array_equal(names["images"], expected)
    np.testing.assert_array_equal(names["walk"], jaxgan.interpolate(params, start, end))


def test_a_run_from_python_and_a_logger_of_ones_own(tmp_path, monkeypatch):
    load = data.load

    def load_some(*args, **options):
        whole = load(*args, **options)
        attributes = {
            name: each._replace(codes=each.codes[::50]) for name, each in whole.attributes.items()
        }
        return dataclasses.replace(whole, images=whole.images[::50], attributes=attributes)

    monkeypatch.setattr(data, "load", load_some)
    monkeypatch.setattr(run_config, "load", load_some)
    monkeypatch.chdir(tmp_path)
    names = run_example("README.md", 2, jax=jax, jaxgan=jaxgan)
    assert names["run"] == jaxgan.load_run("runs/from_python")
    assert names["images"].shape == (64, 28, 28, 1) and names["fid"] > 0

    told = []
    wandb = SimpleNamespace(
        init=lambda project, config: told.append(config),
        Image=lambda canvas: ("image", canvas.shape),
        log=lambda values, step: told.append((step, values)),
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    again = dataclasses.replace(names["config"], epochs=1, workdir="runs/another")
    run_example("README.md", 3, jaxgan=jaxgan, config=again)
    settings, *rows = told
    assert settings["epochs"] == 1 and settings["system"] == "mlp_gan"
    assert any("generator_loss" in values for _, values in rows)
    assert rows[-1][1]["samples"][0] == "image" and rows[-1][1]["epoch"] == 1


def test_images_of_an_exported_generator(folder_with_run):
    folder_with_run(jaxgan.MLPGANConfig())
    run = jaxgan.load_run("runs/mnist_gan")
    Path("digits.stablehlo").write_bytes(serialised(run.config.program(run.params)))
    latents = jax.random.normal(jax.random.key(1), (5, 100))
    names = run_example("experiments/README.md", 0, latents=latents)
    np.testing.assert_allclose(names["images"], run.sample(jax.random.key(1), 5), atol=1e-5)


def test_drawing_images_of_a_conditional_run(folder_with_run):
    classes = (("label", tuple("0123456789")),)
    config = jaxgan.DCGANConfig(
        workdir="runs/dcgan_mnist", conditional=True, classes=classes, width=2
    )
    folder_with_run(config)
    names = run_example(
        "jaxgan/systems/dcgan/README.md", 0, jaxgan=jaxgan, jnp=jnp, key=jax.random.key(3)
    )
    sevens = names["sevens"]
    assert sevens.shape == (64, 28, 28, 1) and sevens.dtype == np.float32
    expected = jaxgan.sample(
        jaxgan.load_params("runs/dcgan_mnist"),
        jax.random.key(3),
        labels=[7] * 64,
        generator=config.generator(),
    )
    np.testing.assert_array_equal(sevens, expected)
    assert names["run"].config == config


def test_drawing_images_of_classes_by_their_names(folder_with_run):
    classes = (("hair_colour", ("black", "brown", "blond")), ("beard", ("none", "chin")))
    config = jaxgan.DCGANConfig(
        workdir="runs/dcgan_faces",
        dataset="toon_faces",
        conditional=True,
        attributes=("hair_colour", "beard"),
        classes=classes,
        width=2,
    )
    folder_with_run(config)
    names = run_example("jaxgan/systems/dcgan/README.md", 1, jaxgan=jaxgan, key=jax.random.key(3))
    assert names["blond"].shape == (10, 32, 32, 3)
    assert set(names["labels"][:, 0].tolist()) == {2}
    assert set(names["labels"][:, 1].tolist()) == {0, 1}


def test_translating_images_with_a_run(folder_with_run):
    config = jaxgan.Pix2PixConfig(image_shape=(16, 16, 3), width=2)
    folder_with_run(config)
    drawings = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8)
    names = run_example(
        "jaxgan/systems/pix2pix/README.md",
        0,
        jaxgan=jaxgan,
        drawings=drawings,
        key=jax.random.key(3),
    )
    expected = jaxgan.translate(
        jaxgan.load_params("runs/pix2pix"),
        drawings,
        jax.random.key(3),
        generator=config.generator(),
    )
    assert names["faces"].shape == (3, 16, 16, 3) and names["faces"].dtype == np.float32
    np.testing.assert_array_equal(names["faces"], expected)


def test_scores_by_features_of_ones_own(capsys):
    rng = np.random.default_rng(0)
    real, generated = rng.random((2, 600, 4, 4, 3)).astype(np.float32)
    names = run_example(
        "jaxgan/metrics/README.md",
        0,
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
        "jaxgan/systems/README.md",
        1,
        functools=functools,
        jax=jax,
        jaxgan=jaxgan,
        optax=optax,
        MyGenerator=mlp.Generator,
        MyDiscriminator=mlp.Discriminator,
        images=jnp.zeros((8, 28, 28, 1)),
    )
    start = jaxgan.init(names["gan"], jax.random.key(0))
    moved = jax.tree.map(
        lambda a, b: bool(jnp.any(a != b)),
        names["state"].players["discriminator"].params,
        start.players["discriminator"].params,
    )
    assert all(jax.tree.leaves(moved))
    assert 0 < names["metrics"]["d_fake"] < 1


def test_editing_images_of_a_run(folder_with_run):
    config = jaxgan.StarGANConfig(workdir="runs/stargan", classes=FACES_CODING.classes)
    folder_with_run(config)
    faces = config.load_dataset("test")
    images, labels = faces.images[:2], faces.codes(ATTRIBUTES)[2:4]
    names = run_example(
        "jaxgan/systems/stargan/README.md", 0, jaxgan=jaxgan, images=images, labels=labels
    )
    run = jaxgan.load_run("runs/stargan")
    expected = config.edit(run.params, images, labels, own=run.recognise(images), strength=0.7)
    assert expected.shape == (2, 64, 64, 3) and expected.dtype == np.float32
    np.testing.assert_array_equal(names["edited"], expected)


@pytest.mark.slow
def test_ageing_images_of_a_run(folder_with_run, monkeypatch):
    config = jaxgan.AgeCGANConfig(workdir="runs/age_cgan")
    folder_with_run(config, config.encoder_stage())
    monkeypatch.setattr(jaxgan, "invert", functools.partial(jaxgan.invert, steps=1))
    faces = config.load_dataset("test").images[:1] / np.float32(255)
    names = run_example(
        "jaxgan/systems/age_cgan/README.md",
        0,
        jaxgan=jaxgan,
        faces=faces,
        groups=np.zeros(1, np.int32),
        key=jax.random.key(0),
        load_recogniser=load_recogniser,
    )
    assert names["latents"].shape == (1, 100) and names["aged"].shape == (1, 3, 32, 32, 3)


@pytest.mark.slow
def test_styles_of_a_run(folder_with_run, monkeypatch):
    sizes = {"channel_base": 64, "channel_max": 4, "style_size": 5, "mapping_layers": 1}
    folder_with_run(jaxgan.StyleGAN2Config(image_shape=(16, 16, 3), **sizes))
    monkeypatch.setattr(stylegan2, "project", functools.partial(jaxgan.project, steps=1))
    names = run_example(
        "jaxgan/systems/stylegan2/README.md",
        0,
        jaxgan=jaxgan,
        crossed=crossed,
        key=jax.random.key(0),
        faces=np.zeros((2, 16, 16, 3), np.uint8),
    )
    assert names["images"].shape == (16, 16, 16, 3) and names["mixed"].shape == (1, 16, 16, 3)
    np.testing.assert_array_equal(names["child"][0, :4], names["styles"][1, :4])
    np.testing.assert_array_equal(names["child"][0, 4:], names["styles"][0, 4:])
    found = names["found"]
    assert found.styles.shape == (2, 6, 5) and found.film.shape == (1, 2, 16, 16, 3)
