"""The scores of editors that know the truth, that do nothing, and that have learnt nothing."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxgan
from jaxgan import data, weights
from jaxgan.metrics.agreement import classify
from jaxgan.metrics.evaluator import load_attribute_classifier
from jaxgan.run import report
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.stargan.config import StarGANConfig

SHAPE = (32, 32, 3)
CLASSES = tuple((name, data.embedded.classes_of("toon_faces")[name]) for name in ("beard", "skin"))
CONFIG = StarGANConfig(
    image_shape=SHAPE, width=1, blocks=1, attributes=("beard", "skin"), classes=CLASSES
)
NUM = 12


@pytest.fixture(scope="module")
def truth():
    return data.true_edits(SHAPE)["beard"]


@pytest.fixture(scope="module")
def faces():
    return data.load("toon_faces", split="test", image_shape=SHAPE)


@pytest.fixture
def workdir(tmp_path):
    """A folder of weights, with another folder for the results."""
    module, rng = CONFIG.generator(), np.random.default_rng(0)
    inputs = jnp.zeros((1, *SHAPE)), jnp.zeros((1, CONFIG.coding.size))
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    params = jax.tree.map(lambda x: rng.normal(scale=0.3, size=x.shape).astype("f4"), shapes)
    weights.write(tmp_path / "run.npz", {"generator": params})
    (tmp_path / "run.json").write_text(json.dumps(CONFIG.to_json()))
    return tmp_path


@pytest.fixture
def evaluate(call_script, workdir):
    """-> the table's rows by their first cell, the values of edits.json, what was printed."""

    def call(*arguments):
        done = call_script(
            *("evaluate_edits.py", "--workdir", "run.npz", "--num", NUM, "--out", "out"), *arguments
        )
        assert done.returncode == 0, done.stderr
        rows = [line.strip("|").split("|") for line in done.stdout.splitlines() if line[0] == "|"]
        table = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
        values = json.loads((workdir / "out" / "edits.json").read_text())
        return table, values, done.stdout

    return call


def editor(monkeypatch, edit):
    def of_run(self, params, images, labels, *, own, strength):
        assert own is None and strength == 1
        return edit(images, np.asarray(labels))

    monkeypatch.setattr(StarGANConfig, "edit", of_run)


def test_an_editor_that_does_nothing_and_the_report_of_it(evaluate, monkeypatch, workdir):
    editor(monkeypatch, lambda images, labels: images)
    table, values, _ = evaluate()
    beard, skin = (values["attributes"][name] for name in ("beard", "skin"))
    assert (beard["total"], beard["inside"], beard["outside"]) == (1, 1, 0)
    for row in (beard, skin):
        assert row["kept"] == 1 and row["reconstruction"] == 0
        # The judge makes mistakes, but few.
        assert row["shown"] < 0.1
    assert "total" not in skin
    assert table["skin"][3:] == ["", "", ""]
    report.write(workdir / "out", CONFIG)
    page = (workdir / "out" / "report.html").read_text()
    assert "L1 to the truth, of doing nothing" in page and "Edits, and the true ones" in page
    assert f"{NUM} held-out images." in page
    (workdir / "out" / "edits.json").write_text('{"faces": 3, "attributes": [1]}')
    report.write(workdir / "out", CONFIG)
    assert "edits.json is no table" in (workdir / "out" / "report.html").read_text()


def test_an_editor_that_makes_the_true_edits(evaluate, monkeypatch, truth):
    editor(
        monkeypatch,
        lambda images, labels: truth.images[np.arange(NUM), labels[:, 0]] / np.float32(255),
    )
    table, values, printed = evaluate()
    beard = values["attributes"]["beard"]
    assert (beard["total"], beard["inside"], beard["outside"]) == (0, 0, 0)
    assert beard["reconstruction"] == 0
    of_truth = beard["of_true_edits"]
    assert {name: beard[name] for name in of_truth} == of_truth
    assert beard["shown"] > 0.9 and beard["kept"] > 0.9
    assert table["beard"][:2] == table["beard, the true edits"][:2]
    assert printed.startswith(f"{NUM} held-out images of toon_faces, run.npz\n")
    assert values["faces"] == NUM


