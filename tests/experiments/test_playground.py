"""experiments/playground.py and experiments/report.py as a user runs them."""

import pytest
from small_run import save_run

from jaxgan.playground import page
from jaxgan.systems.mlp_gan.config import MLPGANConfig


@pytest.fixture
def trained(tmp_path):
    """A work dir with a checkpoint of small networks, trained for no steps, without a history."""
    config = MLPGANConfig(workdir="run", generator_widths=(16,), discriminator_widths=(16,))
    save_run(config, tmp_path / "run")
    return tmp_path / "run"


def test_the_page_of_a_run_in_its_work_dir_or_elsewhere(call_script, trained, monkeypatch):
    done = call_script("playground.py", "--workdir", "run")
    assert done.returncode == 0, done.stderr
    no_story, where = done.stdout.splitlines()
    assert no_story == "run has no metrics.csv and no samples/: the story is left out"
    assert where.startswith("run/playground.html (0.") and "open it in a browser" in where
    content = (trained / "playground.html").read_text(encoding="utf-8")
    assert content == page.assemble(page.of_run("run"))
    elsewhere = call_script("playground.py", "--workdir", "run", "--out", "new/page.html")
    assert elsewhere.returncode == 0 and "new/page.html" in elsewhere.stdout
    assert (trained.parent / "new" / "page.html").read_text(encoding="utf-8") == content


def test_without_a_run_it_is_the_pair_of_the_package(call_script, tmp_path):
    done = call_script("playground.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("playground.html (4.") and done.stdout.count("\n") == 1
    content = (tmp_path / "playground.html").read_text(encoding="utf-8")
    assert "<code>jaxgan.pretrained</code>" in content and len(content.encode()) < 5e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workdir", "elsewhere"), "there is no run in elsewhere"),
        (("--workdir", "run", "--out", "page.txt"), "--out must end in .html, not 'page.txt'"),
        (("--workdir", "run", "--out", "run/config.json/page.html"), "config.json"),
        (
            ("--workdir", "other"),
            "from noise and its discriminator; other is a run of pix2pix",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(call_script, trained, arguments, message):
    (trained.parent / "other").mkdir()
    (trained.parent / "other" / "config.json").write_text('{"experiment": "pix2pix"}')
    before = sorted(trained.parent.rglob("*"))
    done = call_script("playground.py", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("playground.py: error: ")
    assert message in done.stderr
    assert sorted(trained.parent.rglob("*")) == before


def test_a_report_of_a_run_and_of_none(call_script, trained):
    done = call_script("report.py", "--workdir", "run")
    assert (done.returncode, done.stdout) == (0, "run/report.html: open it in a browser\n")
    assert "mlp_gan" in (trained / "report.html").read_text(encoding="utf-8")
    done = call_script("report.py", "--workdir", "elsewhere")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("report.py: error: there is no run in elsewhere")
