import json

import pytest

import jaxgan
from jaxgan.run.config import FILE_NAME
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.registry import EXPERIMENTS, load_run


@pytest.mark.parametrize(
    "config",
    [
        MLPGANConfig(seed=3),
        DCGANConfig(seed=3, conditional=True, classes=(("label", ("a", "b")),)),
        Pix2PixConfig(seed=3, task="grey2colour"),
    ],
    ids=lambda config: config.experiment_name(),
)
def test_a_run_is_of_the_class_of_its_experiment(config, tmp_path):
    config.save(tmp_path)
    loaded = jaxgan.load_run(str(tmp_path))
    assert type(loaded) is type(config) and loaded == config


def test_every_experiment_is_known():
    configs = MLPGANConfig, DCGANConfig, Pix2PixConfig
    assert set(EXPERIMENTS) == {config.experiment_name() for config in configs}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"experiment": "stylegan"}, "'stylegan', not of one of mnist_gan, dcgan, pix2pix"),
        ({"epochs": 3}, "a run of None, not of one of mnist_gan"),
        ({"experiment": ["dcgan"]}, r"a run of \['dcgan'\], not of one of"),
        ({"experiment": "dcgan", "width": "wide"}, "width cannot be 'wide'"),
        ({"experiment": "dcgan", "task": "edges2face"}, "unknown setting 'task'"),
        ([], "not a JSON object"),
    ],
)
def test_what_is_no_run_of_ours(content, message, tmp_path):
    (tmp_path / FILE_NAME).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        load_run(tmp_path)
    assert FILE_NAME in str(error.value) and "\n" not in str(error.value)


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        load_run(tmp_path / "absent")
