"""Mistakes on the command line of experiments/stargan.py."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--attributes", "hair", "wings"), "toon_faces has no attribute 'wings'"),
        (("--dataset", "mnist"), "--attributes is wanted: the names of the attributes of mnist"),
        (("--image-shape", 28, 28, 3), "both must be multiples of 32"),
        (("--end-size", 4), "--end-size must be an odd number from 1 to 31, not 4"),
    ],
)
def test_they_end_in_one_line_and_write_nothing(call_script, tmp_path, arguments, message):
    done = call_script("stargan.py", *arguments, "--workdir", "run")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("stargan.py: error: ")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
