"""The page in a real headless Chromium, by clicks, strokes and keys."""

import json
import re

import chromium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import data
from jaxgan.latents import lerp, slerp
from jaxgan.playground import page
from jaxgan.systems.mlp_gan import networks as mlp

PROGRAM = chromium.find()
pytestmark = pytest.mark.skipif(
    PROGRAM is None,
    reason="there is no Chromium to try the page in (Debian and Ubuntu: apt-get install chromium)",
)
READY = "document.body.classList.contains('ready')"
RNG = np.random.default_rng(0)
FRAMES = RNG.integers(0, 256, (4, 36, 28, 28), np.uint8)
ROWS = [
    {
        "epoch": i / 2,
        "generator_loss": 0.7 + i / 10,
        "discriminator_loss": 1.4 - i / 10,
        "d_real": 0.5 + i / 50,
        "d_fake": 0.5 - i / 50,
    }
    for i in range(1, 7)
]


@pytest.fixture(scope="module")
def pair():
    """The trained pair of the package, with a story made up for it, and a hostile name."""
    story = page.Story(epochs=[0, 1, 2, 3], frames=FRAMES, rows=ROWS)
    return page.of_package()._replace(name="</script><script>alert(1)</script>", story=story)


@pytest.fixture(scope="module")
def page_file(pair, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "playground.html"
    path.write_text(page.assemble(pair), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with chromium.browser(PROGRAM) as opened:
        yield opened


@pytest.fixture(scope="module")
def desktop(browser, page_file):
    browser.open(page_file)
    browser.wait_for(READY)
    return browser


@pytest.fixture
def shown(desktop):
    """The page, in English, of which a test must have left no problem on the console."""
    desktop.click("[data-language=en]")
    yield desktop
    assert desktop.problems == []


def images_of(pixels):
    return np.array(pixels, np.float32).reshape(-1, 28, 28, 1) / 255


def judged(pair, images):
    """D(x) by JAX, of images in [0, 1]."""
    logits = mlp.Discriminator().apply(pair.discriminator, 2 * jnp.asarray(images) - 1)
    return np.asarray(jax.nn.sigmoid(logits))


def percents(text):
    return [int(number) / 100 for number in re.findall(r"(\d+)\s?%", text)]


def cells(browser, grid):
    """The images of a grid, float32 [n, 28, 28, 1], and the texts below them."""
    pixels = browser.run(
        f"[...document.querySelectorAll('{grid} canvas')].map(c => Array.from("
        "c.getContext('2d').getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 === 3))"
    )
    texts = browser.run(f"[...document.querySelectorAll('{grid} .belief')].map(e => e.textContent)")
    return images_of(pixels), texts


def image(browser, canvas):
    return images_of(browser.pixels(canvas))[0]


def assert_judged(pair, images, texts):
    beliefs = judged(pair, images)
    np.testing.assert_allclose([percents(text)[0] for text in texts], beliefs, atol=0.016)
    for text, belief in zip(texts, beliefs, strict=True):
        assert abs(belief - 0.5) < 0.01 or ("✓" in text) == (belief > 0.5)


def is_mnist(pair, images):
    real = pair.real[None, ..., 0].astype(int)
    off = np.abs(np.rint(images[..., 0] * 255)[:, None].astype(int) - real).max(axis=(2, 3))
    return off.min(axis=1) <= 1


# --- The networks ---


def test_the_generator_is_that_of_jax(shown, pair):
    latents = np.random.default_rng(7).standard_normal((100, 100)).astype(np.float32)
    given = shown.run(
        f"generate({json.dumps(latents.tolist())}.map(z => Float32Array.from(z)))"
        ".map(x => Array.from(x))"
    )
    expected = (mlp.Generator().apply(pair.generator, latents) + 1) / 2
    np.testing.assert_allclose(np.reshape(given, (100, 28, 28, 1)), expected, rtol=0, atol=1e-2)


def test_the_discriminator_is_that_of_jax(shown, pair):
    digits = data.load(split="test").images[5000:5100].astype(np.float32) / 255
    given = shown.run(
        f"judge({json.dumps(digits.reshape(100, 784).tolist())}.map(x => Float32Array.from(x)))"
    )
    expected = judged(pair, digits)
    assert np.ptp(expected) > 0.2, "it has an opinion"
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-2)


def test_the_real_digits_are_those_of_mnist(shown, pair):
    given = shown.run("realImages.map(x => Array.from(x, p => Math.round(255 * p)))")
    np.testing.assert_array_equal(np.reshape(given, pair.real.shape), pair.real)


@pytest.mark.parametrize(("noise", "walk"), [("normal", slerp), ("uniform", lerp)])
def test_the_way_between_two_latents_is_that_of_jaxgan(shown, noise, walk):
    start, end = np.random.default_rng(1).standard_normal((2, 100)).astype(np.float32)
    script = (
        f"(() => {{ const held = FACTS.noise; FACTS.noise = '{noise}'; const [a, b] = "
        f"{json.dumps([start.tolist(), end.tolist()])}.map(z => Float32Array.from(z)); const all ="
        "[0, 0.3, 1].map(t => Array.from(between(a, b, t))); FACTS.noise = held; return all; })()"
    )
    expected = walk(start, end, np.float32([0, 0.3, 1]))
    np.testing.assert_allclose(shown.run(script), expected, atol=1e-5)


def test_latents_are_drawn_from_the_noise_of_the_run(shown):
    script = (
        "(() => {{ const held = FACTS.noise; FACTS.noise = '{}'; const all = Array.from({{length: "
        "300}}, () => Array.from(drawLatent())); FACTS.noise = held; return all; }})()"
    )
    normal, uniform = (np.array(shown.run(script.format(n))) for n in ("normal", "uniform"))
    assert abs(normal.mean()) < 0.03 and abs(normal.std() - 1) < 0.03
    assert abs((np.abs(normal) > 2).mean() - 0.0455) < 0.01
    assert np.abs(uniform).max() < 1 and abs(uniform.std() - 3**-0.5) < 0.01


def test_it_asks_for_nothing_beside_itself(shown):
    assert shown.requests and all(
        url.startswith(("file:", "data:", "blob:")) for url in shown.requests
    )


def test_a_hostile_name_is_only_a_name(shown, pair):
    assert shown.text("footer code") == pair.name
    assert shown.run("document.title") == f"Fool the police: {pair.name}"


# --- Their controls ---


def test_the_teaser_tells_which_are_fake(shown, pair):
    shown.click("#teaser-fresh")
    images, texts = cells(shown, "#teaser")
    assert texts == ["?"] * 10
    shown.click("#teaser-tell")
    again, texts = cells(shown, "#teaser")
    np.testing.assert_array_equal(again, images)
    assert [text == "real" for text in texts] == is_mnist(pair, images).tolist()
    assert texts.count("fake") == 5


def test_fresh_digits_at_a_click_and_what_the_police_think(shown, pair):
    before, _ = cells(shown, "#fresh-grid")
    shown.click("#fresh")
    images, texts = cells(shown, "#fresh-grid")
    assert len(images) == 24 and not is_mnist(pair, images).any()
    assert all(np.abs(a - b).max() > 0.2 for a, b in zip(before, images, strict=True))
    assert_judged(pair, images, texts)


def test_a_picked_digit_opens_large_and_the_last_two_are_the_ends_of_a_walk(shown, pair):
    shown.click("#fresh")
    images, _ = cells(shown, "#fresh-grid")
    shown.click("#fresh-grid button:nth-child(7)")
    np.testing.assert_array_equal(image(shown, "#big"), images[6])
    shown.click("#fresh-grid button:nth-child(10)")
    np.testing.assert_array_equal(image(shown, "#big"), images[9])
    assert shown.text("#fresh-grid button:nth-child(7) .badge") == "①"
    assert shown.text("#fresh-grid button:nth-child(10) .badge") == "②"
    picked = shown.run("document.querySelectorAll('#fresh-grid [aria-pressed=true]').length")
    assert picked == 2
    strip, _ = cells(shown, "#walk-strip")
    np.testing.assert_allclose(strip[[0, -1]], images[[6, 9]], atol=1 / 255)
    shown.focus("#walk")
    for key, place in (("Home", 0), ("End", 8)):
        shown.press(key)
        np.testing.assert_allclose(image(shown, "#big"), strip[place], atol=1 / 255)
    shown.press(*["ArrowLeft"] * 50)
    np.testing.assert_allclose(image(shown, "#big"), strip[4], atol=1 / 255)
    verdict = shown.text("#big-verdict")
    assert percents(verdict)[0] == pytest.approx(
        judged(pair, image(shown, "#big")[None])[0], abs=0.016
    )


def pick_a_digit_in_the_middle(browser, number):
    """Makes digits until a slider of the picked one is not near an end, where it changes little."""
    browser.click("#as-drawn")
    slider = f"document.querySelector('#sliders > :nth-child({number}) input')"
    while abs(float(browser.run(f"{slider}.value"))) > 1.5:
        browser.click("#fresh")


@pytest.mark.parametrize("number", [1, 6])
def test_a_slider_bends_the_picked_digit_as_far_as_the_images_at_its_ends(shown, number):
    pick_a_digit_in_the_middle(shown, number)
    start = image(shown, "#big")
    row = f"#sliders > :nth-child({number})"
    shown.focus(f"{row} input")
    for key, end in (("End", "last"), ("Home", "first")):
        ahead = image(shown, f"{row} canvas:{end}-of-type")
        shown.press(key)
        np.testing.assert_allclose(image(shown, "#big"), ahead, atol=1.1 / 255)
        assert np.abs(image(shown, "#big") - start).max() > 0.2
    assert shown.run(f"document.querySelector('{row} input').ariaValueText") == "-3.0"
    shown.click("#as-drawn")
    np.testing.assert_array_equal(image(shown, "#big"), start)


def test_a_slider_can_be_dragged(shown):
    pick_a_digit_in_the_middle(shown, 2)
    start = image(shown, "#big")
    shown.draw("#sliders > :nth-child(2) input", [(0.5, 0.5), (0.2, 0.5), (0.02, 0.5)])
    assert float(shown.run("document.querySelectorAll('#sliders input')[1].value")) < -2.5
    assert np.abs(image(shown, "#big") - start).max() > 0.2


def test_the_grid_by_keys(shown):
    shown.click("#fresh")
    shown.focus("#fresh-grid button")
    shown.press("ArrowRight", "ArrowDown", "ArrowLeft", "Enter")
    images, _ = cells(shown, "#fresh-grid")
    np.testing.assert_array_equal(image(shown, "#big"), images[6])
    assert shown.text("#fresh-grid button:nth-child(7) .badge") == "②"


def test_the_police_judge_real_and_fake_digits_and_put_them_in_order(shown, pair):
    before, _ = cells(shown, "#real-grid")
    shown.click("#others")
    for grid, is_real in (("#real-grid", True), ("#fake-grid", False)):
        images, texts = cells(shown, grid)
        assert len(images) == 24 and is_mnist(pair, images).all() == is_real
        assert_judged(pair, images, texts)
    assert not np.array_equal(before, cells(shown, "#real-grid")[0])
    shown.click("#sort")
    for grid in ("#real-grid", "#fake-grid"):
        beliefs = [percents(text)[0] for text in cells(shown, grid)[1]]
        assert beliefs == sorted(beliefs, reverse=True)
    shown.click("#sort")
    beliefs = [percents(text)[0] for text in cells(shown, "#real-grid")[1]]
    assert beliefs != sorted(beliefs, reverse=True)


def test_the_beliefs_about_all_are_counted(shown, pair):
    shown.wait_for("document.querySelector('#crowd svg')")
    real, _, fake, _ = map(int, re.findall(r"\d+", shown.text("#crowd-text"))[:4])
    assert real == pytest.approx((judged(pair, pair.real / np.float32(255)) >= 0.5).sum(), abs=5)
    latents = jax.random.normal(jax.random.key(9), (2000, 100))
    fooled = judged(pair, (mlp.Generator().apply(pair.generator, latents) + 1) / 2) >= 0.5
    assert fake / 300 == pytest.approx(fooled.mean(), abs=0.12)
    right = percents(shown.text("#crowd-text"))[0]
    assert right == pytest.approx((real + 300 - fake) / 600, abs=0.0051)


# --- The pad ---


def centre(image):
    places = np.arange(28)
    mass = image[..., 0]
    return (mass.sum(axis=1) @ places / mass.sum(), mass.sum(axis=0) @ places / mass.sum())


def extent(image):
    rows, columns = np.nonzero(image[..., 0] > 0.1)
    return np.ptp(rows) + 1, np.ptp(columns) + 1


def test_a_drawing_is_centred_and_scaled_as_mnist_is_and_judged(shown, pair):
    shown.click("#clear")
    assert not image(shown, "#seen").any()
    # Small and in a corner.
    shown.draw("#pad", [(0.1, 0.1), (0.3, 0.1), (0.3, 0.45)])
    first = image(shown, "#seen")
    np.testing.assert_allclose(centre(first), (14, 14), atol=0.15)
    assert max(extent(first)) in (20, 21)
    verdict = shown.text("#pad-verdict")
    assert percents(verdict)[0] == pytest.approx(judged(pair, first[None])[0], abs=0.016)
    # The same, larger: the same to the police but for the width of the pen.
    shown.draw("#pad", [(0.2, 0.9), (0.9, 0.9)])
    assert np.abs(image(shown, "#seen") - first).max() > 0.3
    shown.click("#undo")
    np.testing.assert_array_equal(image(shown, "#seen"), first)
    shown.click("#clear")
    assert not image(shown, "#seen").any() and not np.any(shown.pixels("#pad"))
    assert "Draw" in shown.text("#pad-verdict")


def test_the_scaling_of_ink_pixel_by_pixel(shown):
    # 100 x 50 pixels of full ink become 20 x 10, its middle at pixel 14, that is from 4.5 to 24.5.
    script = (
        "(() => { const ink = new Float32Array(280 * 280); for (let y = 30; y < 130; y++) for (let"
        " x = 200; x < 250; x++) ink[y * 280 + x] = 1; return Array.from(asMnist(ink, 280)); })()"
    )
    expected = np.zeros((28, 28))
    expected[4:25, 9:20] = 1
    expected[[4, 24]] *= 0.5
    expected[:, [9, 19]] *= 0.5
    np.testing.assert_allclose(np.reshape(shown.run(script), (28, 28)), expected, atol=1e-5)
    assert shown.run("asMnist(new Float32Array(280 * 280), 280)") is None


def test_drawing_by_keys(shown):
    shown.click("#clear")
    shown.focus("#pad")
    shown.press("ArrowDown")
    assert not image(shown, "#seen").any(), "the pen is up"
    shown.press(" ", *["ArrowDown"] * 12, " ", *["ArrowRight"] * 3)
    stroke = image(shown, "#seen")
    assert extent(stroke)[0] in (20, 21) and extent(stroke)[1] < 6
    shown.click("#clear")


# --- The game ---


def test_a_game_of_ten_with_the_score_kept(shown, pair):
    points = {"you": 0, "police": 0}
    shown.focus("#say-real")
    for number in range(1, 11):
        assert shown.text("#game-turn") == f"Image {number} of 10"
        drawn = image(shown, "#game-image")[None]
        truth = bool(is_mnist(pair, drawn)[0])
        belief = judged(pair, drawn)[0]
        # Wrong once, in the third; by keys but for the last two.
        answer = truth if number != 3 else not truth
        if number <= 8:
            shown.press("r" if answer else "f")
        else:
            shown.click("#say-real" if answer else "#say-fake")
        told = shown.text("#game-told")
        assert told.startswith(f"It was {'real' if truth else 'fake'}.")
        assert f"You: {'wrong' if number == 3 else 'right'}." in told
        assert percents(told)[0] == pytest.approx(belief, abs=0.016)
        police_are_right = f"{percents(told)[0]:.0%} real: right" in told
        assert abs(belief - 0.5) < 0.01 or police_are_right == ((belief > 0.5) == truth)
        points["you"] += number != 3
        points["police"] += police_are_right
        assert {who: int(shown.text(f"#points-{who}")) for who in points} == points
        if number < 10:
            shown.press("Enter")
    assert shown.text("#marks-you") == "✓✓✗✓✓✓✓✓✓✓"
    won = points["you"] > points["police"]
    assert ("You win, 9 to" in shown.text("#game-told")) == won
    assert shown.text("#games").startswith(f"Games so far: you {int(won)}")
    shown.press("r")
    assert shown.text("#points-you") == "9", "a game that is over takes no answer"
    shown.press("Enter")
    assert shown.text("#game-turn") == "Image 1 of 10" and shown.text("#points-you") == "0"


# --- The story ---


def frame(browser):
    sheet = np.reshape(browser.pixels("#frame"), (178, 178))
    cells = [sheet[y * 30 : y * 30 + 28, x * 30 : x * 30 + 28] for y in range(6) for x in range(6)]
    return np.stack(cells)


def test_the_story_epoch_by_epoch(shown):
    shown.focus("#epoch")
    for key, epoch in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("End", 3)):
        shown.press(key)
        assert np.abs(frame(shown) - FRAMES[epoch].astype(int)).max() <= 9
        assert shown.text("#epoch-shown") == f"Epoch {epoch} of 3"
        numbers = shown.text("#story-numbers")
        if epoch == 0:
            assert "nothing is measured yet" in numbers
            continue
        row = ROWS[2 * epoch - 1]
        for value in (f"D(x) = {row['d_real']:.2f}", f"D(G(z)) = {row['d_fake']:.2f}"):
            assert value in numbers
        assert f"D {row['discriminator_loss']:.2f}, of G {row['generator_loss']:.2f}" in numbers


