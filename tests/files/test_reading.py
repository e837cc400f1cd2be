"""Files that may be hostile: regular ones alone, bounded by what they have on disk."""

import json
import os

import pytest

from jaxgan.files import reading

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")


def sparse(path, size, data=b""):
    path.write_bytes(data)
    os.truncate(path, size)
    return path


def test_a_file_is_read_up_to_its_bound(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert reading.read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(ValueError, match="a has more than 4 bytes"):
        reading.read_bytes(tmp_path / "a", 4)
    with pytest.raises(ValueError, match="a has more than 4 bytes"):
        reading.read_bytes(sparse(tmp_path / "a", 2**40), 4)


@needs_pipes
def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link", ".", "/dev/zero"):
        with pytest.raises(ValueError, match="is no regular file"):
            reading.read_bytes(tmp_path / name, 10)


@needs_pipes
def test_a_pipe_that_takes_the_place_of_a_file_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(reading, "check_regular", lambda path: None)
    with pytest.raises(ValueError, match="is no regular file"):
        reading.read_bytes(tmp_path / "pipe", 10)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        reading.read_bytes(tmp_path / "a", 5)
    assert error.value.filename == str(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "not a JSON object"),
        (b"{", "Expecting property name"),
        (b"\xff", "codec can't decode"),
        (b"[" * 100_000, "recursion"),
        (b" " * 101, "it has more than 100 bytes"),
    ],
)
def test_what_is_no_json_is_refused_in_one_line(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    most = 100 if said.startswith("it has") else 1 << 20
    with pytest.raises(ValueError) as error:
        reading.read_json(tmp_path / "a.json", dict, most)
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'a.json'} cannot be used: ") and "\n" not in line
    assert said in line and len(line) < 1000


def test_json_is_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"é": [1]}))
    assert reading.read_json(tmp_path / "a.json", dict) == {"é": [1]}


def test_the_bytes_that_a_file_has_on_disk(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10_000)
    assert reading.held_bytes(tmp_path / "a") == 10_000
    assert reading.held_bytes(sparse(tmp_path / "b", 3 << 30)) < 1 << 20
    assert 10_000 <= reading.held_bytes(sparse(tmp_path / "c", 3 << 30, b"x" * 10_000)) < 1 << 20


def test_a_platform_that_counts_no_blocks_gives_the_size(tmp_path, monkeypatch):
    class Status:
        st_size = 123

    monkeypatch.setattr(reading, "check_regular", lambda path: Status())
    assert reading.held_bytes(tmp_path / "a") == 123


def test_a_disk_that_counts_blocks_late_is_asked_for_holes(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x" * 10_000)

    class Status:
        st_size, st_blocks = 10_000, 0

    monkeypatch.setattr(reading, "check_regular", lambda path: Status())
    assert reading.held_bytes(tmp_path / "a") == 10_000


def test_what_files_may_claim():
    reading.check_claim(64 << 20, 0)
    reading.check_claim(64 * 10**9, 10**9)
    with pytest.raises(ValueError, match="its 840,000 bytes claim to be 1,600,000,000"):
        reading.check_claim(1_600_000_000, 840_000)
