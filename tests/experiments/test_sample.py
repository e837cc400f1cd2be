"""experiments/sample.py as a user runs it, on a run that is only a checkpoint and a config."""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import save_run
from small_style_gan import save_random_run

import jaxgan
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig

SCRIPT = Path(__file__).parents[2] / "experiments" / "sample.py"
CLASSES = (("hair", ("black", "blond", "grey")), ("eyes", ("wide", "bow")))


@pytest.fixture
def conditional(tmp_path):
    """A work dir of a conditional run of two attributes."""
    config = DCGANConfig(
        workdir=str(tmp_path / "run"),
        dataset="toon_faces",
        image_shape=(8, 8, 1),
        latent_size=3,
        width=2,
        conditional=True,
        classes=CLASSES,
    )
    save_run(config, tmp_path / "run")
    return config


def drawn_by(call_script, tmp_path, *arguments):
    """What sample.py draws into an array: (images, labels)."""
    done = call_script("sample.py", "--workdir", "run", *arguments, "--out", "a.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]


@pytest.fixture
def trained(tmp_path):
    """A work dir with a checkpoint of small networks, trained on uniform noise for no steps."""
    config = MLPGANConfig(
        workdir=str(tmp_path / "run"),
        noise="uniform",
        latent_size=5,
        generator_widths=(16,),
        discriminator_widths=(16,),
        image_shape=(8, 10, 3),
    )
    save_run(config, tmp_path / "run")
    return config


def test_an_array_of_what_jaxgan_sample_draws(call_script, trained, tmp_path):
    done = call_script(
        *("sample.py", "--workdir", "run", "--num", 7, "--seed", 4, "--out", "new/digits.npz")
    )
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "new" / "digits.npz", allow_pickle=False) as arrays:
        drawn = arrays["images"]
    expected = jaxgan.sample(
        jaxgan.load_params(trained.workdir),
        jax.random.key(4),
        num_samples=7,
        noise="uniform",
        generator=trained.generator(),
    )
    assert drawn.dtype == np.float32 and drawn.shape == (7, 8, 10, 3)
    np.testing.assert_array_equal(drawn, expected)


def test_a_film_goes_through_the_same_images_and_back(call_script, trained, tmp_path):
    arguments = ("--workdir", "run", "--num", 3, "--steps", 2, "--out", "film.gif")
    done = call_script("sample.py", *arguments)
    assert done.returncode == 0 and done.stdout == "3 images in film.gif\n", done.stderr
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.size) == (6, (40, 32))
    params, key = jaxgan.load_params(trained.workdir), jax.random.key(0)
    frames = np.asarray(trained.walk(params, key, 3, 2))
    options = {"noise": "uniform", "generator": trained.generator()}
    expected = jaxgan.sample(params, key, num_samples=3, **options)
    np.testing.assert_allclose(frames[::2], expected, atol=1e-6)
    latents = jax.random.uniform(key, (3, 5), minval=-1.0, maxval=1.0)
    back = jaxgan.interpolate(params, latents[2], latents[0], num_steps=3, **options)
    np.testing.assert_allclose(frames[5], back[1], atol=1e-6)


