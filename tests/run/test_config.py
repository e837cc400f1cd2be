"""What every system's settings do, shown on those of mlp_gan."""

import dataclasses
import json
import math
import sys
import types

import pytest

from jaxgan.run import settings
from jaxgan.run.config import FILE_NAME, RunConfig
from jaxgan.systems import registry
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig

# Every setting, at something else than its default.
OTHER = MLPGANConfig(
    devices="2",
    epochs=3,
    batch_size=96,
    seed=11,
    seeds=3,
    workdir="runs/other",
    dataset="fashion_mnist",
    data_dir="/data",
    data="streamed",
    download=True,
    image_shape=(8, 10, 3),
    crop="1,2,3,4",
    skip_unusable=True,
    data_digest="0" * 64,
    inception="inception.npz",
    checkpoint_every=4,
    keep_checkpoints=5,
    resume=False,
    init_from="runs/trained",
    stop_collapsed=True,
    debug_nans=True,
    coordinator="host:1234",
    num_processes=2,
    process_id=1,
    recipe="textbook",
    generator_learning_rate=2e-3,
    discriminator_learning_rate=3e-3,
    decay_after_kimg=1.5,
    generator_half_life_kimg=2.5,
    discriminator_half_life_kimg=3.5,
    beta1=0.25,
    beta2=0.75,
    loss="hinge",
    noise="uniform",
    latent_size=7,
    generator_widths=(16, 32),
    discriminator_widths=(64,),
    r1=0.5,
    r2=0.25,
    gradient_penalty=3.0,
    penalty_interval=5,
    label_smoothing=0.0,
    translation=3,
    discriminator_steps=2,
    ema_decay=0.5,
    precision="bfloat16",
    script="experiments/own.py",
)


def field_names(config_class=MLPGANConfig):
    return [field.name for field in dataclasses.fields(config_class)]


def test_other_differs_everywhere():
    # The hinge loss has no labels to smooth, and not all images are evaluated.
    default = MLPGANConfig()
    same = [name for name in field_names() if getattr(default, name) == getattr(OTHER, name)]
    assert same == ["eval_every", "label_smoothing"]


@pytest.mark.parametrize(
    "config",
    [MLPGANConfig(), OTHER, MLPGANConfig(label_smoothing=0.1, eval_every=5)],
    ids=["0", "1", "2"],
)
def test_json_gives_the_same_configuration_back(config, tmp_path):
    text = json.dumps(config.to_json(), allow_nan=False)
    assert MLPGANConfig.from_json(json.loads(text)) == config
    config.save(tmp_path)
    loaded = MLPGANConfig.load(str(tmp_path))
    assert loaded == config
    # Lists would be equal to nothing and could not be hashed.
    assert isinstance(loaded.image_shape, tuple)
    assert isinstance(loaded.generator_widths, tuple)
    assert hash(loaded) == hash(config)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize(
    ("config", "name"),
    [(MLPGANConfig(), "mlp_gan"), (DCGANConfig(), "dcgan"), (Pix2PixConfig(), "pix2pix")],
    ids=["mlp_gan", "dcgan", "pix2pix"],
)
def test_json_names_the_system_by_its_folder(config, name):
    assert config.to_json()["system"] == config.system_name() == name
    assert "experiment" not in config.to_json()


def test_a_system_outside_the_package_is_named_by_its_module_and_class(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Own(RunConfig):
        pass

    name = "test_a_system_outside_the_package_is_named_by_its_module_and_class.<locals>.Own"
    assert Own().to_json()["system"] == f"{__name__}:{name}"
    # In a script that was started, the module has the script's name.
    monkeypatch.setattr(Own, "__module__", "__main__")
    for file, module in (("/somewhere/my_gan.py", "my_gan"), (None, "notebook")):
        main = types.ModuleType("__main__")
        if file is not None:
            main.__file__ = file
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "__main__", main)
            assert Own.system_name() == f"{module}:{name}"


@pytest.mark.parametrize("called", ["experiment", "system"])
@pytest.mark.parametrize("name", ["mnist_gan", "mlp_gan"])
def test_from_json_reads_what_was_written_before_the_system_had_its_name(called, name):
    values = OTHER.to_json()
    del values["system"]
    assert MLPGANConfig.from_json(values | {called: name}) == OTHER


def test_from_json_leaves_what_it_is_given():
    values = MLPGANConfig().to_json()
    before = dict(values)
    MLPGANConfig.from_json(values)
    assert values == before


