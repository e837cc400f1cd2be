import base64
import dataclasses
import html.parser
import json
import os
import re

import numpy as np
import pytest

from jaxgan.run import report
from jaxgan.run.config import RunConfig
from jaxgan.run.system import System
from jaxgan.run.workdir import Workdir
from jaxgan.systems.mlp_gan.config import MLPGANConfig
from jaxgan.systems.registry import load_config

CURVES = ("generator_loss", "discriminator_loss", "d_real", "d_fake", "d_accuracy")
SCORES = {"fid": 0.5, "kid": 0.001, "precision": 0.7, "recall": 0.6, "modes": 10.0}
EVALUATION = {
    "scores": {name: SCORES for name in ("samples", "held_out", "noise")},
    "num_samples": 10_000,
    "newest_checkpoint": 1872,
}


class Reader(html.parser.HTMLParser):
    """The words of a page, its pictures, and the addresses that it would go to."""

    def __init__(self, content):
        super().__init__()
        self.words, self.pictures, self.addresses, self.tags = [], [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "src" and value.startswith("data:image/png;base64,"):
                self.pictures.append(base64.b64decode(value.split(",")[1]))
            elif name in ("src", "href"):
                self.addresses.append(value)

    def handle_data(self, data):
        if self.lasttag != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def read(workdir):
    return Reader(report.write(workdir, load_config(workdir)).read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's work dir, of a relative name, with everything that training leaves."""
    monkeypatch.chdir(tmp_path)
    config = MLPGANConfig(workdir="runs/mine", seed=7, epochs=9, script="experiments/mnist_gan.py")
    workdir = Workdir("runs/mine", 3)
    workdir.open(config, 0)
    for epoch in range(9):
        workdir.draw_samples(epoch, epoch, np.full((4, 6, 6, 1), epoch / 255))
        workdir.log(epoch, epoch, dict.fromkeys(CURVES, 0.5))
    workdir.flush()
    workdir.draw_summary(System(config, ()))
    workdir.close()
    return workdir.path


def test_a_run_leaves_the_report_that_can_be_written_again(run):
    left = (run / "report.html").read_bytes()
    (run / "report.html").unlink()
    assert report.write(run, load_config(run)) == run / "report.html"
    assert (run / "report.html").read_bytes() == left


def test_it_holds_the_curves_and_samples_from_the_first_to_the_last(run):
    page = read(run)
    grids = [(run / "samples" / f"epoch_{n:04d}.png").read_bytes() for n in (0, 3, 5, 8)]
    assert page.pictures == [(run / "losses.png").read_bytes(), *grids]
    assert all(f"epoch {n} " in page.text for n in (0, 3, 5, 8)) and "epoch 4 " not in page.text
    assert page.addresses == [] and "script" not in page.tags


def test_it_says_what_the_run_was_and_how_to_repeat_it(run):
    text = read(run).text
    assert "A run of mlp_gan, 9 epochs, seed 7." in text
    command = "python experiments/mnist_gan.py --config runs/mine/config.json"
    assert f"{command} --workdir runs/mine_again" in text
    config = json.loads((run / "config.json").read_text())
    for name, value in config.items():
        if name not in ("system", "script"):
            shown = " ".join(map(str, value)) if isinstance(value, list) else value
            assert f"--{name.replace('_', '-')} {shown} " in text + " "
    for name, value in json.loads((run / "versions.json").read_text())[0].items():
        assert name == "from_step" or f"{name} {value}" in text


def test_a_run_of_no_script_says_what_to_give_the_script(run):
    dataclasses.replace(load_config(run), script=None).save(run)
    assert "The script that trained it, with --config runs/mine/config.json." in read(run).text


def test_scores_are_there_once_it_has_been_judged(run):
    assert "python experiments/evaluate.py --workdir runs/mine" in read(run).text
    (run / "evaluation.json").write_text(json.dumps(EVALUATION))
    page = read(run)
    assert "10,000 samples, at step 1,872." in page.text
    assert "FID, lower is better 0.5 0.5 0.5 KID" in page.text
    assert "experiments/evaluate.py" not in page.text


def test_a_trade_off_is_there_once_it_has_been_measured(run):
    scores = {"fid": 2.5, "precision": 0.75, "recall": 0.25}
    held = {"num_samples": 1500, "rows": [{"name": "0.5", "scores": scores}]}
    (run / "tradeoff.json").write_text(json.dumps(held))
    assert "1,500 samples" not in read(run).text  # Its picture is not there yet.
    (run / "tradeoff.png").write_bytes((run / "losses.png").read_bytes())
    text = read(run).text
    assert "1,500 samples of each truncation." in text and "0.5 2.5 0.75 0.25" in text
    (run / "tradeoff.json").write_text('{"rows": 3}')
    assert "tradeoff.json is no table" in read(run).text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"scores": 3}', "{" * 100_000])
def test_an_evaluation_that_is_none_is_said_to_be_none(run, content):
    (run / "evaluation.json").write_text(content)
    assert "evaluation.json is no evaluation" in read(run).text


def test_a_run_that_has_only_begun(tmp_path):
    MLPGANConfig().save(tmp_path)
    text = read(tmp_path).text
    assert "Nothing has been measured yet" in text and "Nothing has been drawn yet" in text


def test_several_versions_are_told_apart(run):
    versions = [{"from_step": 0, "jax": "0.1"}, {"from_step": 60, "jax": "0.2"}]
    (run / "versions.json").write_text(json.dumps(versions))
    assert "From step 0 on jax 0.1 From step 60 on jax 0.2" in read(run).text


def test_names_and_settings_are_escaped(tmp_path):
    workdir = tmp_path / "<script>alert(1)<"
    workdir.mkdir()

    @dataclasses.dataclass(frozen=True)
    class Own(RunConfig):
        words: tuple[str, ...] = ("&", '"')

    # The system's name has "<locals>" in it.
    config = Own(dataset="<b>x</b>", data_dir="</style><script>", script="<script>&.py")
    page = Reader(report.write(workdir, config).read_text(encoding="utf-8"))
    assert "<locals>" in page.text and "<b>x</b>" in page.text and '& "' in page.text
    assert "script" not in page.tags and "b" not in page.tags
    assert "<script>alert(1)<" in page.text and "</style><script>" in page.text


def test_there_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        read(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "[]", "\0", "{" * 100_000])
def test_a_damaged_configuration(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match="config.json cannot be used"):
        read(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", "config.json cannot be used: it has more than 1,048,576 bytes"),
        ("versions.json", "versions.json cannot be used: it has more than 1,048,576 bytes"),
        ("losses.png", "losses.png has more than 268,435,456 bytes"),
    ],
)
def test_files_without_end_are_not_read(tmp_path, name, said):
    MLPGANConfig().save(tmp_path)
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 2**40)
    with pytest.raises(ValueError, match=said):
        read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_pipes_in_the_place_of_files_do_not_hang(tmp_path):
    MLPGANConfig().save(tmp_path)
    for name in ("versions.json", "losses.png", "evaluation.json", "pairs.json"):
        os.mkfifo(tmp_path / name)
    assert "Nothing has been measured yet" in read(tmp_path).text
