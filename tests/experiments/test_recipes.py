"""The script that makes the README's tables, on runs that are there already."""

import json
import re
import runpy
from pathlib import Path

import pytest

from jaxgan.run import flags
from jaxgan.systems.mlp_gan.config import RECIPES, MLPGANConfig

SCRIPT = Path(__file__).parents[2] / "experiments" / "recipes.py"


@pytest.fixture
def small(tmp_path):
    """A work dir of each seed that looks trained and evaluated, with numbers that are known."""

    def make(name, seed, fid, seconds, shares):
        workdir = tmp_path / "runs" / "recipes" / name / f"seed_{seed}"
        workdir.mkdir(parents=True)
        recipe = name.split("_")[1]
        (workdir / "config.json").write_text(
            json.dumps({"experiment": "mnist_gan", "recipe": recipe, "epochs": 2})
        )
        (workdir / "seconds.json").write_text(json.dumps(seconds))
        (workdir / "metrics.csv").write_text("step,epoch\n1000,1.0\n2000,2.0\n")
        scores = {"fid": fid, "kid": 0.1, "precision": 0.5, "recall": 0.25, "modes": 10.0}
        evaluation = {
            "scores": {"samples": scores},
            "class_shares": {"samples": shares},
            "memorisation": {"features": {"copies": False}, "pixels": {"copies": seed == 9}},
        }
        (workdir / "evaluation.json").write_text(json.dumps(evaluation))

    return make


def rows(path):
    cells = [line.strip("|\n").split("|") for line in path.read_text().splitlines()]
    header, _, *body = [[cell.strip() for cell in line] for line in cells]
    return [dict(zip(header, line, strict=True)) for line in body]


def test_the_table_has_median_and_range_of_what_is_done(small, call_script, tmp_path):
    for seed, fid in enumerate((3.0, 1.0, 2.0)):
        seconds = None if seed == 0 else 60.0 * fid
        small("recipe_default", seed, fid, seconds, [0.08 + seed / 100, 0.1])
    done = call_script("recipes.py", "--seeds", 0, 1, 2, "--recipes", "default")
    assert done.returncode == 0, done.stderr
    (default,) = rows(tmp_path / "runs" / "recipes" / "table.md")
    assert default == {
        "command": "`mnist_gan.py --recipe default`",
        "epochs": "2",
        "examples": f"{2000 * RECIPES['default']['batch_size'] / 1e6:.2f} M",
        # The run that was stopped on the way is not counted.
        "minutes": "1.5 [1.0, 2.0]",
        "FID": "2.00 [1.00, 3.00]",
        "KID": "0.1000",
        "precision": "0.500",
        "recall": "0.250",
        "modes": "10",
        "classes": "8.0% to 10.0%",
        "copies": "none",
    }


def test_copies_are_seen(small, call_script, tmp_path):
    small("recipe_textbook", 9, 9.0, 120.0, [0.02, 0.2])
    done = call_script("recipes.py", "--seeds", 9, "--recipes", "textbook")
    assert done.returncode == 0, done.stderr
    (textbook,) = rows(tmp_path / "runs" / "recipes" / "table.md")
    assert textbook["copies"] == "seen" and textbook["FID"] == "9.00"


def test_an_ablation_takes_out_one_ingredient_at_a_time():
    module = runpy.run_path(str(SCRIPT))
    config = module["RecipesConfig"](ablate="default")
    whole, *others = module["variants"](config)
    assert whole == ["--recipe", "default"]
    taken_out = []
    for arguments in others:
        assert arguments[:2] == whole
        changed = flags.parse(MLPGANConfig, arguments, description="")
        differences = MLPGANConfig(recipe="default").differences(changed)
        named = {difference.split()[0] for difference in differences}
        assert named == set(arguments[2::2])
        for name in named:
            name = name.removeprefix("--").replace("-", "_")
            assert getattr(changed, name) == RECIPES["textbook"][name]
        taken_out += named
    # Each once, and in the end all of it. When the rates begin to fall says nothing if they do not.
    textbook = dict.fromkeys(RECIPES["textbook"]) | {"recipe": "textbook"}
    differences = MLPGANConfig(recipe="default").differences(MLPGANConfig(**textbook))
    everything = {difference.split()[0] for difference in differences}
    assert sorted(taken_out) == sorted(everything - {"--recipe", "--decay-after-kimg"})


@pytest.mark.parametrize("bad", [("--recipes", "book"), ("--ablate", "book")])
def test_an_unknown_recipe_ends_in_one_line_and_writes_nothing(call_script, tmp_path, bad):
    done = call_script("recipes.py", *bad)
    assert done.returncode == 2
    assert re.fullmatch(r"recipes.py: error: unknown recipe 'book': .*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []
