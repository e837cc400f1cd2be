"""Pages of runs of experiments/dcgan.py: the class picker, and what the police are told."""

import dataclasses
import json
import math
import re

import chromium
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import data, game, training
from jaxgan.playground import page
from jaxgan.run.checkpoints import Checkpoints
from jaxgan.run.workdir import Workdir
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig

PROGRAM = chromium.find()
in_a_browser = pytest.mark.skipif(
    PROGRAM is None,
    reason="there is no Chromium to try the page in (Debian and Ubuntu: apt-get install chromium)",
)
READY = "document.body.classList.contains('ready')"
LABELS = (("label", tuple("0123456789")),)
SETTINGS = {"width": 4, "latent_size": 9, "conditional": True, "classes": LABELS}
RNG = np.random.default_rng(0)


def scaled_variables(module, *inputs, gain=1):
    """Random variables with which images are not all grey and batch normalisation changes its
    inputs. The kernels are `gain` times as large as keeps the size of a dense layer's inputs."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)

    def draw(path, x):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        if name in ("scale", "var"):
            return RNG.uniform(0.5, 2, x.shape).astype(np.float32)
        if name in ("bias", "mean"):
            return (0.3 * RNG.standard_normal(x.shape)).astype(np.float32)
        fan_in = math.prod(x.shape[:-1])
        return (gain * RNG.standard_normal(x.shape) / np.sqrt(fan_in)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def make_pair(**settings):
    config = DCGANConfig(**{**SETTINGS, **settings})
    test = data.load(split="test")
    labels = (jnp.zeros((1, 1), jnp.int32),) if config.classes else ()
    images = jnp.zeros((1, *page.IMAGE_SHAPE))
    return page.Pair(
        name="run",
        config=config,
        # Each pixel of a doubled map is a sum over a quarter of its kernel.
        generator=scaled_variables(config.generator(), jnp.zeros((1, 9)), *labels, gain=2),
        discriminator=scaled_variables(config.discriminator(), images, *labels),
        real=test.images[:100],
        story=None,
        labels=test.codes(["label"])[:100] if config.classes else None,
    )


@pytest.fixture(scope="module")
def pair():
    return make_pair()


@pytest.fixture(scope="module")
def browser():
    with chromium.browser(PROGRAM) as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(browser, pair, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "playground.html"
    path.write_text(page.assemble(pair), encoding="utf-8")
    browser.open(path)
    browser.wait_for(READY)
    return browser


@pytest.fixture
def shown(opened):
    opened.click("[data-language=en]")
    yield opened
    assert opened.problems == []


def as_conditions(labels):
    return np.eye(10)[np.ravel(labels)].tolist()


def judged(pair, images, labels):
    """D(x, y) by JAX, of images in [0, 1]."""
    x = 2 * jnp.asarray(images).reshape(-1, 28, 28, 1) - 1
    return np.asarray(
        jax.nn.sigmoid(pair.config.discriminator().apply(pair.discriminator, x, labels))
    )


def cells(browser, grid):
    """The images of a grid in [0, 1], the classes in their labels, and the beliefs below them."""
    pixels = browser.run(
        f"[...document.querySelectorAll('{grid} canvas')].map(c => Array.from("
        "c.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 === 3))"
    )
    labels = browser.run(f"[...document.querySelectorAll('{grid} .cell')].map(e => e.ariaLabel)")
    found = [re.search(r"\((\d)\): (\d+)%", label) for label in labels]
    return (
        np.array(pixels) / 255,
        np.array([int(each[1]) for each in found]),
        np.array([int(each[2]) / 100 for each in found]),
    )


# --- Directions ---


def test_principal_directions_of_a_conditional_generator_are_averaged_over_its_labels():
    class OfLabels(nn.Module):
        latent_size: int = 2

        @nn.compact
        def __call__(self, latents, labels):
            # The first number is all that counts for class 0, the second, less, for class 1.
            of_class = jnp.where(labels == 0, jnp.array([1.0, 0.0]), jnp.array([0.0, 0.5]))
            return jnp.zeros((len(latents), 28, 28, 1)) + jnp.sum(latents * of_class)

    latents, labels = jnp.zeros((4, 2)), jnp.array([[0], [1], [1], [1]])
    for some, first in ((labels, [1, 0]), (labels[1:], [0, 1])):
        given = page.principal_directions(OfLabels(), {}, latents[: len(some)], some)
        np.testing.assert_allclose(given[0], first, atol=1e-6)


# --- Runs ---


def make_run(workdir, **settings):
    config = DCGANConfig(workdir=str(workdir), **{**SETTINGS, **settings})
    workdir.mkdir()
    config.save(workdir)
    checkpoints = Checkpoints(workdir / "checkpoints")
    state = training.on_host(game.init(config.gan(), jax.random.key(3)))
    checkpoints.save(state, config.to_json())
    checkpoints.close()
    return config


def test_a_conditional_run_with_its_labels_and_a_column_of_the_story_for_each_class(tmp_path):
    config = make_run(tmp_path / "run")
    held = Workdir(tmp_path / "run", 3)
    (tmp_path / "run" / "samples").mkdir()
    held.open(config, 10**6)
    # Its grid has a row for each class: image 10 * class + number.
    levels = np.arange(100)[:, None, None, None] / 255
    held.draw_samples(1, 1, np.broadcast_to(levels, (100, 28, 28, 1)), 10)
    held.close()
    pair = page.of_run(tmp_path / "run")
    test = data.load(split="test")
    np.testing.assert_array_equal(pair.labels, test.labels[: page.REAL_IMAGES, None])
    assert pair.story.columns == 10 and pair.story.frames.shape == (1, 60, 28, 28)
    sheet = pair.story.frames[0, :, 14, 14].reshape(6, 10)
    np.testing.assert_array_equal(sheet, 10 * np.arange(10) + np.arange(6)[:, None])
    dataclasses.replace(config, width=5).save(tmp_path / "run")
    with pytest.raises(ValueError, match="the generator in the checkpoint .* of its config.json"):
        page.of_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Pix2PixConfig(), "plays with a generator of images from noise .*; .* is a run of pix2pix"),
        (DCGANConfig(dataset="toon_faces"), "images of 28x28x1; .* is a run on 32x32x3"),
    ],
)
def test_runs_that_it_cannot_show(tmp_path, config, message):
    config.save(tmp_path)
    with pytest.raises(ValueError, match=message):
        page.of_run(tmp_path)
    assert "Play" not in config.commands("run")


@pytest.mark.parametrize("config", [MLPGANConfig(), DCGANConfig()])
def test_runs_that_it_can_show_say_how(config):
    command = config.commands("runs/mine")["Play"]
    assert command == "python experiments/playground.py --workdir runs/mine"


# --- In a browser ---


@in_a_browser
def test_the_generator_is_that_of_jax(shown, pair):
    latents = RNG.standard_normal((100, 9)).astype(np.float32)
    labels = RNG.integers(0, 10, (100, 1))
    given = shown.run(
        f"generate({json.dumps(latents.tolist())}, {json.dumps(as_conditions(labels))})"
        ".map(x => Array.from(x))"
    )
    expected = (pair.config.generator().apply(pair.generator, latents, labels) + 1) / 2
    assert np.std(expected) > 0.1, "they are not all grey"
    np.testing.assert_allclose(np.reshape(given, expected.shape), expected, rtol=0, atol=1e-2)


@in_a_browser
def test_the_discriminator_is_that_of_jax(shown, pair):
    test = data.load(split="test")
    digits, labels = test.images[5000:5100] / np.float32(255), test.labels[5000:5100, None]
    given = shown.run(
        f"judge({json.dumps(digits.reshape(100, 784).tolist())}, "
        f"{json.dumps(as_conditions(labels))})"
    )
    expected = judged(pair, digits, labels)
    assert np.ptp(expected) > 0.2, "it has an opinion"
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-2)
    others = judged(pair, digits, (labels + 1) % 10)
    assert np.abs(others - expected).max() > 0.1, "it listens to labels"


@in_a_browser
@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_a_class_is_picked_and_asked_for(shown, pair, how):
    radio = "#classes label:nth-of-type({}) input"
    shown.click(radio.format(1))
    before, labels, _ = cells(shown, "#fresh-grid")
    assert len(set(labels)) > 3
    if how == "mouse":
        shown.click(radio.format(4))
    else:
        shown.focus(radio.format(1))
        shown.press("ArrowRight", "ArrowRight", "ArrowRight")
    images, labels, beliefs = cells(shown, "#fresh-grid")
    assert set(labels) == {2}
    assert all(np.abs(a - b).max() > 0.1 for a, b in zip(before, images, strict=True))
    np.testing.assert_allclose(beliefs, judged(pair, images, labels[:, None]), atol=0.016)
    # Bending and walking keep it.
    shown.run("window.asked = []; window.held = generate; generate = (z, c) => "
              "{ asked.push(...c); return held(z, c); }")  # fmt: skip
    shown.focus("#sliders input")
    shown.press("End")
    shown.focus("#walk")
    shown.press("Home", "ArrowRight")
    asked = np.array(shown.run("generate = held, asked"))
    assert len(asked) > 20
    np.testing.assert_allclose(asked, np.broadcast_to(np.eye(10)[2], asked.shape), atol=1e-6)
    shown.click("#fresh")
    assert set(cells(shown, "#fresh-grid")[1]) == {2}
    shown.click(radio.format(1))
    assert len(set(cells(shown, "#fresh-grid")[1])) > 3


@in_a_browser
def test_the_picker_has_a_name_in_both_languages(shown):
    texts = "[...byId('classes').querySelectorAll('legend, span')].map(e => e.textContent)"
    assert shown.run(texts) == ["Which digit", "any", *"0123456789"]
    shown.click("[data-language=vi]")
    assert shown.run(texts) == ["Chữ số nào", "bất kỳ", *"0123456789"]


@in_a_browser
def test_the_police_judge_each_image_with_its_label(shown, pair):
    for grid in ("#real-grid", "#fake-grid"):
        images, labels, beliefs = cells(shown, grid)
        np.testing.assert_allclose(beliefs, judged(pair, images, labels[:, None]), atol=0.016)
    images, labels, _ = cells(shown, "#real-grid")
    pixels = pair.real.reshape(-1, 784)
    for image, label in zip(np.rint(255 * images), labels, strict=True):
        assert pair.labels[np.abs(pixels - image).max(axis=1).argmin(), 0] == label


@in_a_browser
def test_a_drawing_is_judged_as_the_class_that_it_is_said_to_be(shown, pair):
    shown.click("#clear")
    shown.draw("#pad", [(0.3, 0.2), (0.7, 0.2), (0.5, 0.8)])
    seen = np.array(shown.pixels("#seen")) / 255
    of_each = judged(pair, np.tile(seen, (10, 1)), np.arange(10)[:, None])
    assert np.ptp(of_each) > 0.1

    def assert_taken_as(code):
        text = shown.text("#pad-verdict")
        assert int(re.search(r"(\d+)%", text)[1]) / 100 == pytest.approx(of_each[code], abs=0.016)
        assert text.endswith(f"Taken as: {code}")

    shown.click("#drawn label:nth-of-type(8)")
    assert_taken_as(7)
    shown.press("ArrowRight")
    assert_taken_as(8)
    shown.click("#drawn label:nth-of-type(1)")
    assert_taken_as(0)
    assert "say which digit you draw" in shown.text("#pad-hint")


@in_a_browser
def test_the_game_says_what_each_image_is_said_to_be(shown):
    assert re.fullmatch(r"Image 1 of 10, label \d", shown.text("#game-turn"))


@in_a_browser
def test_the_page_of_an_unconditional_run_has_no_picker(browser, tmp_path):
    pair = make_pair(conditional=False, classes=())
    (tmp_path / "page.html").write_text(page.assemble(pair), encoding="utf-8")
    browser.open(tmp_path / "page.html")
    browser.wait_for(READY)
    assert browser.run("document.querySelectorAll('.picker, .told:not([hidden])').length") == 0
    latents = RNG.standard_normal((20, 9)).astype(np.float32)
    given = browser.run(f"generate({json.dumps(latents.tolist())}).map(x => Array.from(x))")
    expected = (pair.config.generator().apply(pair.generator, latents) + 1) / 2
    np.testing.assert_allclose(np.reshape(given, expected.shape), expected, rtol=0, atol=1e-2)
    given = browser.run(f"judge({json.dumps(np.reshape(expected, (20, 784)).tolist())})")
    logits = pair.config.discriminator().apply(pair.discriminator, 2 * expected - 1)
    np.testing.assert_allclose(given, jax.nn.sigmoid(logits), rtol=0, atol=1e-2)
    facts = browser.run("FACTS")
    assert facts["attributes"] == [] and facts["labels"] == [[]] * 100
    assert browser.problems == []
