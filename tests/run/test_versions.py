import importlib.metadata
import json
import os
import platform

import jax
import pytest

import jaxgan
from jaxgan.run.versions import FILE_NAME, record, recorded, versions

NOW = {"jax": "0.10.2", "devices": 2}
LATER = {"jax": "0.12.0", "devices": 2}


def held(path):
    return json.loads((path / FILE_NAME).read_text())


def test_versions_are_those_of_this_process():
    found = versions(jax.devices()[:2])
    assert found["python"] == platform.python_version()
    assert found["jaxgan"] == jaxgan.__version__
    assert (found["platform"], found["devices"]) == ("cpu", 2)
    for name in ("jax", "jaxlib", "flax", "optax", "numpy", "orbax-checkpoint"):
        assert found[name] == importlib.metadata.version(name)
    assert found["jax"] == jax.__version__
    assert found["prng"] == "threefry2x32"
    assert found["cores"] == len(os.sched_getaffinity(0))


def test_versions_tell_nothing_of_the_machines_name_or_its_user(tmp_path):
    text = json.dumps(versions(jax.devices()))
    assert platform.node() not in text
    assert "/" not in text


def test_a_new_run_records_what_it_begins_with(tmp_path):
    assert record(tmp_path, 0, NOW) == []
    assert held(tmp_path) == [{"from_step": 0, **NOW}]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_going_on_with_the_same_changes_nothing(tmp_path):
    record(tmp_path, 0, NOW)
    before = (tmp_path / FILE_NAME).read_bytes()
    assert record(tmp_path, 60, NOW) == []
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_change_is_said_and_recorded_with_its_step(tmp_path):
    record(tmp_path, 0, NOW)
    assert record(tmp_path, 60, LATER) == ["jax 0.10.2, now 0.12.0"]
    assert held(tmp_path) == [{"from_step": 0, **NOW}, {"from_step": 60, **LATER}]
    # It has been said.
    assert record(tmp_path, 120, LATER) == []
    assert record(tmp_path, 180, LATER | {"devices": 4}) == ["devices 2, now 4"]
    assert [entry["from_step"] for entry in held(tmp_path)] == [0, 60, 180]


@pytest.mark.parametrize("step", [60, 59])
def test_what_trained_steps_that_are_dropped_is_dropped_too(tmp_path, step):
    record(tmp_path, 0, NOW)
    record(tmp_path, 60, LATER)
    assert record(tmp_path, step, NOW) == []
    assert held(tmp_path) == [{"from_step": 0, **NOW}]


def test_a_run_that_recorded_nothing_so_far(tmp_path):
    assert record(tmp_path, 60, NOW) == []
    assert held(tmp_path) == [{"from_step": 60, **NOW}]


def test_another_version_may_record_other_things(tmp_path):
    record(tmp_path, 0, NOW)
    other = {"jax": "0.10.2", "colour": "red"}
    assert record(tmp_path, 60, other) == ["devices 2, now unknown", "colour unknown, now red"]


@pytest.mark.parametrize("content", ["", "{", "3", '{"jax": "1"}', "[{}]", '[{"from_step": "a"}]'])
def test_a_file_that_is_no_such_list_is_named_and_left(tmp_path, content):
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(ValueError, match="versions.json cannot be used .*: remove it") as error:
        record(tmp_path, 60, NOW)
    assert "\n" not in str(error.value)
    assert (tmp_path / FILE_NAME).read_text() == content


def test_a_process_may_be_confined_to_some_cores():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert versions(jax.devices())["cores"] == 1
    finally:
        os.sched_setaffinity(0, before)


def test_cores_are_counted_on_any_system(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity")
    assert versions(jax.devices())["cores"] == os.cpu_count()


def test_another_number_of_cores_is_said(tmp_path):
    record(tmp_path, 0, NOW | {"cores": 8})
    assert record(tmp_path, 60, NOW | {"cores": 1}) == ["cores 8, now 1"]


@pytest.mark.parametrize("name", ["cores", "prng"])
def test_what_an_older_file_does_not_have_has_not_changed(tmp_path, name):
    record(tmp_path, 0, NOW)
    assert recorded(tmp_path, name) is None
    assert record(tmp_path, 60, NOW | {name: 1}) == []
    assert recorded(tmp_path, name) == 1
    # On another platform the number of cores is not recorded.
    assert record(tmp_path, 120, LATER) == ["jax 0.10.2, now 0.12.0"]
    assert recorded(tmp_path / "none", name) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_in_its_place_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / FILE_NAME)
    with pytest.raises(ValueError, match="is no regular file.*: remove it"):
        record(tmp_path, 60, NOW)


def test_a_file_without_end_is_not_read(tmp_path):
    (tmp_path / FILE_NAME).touch()
    os.truncate(tmp_path / FILE_NAME, 2**40)
    with pytest.raises(ValueError, match="it has more than 1,048,576 bytes.*: remove it"):
        record(tmp_path, 60, NOW)