def test_from_json_of_a_run_that_lacks_a_setting_takes_the_default():
    values = OTHER.to_json()
    del values["seed"]
    assert MLPGANConfig.from_json(values) == dataclasses.replace(OTHER, seed=MLPGANConfig().seed)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"system": "celeba_dcgan"}, ["'celeba_dcgan'", "'mlp_gan'"]),
        ({"system": "dcgan"}, ["'dcgan'", "'mlp_gan'"]),
        ({"system": None}, ["it has none"]),
        ({"batchsize": 3, "zoom": 1}, ["'batchsize'"]),
        ({"epochs": 0}, ["--epochs", "0"]),
        ({"loss": "wgan"}, ["'wgan'"]),
        ({"noise": ["normal"]}, []),
    ],
)
def test_from_json_refuses_what_is_no_such_configuration(changes, named):
    with pytest.raises(ValueError) as error:
        MLPGANConfig.from_json(MLPGANConfig().to_json() | changes)
    for part in named:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "3"),
        ("epochs", 2.5),
        ("epochs", "many"),
        ("seed", [0]),
        ("batch_size", 12.5),
        ("workdir", 5),
        ("dataset", None),
        ("devices", 2),
        ("resume", "no"),
        ("image_shape", 28),
        ("image_shape", [28, "28", 1]),
        ("image_shape", [28, 28.5, 1]),
        ("generator_widths", 256),
        ("generator_widths", ["256"]),
        ("generator_widths", [25.6]),
        ("generator_learning_rate", "fast"),
        ("beta1", [0.5]),
        ("r1", "much"),
        ("loss", {}),
        ("precision", "float99"),
        ("precision", "int32"),
        ("precision", 32),
    ],
)
def test_from_json_refuses_a_value_of_another_type(name, value):
    with pytest.raises(ValueError):
        MLPGANConfig.from_json(MLPGANConfig().to_json() | {name: value})


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (
            {"dataset": "kmnist"},
            "there is no evaluator of kmnist, only of mnist, toon_faces, stacked_mnist",
        ),
        (
            {"image_shape": (32, 32, 1)},
            "the evaluator of mnist knows images of 28x28x1 only, not of 32x32x1",
        ),
        (
            {"dataset": "toon_faces"},
            "the evaluator of toon_faces knows images of 32x32x3 or 64x64x3 only, not of 28x28x1",
        ),
    ],
)
def test_only_what_an_evaluator_knows_is_evaluated(settings, why):
    with pytest.raises(ValueError) as told:
        MLPGANConfig(**settings, eval_every=1)
    assert str(told.value) == f"--eval-every cannot be kept: {why}"
    MLPGANConfig(**settings)


@pytest.mark.parametrize("size", [32, 64])
def test_faces_are_evaluated(size):
    MLPGANConfig(dataset="toon_faces", image_shape=(size, size, 3), eval_every=1)


def test_load_says_where_there_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in") as error:
        MLPGANConfig.load(tmp_path / "none")
    assert str(tmp_path / "none") in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"3",
        b'{"experiment": "other"}',
        b'{"system": "other"}',
        b"\xff\xfe\x00",
    ],
)
def test_load_names_the_file_that_is_no_configuration(tmp_path, content):
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        MLPGANConfig.load(tmp_path)
    assert str(path) in str(error.value)


def test_a_digest_that_is_not_known_yet_is_no_difference():
    old, new = (MLPGANConfig(dataset="./faces", data_digest=each * 64) for each in "01")
    unknown = MLPGANConfig(dataset="./faces")
    assert old.differences(new) == ["./faces as it was, not as it is now"]
    assert old.differences(old) == old.differences(unknown) == unknown.differences(new) == []
    # A run that repeats the settings has images of its own.
    assert old.again().data_digest is None


