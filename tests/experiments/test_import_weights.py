"""experiments/import_weights.py on state dicts of the references' form and on official files."""

import json
import os
import pickle
import sys

import jax
import numpy as np
import pytest
import torch_pickles
from PIL import Image

import jaxgan
from jaxgan import weights
from jaxgan.run import torch_files
from jaxgan.systems import registry
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.pix2pix.reference import generator_table
from jaxgan.systems.reference import carried_over
from jaxgan.systems.stylegan2 import reference as stylegan2
from jaxgan.systems.stylegan2.config import StyleGAN2Config


def published(width):
    """A random file of the form of the published checkpoints: unet_256, batch norm."""
    textbook = Pix2PixConfig(recipe="textbook", task="pairs", input_feature="input", width=width)
    rng, state = np.random.default_rng(0), {}
    for key, entry in generator_table(textbook.generator()).items():
        values = rng.normal(scale=0.3, size=entry.shape).astype(np.float32)
        state[key] = np.abs(values) + 0.5 if key.endswith("running_var") else values
        if key.endswith("running_var"):
            state[key.replace("running_var", "num_batches_tracked")] = np.array(3)
    return state


@pytest.fixture
def held(monkeypatch):
    """What a file holds, in the place of PyTorch, which need not be installed."""
    files = {}
    monkeypatch.setattr(torch_files, "read", lambda path: files[path])
    return files


def test_a_published_generator_is_translated_with_at_256x256(call_script, held, tmp_path):
    held["latest_net_G.pth"] = published(1)
    done = call_script(
        "import_weights.py", "--from", "pix2pix", "latest_net_G.pth", "--out", "new/shoes.npz"
    )
    assert done.returncode == 0, done.stderr
    command = "python experiments/translate.py --workdir new/shoes.npz"
    assert done.stdout.splitlines()[1].startswith(command)
    run = jaxgan.load_run(tmp_path / "new" / "shoes.npz")
    assert run.config.input_shape() == run.config.image_shape == (256, 256, 3)
    assert run.config.system_name() == "pix2pix" and run.params.keys() == {"params", "batch_stats"}
    run.config.check_params(run.params)
    drawing = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(drawing).save(tmp_path / "drawing.png")
    words = ("translate.py", "--workdir", "new/shoes.npz", "--in", "drawing.png", "--out")
    done = call_script(*words, "evaluated.png", "--evaluation")
    assert done.returncode == 0, done.stderr
    assert "256x256 in evaluated.png" in done.stdout
    with Image.open(tmp_path / "evaluated.png") as picture:
        given = np.asarray(picture, int)[::4, ::4]
    expected = run.translate(drawing[None], None)[0]
    assert np.abs(given - 255 * np.asarray(expected)).max() <= 1
    noisy = np.asarray(run.translate(drawing[None], jax.random.key(0))[0])
    assert np.abs(noisy - expected).max() > 0.02


def test_every_number_is_carried_over(call_script, held, tmp_path):
    held["G.pth"] = state = published(2)
    assert call_script("import_weights.py", "--from", "pix2pix", "G.pth").returncode == 0
    generator = weights.read(tmp_path / "weights.npz")["generator"]
    given = sum(np.abs(leaf).sum(dtype=np.float64) for leaf in jax.tree.leaves(generator))
    expected = sum(np.abs(x).sum(dtype=np.float64) for key, x in state.items() if x.ndim)
    np.testing.assert_allclose(given, expected, rtol=1e-6)
    values = json.loads((tmp_path / "weights.json").read_text())
    assert (values["recipe"], values["width"], values["halvings"]) == ("textbook", 2, 8)
    done = call_script("report.py", "--workdir", "weights.npz")
    message = "weights.npz holds imported weights: only a run has a report"
    assert_refused(done, message, "report.py")


