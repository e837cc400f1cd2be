import dataclasses
import inspect
import re

import pytest

from jaxgan.run import flags
from jaxgan.run.config import FILE_NAME, RunConfig
from jaxgan.systems.biggan.config import BigGANConfig
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.latent.labelled import LabelledConfig
from jaxgan.systems.mlp_gan.config import RECIPES, MLPGANConfig
from jaxgan.systems.pix2pix.config import Pix2PixConfig
from jaxgan.systems.stylegan2.config import StyleGAN2Config


def parse(line: str) -> MLPGANConfig:
    return flags.parse(MLPGANConfig, line.split(), description="what it does")


def test_no_flags_is_every_default():
    assert parse("") == MLPGANConfig()


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("--resume", {"resume": True}),
        ("--no-resume", {"resume": False}),
        ("--download", {"download": True}),
        ("--no-download", {"download": False}),
        ("--epochs 3", {"epochs": 3}),
        ("--epochs=3", {"epochs": 3}),
        ("--epochs 3 --epochs 4", {"epochs": 4}),
        ("--devices 8", {"devices": "8"}),
        ("--data-dir /data", {"data_dir": "/data"}),
        ("--generator-learning-rate 1e-3", {"generator_learning_rate": 1e-3}),
        ("--gradient-penalty 3", {"gradient_penalty": 3.0}),
        ("--image-shape 8 10 3", {"image_shape": (8, 10, 3)}),
        ("--generator-widths 16", {"generator_widths": (16,)}),
        (
            "--discriminator-widths 16 32 --seed 7",
            {"discriminator_widths": (16, 32), "seed": 7},
        ),
        ("--loss hinge --noise uniform", {"loss": "hinge", "noise": "uniform"}),
        ("--precision bfloat16", {"precision": "bfloat16"}),
        (
            "--coordinator host:12 --num-processes 2 --process-id 0",
            {"coordinator": "host:12", "num_processes": 2, "process_id": 0},
        ),
    ],
)
def test_flags_set_fields(line, changes):
    assert parse(line) == dataclasses.replace(MLPGANConfig(), **changes)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--nope 1", ["--nope"]),
        ("stray", ["stray"]),
        # Half a flag may mean another one tomorrow.
        ("--epoch 3", ["--epoch"]),
        ("--batch_size 3", ["--batch_size"]),
        ("--epochs", ["--epochs"]),
        ("--r1 --r2 1", ["--r1", "value"]),
        ("--recipe book", ["--recipe", "'book'", "textbook"]),
        ("--epochs many", ["--epochs", "'many'"]),
        ("--epochs 2.5", ["--epochs", "'2.5'"]),
        ("--epochs 0", ["--epochs", "0"]),
        ("--generator-learning-rate fast", ["--generator-learning-rate", "'fast'"]),
        ("--generator-learning-rate nan", ["--generator-learning-rate", "nan"]),
        ("--discriminator-learning-rate -1", ["--discriminator-learning-rate"]),
        ("--gradient-penalty x", ["--gradient-penalty", "'x'"]),
        ("--image-shape 8 8", ["--image-shape"]),
        ("--image-shape 8 8 x", ["--image-shape", "'x'"]),
        ("--generator-widths 8 x", ["--generator-widths", "'x'"]),
        ("--resume perhaps", ["--resume", "'perhaps'"]),
        ("--loss wgan", ["--loss", "'wgan'", "wasserstein"]),
        ("--noise gaussian", ["--noise", "'gaussian'", "uniform"]),
        ("--precision float16", ["--precision", "'float16'", "bfloat16"]),
    ],
)
def test_a_wrong_command_line_is_one_line_that_names_the_flag(line, named, capsys):
    with pytest.raises(ValueError) as error:
        parse(line)
    message = str(error.value)
    assert "\n" not in message
    for part in named:
        assert part in message
    assert capsys.readouterr() == ("", "")


def test_help_names_every_flag_and_exits_well(capsys):
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "what it does" in text
    for field in dataclasses.fields(MLPGANConfig):
        # Which script trains the run, and what its images are, is not for the user to say.
        is_flag = re.search(rf"--{field.name.replace('_', '-')}\b", text) is not None
        assert is_flag == (field.name not in ("script", "data_digest"))
    assert "--no-resume" in text
    assert "--no-download" in text
    assert "--config PATH" in text


def help_of(config_class, line, capsys):
    """What --help says beside other flags, by flag, in one line each."""
    with pytest.raises(SystemExit) as ended:
        flags.parse(config_class, line.split(), description="what it does")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    entries = re.split(r"\n  (?=-)", text[text.index("\n  -h") :])[1:]
    words = [" ".join(entry.split()) for entry in entries]
    return {re.search(r"--[\w-]+", entry).group(): entry for entry in words}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", MLPGANConfig()),
        ("--recipe textbook", MLPGANConfig(recipe="textbook")),
        ("--loss wasserstein", MLPGANConfig(loss="wasserstein")),
        (
            "--recipe best --loss wasserstein --r1 0.25 --seed 7",
            MLPGANConfig(recipe="best", loss="wasserstein", r1=0.25, seed=7),
        ),
    ],
)
@pytest.mark.parametrize("asked", ["--help {}", "{} -h"])
def test_help_shows_the_numbers_that_will_be_used(line, expected, asked, capsys):
    shown = help_of(MLPGANConfig, asked.format(line), capsys)
    for name in (*RECIPES["default"], "gradient_penalty", "seed", "latent_size", "loss", "recipe"):
        told = shown[f"--{name.replace('_', '-')}"]
        assert told.endswith(f"(default: {getattr(expected, name)})"), told


