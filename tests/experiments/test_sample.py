"""experiments/sample.py as a user runs it, on a run that is only a checkpoint and a config."""

import jax
import numpy as np
import pytest
from PIL import Image

import jaxgan
from jaxgan import game, training
from jaxgan.checkpoints import Checkpoints
from jaxgan.mlp_gan import MLPGANConfig


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
    workdir = tmp_path / "run"
    workdir.mkdir()
    config.save(workdir)
    checkpoints = Checkpoints(workdir / "checkpoints")
    state = training.on_host(game.init(config.gan(), jax.random.key(3)))
    checkpoints.save(state, config.to_json())
    checkpoints.close()
    return config


def test_an_array_of_what_jaxgan_sample_draws(run_script, trained, tmp_path):
    done = run_script(
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
        (("--out", "digits.jpg"), "--out must end in .png or .npz, not 'digits.jpg'"),
        (("--workdir", "elsewhere"), "there is no run in elsewhere"),
        (("--out", "run/config.json/digits.png"), "config.json"),
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
