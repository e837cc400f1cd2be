"""Hostile and damaged config.json files: each is read as written or refused in one line."""

import dataclasses
import itertools
import json
import os
import time
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import assert_one_line, deep, examples, mutated

from jaxgan.run.config import FILE_NAME
from jaxgan.systems.dcgan.config import DCGANConfig
from jaxgan.systems.mlp_gan.config import MLPGANConfig

BASE = MLPGANConfig(
    image_shape=(8, 8, 1), latent_size=4, generator_widths=(8,), discriminator_widths=(8,)
)
FIELDS = [field.name for field in dataclasses.fields(MLPGANConfig)]
HINTS = typing.get_type_hints(MLPGANConfig)
FLOATS = [name for name in FIELDS if float in (HINTS[name], *typing.get_args(HINTS[name]))]


# Values as JSON text, among them what no Python value would be written as.
VALUES = st.one_of(
    st.sampled_from(
        ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "1e308", "1e-400", "-0.0", "0", "-1"]
        + ["true", "false", "null", '""', '" "', '"\\u0000"', '"\\ud800"', '"é"', '"a\\nb"', "{}"]
        + [
            "4294967295",
            "4294967296",
            "4294967297",
            "9" * 400,
            "9" * 4000,
            "9" * 5000,
            "-" + "9" * 400,
        ]
        + ["[]", "[1]", "[8, 8, 1]", "[8, 8, 3]", "[4, 4]", '[8, "8", 1]', "[8, true]", "[[8]]"]
        + [f"[{2**62}, {2**62}, 3]", "[8, " + "9" * 400 + ", 1]", "[1.0, 1.0, 1.0]", '["8"]']
        + [deep(100), deep(990), deep(100_000), deep(5_000, '{"a":', "}"), "1" * 200_000]
        + ['"' + "x" * 100_000 + '"', "1.", "01", "+1", "'a'", "undefined"]
        + ['"wasserstein"', '"hinge"', '"textbook"', '"best"', '"uniform"', '"bfloat16"', '"all"']
    ),
    st.integers(-3, 300).map(str),
    st.floats(0, 1).map(repr),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    ).map(json.dumps),
)


@st.composite
def texts(draw):
    """A config.json in which some values are others."""
    lines = {name: json.dumps(value) for name, value in BASE.to_json().items()}
    for _ in range(draw(st.integers(1, 3))):
        lines[draw(st.sampled_from([*FIELDS, "experiment", "unknown", "é"]))] = draw(VALUES)
    for name in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        lines.pop(name, None)
    pairs = [f"{json.dumps(name)}: {value}" for name, value in lines.items()]
    if draw(st.sampled_from([False] * 9 + [True])):
        pairs.append(f'"epochs": {draw(VALUES)}')
    return f"{{{', '.join(pairs)}}}".encode()


def check_config(folder, content):
    """Whether a config.json is taken. If so, its settings must be those that are written in it."""
    path = folder / FILE_NAME
    path.write_bytes(content)
    try:
        config = MLPGANConfig.load(folder)
    except ValueError as error:
        assert_one_line(error, path)
        return False
    held = json.loads(json.dumps(config.to_json(), allow_nan=False))
    for name, value in json.loads(content).items():
        # The recipe sets a setting that is null.
        assert held[name] == value or value is None, name
        assert value is None or isinstance(held[name], bool) == isinstance(value, bool), name
    assert MLPGANConfig.from_json(held) == config
    hash(config)
    return True


def test_configurations_with_other_values(tmp_path):
    taken = []

    @examples(1000)
    @given(texts())
    def check(content):
        taken.append(check_config(tmp_path, content))

    check()
    assert 10 < sum(taken) < len(taken) - 10


def test_mutated_configurations(tmp_path):
    taken = []
    originals = [json.dumps(config.to_json()).encode() for config in (BASE, MLPGANConfig())]

    @examples(1000)
    @given(mutated(originals) | st.binary(max_size=50))
    def check(content):
        taken.append(check_config(tmp_path, content))

    check()
    assert 10 < sum(taken) < len(taken) - 10


def test_no_float_overflows(tmp_path, subtests):
    assert len(FLOATS) == 12
    texts = ["1e400", "-1e400", "NaN", "1e39", "1" + "0" * 400]
    for name, text in itertools.product(FLOATS, texts):
        values = BASE.to_json()
        del values[name]
        content = json.dumps(values)[:-1] + f', "{name}": {text}}}'
        (tmp_path / FILE_NAME).write_text(content)
        with subtests.test(name=name, text=text[:10]):
            with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} must be") as error:
                MLPGANConfig.load(tmp_path)
            assert_one_line(error.value)
            given = int(text) if text.isdecimal() else float(text)
            with pytest.raises(ValueError, match=f"--{name.replace('_', '-')} must be"):
                MLPGANConfig(**{name: given})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("generator_widths", '[8, "8"]', "generator_widths cannot be"),
        ("generator_widths", "[8, true]", "generator_widths cannot be"),
        ("epochs", "true", "epochs cannot be True"),
        ("batch_size", "1" + "0" * 400, "--batch-size must be 2**32 or less"),
        ("image_shape", f"[{2**62}, {2**62}, 3]", "--image-shape must be"),
        ("workdir", '"a\\u0000b"', "--workdir must name a folder"),
    ],
)
def test_values_that_were_a_bare_error_or_taken(tmp_path, name, text, said):
    values = BASE.to_json()
    del values[name]
    (tmp_path / FILE_NAME).write_text(json.dumps(values)[:-1] + f', "{name}": {text}}}')
    with pytest.raises(ValueError) as error:
        MLPGANConfig.load(tmp_path)
    assert_one_line(error.value, said)


def test_a_configuration_that_is_too_long_is_not_read_to_its_end(tmp_path):
    with open(tmp_path / FILE_NAME, "wb") as file:
        file.truncate(2**40)  # A hole, which takes no room.
    with pytest.raises(ValueError, match="it has more than 1,048,576 bytes"):
        MLPGANConfig.load(tmp_path)


@pytest.mark.parametrize(
    ("system", "name", "value"),
    [
        (MLPGANConfig, "generator_widths", [8] * 20_000),
        (MLPGANConfig, "discriminator_widths", [8] * 101),
        (DCGANConfig, "attributes", [str(i) for i in range(5_000)]),
        (DCGANConfig, "classes", [[str(i), ["no", "yes"]] for i in range(5_000)]),
    ],
)
def test_a_network_of_thousands_of_parts_is_refused_at_once(tmp_path, system, name, value):
    values = system(conditional=True).to_json() if system is DCGANConfig else BASE.to_json()
    (tmp_path / FILE_NAME).write_text(json.dumps({**values, name: value}))
    began = time.monotonic()
    with pytest.raises(ValueError) as error:
        system.load(tmp_path)
    assert_one_line(error.value, f"--{name.replace('_', '-')} must be 100 or fewer, not")
    assert time.monotonic() - began < 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_no_configuration(tmp_path):
    os.mkfifo(tmp_path / FILE_NAME)
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        MLPGANConfig.load(tmp_path)
    with pytest.raises(ValueError, match="config.json cannot be used: it is no regular file"):
        MLPGANConfig.read(tmp_path / FILE_NAME)
