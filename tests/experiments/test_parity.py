"""experiments/parity.py: its lines, its exit codes, the files that it reads."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jaxgan.run import torch_files
from jaxgan.systems import registry
from jaxgan.systems.reference import Case, Compared

SCRIPT = Path(__file__).parents[2] / "experiments" / "parity.py"
OURS = np.array([1.0, 2.0, 0.0])


@pytest.fixture(scope="module")
def script():
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


@pytest.fixture
def case(tmp_path, monkeypatch):
    """A folder with a case of a system that a test makes up; what the case was read as."""
    seen = []

    def compared(case):
        seen.append(case)
        yield Compared("outputs", OURS, absolute=1e-4)
        yield Compared("losses", np.float64(3), relative=1e-5)
        yield Compared("left_out_of_the_case", OURS)

    made_up = SimpleNamespace(
        compared=compared, why_not_compared={"inputs": "an input", "meta.n": "a setting"}.get
    )
    monkeypatch.setattr(registry, "find_reference", lambda name: made_up)
    monkeypatch.setattr(torch_files, "read", lambda path: {"G": {"a": np.ones(2)}})
    folder = tmp_path / "case"
    folder.mkdir()
    (folder / "weights.pt").touch()
    return folder, seen


def save(folder, **arrays):
    np.savez(folder / "case.npz", **{"outputs": OURS, "losses": np.float64(3)} | arrays)


def parity(call_script, folder):
    return call_script("parity.py", "--system", "made_up", "--case", folder)


def test_a_line_for_each_array(call_script, case):
    folder, seen = case
    save(folder, inputs=OURS, losses=np.float64(3 + 1e-5), **{"meta.n": np.array(3)})
    np.savez(folder / "steps.npz", z=OURS)
    (folder / "case.json").write_text(json.dumps({"width": 3}))
    (folder / "steps.npz").unlink()
    done = parity(call_script, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "outputs: 0.0e+00 absolute, 0.0e+00 relative, of 1e-04 ok",
        "losses: 1.0e-05 absolute, 3.3e-06 relative, of 1e-05 relative ok",
        "inputs: not compared, an input",
        "meta.n: not compared, a setting",
        "4 arrays, 0 of them NOT ok",
    ]
    assert seen[0].settings == {"case": {"width": 3}}
    assert seen[0].states["weights"]["G"]["a"].shape == (2,)


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"outputs": OURS + 2e-4}, "outputs: 2.0e-04 absolute, 1.0e+00 relative, of 1e-04 NOT"),
        ({"outputs": OURS * np.nan}, "outputs: nan absolute, nan relative, of 1e-04 NOT"),
        ({"outputs": OURS[:2]}, "outputs: the shape (3,), not (2,) NOT"),
        ({"losses": np.float64(3.001)}, "relative, of 1e-05 relative NOT"),
        ({"unknown": OURS}, "unknown: not compared, nothing is known of it NOT"),
    ],
)
def test_what_is_not_equal(call_script, case, arrays, line):
    folder, _ = case
    save(folder, **arrays)
    done = parity(call_script, folder)
    assert done.returncode == 1
    assert line in done.stdout and "1 of them NOT ok" in done.stdout


def test_other_files_of_a_case(script, tmp_path, monkeypatch):
    np.savez(tmp_path / "case.npz", a=OURS)
    np.savez(tmp_path / "steps.npz", a=2 * OURS)
    held = {"weights": {"G": {"x.w": OURS}}, "after": {"G": {"x.w": 3 * OURS}}}
    monkeypatch.setattr(torch_files, "read", lambda path: held[path.stem])
    for stem in held:
        (tmp_path / f"{stem}.pt").touch()
    given = script.read_case(tmp_path)
    assert isinstance(given, Case) and given.states == held
    # What the reference came to is compared, what it started from is not.
    assert given.arrays.keys() == {"a", "steps/a", "after/G/x.w"}
    np.testing.assert_array_equal(given.arrays["steps/a"], 2 * given.arrays["a"])
    np.testing.assert_array_equal(given.arrays["after/G/x.w"], 3 * OURS)


def test_numbers_that_there_are_not(script):
    ours, theirs = np.array([1, np.nan, 3]), np.array([1, np.nan, 3])
    assert script.judged(Compared("losses", ours, absolute=1e-4), theirs)[0]
    for wrong in (np.array([1, 2, 3]), np.array([np.nan, np.nan, 3])):
        assert not script.judged(Compared("losses", wrong, absolute=1e-4), theirs)[0]


@pytest.mark.parametrize(("wrong", "agrees"), [(0, True), (2, True), (3, False)])
def test_a_share_of_the_numbers_may_differ(script, wrong, agrees):
    theirs = np.zeros(100)
    ours = np.where(np.arange(100) < wrong, 1.0, 0.0)
    found, line = script.judged(Compared("w", ours, absolute=1e-4, exceptions=0.02), theirs)
    assert found == agrees and "of 1e-04 but for 2% of the numbers or one" in line
    # Of a small array one number may.
    ours = np.where(np.arange(4) < min(wrong, 2), 1.0, 0.0)
    its = Compared("b", ours, absolute=1e-4, exceptions=0.02)
    assert script.judged(its, np.zeros(4))[0] == (wrong < 2)


def test_what_is_no_case_ends_in_one_line(call_script, case, monkeypatch):
    folder, _ = case
    assert_refused(parity(call_script, folder), "has no .npz: give a folder of a parity case")
    (folder / "case.npz").write_text("numbers, please\n")
    assert_refused(parity(call_script, folder), "case.npz is no .npz of plain arrays")
    np.savez(folder / "case.npz", a=np.array([{}], object))
    assert_refused(parity(call_script, folder), "case.npz is no .npz of plain arrays")
    assert_refused(call_script("parity.py"), "--system NAME --case DIR")
    monkeypatch.undo()


def test_systems_and_networks_that_are_not_there(call_script, tmp_path, monkeypatch):
    refused = call_script("parity.py", "--system", "stylegan9", "--case", tmp_path)
    assert_refused(refused, "'stylegan9' has no reference: one of ")
    np.savez(tmp_path / "case.npz", a=OURS)
    refused = call_script("parity.py", "--system", "dcgan", "--case", tmp_path)
    assert_refused(refused, "has no 'stride'")
    (tmp_path / "weights.pt").touch()
    monkeypatch.setitem(sys.modules, "torch", None)
    refused = call_script("parity.py", "--system", "dcgan", "--case", tmp_path)
    assert_refused(refused, "weights.pt wants PyTorch, which is not installed")


def assert_refused(done, message):
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("parity.py: error: ")
    assert message in done.stderr
