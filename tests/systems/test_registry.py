import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

import jaxgan.systems
from jaxgan.run.config import FILE_NAME, RunConfig
from jaxgan.systems.age_cgan.config import AgeCGANConfig
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.registry import ENTRY_POINTS, VARIABLE, config, find, load_config, names
from jaxgan.systems.stylegan2.config import StyleGAN2Config

CONFIGS = [
    AgeCGANConfig(seed=3),
    BigGANConfig(seed=3, recipe="textbook", classes=(("label", ("a", "b")),)),
    MLPGANConfig(seed=3),
    DCGANConfig(seed=3, conditional=True, classes=(("label", ("a", "b")),)),
    Pix2PixConfig(seed=3, task="grey2colour"),
    StyleGAN2Config(seed=3, recipe="paper256", conditional=True, classes=(("label", ("a", "b")),)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.system_name())
def test_a_run_is_of_the_class_of_its_system(config, tmp_path):
    config.save(tmp_path)
    loaded = load_config(str(tmp_path))
    # The folder may have been moved.
    assert type(loaded) is type(config) and loaded.workdir == str(tmp_path)
    assert loaded.differences(config) == [] and loaded.epochs == config.epochs


def test_the_names_are_those_of_the_folders_that_have_networks():
    folder = Path(jaxgan.systems.__file__).parent
    assert sorted(names()) == sorted(path.parent.name for path in folder.glob("*/networks.py"))
    assert {config.system_name() for config in CONFIGS} <= set(names())


def test_each_name_is_that_of_its_settings():
    for name in names():
        assert find(name).system_name() == name


def test_settings_by_name():
    assert config("dcgan", epochs=2, image_shape=[32, 32, 3]) == DCGANConfig(
        epochs=2, image_shape=(32, 32, 3)
    )
    assert config("mnist_gan", recipe="textbook") == MLPGANConfig(recipe="textbook")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("dc_gan", {}, "'dc_gan', not of one of "),
        (DCGANConfig, {}, "the name of a system is a text"),
        ("dcgan", {"epoch": 2}, "unknown setting 'epoch'"),
        ("dcgan", {"epochs": "2"}, "epochs cannot be '2'"),
        ("dcgan", {"epochs": True}, "epochs cannot be True"),
        ("dcgan", {"epochs": 0}, "--epochs must be 1 or more, not 0"),
        ("dcgan", {"recipe": "none"}, "recipe"),
    ],
)
def test_settings_that_are_none_are_refused_in_one_line(name, settings, message):
    with pytest.raises(ValueError, match=message) as error:
        config(name, **settings)
    assert "\n" not in str(error.value)


def test_a_former_name_is_found(tmp_path):
    assert find("mnist_gan") is MLPGANConfig
    (tmp_path / FILE_NAME).write_text('{"experiment": "mnist_gan", "seed": 3}')
    loaded = load_config(tmp_path)
    assert type(loaded) is MLPGANConfig and loaded.seed == 3
    assert loaded.to_json()["system"] == "mlp_gan"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"system": "stylegan"}, "'stylegan', not of one of "),
        ({"experiment": "stylegan"}, "'stylegan', not of one of "),
        ({"epochs": 3}, '"system" must be the name of a system, and it has none'),
        ({"system": ["dcgan"]}, r'"system" must be the name of a system, and it has \[.dcgan.\]'),
        ({"system": "dcgan", "width": "wide"}, "width cannot be 'wide'"),
        ({"system": "dcgan", "task": "edges2face"}, "unknown setting 'task'"),
        ({"system": "latent"}, "'latent', not of one of "),
        ({"system": "../dcgan"}, "'../dcgan', not of one of "),
        ([], "not a JSON object"),
    ],
)
def test_what_is_no_run_of_ours(content, message, tmp_path):
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        load_config(tmp_path)
    assert FILE_NAME in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_name_is_told_beside_those_there_are():
    with pytest.raises(ValueError) as error:
        find("stylegan")
    assert str(error.value).endswith("not of one of " + ", ".join(names()))


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        load_config(tmp_path / "absent")


