"""The Colab notebook, run in a real Jupyter kernel, and what it installs."""

import base64
import csv
import html
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbclient
import nbformat
import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image
from small_run import patience

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "experiments" / "colab_tpu.ipynb"

# The generator keeps its widths, as the notebook draws from the default one. A small discriminator
# and few updates make the epoch short; without the averaging, that few already show.
SETTINGS = """
EPOCHS = 1
WORKDIR = "runs/small"
MORE = {"batch_size": 1000, "discriminator_steps": 3, "discriminator_widths": [64]}
MORE |= {"generator_learning_rate": 1e-3, "ema_decay": 0}
"""

# Names of the notebook, out of its kernel and into the test.
RESULTS = """
import numpy as np

np.savez(
    "results.npz",
    samples=samples,
    samples_again=jaxgan.sample(params, jax.random.key(0)),
    walk=walk,
    ends=jaxgan.generate(params, jnp.stack([start, end])),
    sheet=sheet,
    corners=jaxgan.generate(
        params, jnp.stack([top_left, top_right, bottom_left, bottom_right])
    ),
)
"""


def read_notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=nbformat.NO_CONVERT)


def output_of(notebook: nbformat.NotebookNode, cell_id: str, mime_type: str) -> str:
    outputs = next(cell.outputs for cell in notebook.cells if cell.id == cell_id)
    return "".join(out.data[mime_type] for out in outputs if mime_type in out.get("data", {}))


def printed_by(notebook: nbformat.NotebookNode, cell_id: str) -> str:
    outputs = next(cell.outputs for cell in notebook.cells if cell.id == cell_id)
    return "".join(out.text for out in outputs if out.output_type == "stream")