def test_the_curves_have_their_places_and_a_line_at_one_half(shown):
    def numbers(selector, attribute):
        text = shown.run(f"document.querySelector('{selector}').getAttribute('{attribute}')")
        return np.array([float(number) for number in re.findall(r"[\d.]+", text)])

    real = numbers("#beliefs .solid", "points").reshape(-1, 2)
    fake = numbers("#beliefs .dashed", "points").reshape(-1, 2)
    half = numbers("#beliefs .half", "y1")[0]
    # D(x) is as far above a half as D(G(z)) is below, and both go away from it evenly.
    np.testing.assert_allclose(real[:, 1] + fake[:, 1], 2 * half, atol=1e-3)
    np.testing.assert_allclose(np.diff(real, axis=0) - np.diff(real, axis=0)[0], 0, atol=1e-3)
    assert np.all(real[:, 1] < half)
    discriminator = numbers("#losses .solid", "points").reshape(-1, 2)[:, 1]
    generator = numbers("#losses .dashed", "points").reshape(-1, 2)[:, 1]
    # They cross between 1.1 and 1.0, in the middle of rows 3 and 4.
    assert np.array_equal(discriminator < generator, [True, True, True, False, False, False])


def test_the_story_plays_to_its_end(shown):
    # Not by a key, whose event may come late: the slider's own event stops a story that plays.
    shown.run("byId('epoch').value = 0; byId('epoch').dispatchEvent(new Event('input'))")
    assert "Play" in shown.text("#play")
    # On a busy machine it may be over before it can be asked what the button says.
    shown.run(
        "window.names = []; new MutationObserver(() => names.push(byId('play').textContent))"
        ".observe(byId('play'), { childList: true })"
    )
    shown.click("#play")
    shown.wait_for("document.getElementById('epoch').value === '3'")
    shown.wait_for("document.getElementById('play').textContent.includes('Play')")
    assert "Pause" in shown.run("names[0]")
    assert np.abs(frame(shown) - FRAMES[3].astype(int)).max() <= 9


