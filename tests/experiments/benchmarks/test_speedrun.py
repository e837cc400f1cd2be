"""The speedrun: whose checkpoint is first good enough, and how it is told."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.systems.mlp_gan.networks import Generator

EXPERIMENTS = Path(__file__).parents[3] / "experiments" / "benchmarks"


@pytest.fixture(scope="module")
def speedrun():
    sys.path.insert(0, str(EXPERIMENTS))
    yield importlib.import_module("speedrun")
    sys.path.remove(str(EXPERIMENTS))


def test_the_first_checkpoint_that_is_good_enough_and_none_after_it_is_judged(speedrun):
    fids = {"1": 30.0, "2": 9.0, "3": 7.0, "4": 6.0}
    checkpoints = [speedrun.Checkpoint(name, 10.0 * int(name)) for name in fids]
    asked = []

    def fid(name):
        asked.append(name)
        return fids[name]

    judged = speedrun.judge(checkpoints, fid, 7.0)
    assert asked == ["1", "2", "3"]
    assert [x.fid for x in judged] == [30.0, 9.0, 7.0, None]
    assert speedrun.first_to_reach(judged, 7.0) == ("3", 30.0, 7.0)
    assert speedrun.first_to_reach(judged, 6.9) is None
    # What is known is not asked for again.
    known = [checkpoint._replace(fid=fids[checkpoint.name]) for checkpoint in checkpoints]
    assert speedrun.judge(known, fid, 7.0)[-1].fid == 6.0 and len(asked) == 3


def raced(speedrun, *, ours):
    theirs = [(50.0, 20.0), (100.0, 8.0), (150.0, 9.0)]
    return {
        "machine": "CPU",
        "date": "2026-01-01",
        "commit": "abc",
        "config": {"change": "new"},
        "target": 8.5,
        **{
            name: [speedrun.Checkpoint(str(i), *x)._asdict() for i, x in enumerate(values)]
            for name, values in (("tutorial", theirs), ("jaxgan", ours))
        },
    }


def test_a_record_has_both_times_and_their_ratio(speedrun):
    line = speedrun.record(raced(speedrun, ours=[(12.5, 9.0), (20.0, 5.0)]))
    assert line == ["2026-01-01", "abc", "new", "CPU", "8.50", "100.0", "20.0", "5.00"]
    assert len(line) == len(speedrun.HEADER)
    records = (EXPERIMENTS / "SPEEDRUN.md").read_text()
    assert f"| {' | '.join(speedrun.HEADER)} |" in records


def test_a_target_that_is_not_reached_has_no_ratio(speedrun):
    line = speedrun.record(raced(speedrun, ours=[(12.5, 9.0)]))
    assert line[-3:] == ["100.0", "not reached", ""]


def test_checkpoints_are_timed_when_they_appear(speedrun, tmp_path):
    script = (
        "import pathlib, sys, time\n"
        "for name in ('a', 'b'):\n"
        "    time.sleep(0.3)\n"
        "    pathlib.Path(sys.argv[1], name).touch()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    first, second = speedrun.run(
        command, lambda: sorted(x.name for x in tmp_path.iterdir()), tmp_path / "cache"
    )
    assert (first.name, second.name) == ("a", "b")
    assert first.seconds >= 0.3 and second.seconds - first.seconds >= 0.2
    with pytest.raises(OSError, match="failed, with exit code 3"):
        speedrun.run([sys.executable, "-c", "raise SystemExit(3)"], lambda: [], tmp_path / "cache")


def test_pytorchs_weights_make_the_same_images_here(speedrun, tmp_path):
    torch = pytest.importorskip("torch")
    torch_gan = importlib.import_module("torch_gan")
    network = torch_gan.make_generator()
    torch_gan.save_generator(tmp_path / "epoch_0001.npz", network)
    with np.load(tmp_path / "epoch_0001.npz") as arrays:
        variables = speedrun.from_pytorch(arrays)
    latents = np.random.default_rng(0).normal(size=(4, 100)).astype(np.float32)
    images = Generator().apply(variables, latents)
    with torch.no_grad():
        theirs = network(torch.from_numpy(latents))
    np.testing.assert_allclose(images.reshape(4, 784), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("--target", -1), "--target must be above 0"),
        (("--tutorial-epochs", 0), "--tutorial-epochs must be 1 or more, not 0"),
        (("--recipe", "book"), "unknown recipe 'book'"),
        (("--precision", "float8"), "--precision must be float32 or bfloat16"),
        (("--seed", -1), "--seed must be from 0"),
        (("--fast",), "unrecognized arguments: --fast"),
    ],
)
def test_bad_flags_end_in_one_line_and_write_nothing(speedrun, call_script, tmp_path, bad, message):
    done = call_script("speedrun.py", *bad)
    assert done.returncode == 2
    assert re.fullmatch(r"speedrun.py: error: .*\n", done.stderr) and message in done.stderr
    assert list(tmp_path.iterdir()) == []
