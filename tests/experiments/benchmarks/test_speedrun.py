"""The speedrun: whose checkpoint is first good enough, and how it is told."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
import speedrun

from jaxgan.systems.mlp_gan.networks import Generator


def test_the_first_checkpoint_that_is_good_enough_and_none_after_it_is_judged():
    fids, asked = {"1": 30.0, "2": 9.0, "3": 7.0, "4": 6.0}, []
    seconds = {name: 10.0 * int(name) for name in fids}

    def fid(name):
        asked.append(name)
        return fids[name]

    assert speedrun.first_to_reach(seconds, fid, 7.0) == 30.0
    assert list(dict.fromkeys(asked)) == ["1", "2", "3"]
    assert speedrun.first_to_reach(seconds, fid, 5.9) is None


def test_a_record_has_both_times_and_their_ratio():
    line = speedrun.record("new", "CPU", 8.5, 100.0, 20.0)
    assert line[0] == time.strftime("%Y-%m-%d")
    assert line[2:] == ["new", "CPU", "8.50", "100.0", "20.0", "5.00"]
    assert len(line) == len(speedrun.HEADER)
    records = (Path(speedrun.__file__).parent / "SPEEDRUN.md").read_text()
    assert f"| {' | '.join(speedrun.HEADER)} |" in records
    # What is not reached has no ratio.
    assert speedrun.record("new", "CPU", 8.5, 100.0, None)[-3:] == ["100.0", "not reached", ""]


def test_pytorchs_weights_make_the_same_images_here():
    torch = pytest.importorskip("torch")
    import torch_gans

    network = torch_gans.MLPGAN().generator
    arrays = {name: x.numpy() for name, x in network.state_dict().items()}
    latents = np.random.default_rng(0).normal(size=(4, 100)).astype(np.float32)
    images = Generator().apply(speedrun.from_pytorch(arrays), latents)
    with torch.no_grad():
        theirs = network(torch.from_numpy(latents))
    np.testing.assert_allclose(images.reshape(4, 784), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (("--tutorial-epochs", 0), "--tutorial-epochs must be 1 or more, not 0"),
        (("--epochs", 0), "--epochs must be 1 or more, not 0"),
        (("--seed", -1), "--seed must be from 0"),
        (("--fast",), "unrecognized arguments: --fast"),
    ],
)
def test_bad_flags_end_in_one_line_and_write_nothing(call_script, tmp_path, bad, message):
    done = call_script("benchmarks/speedrun.py", *bad)
    assert done.returncode == 2
    assert re.fullmatch(r"speedrun.py: error: .*\n", done.stderr) and message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_short_race_prints_its_record(run_script):
    pytest.importorskip("torch")
    arguments = ("--tutorial-epochs", 1, "--epochs", 2, "--change", "a test")
    done = run_script("benchmarks/speedrun.py", *arguments)
    assert done.returncode == 0, done.stderr
    line = done.stdout.strip().split("\n")[-1]
    seconds = r"(\d+\.\d)"
    pattern = rf"\| .* \| a test \| .* \| (\d+\.\d\d) \| {seconds} \| {seconds} \| (\d+\.\d\d) \|"
    fid, theirs, ours, ratio = map(float, re.fullmatch(pattern, line).groups())
    assert 1 < fid < 1000 and ratio == pytest.approx(theirs / ours, abs=0.1)
    # Each checkpoint that is judged is told of.
    assert re.search(rf"^epoch_0001.npz: FID {fid:.2f} after", done.stderr, re.M)