def picture_of(notebook: nbformat.NotebookNode, cell_id: str, mime_type: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(output_of(notebook, cell_id, mime_type))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that the notebook is run in."""
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def ran(folder):
    """The notebook after a run with small settings on two devices."""
    notebook = read_notebook()
    (settings,) = (
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    notebook.cells.insert(settings + 1, nbformat.v4.new_code_cell(SETTINGS))
    notebook.cells.append(nbformat.v4.new_code_cell(RESULTS))
    home = folder / "home"
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XDG_CACHE_HOME": str(home),
        "IPYTHONDIR": str(home),
    }
    client = nbclient.NotebookClient(
        notebook,
        timeout=int(patience(300)),
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    return notebook


@pytest.fixture(scope="module")
def results(ran, folder):
    with np.load(folder / "results.npz") as file:
        return dict(file)


def test_installs_nothing_where_jaxgan_is_there(ran, folder):
    assert printed_by(ran, "install") == "jaxgan is installed already.\n"
    assert {path.name for path in folder.iterdir()} == {"home", "results.npz", "runs"}


def test_shows_and_uses_all_devices(ran):
    assert output_of(ran, "devices", "text/plain") == "[CpuDevice(id=0), CpuDevice(id=1)]"
    assert "batch 1000 over 2 CPU devices" in printed_by(ran, "train")


def test_leaves_a_run_in_the_work_dir(ran, folder):
    workdir = folder / "runs" / "small"
    grids = sorted(path.name for path in (workdir / "samples").iterdir())
    assert grids == ["epoch_0000.png", "epoch_0001.png"]
    assert [path.name for path in (workdir / "checkpoints").iterdir() if path.is_dir()] == ["20"]
    assert (workdir / "config.json").is_file()
    with open(workdir / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["step"] == "20"
    assert all(np.isfinite(float(value)) for row in rows for value in row.values())


def test_shows_the_pictures_of_the_run(ran, folder):
    workdir = folder / "runs" / "small"
    for cell_id, mime_type, path in (
        ("last-grid", "image/png", workdir / "samples" / "epoch_0001.png"),
        ("losses", "image/png", workdir / "losses.png"),
        ("training", "image/gif", workdir / "training.gif"),
    ):
        shown = base64.b64decode(output_of(ran, cell_id, mime_type))
        assert shown == path.read_bytes(), cell_id
    with picture_of(ran, "training", "image/gif") as movie:
        assert movie.n_frames == 2


def test_the_newest_grid_is_shown_while_it_trains(ran, folder):
    grid = folder / "runs" / "small" / "samples" / "epoch_0001.png"
    with picture_of(ran, "train", "image/png") as shown, Image.open(grid) as drawn:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(drawn))


def test_shows_the_playground_inside_itself(ran, folder):
    shown = output_of(ran, "playground", "text/html")
    (source,) = re.findall(r'<iframe srcdoc="([^"]*)"', shown)
    page = (folder / "runs" / "small" / "playground.html").read_text(encoding="utf-8")
    assert html.unescape(source) == page
    assert "<title>Fool the police: runs/small</title>" in page
    assert "open it in a browser" in printed_by(ran, "playground")


def test_samples_are_images_and_the_same_again(results):
    samples = results["samples"]
    assert samples.dtype == np.float32
    assert samples.shape == (64, 28, 28, 1)
    assert samples.min() >= 0 and samples.max() <= 1
    # All it can know so soon: ink is in the middle of a digit, not at its edge.
    assert samples[:, :4].mean() < samples[:, 10:18, 10:18].mean() - 0.05
    assert samples.std(axis=0).max() > 0
    np.testing.assert_array_equal(samples, results["samples_again"])


def test_interpolation_ends_at_its_latents(results):
    walk = results["walk"]
    assert walk.shape == (12, 28, 28, 1)
    np.testing.assert_allclose(walk[[0, -1]], results["ends"], atol=1e-5)
    assert np.abs(walk[0] - walk[-1]).max() > 1e-3


def test_sheet_has_its_four_latents_in_the_corners(results):
    sheet = results["sheet"].reshape(10, 10, 28, 28, 1)
    corners = sheet[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, results["corners"], atol=1e-5)


@pytest.mark.parametrize(
    ("cell_id", "name", "rows", "columns"),
    [("sample", "samples", 8, 8), ("walk", "walk", 1, 12), ("sheet", "sheet", 10, 10)],
)
def test_shows_what_it_draws(ran, results, cell_id, name, rows, columns):
    with picture_of(ran, cell_id, "image/png") as picture:
        assert picture.size == (2 * (30 * columns - 2), 2 * (30 * rows - 2))
        pixels = np.asarray(picture)[::2, ::2]
    last = np.rint(results[name][-1, ..., 0] * 255)
    np.testing.assert_array_equal(pixels[-28:, -28:], last)


TOO_OLD = {"jax": "0.5.3", "NumPy": "1.26.4", "lazy_loader": "0.3"}
NEW_ENOUGH = {"jax": "0.7.2", "NumPy": "2.0.2", "lazy_loader": "0.4"}


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Runs the cell that installs, in a runtime that has these devices and packages.

    Gives the commands that it ran, with their options. Of the packages `replaced` has the versions
    that pip leaves.
    """
    source = next(cell.source for cell in read_notebook().cells if cell.id == "install")

    def run_cell(found=NEW_ENOUGH, device=None, replaced=(), loaded=()):
        done, versions = [], dict(found)

        def run(command, **options):
            done.append((command, options))
            if command[0] == "git":
                Path(command[-1]).mkdir()
                shutil.copy(ROOT / "pyproject.toml", command[-1])
            else:
                versions.update(replaced)

        def glob(self, pattern):
            here = Path(device or "/none")
            return iter([here] if here.parent == self and here.match(pattern) else [])

        exists = Path.exists
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr("importlib.util.find_spec", lambda name: None)
            patch.setattr("builtins.input", lambda prompt: "an address")
            patch.setattr(subprocess, "run", run)
            patch.setattr(
                "importlib.metadata.distributions",
                lambda: [SimpleNamespace(name=name, version=versions[name]) for name in versions],
            )
            patch.setattr(
                "importlib.metadata.packages_distributions",
                lambda: {"numpy": ["NumPy"], "jax": ["jax"], "lazy_loader": ["lazy_loader"]},
            )
            patch.setattr(sys, "modules", {name: sys.modules[name] for name in sys.modules})
            for name in ("jax", "numpy", "lazy_loader"):
                sys.modules.pop(name, None)
            sys.modules.update(dict.fromkeys(loaded))
            patch.setattr(sys, "path", [*sys.path])
            patch.setattr(Path, "glob", glob)
            is_there = (device or "/none").__eq__
            patch.setattr(
                Path,
                "exists",
                lambda self: (
                    is_there(str(self)) if self.parts[:2] == ("/", "dev") else exists(self)
                ),
            )
            exec(source, {})
            assert sys.path[-1] == str(tmp_path / "jaxgan-clone")
        return done

    return run_cell


@pytest.mark.parametrize(
    ("device", "found", "wanted"),
    [
        ("/dev/accel0", NEW_ENOUGH, ["-r", "requirements-tpu.txt", "jax==0.7.2"]),
        ("/dev/vfio/0", TOO_OLD, ["-r", "requirements-tpu.txt"]),
        ("/dev/nvidia0", NEW_ENOUGH, ["-e", ".", "jax==0.7.2"]),
        ("/dev/nvidia0", TOO_OLD, ["-e", ".", "jax[cuda12]"]),
        ("/dev/vfio/vfio", NEW_ENOUGH, ["-e", ".", "jax==0.7.2"]),
        (None, TOO_OLD, ["-e", "."]),
    ],
)
def test_clones_what_is_asked_for_and_installs(install, capsys, device, found, wanted):
    clone, pip = install(found, device)
    target = Path("jaxgan-clone")
    assert clone == (["git", "clone", "--depth=1", "an address", str(target)], {"check": True})
    command = [sys.executable, "-m", "pip", "install", "-q", *wanted]
    assert pip == (command, {"cwd": target, "check": True})
    assert capsys.readouterr().out == "Installed. No restart is needed.\n"


def test_says_what_was_replaced(install, capsys):
    new = {"NumPy": "2.0.2", "lazy_loader": "0.4"}
    install(TOO_OLD, replaced=new, loaded=["jax"])
    assert capsys.readouterr().out.splitlines() == [
        "Replaced lazy-loader 0.3, which is too old, by 0.4.",
        "Replaced numpy 1.26.4, which is too old, by 2.0.2.",
        "Installed. No restart is needed.",
    ]


def test_stops_where_what_was_replaced_is_loaded(install):
    new = {"NumPy": "2.0.2", "jax": "0.6.2"}
    with pytest.raises(SystemExit, match=r"^Loaded before .*: numpy\. Runtime > Restart session"):
        install(TOO_OLD, replaced=new, loaded=["numpy"])


def test_notebook_is_valid_and_has_no_stored_outputs():
    notebook = read_notebook()
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_requirements_are_jax_for_tpus_and_the_clone():
    lines = (ROOT / "requirements-tpu.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    editable = [line for line in wanted if line.startswith("-")]
    assert editable == ["-e ."]
    (jax,) = (Requirement(line) for line in wanted if line not in editable)
    assert (jax.name, jax.extras) == ("jax", {"tpu"})
