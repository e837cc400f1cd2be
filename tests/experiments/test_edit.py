"""experiments/edit.py on weights that have learnt nothing."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from small_run import save_run

import jaxgan
from jaxgan import weights
from jaxgan.run import images
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.stargan.config import StarGANConfig

CLASSES = (("hair", ("black", "blond", "grey")), ("smile", ("no", "yes")))
CONFIG = StarGANConfig(
    image_shape=(16, 16, 3),
    width=2,
    blocks=1,
    halvings=2,
    attributes=("hair", "smile"),
    classes=CLASSES,
)
FACE = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def random_variables(module, *shapes):
    rng = np.random.default_rng(0)
    inputs = jax.eval_shape(module.init, jax.random.key(0), *map(jnp.zeros, shapes))
    return jax.tree.map(lambda x: rng.normal(scale=0.3, size=x.shape).astype("f4"), inputs)


@pytest.fixture(scope="module")
def players():
    image = (1, *CONFIG.image_shape)
    return {
        "generator": random_variables(CONFIG.generator(), image, (1, CONFIG.coding.size)),
        "discriminator": random_variables(CONFIG.discriminator(), image),
    }


def write(path, players, config=CONFIG):
    weights.write(path, players)
    path.with_suffix(".json").write_text(json.dumps(config.to_json()))
    return jaxgan.load_run(path)


@pytest.fixture
def run(tmp_path, players):
    """Weights in a file, and a picture of a face beside it."""
    Image.fromarray(FACE).save(tmp_path / "face.png")
    return write(tmp_path / "run.npz", players)


@pytest.fixture
def edit(call_script):
    def call(*arguments):
        return call_script("edit.py", "--workdir", "run.npz", "--in", "face.png", *arguments)

    return call


def seen(run):
    return np.asarray(run.recognise(FACE[None])[0])


def made_by(run, wanted, own, strength=1.0):
    labels = np.array([wanted]), np.array([own])
    (made,) = run.edit(FACE[None], labels[0], own=labels[1], strength=strength)
    return images.to_uint8(np.asarray(made)).astype(int)


def pixels(path):
    """What was written, each pixel of which is 4x4."""
    with Image.open(path) as picture:
        array = np.asarray(picture, int)
    assert array.shape == (64, 64, 3)
    np.testing.assert_array_equal(array, array[::4, ::4].repeat(4, 0).repeat(4, 1))
    return array[::4, ::4]


def test_without_a_discriminator_the_packages_classifier_looks(call_script, players, tmp_path):
    faces = jaxgan.load("toon_faces", split="test", image_shape=(32, 32, 3))
    names = ("beard", "hair_colour")
    classes = tuple((name, faces.attributes[name].classes) for name in names)
    config = dataclasses.replace(CONFIG, image_shape=(32, 32, 3), attributes=names, classes=classes)
    shapes = (1, 32, 32, 3), (1, config.coding.size)
    write(
        tmp_path / "run.npz", {"generator": random_variables(config.generator(), *shapes)}, config
    )
    Image.fromarray(faces.images[5]).save(tmp_path / "face.png")
    flags = ("--workdir", "run.npz", "--in", "face.png", "--set", "beard=none")
    done = call_script("edit.py", *flags)
    assert done.returncode == 0, done.stderr
    true = ", ".join(f"{name} {its[faces.attributes[name].codes[5]]}" for name, its in classes)
    assert f"the classifier sees in it: {true}\n" in done.stdout


def test_several_edits_at_once_of_what_the_discriminator_sees(edit, run, tmp_path):
    own = seen(run)
    wanted = (own + 1) % (3, 2)
    (hair, smile), (new_hair, new_smile) = (
        [names[code] for (_, names), code in zip(CLASSES, codes, strict=True)]
        for codes in (own, wanted)
    )
    words = ("--set", f"smile={new_smile}", f"hair={new_hair}", "--strength", 0.7)
    done = edit(*words, "--out", "new/edited.png")
    assert done.returncode == 0, done.stderr
    given = pixels(tmp_path / "new" / "edited.png")
    assert np.abs(given - made_by(run, wanted, own, 0.7)).max() <= 1
    # The strength and the edit matter, and by more than rounding.
    assert np.abs(given - made_by(run, wanted, own)).max() > 2
    changed = np.abs(given - FACE.astype(int)).mean()
    assert done.stdout.splitlines() == [
        "face.png: PNG, 16x16, RGB",
        f"the discriminator sees in it: hair {hair}, smile {smile}",
        f"hair: {hair} to {new_hair}",
        f"smile: {smile} to {new_smile}",
        f"strength 0.7; pixels changed by {changed:.1f} of 255",
        "16x16 in new/edited.png, each pixel 4x4",
    ]


def test_an_attribute_that_is_not_set_stays_as_seen_or_as_it_is_said_to_be(edit, run, tmp_path):
    own = seen(run)
    assert edit("--set", "hair=blond").returncode == 0
    assert np.abs(pixels(tmp_path / "edited.png") - made_by(run, (1, own[1]), own)).max() <= 1
    other = 1 - own[1]
    done = edit("--set", "hair=blond", "--own", f"smile={CLASSES[1][1][other]}")
    assert done.returncode == 0, done.stderr
    given = pixels(tmp_path / "edited.png")
    assert np.abs(given - made_by(run, (1, other), (own[0], other))).max() <= 1
    assert np.abs(given - made_by(run, (1, own[1]), own)).max() > 2


def test_what_is_as_it_is_already_is_said(edit, run):
    done = edit("--set", "hair=grey", "--own", "hair=grey")
    assert "hair: grey, as it is" in done.stdout


def test_without_set_a_figure_of_all_classes(edit, run, tmp_path):
    own = seen(run)
    done = edit("--out", "figure.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "a row an attribute in figure.png: hair, smile"
    with Image.open(tmp_path / "figure.png") as picture:
        array = np.asarray(picture, int)
    # Cells of 192x192 and 4 pixels of white; over each row the attribute, and the classes.
    assert array.shape == (2 * (48 + 196), 4 * 196, 3)
    rows = [array[48:][:192], array[48 + 196 + 48 :][:192]]
    for column, (names, row) in enumerate(zip((CLASSES[0][1], CLASSES[1][1]), rows, strict=True)):
        cells = [row[:, 196 * i :][:, :192][::12, ::12] for i in range(len(names) + 1)]
        np.testing.assert_array_equal(cells[0], FACE)
        for code, cell in enumerate(cells[1:]):
            wanted = np.where(np.arange(2) == column, code, own)
            assert np.abs(cell - made_by(run, wanted, own)).max() <= 1
    # Nothing is right of the fewer classes of the second row.
    assert (array[244:, 3 * 196 :] == 255).all()


def test_a_picture_is_brought_to_the_runs_shape_and_it_is_said(edit, run, tmp_path):
    Image.fromarray(FACE.repeat(2, 0).repeat(3, 1)).save(tmp_path / "face.png")
    done = edit("--set", "hair=grey")
    assert done.stdout.startswith("face.png: PNG, 48x32, RGB, centre-cropped, area-averaged\n")


def test_a_run_of_a_folder(call_script, run, tmp_path, players):
    config = dataclasses.replace(CONFIG, workdir=str(tmp_path / "run"))
    state = save_run(config, tmp_path / "run")
    command = ("edit.py", "--workdir", "run", "--in", "face.png", "--set", "hair=grey")
    done = call_script(*command)
    assert done.returncode == 0, done.stderr
    of_folder = jaxgan.load_run(tmp_path / "run")
    assert jax.tree.all(jax.tree.map(np.array_equal, of_folder.params, state.averages["generator"]))
    own = seen(of_folder)
    assert np.abs(pixels(tmp_path / "edited.png") - made_by(of_folder, (2, own[1]), own)).max() <= 1


def test_a_new_colour_of_hair_takes_the_place_of_the_old_one(edit, run, tmp_path, players):
    """Of yes/no attributes, as those of celeb_a and of the published weights."""
    names = ("Black_Hair", "Male", "Blond_Hair", "Young")
    classes = tuple((name, ("no", "yes")) for name in names)
    config = dataclasses.replace(CONFIG, attributes=names, classes=classes)
    binary = write(tmp_path / "run.npz", players, config)
    own = ("--own", "Black_Hair=yes", "Male=no", "Blond_Hair=no", "Young=yes")
    done = edit(*own, "--set", "Blond_Hair=yes")
    assert done.returncode == 0, done.stderr
    assert "Black_Hair: yes to no\nBlond_Hair: no to yes\nstrength" in done.stdout
    expected = made_by(binary, (0, 0, 1, 1), (1, 0, 0, 1))
    assert np.abs(pixels(tmp_path / "edited.png") - expected).max() <= 1
    assert edit(*own, "--out", "figure.png").returncode == 0
    with Image.open(tmp_path / "figure.png") as picture:
        array = np.asarray(picture, int)
    # The third row: the input, "no" and "yes".
    cell = array[2 * 244 + 48 :, 2 * 196 :][:192, :192][::12, ::12]
    assert np.abs(cell - expected).max() <= 1


def test_pretrained_is_the_editor_that_ships(call_script, run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("jaxgan.trained.load_pretrained", lambda name: asked.append(name) or run)
    done = call_script("edit.py", "--in", "face.png", "--set", "hair=grey")
    assert done.returncode == 0, done.stderr
    assert asked == [weights.EDITOR]
    own = seen(run)
    assert np.abs(pixels(tmp_path / "edited.png") - made_by(run, (2, own[1]), own)).max() <= 1


# --- What is refused ---


def assert_refused(done, before, tmp_path, message):
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("edit.py: error: ")
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "beard=none"), "--set 'beard=none' names no attribute that this run was told"),
        (("--set", "grey"), "give ATTRIBUTE=CLASS, of hair, smile"),
        (("--set", "hair=green"), "--set hair cannot be 'green': it is one of black, blond, grey"),
        (("--set", "hair=grey", "hair=blond"), "--set names an attribute twice: hair=grey hair="),
        (("--own", "smile=perhaps"), "--own smile cannot be 'perhaps'"),
        (("--own", "hair=grey", "hair=grey"), "--own names an attribute twice"),
        (("--set", "hair=grey", "--strength", 2.1), "--strength must be from 0 to 2, not 2.1"),
        (("--set", "hair=grey", "--strength", "nan"), "--strength must be from 0 to 2, not nan"),
        (("--out", "edited.jpg"), "--out must end in .png, not 'edited.jpg'"),
        (("--workdir", "elsewhere"), "there is no run in elsewhere"),
        (("--in", "absent.png"), "--in absent.png is not there"),
        (("--in", "run.json"), "--in run.json is not an image that Pillow reads"),
        (("--out", "run.npz/edited.png"), "run.npz"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(edit, run, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    assert_refused(edit(*arguments), before, tmp_path, message)


def test_a_run_that_is_no_editor(call_script, run, tmp_path):
    save_run(DCGANConfig(workdir="gan", image_shape=(8, 8, 1), width=2), tmp_path / "gan")
    before = sorted(tmp_path.rglob("*"))
    done = call_script("edit.py", "--workdir", "gan", "--in", "face.png")
    message = "a run of dcgan edits no images: python experiments/sample.py --workdir gan"
    assert_refused(done, before, tmp_path, message)


def test_weights_without_a_discriminator_want_to_be_told_all(edit, run, tmp_path, players):
    expected = made_by(run, (2, 0), (1, 0))
    write(tmp_path / "run.npz", {"generator": players["generator"]})
    before = sorted(tmp_path.rglob("*"))
    message = "run.npz has no discriminator: name what the picture shows of all attributes, such as"
    for own in ((), ("--own", "hair=blond")):
        done = edit("--set", "hair=grey", *own)
        assert_refused(done, before, tmp_path, f"{message} --own hair=black smile=no")
    done = edit("--set", "hair=grey", "--own", "hair=blond", "smile=no")
    assert done.returncode == 0, done.stderr
    assert "discriminator" not in done.stdout
    assert np.abs(pixels(tmp_path / "edited.png") - expected).max() <= 1


def test_settings_that_claim_huge_images(edit, run, tmp_path):
    values = json.loads((tmp_path / "run.json").read_text())
    values["width"] = 2**14
    (tmp_path / "run.json").write_text(json.dumps(values))
    before = sorted(tmp_path.rglob("*"))
    assert_refused(edit("--set", "hair=grey"), before, tmp_path, "but the generator wants")