# --- The language, the width ---


def test_both_languages_say_everything(shown):
    assert shown.run("Object.keys(WORDS.en).sort().join() === Object.keys(WORDS.vi).sort().join()")
    names = r"(s => (JSON.stringify(s).match(/\{\w+\}/g) || []).sort().join())"
    differing = shown.run(
        "Object.keys(WORDS.en).filter(k => !/digit/.test(JSON.stringify([WORDS.en, WORDS.vi].map("
        "w => w[k])))"
        f" && {names}(WORDS.en[k]) !== {names}(WORDS.vi[k]))"
    )
    assert differing == []
    for language, title in (("vi", "Qua mặt cảnh sát"), ("en", "Fool the police")):
        shown.click(f"[data-language={language}]")
        assert shown.run("document.documentElement.lang") == language
        assert shown.text("h1") == title
        text = shown.run("document.body.innerText")
        assert "undefined" not in text and "NaN" not in text and not re.search(r"\{\w+\}", text)
        assert shown.run("[...document.querySelectorAll('[data-t]')].every(e => e.textContent)")
        named = "[...document.querySelectorAll('button, input, canvas[role]')]"
        assert shown.run(
            f"{named}.every(e => e.textContent.trim() || e.getAttribute('aria-label') || "
            "e.labels?.length || e.getAttribute('aria-labelledby'))"
        )