def test_the_scores_of_a_generator_are_their_definitions(evaluate, workdir, faces, truth):
    table, values, printed = evaluate()
    run = jaxgan.load_run(workdir / "run.npz")
    images = faces.images[:NUM] / np.float32(255)
    own = faces.codes(["beard", "skin"])[:NUM]
    judge = load_attribute_classifier("toon_faces")
    seen = {name: each.argmax(axis=1) for name, each in classify(images, judge).items()}
    shown, kept, back, errors, nothing = [], [], [], [], []
    for code in range(6):
        labels = np.stack([np.full(NUM, code), own[:, 1]], axis=1)
        made = np.asarray(run.edit(images, labels))
        again = np.asarray(run.edit(made, own))
        found = {name: each.argmax(axis=1) for name, each in classify(made, judge).items()}
        for i in np.flatnonzero(own[:, 0] != code):
            true = truth.images[i, code] / np.float32(255)
            shown.append(found["beard"][i] == code)
            kept += [found[name][i] == seen[name][i] for name in found if name != "beard"]
            back.append(np.abs(again[i] - images[i]).mean())
            errors.append(np.abs(made[i] - true).mean())
            nothing.append(np.abs(images[i] - true).mean())
    beard = values["attributes"]["beard"]
    assert len(shown) == 5 * NUM
    assert beard["shown"] == pytest.approx(np.mean(shown))
    assert beard["kept"] == pytest.approx(np.mean(kept))
    wanted = np.concatenate([np.full((own[:, 0] != code).sum(), code) for code in range(6)])
    for code, name in enumerate(CLASSES[0][1]):
        of_class = np.array(shown)[wanted == code]
        assert beard["shown_of"][name] == pytest.approx(of_class.mean())
    assert beard["reconstruction"] == pytest.approx(np.mean(back), rel=1e-3)
    assert beard["total"] == pytest.approx(np.sum(errors) / np.sum(nothing), rel=1e-3)
    assert beard["inside"] + beard["outside"] == pytest.approx(beard["total"])
    assert table["beard"][0] == f"{beard['shown']:.4f}"
    assert table["beard"][3] == f"{beard['total']:.4f}"
    assert list(table) == ["attribute", "---", "beard", "beard, the true edits", "skin"]
    assert printed.endswith("edits.json and edits.png in out\n")
    # Four faces of 128 pixels: the input, six edits, a gap, six true ones; then the input and five.
    with Image.open(workdir / "out" / "edits.png") as picture:
        array = np.asarray(picture)
    assert array.shape == (2 * (48 + 4 * 132), 14 * 132, 3)
    row = array[48:][:128]
    np.testing.assert_array_equal(row[::4, :128:4], faces.images[0])
    np.testing.assert_array_equal(row[::4, 8 * 132 :][:, :128:4], truth.images[0, 0])
    assert (array[48 + 4 * 132 + 48 :, 6 * 132 :] == 255).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--num", 0), "--num must be 1 or more, not 0"),
        (("--workdir", "elsewhere"), "there is no run in elsewhere"),
        ((), "run.npz is no folder to write to: give --out"),
        (("--workdir", "gan"), "a run of dcgan edits no images: python experiments/sample.py"),
        (("--workdir", "mnist.npz"), "there is no evaluator of fashion_mnist"),
    ],
)
def test_mistakes_end_in_one_line(call_script, workdir, arguments, message):
    (workdir / "gan").mkdir()
    DCGANConfig(workdir="gan", image_shape=(8, 8, 1), width=2).save(workdir / "gan")
    (workdir / "mnist.npz").write_bytes((workdir / "run.npz").read_bytes())
    values = {**CONFIG.to_json(), "dataset": "fashion_mnist"}
    (workdir / "mnist.json").write_text(json.dumps(values))
    before = sorted(workdir.rglob("*"))
    done = call_script("evaluate_edits.py", "--workdir", "run.npz", *arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("evaluate_edits.py: error: ") and message in done.stderr
    assert sorted(workdir.rglob("*")) == before
