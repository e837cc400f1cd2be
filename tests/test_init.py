import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import jaxgan

STUB = Path(jaxgan.__file__).with_suffix(".pyi")


def names_in_the_stub():
    """The public names, and the module that each is imported from."""
    return {
        name.asname: f"jaxgan.{line.module}"
        for line in ast.parse(STUB.read_text()).body
        if isinstance(line, ast.ImportFrom) and line.level == 1
        for name in line.names
        if name.asname == name.name
    }


HOMES = names_in_the_stub()


def modules_after(code: str) -> set[str]:
    """Top-level modules that a fresh Python has imported after some code."""
    tell = "import json, sys; print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_import_jaxgan_imports_no_library():
    loaded = modules_after("import jaxgan; dir(jaxgan); jaxgan.__version__")
    heavy = {"jax", "flax", "optax", "orbax", "numpy", "tensorflow", "tensorflow_datasets"}
    assert "jaxgan" in loaded
    assert not loaded & heavy


def test_sampling_imports_no_library_of_training():
    loaded = modules_after("import jaxgan; jaxgan.sample")
    assert "flax" in loaded
    heavy = {"orbax", "tensorflow", "tensorflow_datasets", "tensorboardX", "matplotlib", "tqdm"}
    # Flax itself brings some of them.
    assert not loaded & heavy - modules_after("import flax.linen")


def test_all_is_what_the_stub_says():
    # Each of its lines is the import of a name, as that name, or the version.
    lines = [line for line in STUB.read_text().splitlines() if line]
    assert len(lines) == len(HOMES) + 1 and lines[-1] == "__version__: str"
    assert {"sample", "pretrained", "load_run", "train_step", "MLPGANConfig"} <= set(HOMES)
    assert sorted(jaxgan.__all__) == sorted(HOMES)
    assert set(HOMES) <= set(dir(jaxgan))


@pytest.mark.parametrize("name", sorted(HOMES))
def test_every_name_is_that_of_its_module(name):
    assert getattr(jaxgan, name) is getattr(importlib.import_module(HOMES[name]), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="No jaxgan attribute smaple"):
        jaxgan.smaple  # noqa: B018
    assert not hasattr(jaxgan, "__wrapped__")