@pytest.fixture
def phone(browser, page_file):
    browser.open(page_file, width=360, height=740, phone=True)
    browser.wait_for(READY)
    return browser


def test_on_a_phone_nothing_is_wider_than_360_pixels_and_a_finger_draws(phone):
    for language in ("en", "vi"):
        phone.click(f"[data-language={language}]")
        phone.wait_for("document.querySelector('#crowd svg')")
        assert phone.run("document.documentElement.scrollWidth") == 360
        wide = phone.run(
            "[...document.querySelectorAll('main *')].filter(e => "
            "e.getBoundingClientRect().right > 360.5).map(e => e.outerHTML.slice(0, 80))"
        )
        assert wide == []
    assert not image(phone, "#seen").any()
    phone.draw_by_finger("#pad", [(0.3, 0.2), (0.5, 0.5), (0.4, 0.8)])
    assert image(phone, "#seen").any()
    assert phone.run("scrollY") > 0 and phone.problems == []


# --- Other pages ---


def test_a_pair_without_a_story_and_uniform_noise(browser, make_run, tmp_path):
    make_run(tmp_path / "run", noise="uniform", loss="hinge")
    path = tmp_path / "page.html"
    path.write_text(page.assemble(page.of_run(tmp_path / "run")), encoding="utf-8")
    browser.open(path)
    browser.wait_for(READY)
    assert "kept no history" in browser.text("#story-about")
    assert browser.run("document.getElementById('story-body').hidden")
    assert "hinge" in browser.run("document.getElementById('critic').innerText")
    browser.focus("#sliders input")
    browser.press("End", "Home")
    assert browser.problems == []


