import errno
import fcntl
import os

import pytest

from jaxgan.files import writing


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.parametrize("name", ["metrics.csv", "config.json", "a.b.png"])
def test_a_file_is_there_only_once_it_is_whole(tmp_path, name):
    path = tmp_path / name
    with writing.written_whole(path) as beside:
        # On the same disk, or renaming would be copying; and with the ending that writers go by.
        assert beside.parent == path.parent
        assert beside.suffix == path.suffix
        assert writing.PARTIAL in beside.name
        beside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(tmp_path) == [name]


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with open(path) as reader:
        with writing.written_whole(path) as beside:
            beside.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        # Replaced, not written over: who was reading the old one reads it to its end.
        assert reader.read() == "old"


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", ["old", None])
def test_a_writer_that_fails_changes_nothing(tmp_path, error, old):
    path = tmp_path / "x.txt"
    if old:
        path.write_text(old)
    with pytest.raises(error), writing.written_whole(path) as beside:
        beside.write_text("half")
        raise error
    assert names(tmp_path) == (["x.txt"] if old else [])
    if old:
        assert path.read_text() == old


def test_what_cannot_be_written_is_named_and_the_old_file_is_as_it_was(tmp_path, no_file_above):
    path = tmp_path / "x.txt"
    path.write_text("old")
    with no_file_above(10), pytest.raises(OSError, match="File too large: .*x.txt") as raised:
        with writing.written_whole(path) as beside:
            beside.write_text("new" * 1000)
    assert raised.value.filename == str(path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_a_rename_that_fails_leaves_no_temporary(tmp_path):
    path = tmp_path / "x"
    path.mkdir()
    with pytest.raises(OSError), writing.written_whole(path) as beside:
        beside.write_text("new")
    assert names(tmp_path) == ["x"]


def test_a_folder_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(OSError), writing.written_whole(tmp_path / "none" / "x.txt") as beside:
        beside.write_text("new")
    assert names(tmp_path) == []


def test_what_is_written_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    # Else a crash of the machine could leave an empty file under the final name.
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (order.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda *args: (order.append("replace"), replace(*args)))
    with writing.written_whole(tmp_path / "x.txt") as beside:
        beside.write_text("new")
    assert order == ["fsync", "replace"]


def test_remove_partial_removes_what_killed_writers_left_and_nothing_else(tmp_path):
    below = tmp_path / "downloads"
    below.mkdir()
    kept = [
        *("grid.png", ".hidden", "notes.partial.txt", "impartial.txt", ".impartial"),
        *(".film.partial.mkv", ".film.partial-0123abcd.mkv", ".grid.partial-12.png"),
    ]
    for directory in (tmp_path, below):
        for name in kept:
            (directory / name).write_text("kept")
        # As a writer that is killed leaves it, of this version and of the first.
        writing.written_whole(directory / "grid.png").__enter__().write_text("half")
        (directory / ".grid.partial.png").write_text("half")
        assert len(names(directory)) == len(kept) + 2 + (directory == tmp_path)
    writing.remove_partial(tmp_path, {"grid.png"}.__contains__)
    assert names(tmp_path) == sorted([*kept, "downloads"])
    assert len(names(below)) == len(kept) + 2


def test_remove_partial_of_nothing(tmp_path):
    writing.remove_partial(tmp_path / "none", lambda name: True)
    assert names(tmp_path) == []


def test_several_writers_of_one_file_leave_one_of_their_files_whole(tmp_path):
    path = tmp_path / "grid.png"
    with writing.written_whole(path) as first, writing.written_whole(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert names(tmp_path) == ["grid.png"] and path.read_text() == "first"


def test_nothing_is_synchronised_that_is_open_for_reading_alone(tmp_path, monkeypatch):
    """Windows refuses it."""

    def only_of_writers(descriptor):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        synchronised.append(descriptor)

    synchronised = []
    monkeypatch.setattr("os.fsync", only_of_writers)
    with writing.written_whole(tmp_path / "x.txt") as beside:
        beside.write_text("new")
    assert (tmp_path / "x.txt").read_text() == "new"
    assert len(synchronised) == 1