BELOW_ONE = [0, -1]
NO_WEIGHT = [-0.1, math.nan, math.inf, -math.inf]
NO_SHARE = [-0.1, 1.0, 1.5, math.nan, math.inf, -math.inf]
WRONG_VALUES = {
    "crop": ["", "center", "1,2,3", "1,2,3,0"],
    "epochs": BELOW_ONE,
    "batch_size": BELOW_ONE,
    "seeds": [*BELOW_ONE, 2**32 + 1],
    "checkpoint_every": BELOW_ONE,
    "keep_checkpoints": BELOW_ONE,
    "latent_size": BELOW_ONE,
    "discriminator_steps": BELOW_ONE,
    "penalty_interval": BELOW_ONE,
    "seed": [-1, 2**32],
    "workdir": ["", "  "],
    "dataset": ["", "  "],
    "image_shape": [(28, 28), (28, 28, 1, 1), (0, 28, 1), (28, -1, 1), (28, 28, 2), (28, 28, 0)],
    "generator_widths": [(0,), (256, -1)],
    "discriminator_widths": [(0,), (256, -1)],
    "generator_learning_rate": [0.0, *NO_WEIGHT],
    "discriminator_learning_rate": [0.0, *NO_WEIGHT],
    "decay_after_kimg": NO_WEIGHT,
    "generator_half_life_kimg": NO_WEIGHT,
    "discriminator_half_life_kimg": NO_WEIGHT,
    "r1": NO_WEIGHT,
    "r2": NO_WEIGHT,
    "gradient_penalty": NO_WEIGHT,
    "beta1": NO_SHARE,
    "beta2": NO_SHARE,
    "ema_decay": NO_SHARE,
    "label_smoothing": [-0.1, 0.5, 0.9, math.nan, math.inf],
    "num_processes": [2],
    "process_id": [0],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG_VALUES.items() for value in values]
)
def test_a_value_out_of_range_is_refused_by_its_flag(name, value):
    with pytest.raises(ValueError) as error:
        MLPGANConfig(**{name: value})
    assert f"--{name.replace('_', '-')}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 1),
        ("seed", 0),
        ("seed", 2**32 - 1),
        ("seeds", 2**32),
        ("image_shape", (1, 1, 3)),
        ("r1", 0.0),
        ("gradient_penalty", 0.0),
        ("beta1", 0.0),
        ("ema_decay", 0.0),
        ("ema_decay", 0.9999),
        ("label_smoothing", 0.49),
    ],
)
def test_a_value_at_the_edge_is_taken(name, value):
    assert getattr(MLPGANConfig(**{name: value}), name) == value


def test_several_seeds_are_a_single_run_of_each():
    config = MLPGANConfig(seed=7, seeds=3, workdir="runs/three", beta1=0.25)
    assert config.of_each_seed() == [
        MLPGANConfig(seed=seed, workdir=f"runs/three/seed_{seed}", beta1=0.25) for seed in (7, 8, 9)
    ]
    single = MLPGANConfig(seed=7)
    assert single.of_each_seed() == [single]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seed": 2**32 - 1, "seeds": 2}, "--seed and --seeds must be 2\\*\\*32 or less together"),
        ({"seeds": 2, "keep_checkpoints": 1}, "--seeds wants --keep-checkpoints 2 or more"),
    ],
)
def test_several_seeds_that_cannot_be(settings, said):
    with pytest.raises(ValueError, match=said):
        MLPGANConfig(**settings)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MLPGANConfig().seed = 1


@pytest.mark.parametrize("config_class", [RunConfig, MLPGANConfig, DCGANConfig, Pix2PixConfig])
def test_what_may_change_are_settings_of_every_run(config_class):
    may_change = settings.may_change(config_class)
    # And what comes with the data set, which has to be the same.
    assert may_change - {"classes"} == settings.may_change(RunConfig)
    assert may_change < set(field_names(RunConfig)) | {"classes"}
    assert not may_change & {"seed", "batch_size", "dataset", "image_shape"}


@pytest.mark.parametrize(
    "name", [name for name in field_names() if name not in ("eval_every", "label_smoothing")]
)
def test_differences_name_one_setting_each(name):
    # A process id is refused where there is no coordinator.
    mine = dataclasses.replace(MLPGANConfig(), coordinator="host:1")
    theirs = dataclasses.replace(mine, **{name: getattr(OTHER, name)})
    lines = mine.differences(theirs)
    if name in settings.may_change(MLPGANConfig):
        assert lines == []
    else:
        assert len(lines) == 1
        assert lines[0].startswith(f"--{name.replace('_', '-')} ")
        assert theirs.differences(theirs) == []


def test_differences_show_both_values():
    mine = MLPGANConfig(seed=0, generator_widths=(8, 16), loss="minimax", workdir="a")
    theirs = MLPGANConfig(seed=1, generator_widths=(4,), loss="hinge", workdir="b")
    assert mine.differences(theirs) == [
        "--seed 0, not 1",
        "--loss minimax, not hinge",
        "--generator-widths 8 16, not 4",
    ]


def test_convolutional_systems_do_without_the_experimental_fusion():
    """XLA ends the process while it compiles StarGAN with it on two devices of a CPU."""
    with_it = {name for name in registry.names() if registry.find(name).multi_output_fusion}
    assert with_it == {"mlp_gan"}