def test_help_shows_the_numbers_of_a_configuration_that_is_repeated(tmp_path, capsys):
    HELD.save(tmp_path)
    line = f"--help --config {tmp_path / FILE_NAME} --beta1 0.75"
    shown = help_of(MLPGANConfig, line, capsys)
    assert shown["--beta1"].endswith("(default: 0.75)")
    assert shown["--batch-size"].endswith("(default: 96)")
    assert shown["--loss"].endswith("(default: hinge)")


def docstrings_below(config_class):
    """The docstring below each field of a class's own source."""
    lines = inspect.getsource(config_class)
    found = re.findall(r'^    (\w+):[^\n]*\n    """(.*?)"""', lines, re.DOTALL | re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


@pytest.mark.parametrize(
    ("config_class", "parents"),
    [
        (MLPGANConfig, (RunConfig, LatentGANConfig)),
        (DCGANConfig, (RunConfig, LatentGANConfig, LabelledConfig)),
        (Pix2PixConfig, (RunConfig,)),
        (BigGANConfig, (RunConfig, LabelledConfig)),
        (StyleGAN2Config, (RunConfig, LabelledConfig)),
    ],
)
def test_help_says_of_each_flag_the_docstring_of_its_field(config_class, parents, capsys):
    said = {}
    for each in (*parents, config_class):
        said |= docstrings_below(each)
    shown = help_of(config_class, "--help", capsys)
    of_fields = {field.name for field in dataclasses.fields(config_class)}
    assert said.keys() == of_fields
    of_flags = of_fields - {
        "script",
        "data_digest",
        "classes",
        "mapping_hidden",
        "mapping_embedded",
    }
    assert shown.keys() == {"--help", "--config"} | {
        f"--{name.replace('_', '-')}" for name in of_flags
    }
    for name in of_flags:
        assert said[name] in shown[f"--{name.replace('_', '-')}"]
    # These are arguments of methods too.
    assert "'mnist'" in shown["--dataset"] and "folder" in shown["--workdir"]


def test_a_class_without_source_has_flags_all_the_same():
    names = {}
    code = "import dataclasses\n@dataclasses.dataclass\nclass Typed:\n    num: int = 1\n"
    exec(code, names)
    assert flags.parse(names["Typed"], ["--num", "3"], description="").num == 3


# None of its settings is the default one.
HELD = MLPGANConfig(
    recipe="textbook",
    devices="2",
    epochs=3,
    batch_size=96,
    seed=11,
    workdir="runs/held",
    dataset="fashion_mnist",
    data_dir="/data",
    data="streamed",
    download=True,
    image_shape=(8, 10, 3),
    crop="1,2,3,4",
    skip_unusable=True,
    generator_widths=(16, 32),
    beta1=0.25,
    r1=0.5,
    loss="hinge",
    precision="bfloat16",
)


def parse_with_held(directory, line, held=HELD):
    held.save(directory)
    return parse(f"--config {directory / FILE_NAME} {line}")


def test_a_configuration_gives_every_setting_of_its_run(tmp_path):
    config = parse_with_held(tmp_path, "")
    assert config == HELD and hash(config) == hash(HELD)
    assert config.to_json() == HELD.to_json()


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("--workdir runs/again", {"workdir": "runs/again"}),
        ("--no-download --no-resume", {"download": False, "resume": False}),
        ("--image-shape 4 5 1", {"image_shape": (4, 5, 1)}),
        ("--generator-widths 7", {"generator_widths": (7,)}),
        ("--loss minimax --beta1 0.5", {"loss": "minimax", "beta1": 0.5}),
        ("--recipe textbook --r1 0", {"r1": 0.0}),
        # What is the default everywhere else is something else here.
        ("--seed 0 --epochs 28", {"seed": 0, "epochs": 28}),
    ],
)
def test_flags_beside_a_configuration_set_single_ones(tmp_path, line, changes):
    expected = dataclasses.replace(HELD, **changes)
    assert parse_with_held(tmp_path, line) == expected
    assert parse(f"{line} --config={tmp_path / FILE_NAME}") == expected


def test_a_configuration_does_not_clear_a_folder_or_wait_for_hosts_because_its_run_did(tmp_path):
    hosts = {"coordinator": "host:12", "num_processes": 2, "process_id": 0}
    held = dataclasses.replace(HELD, resume=False, **hosts)
    assert parse_with_held(tmp_path, "", held) == HELD
    line = "--coordinator other:1 --num-processes 4 --process-id 3"
    expected = {"coordinator": "other:1", "num_processes": 4, "process_id": 3}
    assert parse_with_held(tmp_path, line, held) == dataclasses.replace(HELD, **expected)