@pytest.mark.parametrize("missing", ["frames", "curves"])
def test_half_a_story(browser, make_run, tmp_path, missing):
    make_run(tmp_path / "run")
    frames, rows = (FRAMES[:0], ROWS) if missing == "frames" else (FRAMES, [])
    story = page.Story(epochs=list(range(len(frames))), frames=frames, rows=rows)
    path = tmp_path / "page.html"
    pair = page.of_run(tmp_path / "run")._replace(story=story)
    path.write_text(page.assemble(pair), encoding="utf-8")
    browser.open(path)
    browser.wait_for(READY)
    browser.focus("#epoch")
    browser.press("Home", "ArrowRight")
    assert browser.text("#epoch-shown") == "Epoch 1 of 3"
    expected = "kept no samples" if missing == "frames" else "kept no metrics"
    assert expected in browser.run("document.getElementById('story-body').innerText")
    assert browser.problems == []


def test_a_damaged_page_says_so(browser, make_run, tmp_path):
    make_run(tmp_path / "run")
    content = page.assemble(page.of_run(tmp_path / "run"))
    start = content.index('id="pack">') + 500
    path = tmp_path / "page.html"
    path.write_text(content[:start] + "0" * 50 + content[start + 50 :], encoding="utf-8")
    browser.open(path)
    browser.wait_for("document.getElementById('loading').textContent.includes('damaged')")
    browser.wait_for_problem()
