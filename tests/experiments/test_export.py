"""Generators out of jaxgan: what another program computes with an exported file."""

import json
import subprocess
import sys

import flax.traverse_util
import jax
import numpy as np
import pytest
from jax import export
from small_run import save_run, slow
from small_systems import CLASSES, small_config

import jaxgan
from jaxgan import weights
from jaxgan.latents import NOISES
from jaxgan.run.config import RunConfig
from jaxgan.systems import registry

SEED = 4
KEY = jax.random.key(SEED)
# A program that has JAX and NumPy, and neither jaxgan nor Flax.
ELSEWHERE = """
import sys
sys.modules["jaxgan"] = sys.modules["flax"] = None
from pathlib import Path
import numpy as np
from jax import export
path = Path(sys.argv[1])
generator = export.deserialize(bytearray(path.with_suffix(".stablehlo").read_bytes()))
with np.load(path.with_suffix(".inputs.npz")) as held:
    inputs = [held[name] for name in held.files]
one = generator.call(*[x[:1] for x in inputs])
np.savez(path.with_suffix(".images.npz"), all=generator.call(*inputs), one=one)
"""


def save_trained(name, folder, **settings):
    """A run whose averaged generator is not what it began as."""
    config = small_config(name, **settings)
    rng = np.random.default_rng(0)
    state = jax.eval_shape(lambda: jaxgan.init(config.gan(), jax.random.key(0)))

    def filled(path, x):
        # Variances are positive.
        name = jax.tree_util.keystr(path)
        if "params" not in name:
            return rng.uniform(0.5, 1.5, x.shape).astype(x.dtype)
        # A mapping of styles multiplies its own by a hundredth.
        return rng.normal(0, 30 if "mapping" in name else 0.3, x.shape).astype(x.dtype)

    state = jax.tree_util.tree_map_with_path(filled, state.replace(key=None))
    save_run(config, folder, state.replace(key=jax.random.key(0), step=np.int32(1)))
    return jaxgan.load_run(folder)


def inputs_and_images(run, count=3):
    """The inputs of a generator, and the images that the run itself makes of them."""
    config, rng = run.config, np.random.default_rng(1)
    labels = np.array([[0, 1], [2, 0], [1, 1]], np.int32)[:count]
    match config.system_name():
        case "pix2pix":
            images = rng.random((count, *config.input_shape()), np.float32)
            return [images], run.translate(images, None)
        case "stargan":
            images = rng.random((count, *config.image_shape), np.float32)
            return [images, labels], run.edit(images, labels)
    latents = np.asarray(NOISES[config.noise](KEY, (count, config.latent_size)))
    if not config.classes:
        return [latents], run.sample(KEY, count)
    labels = labels[:, : len(config.classes)]
    return [latents, labels], run.sample(KEY, count, labels=labels)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mlp_gan", {}),
        ("dcgan", {}),
        ("pix2pix", {}),
        ("stargan", {}),
        ("age_cgan", {}),
        ("biggan", {}),
        # The statistics that are gathered for these images are of the seed.
        slow("biggan", {"truncation": 0.7, "standing": 1, "seed": SEED}),
        ("stylegan2", {"truncation": 0.7}),
    ],
)
def test_the_function_runs_where_jaxgan_is_not(call_script, tmp_path, name, settings):
    run = save_trained(name, tmp_path / "run", **settings)
    done = call_script("export.py", "--workdir", "run", "--out", "out/made.stablehlo")
    assert done.returncode == 0, done.stderr
    inputs, images = inputs_and_images(run)
    assert done.stdout.count("\ntakes ") == len(inputs)
    np.savez(tmp_path / "out/made.inputs.npz", *inputs)
    subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path / "out/made"], check=True)
    with np.load(tmp_path / "out/made.images.npz") as made:
        assert made["all"].dtype == np.float32
        assert np.abs(images[0] - images[1]).max() > 0.01  # They depend on the inputs.
        np.testing.assert_allclose(made["all"], images, atol=1e-5)
        np.testing.assert_allclose(made["one"], images[:1], atol=1e-5)


def test_every_system_has_a_function():
    for name in registry.names():
        assert small_config(name).program.__func__ is not RunConfig.program


