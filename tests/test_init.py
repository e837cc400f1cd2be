import importlib
import json
import subprocess
import sys

import pytest

import jaxgan

HOMES = {
    "GAN": "jaxgan.game",
    "Attribute": "jaxgan.data",
    "DCGANConfig": "jaxgan.systems.dcgan.config",
    "Dataset": "jaxgan.data",
    "MLPGANConfig": "jaxgan.systems.mlp_gan.config",
    "Pix2PixConfig": "jaxgan.systems.pix2pix.config",
    "Player": "jaxgan.game",
    "TrainState": "jaxgan.game",
    "generate": "jaxgan.sampling",
    "init": "jaxgan.game",
    "interpolate": "jaxgan.sampling",
    "latent_gan": "jaxgan.systems.latent.losses",
    "load": "jaxgan.data",
    "load_params": "jaxgan.run.checkpoints",
    "load_run": "jaxgan.systems.registry",
    "paired_gan": "jaxgan.systems.pix2pix.losses",
    "pretrained": "jaxgan.weights",
    "sample": "jaxgan.sampling",
    "train_step": "jaxgan.game",
    "translate": "jaxgan.systems.pix2pix.translation",
    "update_discriminator": "jaxgan.game",
    "update_generator": "jaxgan.game",
}


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


def test_all_is_what_it_is_documented_to_be():
    assert set(jaxgan.__all__) == set(HOMES)
    assert set(HOMES) <= set(dir(jaxgan))


@pytest.mark.parametrize("name", sorted(HOMES))
def test_every_name_is_that_of_its_module(name):
    assert getattr(jaxgan, name) is getattr(importlib.import_module(HOMES[name]), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jaxgan' has no attribute 'smaple'"):
        jaxgan.smaple  # noqa: B018
    assert not hasattr(jaxgan, "__wrapped__")