OWN = """
import dataclasses
import pathlib

from jaxgan.systems.mlp_gan.config import MLPGANConfig

pathlib.Path(__file__).with_suffix(".imported").touch()
NUMBER = 3


@dataclasses.dataclass(frozen=True)
class OwnConfig(MLPGANConfig):
    zest: int = 5
"""
MODULE = "somebodys_own_gan"


@pytest.fixture
def own_run(tmp_path, monkeypatch):
    """(the work dir of a run of a system that its user has put elsewhere, a file that is there
    once the module has been imported)."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / FILE_NAME).write_text(json.dumps({"system": f"{MODULE}:OwnConfig", "zest": 7}))
    yield tmp_path, folder / f"{MODULE}.imported"
    sys.modules.pop(MODULE, None)


def refused(workdir):
    with pytest.raises(ValueError) as error:
        load_config(workdir)
    assert str(workdir / FILE_NAME) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def assert_read(workdir):
    config = load_config(workdir)
    assert (type(config).__name__, type(config).__module__) == ("OwnConfig", MODULE)
    assert isinstance(config, RunConfig) and config.zest == 7
    assert config.system_name() == f"{MODULE}:OwnConfig"


def test_a_module_that_a_file_names_is_not_imported_unasked(own_run, monkeypatch):
    workdir, imported = own_run
    for allowed in (None, "", "another_module", f"{MODULE}.sub, {MODULE}2"):
        if allowed is not None:
            monkeypatch.setenv(VARIABLE, allowed)
        said = refused(workdir)
        assert f"set {VARIABLE}={MODULE} in the environment" in said and "PYTHONPATH" in said
    assert not imported.exists() and MODULE not in sys.modules


def test_the_environment_allows_a_module(own_run, monkeypatch):
    workdir, imported = own_run
    monkeypatch.setenv(VARIABLE, f"another_module, {MODULE}")
    assert_read(workdir)
    assert imported.exists()


def test_an_entry_point_allows_a_module(own_run, monkeypatch):
    workdir, imported = own_run

    def entry_points(*, group):
        assert group == ENTRY_POINTS
        return [importlib.metadata.EntryPoint("own", f"{MODULE}:OwnConfig", group)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert_read(workdir)
    assert imported.exists()


def test_a_class_of_this_process_is_found_without_being_allowed(own_run):
    __import__(MODULE)
    assert_read(own_run[0])


def test_a_class_of_the_script_that_runs_is_found(own_run, monkeypatch):
    module = __import__(MODULE)
    del sys.modules[MODULE]
    module.OwnConfig.__module__ = "__main__"
    monkeypatch.setitem(sys.modules, "__main__", module)
    assert module.OwnConfig.system_name() == f"{MODULE}:OwnConfig"
    config = load_config(own_run[0])
    assert type(config) is module.OwnConfig and config.zest == 7


@pytest.mark.parametrize("name", ["NUMBER", "Absent", "pathlib", "OwnConfig.__init__", ""])
def test_what_a_module_has_not(own_run, monkeypatch, name):
    workdir, _ = own_run
    monkeypatch.setenv(VARIABLE, MODULE)
    (workdir / FILE_NAME).write_text(json.dumps({"system": f"{MODULE}:{name}"}))
    assert f"has no settings {name!r}: a subclass of RunConfig" in refused(workdir)


def test_a_module_that_is_allowed_but_not_there(own_run, monkeypatch):
    workdir, _ = own_run
    monkeypatch.setenv(VARIABLE, "nobodys_gan")
    (workdir / FILE_NAME).write_text('{"system": "nobodys_gan:Config"}')
    said = refused(workdir)
    assert "'nobodys_gan' of the run's system cannot be imported" in said and "PYTHONPATH" in said
