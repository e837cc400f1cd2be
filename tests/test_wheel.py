"""The wheel holds all that the package needs."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parent.parent
# Digits of the pair that ships, the data sets that ship, and the types of the public names.
CODE = """
import sys; sys.path[:0] = sys.argv[1:]
import jax, jaxgan
from pathlib import Path
folder = Path(jaxgan.__file__).parent
images = jaxgan.sample(jaxgan.pretrained("mnist_gan"), jax.random.key(0))
assert images.shape == (64, 28, 28, 1) and 0.05 < float(images.mean()) < 0.3
assert jaxgan.load(split="test").images.shape == (10_000, 28, 28, 1)
face = jaxgan.load("toon_faces", split="test", image_shape=(64, 64, 3)).images[:1]
edited = jaxgan.edit(jaxgan.pretrained("stargan_faces"), face, [[4, 0, 0, 0, 0]])
assert edited.shape == (1, 64, 64, 3) and abs(edited - face / 255).mean() > 0.01
from jaxgan.data import true_edits
assert true_edits()["beard"].images.shape == (500, 6, 64, 64, 3)
from jaxgan.systems import registry
names = ["age_cgan", "biggan", "dcgan", "mlp_gan", "pix2pix", "stargan", "stylegan2"]
assert registry.names() == names
assert (folder / "py.typed").is_file() and (folder / "__init__.pyi").is_file()
assert (folder / "playground" / "page.html").is_file()
print(folder)
"""


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    # setuptools leaves a folder `build` beside what it builds, and packs what it finds there again.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    no_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "jaxgan", source / "jaxgan", ignore=no_caches)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source)
    (path,) = folder.glob("jaxgan-*.whl")
    return path


def test_the_wheel_works_without_the_repository(wheel, tmp_path):
    pip = (sys.executable, "-m", "pip", "install", "--no-deps", "--target", tmp_path, wheel)
    run(*pip)
    folder = run(sys.executable, "-I", "-c", CODE, tmp_path).strip()
    assert Path(folder) == tmp_path / "jaxgan"


@pytest.mark.slow
def test_the_wheel_works_in_an_empty_environment(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", wheel)
    folder = run(python, "-I", "-c", CODE).strip()
    assert Path(folder).is_relative_to(tmp_path / "venv")


@pytest.mark.slow
def test_nothing_of_an_older_environment_is_replaced(wheel, tmp_path):
    """As a runtime of Colab is: its JAX suits its TPU, and its NumPy what is built upon it."""
    venv.create(tmp_path / "venv", with_pip=True)
    pip = (tmp_path / "venv" / "bin" / "python", "-m", "pip")
    older = ("jax==0.7.2", "numpy==2.0.2", "pillow==11.3.0", "matplotlib==3.10.0")
    run(*pip, "install", *older)

    def new(*wanted):
        there = {each["name"] for each in json.loads(run(*pip, "list", "--format", "json"))}
        report = tmp_path / "report.json"
        run(*pip, "install", "--dry-run", "--report", report, *wanted)
        named = {each["metadata"]["name"] for each in json.loads(report.read_text())["install"]}
        there, named = (set(map(canonicalize_name, names)) for names in (there, named))
        assert {"jaxgan", "chex"} <= named and not named & there
        return named

    # Where there is no Flax, its newest release would bring a newer JAX, unless that is named.
    assert "flax" in new(wheel, "jax==0.7.2")
    run(*pip, "install", "jax==0.7.2", "flax==0.10.7")
    assert "flax" not in new(wheel)
