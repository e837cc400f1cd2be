"""experiments/age.py and evaluate_ageing.py on runs that are only a checkpoint and a config."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from small_run import save_run

import jaxgan
from jaxgan import game, training
from jaxgan.systems.age_cgan.config import AgeCGANConfig
from jaxgan.systems.dcgan.config import DCGANConfig

SHAPE = (8, 8, 3)


def saved(workdir, *, stage=2, **settings):
    """A run that has learnt nothing, at the end of a stage, and whose weights have an effect."""
    config = AgeCGANConfig(
        **{"image_shape": SHAPE, "width": 2, "latent_size": 3, "workdir": str(workdir), **settings}
    )
    gan = config.gan() if stage == 1 else config.encoder_stage()
    state = training.on_host(jax.jit(lambda key: game.init(gan, key))(jax.random.key(0)))
    rng = np.random.default_rng(0)
    averages = {
        name: {
            **average,
            "params": jax.tree.map(
                lambda x: rng.normal(scale=0.3, size=x.shape).astype(np.float32), average["params"]
            ),
        }
        for name, average in state.averages.items()
    }
    save_run(config, workdir, state.replace(averages=averages))
    return config


@pytest.fixture
def run(tmp_path):
    return saved(tmp_path / "run")


@pytest.fixture
def face(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    return pixels[:, 1:9]


def cells(path, count):
    with Image.open(path) as picture:
        array = np.asarray(picture)[::4, ::4]
    assert array.shape == (8, 10 * count - 2, 3)
    return [array[:, 10 * i : 10 * i + 8] for i in range(count)]


def test_a_strip_of_the_picture_its_reconstruction_and_every_group(
    call_script, run, face, tmp_path
):
    command = ("age.py", "--workdir", "run", "--in", "face.png", "--steps", 3)
    done = call_script(*command, "--out", "new/ages.png")
    assert done.returncode == 0, done.stderr
    about, taken, error, columns = done.stdout.splitlines()
    assert about == "face.png: PNG, 10x8, RGB, centre-cropped"
    assert "in which the generator makes the nearest face; pixelwise, 3 steps" in taken
    own = run.group_names.index(taken.split()[2].rstrip(","))
    assert columns == "new/ages.png: the picture, its reconstruction, then natural, grey, white"
    picture, rebuilt, *aged = cells(tmp_path / "new" / "ages.png", 5)
    np.testing.assert_array_equal(picture, face)
    np.testing.assert_array_equal(rebuilt, aged[own])
    assert any(np.any(rebuilt != each) for each in aged)
    shown = float(error.split("difference ")[1].split()[0])
    difference = np.abs(rebuilt.astype(float) - face).mean() / 255
    assert abs(shown - difference) < 0.003
    again = call_script(*command, "--out", "again.png", "--group", "white", "--steps", 0)
    assert again.returncode == 0 and "taken for white, as --group says" in again.stdout
    _, rebuilt, *aged = cells(tmp_path / "again.png", 5)
    np.testing.assert_array_equal(rebuilt, aged[2])


def test_no_steps_are_the_guess_of_the_encoder(call_script, run, face, tmp_path):
    done = call_script(
        *("age.py", "--workdir", "run", "--in", "face.png", "--steps", 0, "--group", "grey")
    )
    assert done.returncode == 0, done.stderr
    trained = jaxgan.load_run(tmp_path / "run")
    guess = run.encode(trained.player("encoder"), face[None])
    expected = 255 * np.asarray(run.aged(trained.params, np.clip(guess, -3, 3)))[0]
    for made, wanted in zip(cells(tmp_path / "ages.png", 5)[2:], expected, strict=True):
        assert np.abs(made - wanted).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--group", "old"), "--group must be one of natural, grey, white, not 'old'"),
        (("--in", "none.png"), "--in none.png is not there"),
        (("--in", "run/config.json"), "--in run/config.json"),
        (("--out", "ages.jpg"), "--out must end in .png"),
        (("--objective", "identity"), "--objective must be one of pixelwise, identity-preserving"),
        (("--objective", "both"), "--objective both cannot be had: the recogniser that ships"),
        (("--workdir", "nowhere"), "there is no run in nowhere"),
        (("--workdir", "other"), "other is a run of dcgan, which ages no faces: give one of"),
        (("--workdir", "early"), "early has no encoder, it trains after the GAN"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    call_script, run, face, tmp_path, arguments, message
):
    if "other" in arguments:
        save_run(DCGANConfig(image_shape=SHAPE, width=1), tmp_path / "other")
    if "early" in arguments:
        saved(tmp_path / "early", stage=1)
    done = call_script("age.py", "--workdir", "run", "--in", "face.png", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("age.py: error: ")
    assert message in done.stderr
    assert not (tmp_path / "ages.png").exists()


def test_what_does_not_know_ages_is_said_in_one_line(call_script, run):
    for command in (("translate.py",), ("playground.py",), ("evaluate_pairs.py",)):
        where = "--workdirs" if "pairs" in command[0] else "--workdir"
        done = call_script(*command, where, "run")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


def test_images_of_a_group(call_script, run, tmp_path):
    command = ("sample.py", "--workdir", "run", "--num", 4, "--out", "some.npz")
    done = call_script(*command, "--labels", "age=white")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "some.npz") as arrays:
        assert arrays["images"].shape == (4, *SHAPE)
        np.testing.assert_array_equal(arrays["labels"], [[2]] * 4)
    refused = call_script(*command, "--labels", "age=old")
    assert refused.returncode == 2 and "age cannot be 'old'" in refused.stderr


# --- evaluate_ageing.py ---


def test_the_table_of_ageing(call_script, tmp_path):
    saved(tmp_path / "run", image_shape=(32, 32, 3), width=1)
    done = call_script(
        *("evaluate_ageing.py", "--workdir", "run", "--num", 8, "--steps", 2, "--no-curve")
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 8
    held = json.loads((tmp_path / "run" / "ageing.json").read_text())
    assert list(held["rows"]) == [
        *("itself", "another real face", "G of a random z", "z0 = E(x)"),
        *("pixelwise", "identity-preserving", "both", "in every group"),
    ]
    itself = held["rows"]["itself"]
    assert itself["reconstruction"]["same"] == 1.0 and itself["reconstruction"]["l1"] == 0
    assert held["rows"]["another real face"]["reconstruction"]["same"] == 0
    # A true aged face is another picture.
    assert itself["aged"]["l1_to_truth"] > 0.02
    l1 = {name: row["reconstruction"]["l1"] for name, row in held["rows"].items()}
    assert l1["pixelwise"] < l1["z0 = E(x)"]
    for row in list(held["rows"].values())[2:]:
        assert 0 <= row["aged"]["kept"] <= 1 and 0 <= row["aged"]["shown"] <= 1
    assert (tmp_path / "run" / "ageing.png").is_file()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the recogniser that ships knows toon_faces of 32x32x3 or 64x64x3 only, not"),
        (("--num", 1), "--num must be 2 or more, not 1"),
        (("--workdir", "nowhere"), "there is no run in nowhere"),
    ],
)
def test_runs_that_cannot_be_judged(call_script, run, tmp_path, arguments, message):
    done = call_script("evaluate_ageing.py", "--workdir", "run", *arguments)
    assert done.returncode == 2 and done.stdout == "" and message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run" / "ageing.json").exists()
