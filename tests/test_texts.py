"""The texts are short where they should be, their links lead on, their commands are understood."""

import dataclasses
import itertools
import re
import runpy
import shlex
import signal
import sys
import unicodedata
from pathlib import Path

import pytest

import jaxgan
from jaxgan.run import flags

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"
TEXTS = [ROOT / "README.md"] + [
    text for name in (".github", "experiments", "jaxgan") for text in (ROOT / name).rglob("*.md")
]
# These say what was run at the commit that they name.
RECORDS = EXPERIMENTS / "benchmarks" / "results"
CURRENT = [text for text in TEXTS if RECORDS not in text.parents]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PYTHON_OF_SCRIPTS = re.compile(r"python (experiments/\S+\.py)")


def name_of(text):
    return str(text.relative_to(ROOT))


def prose(text):
    return FENCE.sub("", text.read_text())


def inline_code(text):
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(text))]


def shell_lines(text):
    blocks = [code for language, code in FENCE.findall(text.read_text()) if language == "sh"]
    return [line for code in blocks for line in code.replace("\\\n", " ").splitlines()]


def commands(text):
    """What is typed: the words of each command of a text that runs one of our scripts."""
    found = []
    for line in shell_lines(text) + inline_code(text):
        if "experiments/" not in line and not re.match(r"\w+\.py --", line):
            continue
        words = iter(shlex.split(line, comments=True))
        while command := list(itertools.takewhile(lambda word: word != "&&", words)):
            command = list(itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), command))
            if command[0] == "python" and command[1].startswith("experiments/"):
                found.append((ROOT / command[1], command[2:]))
            elif command[0].endswith(".py"):
                found += [(path, command[1:]) for path in EXPERIMENTS.rglob(command[0])]
    return found


@pytest.fixture
def understood(monkeypatch):
    """(script, arguments) -> the class of the settings that the script reads, and what is wrong
    with the arguments; None for nothing."""

    class Read(BaseException):
        pass

    parse = flags.parse

    def read(config_class, argv, *, description):
        wrong = None
        try:
            parse(config_class, [x for x in argv if x != "--help"], description=description)
        except (ValueError, OSError) as error:
            wrong = error
        raise Read(config_class, wrong)

    def run(script, arguments):
        on_ctrl_c = signal.getsignal(signal.SIGINT)
        with monkeypatch.context() as patch:
            patch.setattr(flags, "parse", read)
            patch.setattr(sys, "argv", [str(script), *arguments])
            patch.syspath_prepend(script.parent)
            try:
                runpy.run_path(str(script), run_name="__main__")
            except Read as end:
                return end.args
            finally:
                signal.signal(signal.SIGINT, on_ctrl_c)

    return run


def anchors(text):
    """What GitHub calls the headings of a text."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {
        "".join(
            "-" if letter == " " else letter
            for letter in unicodedata.normalize("NFC", heading.lower())
            if letter in " -_" or letter.isalnum()
        )
        for heading in headings
    }


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("text", TEXTS, ids=name_of)
def test_links_lead_on(text):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (text.parent / path).resolve() if path else text
        assert there.is_relative_to(ROOT) and there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


@pytest.mark.parametrize("text", CURRENT, ids=name_of)
def test_scripts_are_there(text):
    for script in PYTHON_OF_SCRIPTS.findall(text.read_text()):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("text", CURRENT, ids=name_of)
def test_commands_are_understood(text, understood, monkeypatch, tmp_path):
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    jaxgan.MLPGANConfig().save(folder)
    monkeypatch.chdir(tmp_path)
    for script, arguments in commands(text):
        assert understood(script, arguments)[1] is None


def test_the_commands_are_found():
    found = {(script.name, *arguments) for text in CURRENT for script, arguments in commands(text)}
    assert {
        ("mnist_gan.py", "--devices", "all"),
        ("mnist_gan.py", "--eval-every", "5"),
        ("sample.py", "--workdir", "runs/my_gan"),
        ("benchmark.py", "--system", "dcgan", *"--rounds 3 --seconds 2 --nocompile".split()),
    } <= found


def test_flags_that_are_named_alone_are_flags(understood):
    typed = itertools.chain.from_iterable(map(commands, CURRENT))
    classes = {understood(script, arguments)[0] for script, arguments in typed}
    known = {flags.CONFIG, "--help", "--no-resume"}
    known |= {"--" + f.name.replace("_", "-") for c in classes for f in dataclasses.fields(c)}
    for text in CURRENT:
        for code in inline_code(text):
            if code.startswith("--"):
                named = set(re.findall(r"--[a-z][\w-]*", code))
                assert named <= known, (name_of(text), named - known)


def test_the_vietnamese_text_has_commands_of_the_english_ones():
    vietnamese = EXPERIMENTS / "README.vi.md"
    english = {line for text in CURRENT if text != vietnamese for line in shell_lines(text)}
    own = {"python experiments/mnist_gan.py --recipe textbook --workdir runs/textbook"}
    assert set(shell_lines(vietnamese)) <= english | own
