"""metrics.csv, with editors and spreadsheets at work on it."""

import csv
import os
import subprocess

import numpy as np
import pytest
from mutations import assert_one_line

from jaxgan.run import table
from jaxgan.run.table import Table


@pytest.fixture
def said():
    return []


@pytest.fixture
def opened(tmp_path, said):
    rows = Table(tmp_path / "metrics.csv", said.append)
    yield rows
    rows.close()


def log(rows, *steps):
    for step in steps:
        rows.add(step, step / 10, {"loss": 1 / (step + 1), "seldom": np.nan if step % 2 else 0.5})


def steps_on_disk(path):
    with open(path, newline="") as file:
        return [row["step"] for row in csv.DictReader(file)]


def in_place(path, text):
    with open(path, "w") as file:
        file.write(text)


def by_another_file(path, text):
    beside = path.with_name("other")
    beside.write_text(text)
    os.replace(beside, path)


@pytest.mark.parametrize("save", [in_place, by_another_file])
def test_rows_that_an_editor_loses_are_added_again(opened, said, save):
    log(opened, 1, 2)
    as_read = opened.path.read_text()
    log(opened, 3, 4)
    save(opened.path, as_read.replace("0.5", "0.75"))
    log(opened, 5)
    opened.sync()
    assert steps_on_disk(opened.path) == ["1", "2", "3", "4", "5"]
    # What the editor changed stays.
    assert [row.get("seldom") for row in table.read(opened.path)] == [None, 0.75, None, 0.5, None]
    assert said == []


def test_what_was_measured_and_when(opened):
    assert opened.measured("seldom") == []
    log(opened, 1, 2, 3, 4)
    assert opened.measured("seldom") == [(0.5, 0.2), (0.5, 0.4)]
    assert opened.measured("never") == []
    opened.close()
    in_place(opened.path, opened.path.read_text().replace("0.4", "soon"))
    again = Table(opened.path, print)
    again.keep_rows_until(4)
    assert again.measured("seldom") == [(0.5, 0.2)]


def test_sed_loses_no_row(opened):
    log(opened, *range(20))
    subprocess.run(["sed", "-i", "s/loss/error/", opened.path], check=True)
    log(opened, *range(20, 40))
    opened.sync()
    rows = table.read(opened.path)
    assert [row["step"] for row in rows] == list(range(40))
    # The renamed column stays, and the run's own goes on beside it.
    assert rows[3]["error"] == 0.25 and rows[39]["loss"] == 0.025


def test_a_file_that_is_lost_or_damaged_meanwhile_is_written_again(opened, said):
    log(opened, 1, 2)
    opened.path.unlink()
    log(opened, 3)
    assert steps_on_disk(opened.path) == ["1", "2", "3"] and said == []
    in_place(opened.path, "not a table\n1\n")
    opened.sync()
    assert steps_on_disk(opened.path) == ["1", "2", "3"]
    (line,) = said
    assert f"{opened.path}, line 1 is not as a run writes it" in line
    assert "set aside as metrics.damaged.csv" in line
    assert (opened.path.parent / "metrics.damaged.csv").read_text() == "not a table\n1\n"


def test_steps_of_a_spreadsheet_are_steps(opened, said):
    opened.path.write_text("step,epoch,loss\n1.0,0.1,3\n2.0,0.2,2\n3.0,0.3,1\n")
    opened.keep_rows_until(2)
    opened.add(3, 0.3, {"loss": 0.5})
    assert [row["step"] for row in table.read(opened.path)] == [1, 2, 3]
    assert [row["loss"] for row in table.read(opened.path)] == [3, 2, 0.5]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("step,epoch,loss\n1,0.1,2\none,0.2,2\n", "line 3 is not .*'one'"),
        ("step,epoch,loss\n1.5,0.1,2\n", "line 2 is not .*'1.5' is no step"),
        ("step,epoch,loss\ninf,0.1,2\n", "line 2 is not "),
        ("step;epoch;loss\n1;0,1;2\n", "line 1 is not .*its first line is not step,epoch and"),
        (f"step,epoch,loss\n1,0.1,{'9' * 200_000}\n", "line 2 is not .*field"),
        ("", "line 0 is not "),
        ("step,epoch,loss\n1,0.1,\x00\n\xe9", "is not "),
    ],
)
def test_a_file_that_is_no_table_is_named_and_stays(opened, text, why):
    opened.path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=why) as raised:
        opened.keep_rows_until(5)
        table.read(opened.path)
    assert_one_line(raised.value, str(opened.path), "mend it, or remove the file")
    assert opened.path.read_text(encoding="latin-1") == text


def test_a_word_for_a_number_is_named(opened):
    opened.path.write_text("step,epoch,loss\n7,0.1,high\n")
    with pytest.raises(ValueError, match="step 7: could not convert string to float: 'high'"):
        table.read(opened.path)


def test_a_pipe_in_its_place_does_not_hang(opened):
    os.mkfifo(opened.path)
    for read in (lambda: opened.keep_rows_until(5), lambda: table.read(opened.path)):
        with pytest.raises(ValueError, match="metrics.csv is no regular file"):
            read()


def test_the_metrics_after_a_step(opened, tmp_path):
    assert opened.after(0) == {}
    log(opened, 1, 2, 3)
    found = opened.after(1)
    np.testing.assert_array_equal(found["step"], [2, 3])
    np.testing.assert_allclose(found["loss"], [1 / 3, 1 / 4])
    np.testing.assert_array_equal(found["seldom"], [0.5, np.nan])
    assert opened.after(3) == {} and len(opened.after(-1)["loss"]) == 3
    opened.close()
    # A run that goes on knows its rows, but for a metric that an editor has damaged.
    opened.path.write_text(opened.path.read_text().replace("0.5\n", "half\n"))
    again = Table(opened.path, lambda line: None)
    again.keep_rows_until(2)
    assert again.after(0).keys() == {"step", "epoch", "loss"}