def read_safetensors(path):
    """The arrays and the metadata of a file, as its format is described: no code of the library."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.pop("__metadata__")
    arrays = {}
    for name, its in header.items():
        assert its["dtype"] == "F32"
        begin, end = its["data_offsets"]
        arrays[name] = np.frombuffer(data[begin:end], "<f4").reshape(its["shape"])
    return arrays, metadata


def test_the_weights_are_those_of_the_run_by_their_names(call_script, tmp_path):
    pytest.importorskip("safetensors")
    run = save_trained("dcgan", tmp_path / "run")
    done = call_script("export.py", "--workdir", "run", "--format", "safetensors")
    assert done.returncode == 0, done.stderr
    arrays, metadata = read_safetensors(tmp_path / "generator.safetensors")
    flat = flax.traverse_util.flatten_dict(run.params, sep="/")
    assert arrays.keys() == flat.keys() and "batch_stats/" in str(arrays.keys())
    for name, array in flat.items():
        np.testing.assert_array_equal(arrays[name], array)
    assert metadata["system"] == "dcgan"
    settings = json.loads(metadata["settings"])
    assert type(run.config).from_json(settings).differences(run.config) == []
    private = {"workdir", "script", "data_dir", "inception", "init_from"}
    assert settings["image_shape"] == [8, 8, 1] and not private & settings.keys()


def test_a_file_of_weights_is_exported_as_the_run(call_script, tmp_path):
    run = save_trained("mlp_gan", tmp_path / "run")
    weights.write(tmp_path / "best.npz", {"generator": run.params})
    (tmp_path / "run/config.json").rename(tmp_path / "best.json")
    done = call_script("export.py", "--workdir", "best.npz", "--out", "digits")
    assert done.returncode == 0, done.stderr
    generator = export.deserialize(bytearray((tmp_path / "digits").read_bytes()))
    (latents,), images = inputs_and_images(run)
    np.testing.assert_allclose(generator.call(latents), images, atol=1e-5)
    assert done.stdout.splitlines()[1:] == [
        "takes latents, float32 [n, 100]: U(-1, 1)",
        "gives images, float32 [n, 28, 28, 1]: in [0, 1]",
    ]


def test_what_the_numbers_of_labels_mean_is_said(call_script, tmp_path):
    save_trained("stargan", tmp_path / "run", classes=CLASSES)
    done = call_script("export.py", "--workdir", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:3] == [
        "takes images, float32 [n, 16, 16, 3]: in [0, 1]",
        "takes labels, int32 [n, 2]: hair 0 black, 1 blond, 2 grey; eyes 0 wide, 1 bow",
    ]


def without_packages(folder, monkeypatch):
    save_trained("mlp_gan", folder / "run")
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.setattr(export.Exported, "serialize", without_flatbuffers)


def without_flatbuffers(exported):
    raise ImportError("Please install 'flatbuffers'")


def without_a_program(folder, monkeypatch):
    monkeypatch.setenv(registry.VARIABLE, "encoder_gan")
    config = registry.find("encoder_gan:EncoderGANConfig")()
    (folder / "run").mkdir()
    config.save(folder / "run")
    players = {"generator": {"params": {"kernel": np.zeros(2)}}}
    weights.write(folder / "run.npz", players)
    (folder / "run/config.json").rename(folder / "run.json")


def of_another_network(folder, monkeypatch):
    save_trained("mlp_gan", folder / "run")
    small_config("mlp_gan", generator_widths=(17,)).save(folder / "run")


@pytest.mark.parametrize(
    ("make", "flags", "message"),
    [
        (None, (), "there is no run in run: "),
        (None, ("--format", "onnx"), "--format must be one of safetensors, stablehlo, not 'onnx'"),
        (without_packages, ("--format", "safetensors"), 'pip install -e ".[export]"'),
        (without_packages, ("--format", "stablehlo"), 'pip install -e ".[export]"'),
        (without_a_program, ("--workdir", "run.npz"), "has no generator that can be exported"),
        (of_another_network, (), "but the generator wants (17,)"),
    ],
)
def test_mistakes_are_one_line(call_script, tmp_path, monkeypatch, make, flags, message):
    if make is not None:
        make(tmp_path, monkeypatch)
    before = sorted(tmp_path.iterdir())
    done = call_script("export.py", "--workdir", "run", *flags)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.startswith("export.py: error: ") and done.stderr.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