def test_another_recipe_than_the_configurations_is_refused(tmp_path):
    said = "--recipe best sets nothing beside --config.* of a run of --recipe textbook"
    with pytest.raises(ValueError, match=said):
        parse_with_held(tmp_path, "--recipe best")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not there"),
        ("", "cannot be used"),
        ('{"experiment": "mnist_gan", "epochs": "ten"}', "epochs cannot be 'ten'"),
        ('{"system": "mlp_gan", "zoom": 1}', "unknown setting 'zoom'"),
        ('{"experiment": "another"}', "a run of 'another', not of 'mlp_gan'"),
    ],
)
def test_a_configuration_that_is_none_is_named(tmp_path, content, said):
    path = tmp_path / "wrong.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises((ValueError, OSError), match=said) as error:
        parse(f"--config {path}")
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["--config", "--config --seed 1", "--config -x"])
def test_a_configuration_wants_a_path(line):
    with pytest.raises(ValueError, match="argument --config"):
        parse(line)


def test_a_folder_is_no_configuration(tmp_path):
    with pytest.raises(OSError, match="give a run's config.json"):
        parse(f"--config {tmp_path}")


def test_what_is_no_run_has_no_configuration_to_repeat():
    @dataclasses.dataclass
    class Other:
        num: int = 1
        """How many."""

    with pytest.raises(ValueError, match="--config"):
        flags.parse(Other, ["--config", "config.json"], description="")


@pytest.mark.parametrize("error", [ValueError, OSError, FileNotFoundError, ImportError])
def test_user_errors_are_one_line_and_exit_code_2(error, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["experiments/mnist_gan.py", "--epochs", "0"])
    with pytest.raises(SystemExit) as ended, flags.user_errors():
        raise error("--epochs must be\n    1 or more")
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "mnist_gan.py: error: --epochs must be 1 or more\n"


@pytest.mark.parametrize("error", [RuntimeError, TypeError, AssertionError])
def test_other_errors_keep_their_traceback(error, capsys):
    with pytest.raises(error), flags.user_errors():
        raise error("a bug")
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_ends_without_a_word_as_shells_expect(capsys):
    with pytest.raises(SystemExit) as ended, flags.user_errors():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "")


class Failed(Exception):
    pass


def test_failures_are_one_line_and_exit_code_1(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["experiments/mnist_gan.py"])
    with pytest.raises(SystemExit) as ended, flags.failures(Failed):
        raise Failed("the disk\nis full")
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", "mnist_gan.py: error: the disk is full\n")


def test_failures_of_other_kinds_keep_their_traceback(capsys):
    with pytest.raises(ValueError), flags.failures(Failed):
        raise ValueError("a bug")
    assert capsys.readouterr() == ("", "")


def test_a_block_that_ends_well_goes_on(capsys):
    with flags.user_errors(), flags.failures(Failed):
        pass
    assert capsys.readouterr() == ("", "")


def test_the_home_folder_takes_the_place_of_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    HELD.save(tmp_path)
    config = parse(f"--config=~/{FILE_NAME} --workdir=~/run")
    assert config == dataclasses.replace(HELD, workdir=str(tmp_path / "run"))


SCRIPTS = {
    "biggan.py": ["--workdir"],
    "dcgan.py": ["--workdir"],
    "mnist_gan.py": ["--workdir"],
    "pix2pix.py": ["--workdir"],
    "stylegan2.py": ["--workdir"],
    "sample.py": ["--workdir", "--out"],
    "directions.py": ["--workdir", "--styles", "--out"],
    "edit.py": ["--workdir", "--in", "--out"],
    "evaluate.py": ["--workdir", "--out"],
    "evaluate_edits.py": ["--workdir", "--out"],
    "evaluate_pairs.py": ["--workdirs", "--out"],
    "export_pretrained.py": ["--workdir", "--out"],
    "export_weights.py": ["--workdir", "--out"],
    "playground.py": ["--workdir", "--out"],
    "project.py": ["--workdir", "--in", "--out", "--film", "--styles"],
    "recipes.py": ["--root"],
    "report.py": ["--workdir"],
    "style_mix.py": ["--workdir", "--out"],
    "tradeoff.py": ["--workdir", "--out"],
    "train_evaluator.py": ["--out"],
    "translate.py": ["--workdir", "--in", "--out"],
}
ENDINGS = {
    "export_pretrained.py": "npz",
    "export_weights.py": "npz",
    "playground.py": "html",
    "project.py --film": "gif",
    "project.py --styles": "npz",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_address_of_a_bucket_is_refused_by_every_script(script, call_script, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    for name in SCRIPTS[script]:
        ending = ENDINGS.get(f"{script} {name}") or ENDINGS.get(script, "png")
        address = f"gs://bucket/x.{ending}"
        done = call_script(script, f"{name}={address}")
        assert done.returncode == 2
        assert f"must be a path on this machine, not {address}" in done.stderr
        assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
