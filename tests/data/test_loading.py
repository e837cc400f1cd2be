"""What `load` needs, and what it says where a set is not there."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxgan import data


def test_importing_and_loading_mnist_needs_no_tensorflow_and_no_jax():
    script = (
        "import sys; from jaxgan import data; data.load(split='test', image_shape=(32, 32, 3)); "
        "print([m for m in ('jax', 'tensorflow', 'tensorflow_datasets') if m in sys.modules])"
    )
    root = Path(data.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "[]", done.stderr


def test_not_there_is_told_at_once(tmp_path, fetch):
    pytest.importorskip("tensorflow_datasets")
    started = time.monotonic()
    with pytest.raises(FileNotFoundError) as told:
        data.load("fashion_mnist", data_dir=tmp_path)
    assert time.monotonic() - started < 5
    assert str(told.value) == f"fashion_mnist is not in {tmp_path}: {fetch(tmp_path)}"
    assert list(tmp_path.iterdir()) == []


def test_not_there_without_a_data_dir(without_tensorflow):
    pytest.importorskip("tensorflow_datasets")
    done = without_tensorflow(
        "from jaxgan import data\n"
        "try:\n"
        "    data.load('fashion_mnist')\n"
        "except FileNotFoundError as error:\n"
        "    print(error)\n",
    )
    assert done.stdout.splitlines() == [
        "fashion_mnist is not in the default folder of TensorFlow Datasets: the training command "
        "with --download (from Python: download=True) downloads fashion_mnist"
    ], done.stderr


def test_tensorflow_datasets_not_installed_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError) as told:
        data.load("fashion_mnist")
    line = str(told.value)
    assert line.startswith("fashion_mnist is a set of TensorFlow Datasets, which is not installed")
    assert line.endswith(
        ": pip install tensorflow-datasets importlib_resources "
        "(mnist and toon_faces need no installation)"
    )
    assert "\n" not in line