def test_a_picture_of_the_same(call_script, trained, tmp_path):
    arguments = ("--workdir", "run", "--num", 4, "--out")
    assert call_script("sample.py", *arguments, "a.npz").returncode == 0
    assert call_script("sample.py", *arguments, "a.png").returncode == 0
    with np.load(tmp_path / "a.npz") as arrays, Image.open(tmp_path / "a.png") as picture:
        last = np.rint(arrays["images"][3] * 255)
        pixels = np.asarray(picture)[::2, ::2]
    assert pixels.shape == (18, 22, 3)
    np.testing.assert_array_equal(pixels[10:, 12:], last)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--num", 0), "--num must be 1 or more, not 0"),
        (("--num", "many"), "invalid int value: 'many'"),
        (("--seed", "-1"), "--seed must be from 0"),
        (("--out", "digits.jpg"), "--out must end in .png, .npz or .gif, not 'digits.jpg'"),
        (("--workdir", "elsewhere"), "there is no run in elsewhere"),
        (("--out", "run/config.json/digits.png"), "config.json"),
        (("--num", 10**12), "a grid of 1,000,000,000,000 images has more than 178,956,970 pixels"),
        (("--num", 10**6), "draw 372,827 or fewer, or write an .npz"),
        (("--num", 10**12, "--out", "a.npz"), "--num 1000000000000 needs at least 80,000.0 GB"),
        (("--labels", 7), "this run is not conditional: there is nothing to ask for"),
        (("--truncation", 0.7), "a run of mlp_gan has no truncation, of styles or of latents"),
        (("--cutoff", 2), "--cutoff wants --truncation too"),
        (("--num", 1, "--out", "a.gif"), "--num must be 2 or more for a film, not 1"),
        (("--steps", 0, "--out", "a.gif"), "--steps must be 1 or more, not 0"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    call_script, trained, tmp_path, arguments, message
):
    before = sorted(tmp_path.rglob("*"))
    done = call_script("sample.py", "--workdir", "run", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("sample.py: error: ")
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_labels_that_are_asked_for(call_script, conditional, tmp_path):
    arguments = ("--num", 30, "--seed", 4, "--labels", "hair=grey")
    images, labels = drawn_by(call_script, tmp_path, *arguments)
    assert labels.shape == (30, 2) and labels.dtype == np.int32
    assert (labels[:, 0] == 2).all() and set(labels[:, 1]) == {0, 1}
    expected = jaxgan.sample(
        jaxgan.load_params(conditional.workdir),
        jax.random.key(4),
        labels=labels,
        generator=conditional.generator(),
    )
    assert images.shape == (30, 8, 8, 1)
    np.testing.assert_array_equal(images, expected)
    _, labels = drawn_by(call_script, tmp_path, "--num", 3, "--labels", "eyes=bow", "hair=black")
    assert labels.tolist() == [[0, 1]] * 3


@pytest.mark.parametrize(("num", "counts"), [(12, [4, 4, 4]), (10, [4, 4, 2]), (2, [1, 1, 0])])
def test_without_labels_each_class_of_the_first_attribute_has_a_row(
    call_script, conditional, tmp_path, num, counts
):
    _, labels = drawn_by(call_script, tmp_path, "--num", num)
    assert np.bincount(labels[:, 0], minlength=3).tolist() == counts
    assert (np.diff(labels[:, 0]) >= 0).all()
    done = call_script("sample.py", "--workdir", "run", "--num", num, "--out", "a.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "a.png") as picture:
        rows = sum(map(bool, counts))
        assert picture.size == (2 * (10 * counts[0] - 2), 2 * (10 * rows - 2))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("hair=red",), "hair cannot be 'red': it is one of black, blond, grey"),
        (("grey",), "'grey' names no attribute that this run was told"),
        (("hat=red",), "give ATTRIBUTE=CLASS, of hair, eyes"),
    ],
)
def test_labels_that_a_run_does_not_know(call_script, conditional, tmp_path, labels, message):
    before = sorted(tmp_path.rglob("*"))
    done = call_script("sample.py", "--workdir", "run", "--labels", *labels)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("num", [10**12, 10**30])
def test_more_labels_than_there_is_memory_for(call_script, conditional, tmp_path, num):
    done = call_script("sample.py", "--workdir", "run", "--num", num, "--out", "a.npz")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "GB of memory, and there are" in done.stderr


def test_an_array_is_written_in_parts(monkeypatch, tmp_path):
    write_npz = runpy.run_path(str(SCRIPT))["write_npz"]
    rng = np.random.default_rng(0)
    parts = [rng.random((n, 3, 4, 1), np.float32) for n in (5, 5, 2)]
    labels = np.arange(12, dtype=np.int32)[:, None]
    taken = []

    def one_at_a_time():
        for part in parts:
            taken.append(len(part))
            yield jax.numpy.asarray(part)

    write_npz(tmp_path / "a.npz", (12, 3, 4, 1), one_at_a_time(), labels)
    assert taken == [5, 5, 2]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["images"], np.concatenate(parts))
        np.testing.assert_array_equal(arrays["labels"], labels)
        assert arrays["images"].dtype == np.float32 and arrays["labels"].dtype == np.int32

    def failing():
        yield parts[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_npz(tmp_path / "a.npz", (12, 3, 4, 1), failing(), None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["images"], np.concatenate(parts))


def test_a_run_that_makes_images_of_images(call_script, tmp_path):
    save_run(Pix2PixConfig(workdir="run", image_shape=(16, 16, 3), width=2), tmp_path / "run")
    done = call_script("sample.py", "--workdir", "run")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert (
        "a run of pix2pix makes no images from noise alone: python experiments/translate.py"
        in done.stderr
    )


@pytest.mark.parametrize("out", ["a.npz", "a.png"])
def test_seeds_draw_the_latents_of_the_official_tools(call_script, tmp_path, out):
    settings = save_random_run(tmp_path / "run")
    done = call_script(
        *("sample.py", "--workdir", "run", "--seeds", 7, 85, "--truncation", 0.6, "--out", out)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 images in {out}\n"
    # The official tools draw a latent with NumPy's old generator.
    latents = [np.random.RandomState(seed).randn(settings.latent_size) for seed in (7, 85)]
    settings, params = settings.truncated(0.6), jaxgan.load_run(tmp_path / "run").params
    styles = settings.styles(params, np.float32(latents))
    expected = np.asarray(settings.render(params, styles))
    if out.endswith("npz"):
        with np.load(tmp_path / out, allow_pickle=False) as arrays:
            np.testing.assert_allclose(arrays["images"], expected, atol=1e-6)
    else:
        with Image.open(tmp_path / out) as picture:
            drawn = np.asarray(picture)[:16:2, :36:2]
        drawn = np.stack([drawn[:, :8], drawn[:, 10:18]])
        assert np.abs(drawn - 255 * expected).max() < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seeds", 7), "a run of mlp_gan has no --seeds, which are of styles"),
        (("--seeds", 7, "--out", "a.gif"), "--seeds wants an --out that ends in .png or .npz"),
    ],
)
def test_seeds_want_styles_and_no_film(call_script, trained, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    done = call_script("sample.py", "--workdir", "run", *arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