@pytest.mark.parametrize(
    ("arguments", "state", "message"),
    [
        (("--from", "stylegan9"), None, "'stylegan9' has no reference: one of "),
        ((), None, "has no reference: one of "),
        (("--from", "pix2pix", "--out", "a.pt"), None, "--out must end in .npz, not 'a.pt'"),
        (("--from", "pix2pix"), {}, "G.pth holds no state dict, but a dict of nothing"),
        (("--from", "pix2pix"), [1], "G.pth holds no state dict, but a list"),
        (
            ("--from", "pix2pix"),
            {"G": {"a": np.ones(1)}},
            "G.pth is no state dict of one network: 'G' in it is a dict",
        ),
        (
            ("--from", "pix2pix"),
            {"a": np.ones(1)},
            "G.pth cannot be imported: this is not the U-Net of pix2pix's PyTorch port",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    call_script, held, tmp_path, arguments, state, message
):
    held["G.pth"] = state
    assert_refused(call_script("import_weights.py", *arguments, "G.pth"), message)
    assert not list(tmp_path.iterdir())


def assert_refused(done, message, script="import_weights.py"):
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith(f"{script}: error: ")
    assert message in done.stderr


def test_without_pytorch(call_script, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = call_script("import_weights.py", "--from", "pix2pix", "G.pth")
    assert_refused(done, "reading G.pth wants PyTorch, which is not installed: pip install torch")


def test_weights_without_their_settings(call_script, tmp_path):
    weights.write(tmp_path / "alone.npz", {"generator": {"params": {"a": np.ones(1)}}})
    Image.new("L", (16, 16)).save(tmp_path / "drawing.png")
    done = call_script("translate.py", "--workdir", "alone.npz")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "alone.json" in done.stderr


def test_the_systems_that_have_a_reference():
    assert {"dcgan", "pix2pix"} <= set(registry.references()) <= set(registry.names())
    for name in registry.references():
        module = registry.find_reference(name)
        assert all(map(callable, (module.imported, module.compared, module.why_not_compared)))


@pytest.fixture(scope="module")
def faces():
    """(the state dicts, the bytes of the network pickle) of random official networks, 8x8."""
    config = StyleGAN2Config(
        recipe="auto",
        image_shape=(8, 8, 3),
        channel_base=32,
        channel_max=4,
        latent_size=6,
        style_size=5,
        mapping_layers=2,
        clamp=3.0,
    )
    rng = np.random.default_rng(0)
    players = {
        player: carried_over({key: rng.normal(size=its.shape) for key, its in table.items()}, table)
        for player, table in (
            ("generator", stylegan2.generator_table(config.generator())),
            ("discriminator", stylegan2.discriminator_table(config.discriminator())),
        )
    }
    states, arguments = stylegan2.exported(config, players)
    return states, torch_pickles.snapshot(states, arguments)


IMPORT = ("import_weights.py", "--from", "stylegan2", "network.pkl", "--out", "faces.npz")


def test_an_official_pickle_draws_images_and_is_exported(call_script, tmp_path, faces):
    states, content = faces
    (tmp_path / "network.pkl").write_bytes(content)
    done = call_script(*IMPORT)
    assert done.returncode == 0, done.stderr
    assert "MB, generator and discriminator; faces.json" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[1].startswith(
        "python experiments/sample.py --workdir faces.npz"
    )
    run = jaxgan.load_run(tmp_path / "faces.npz")
    assert run.config.image_shape == (8, 8, 3) and run.config.clamp == 3
    done = call_script("sample.py", "--workdir", "faces.npz", "--num", 4, "--out", "four.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "four.png").is_file()
    done = call_script("export_weights.py", "--workdir", "faces.npz", "--out", "new/back.npz")
    assert done.returncode == 0, done.stderr
    assert "MB, G_ema and D; new/back.json" in done.stdout
    with np.load(tmp_path / "new" / "back.npz") as file:
        back = dict(file)
    assert back.keys() == {f"{net}/{key}" for net, state in states.items() for key in state}
    for name, array in back.items():
        net, _, key = name.partition("/")
        np.testing.assert_array_equal(array, states[net][key])
        assert array.dtype == np.float32
    arguments = json.loads((tmp_path / "new" / "back.json").read_text())
    assert arguments["G_ema"]["synthesis_kwargs"]["conv_clamp"] == 3
    assert arguments["D"]["img_resolution"] == 8


def test_without_a_discriminator(call_script, tmp_path, faces):
    states, _ = faces
    state = torch_pickles.state_of(states["G_ema"])
    (tmp_path / "network.pkl").write_bytes(torch_pickles.archive(state))
    assert "MB, generator; faces.json" in call_script(*IMPORT).stdout
    done = call_script("export_weights.py", "--workdir", "faces.npz")
    assert done.returncode == 0 and "MB, G_ema; official.json" in done.stdout
    with np.load(tmp_path / "official.npz") as file:
        assert len(file.files) == len(states["G_ema"])


class Hostile:
    def __reduce__(self):
        return os.system, ("touch ran",)


def hostile_network(content):
    """The pickle with the first call of PyTorch's renamed to one of the system."""
    return content.replace(b"\x8c\x0dtorch.storage", b"\x8c\x02os", 1).replace(
        b"\x8c\x10_load_from_bytes", b"\x8c\x06system", 1
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: pickle.dumps(Hostile()), "it asks for 'posix.system', which no file of weights"),
        (hostile_network, "it asks for 'os.system', which no file of weights needs; nothing of it"),
        (lambda _: torch_pickles.legacy({"g_ema": Hostile()}), "it asks for 'posix.system', which"),
        (lambda _: torch_pickles.archive({"g_ema": Hostile()}), "it asks for 'posix.system'"),
        (lambda content: content[: len(content) // 2], "it ends too early"),
        (lambda _: torch_pickles.of_tensorflow(), "python legacy.py --source=FILE.pkl --dest=NEW"),
        (lambda _: b"faces, please\n", "network.pkl cannot be imported: "),
        (lambda _: b"", "network.pkl cannot be imported: it ends too early, or is no pickle"),
        (lambda _: pickle.dumps({"G_ema": 1}), "it has no network G_ema, as NVIDIA's code"),
        (lambda _: None, "network.pkl is not there"),
    ],
)
def test_hostile_and_damaged_files_are_refused_and_change_nothing(
    call_script, tmp_path, faces, change, message
):
    before = {"faces.npz": b"old weights", "faces.json": b"old settings"}
    if (content := change(faces[1])) is not None:
        before["network.pkl"] = content
    for name, held in before.items():
        (tmp_path / name).write_bytes(held)
    assert_refused(call_script(*IMPORT), message)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workdir", "absent"), "absent"),
        (("--workdir", "faces.npz", "--out", "a.pt"), "--out must end in .npz, not 'a.pt'"),
        (
            ("--workdir", "shoes.npz"),
            "a run of pix2pix has no other form, only of biggan and stylegan2",
        ),
    ],
)
def test_what_is_not_exported(call_script, held, tmp_path, arguments, message):
    if "shoes.npz" in arguments:
        held["G.pth"] = published(1)
        call_script("import_weights.py", "--from", "pix2pix", "G.pth", "--out", "shoes.npz")
    before = sorted(tmp_path.iterdir())
    assert_refused(call_script("export_weights.py", *arguments), message, "export_weights.py")
    assert sorted(tmp_path.iterdir()) == before


class TestFilesOfPyTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_tensors_become_arrays(self, torch, tmp_path):
        numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
        state = {"a": torch.tensor(numbers), "n": {"half": torch.ones(2, dtype=torch.bfloat16)}}
        torch.save(state, tmp_path / "a.pt")
        given = torch_files.read(tmp_path / "a.pt")
        np.testing.assert_array_equal(given["a"], numbers)
        assert given["n"]["half"].dtype == np.float32

    def test_what_would_run_is_refused(self, torch, tmp_path):
        class Hostile:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"a": Hostile()}, tmp_path / "a.pt")
        with pytest.raises(ValueError, match="a.pt is no file of PyTorch .* tensors alone$"):
            torch_files.read(tmp_path / "a.pt")
        assert not (tmp_path / "ran").exists()

    def test_other_files(self, torch, tmp_path):
        (tmp_path / "text.pth").write_text("weights, please\n")
        with pytest.raises(ValueError, match="text.pth is no file of PyTorch"):
            torch_files.read(tmp_path / "text.pth")
        with pytest.raises(FileNotFoundError, match="absent.pth is not there"):
            torch_files.read(tmp_path / "absent.pth")
