"""metrics.csv: the table of a run's metrics, which other programs may edit while the run trains."""

import contextlib
import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from jaxgan.files.reading import open_regular
from jaxgan.files.writing import naming, written_whole

STEP, EPOCH = "step", "epoch"


class Table:
    """The table of a run's metrics: a row for each piece of an epoch, a column for each metric.

    An editor that saves the file may put another file in its place, or write an old copy over it.
    The rows of the run that the file then lacks are added again.
    """

    def __init__(self, path: Path, say: Callable[[str], None]):
        """Names the file, which the first row makes.

        Args:
            path: the file.
            say: called with one line if the file is damaged while the run trains.
        """
        self.path = path
        self._say = say
        self._columns: list[str] = []
        # All rows of the run, to add those that an editor has lost.
        self._rows: list[list[str]] = []
        self._file: TextIO | None = None
        self._size = 0

    def keep_rows_until(self, last_step: int) -> None:
        """Removes the rows after a step, and a row that a killed process has left incomplete.

        Raises:
            OSError: the file cannot be read or written.
            ValueError: the file is no table of metrics; it is unchanged.
        """
        if not self.path.exists():
            return
        # A process that is killed while it writes leaves an incomplete row. Such a row is after
        # `last_step`, because `sync` puts the rows on disk before a checkpoint is saved.
        self._columns, rows = _read(self.path)
        self._rows = [row for row in rows if _step(row) <= last_step]
        if self._rows:
            self._write_whole()
        else:
            self.path.unlink()

    def measured(self, name: str) -> list[tuple[float, float]]:
        """The values of a metric in the rows of this run so far.

        They are those that were added, whatever an editor does to the file meanwhile.

        Args:
            name: of the metric.

        Returns:
            (the value, the epoch that its row ends at) of each row that has the metric.
        """
        if not {name, EPOCH} <= set(self._columns):
            return []
        at, epoch = self._columns.index(name), self._columns.index(EPOCH)
        found = []
        for row in self._rows:
            # A cell may be empty, or edited before the run went on.
            with contextlib.suppress(ValueError):
                found.append((float(row[at]), float(row[epoch])))
        return found

    def after(self, step: int) -> dict[str, np.ndarray]:
        """The metrics in the rows of this run after a step, whatever an editor does to the file.

        Returns:
            float64 [rows] by name, the oldest first; NaN where a row lacks the metric.
        """
        first = len(self._rows)
        while first and _step(self._rows[first - 1]) > step:
            first -= 1
        columns = zip(*self._rows[first:], strict=True)
        found = {}
        for name, cells in zip(self._columns, columns, strict=False):
            # A cell may have been edited before the run went on.
            with contextlib.suppress(ValueError):
                found[name] = np.array([float(cell or "nan") for cell in cells])
        return found

    def add(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Adds a row.

        Args:
            step: the step of the run that the row ends at.
            epoch: the epochs that are complete at this step.
            metrics: the values by name; NaN leaves a cell empty. New names become new columns,
                empty in the rows before.

        Raises:
            OSError: the file cannot be written.
        """
        with naming(self.path):
            self._open()
            if new := [x for x in (STEP, EPOCH, *metrics) if x not in self._columns]:
                self._columns = [*self._columns, *new]
                self._rows = [row + [""] * len(new) for row in self._rows]
                self._write_whole()
                self._open()
            values = {STEP: step, EPOCH: epoch}
            values |= {name: float(x) for name, x in metrics.items() if not np.isnan(x)}
            row = [str(values.get(name, "")) for name in self._columns]
            self._append([row])
            self._rows.append(row)

    def sync(self) -> None:
        """Forces all rows onto the disk. A checkpoint may be saved only after the rows before it.

        Raises:
            OSError: the rows cannot be written.
        """
        if self._file is None:
            return
        with naming(self.path):
            self._open()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file.

        Raises:
            OSError: the file cannot be written.
        """
        if self._file is not None:
            file, self._file = self._file, None
            with naming(self.path):
                file.close()

    def _open(self) -> None:
        """Opens the file for more rows, after adding rows that are not in it."""
        if self._file is not None:
            if self._is_as_left():
                return
            self._file.close()
            self._file = None
            self._add_missing()
        self._file = open(self.path, "a", newline="", encoding="utf-8")
        self._size = os.fstat(self._file.fileno()).st_size

    def _is_as_left(self) -> bool:
        assert self._file is not None
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(self.path)
            own = os.fstat(self._file.fileno())
            return os.path.samestat(there, own) and there.st_size == self._size
        return False

    def _add_missing(self) -> None:
        try:
            columns, rows = _read(self.path) if self.path.exists() else (self._columns, [])
        except ValueError as error:
            aside = self.path.with_name(f"{self.path.stem}.damaged{self.path.suffix}")
            self._say(f"{error}: set aside as {aside.name}, and the run's rows are written again")
            os.replace(self.path, aside)
        else:
            last = max(map(_step, rows), default=-1)
            missing = [dict(zip(self._columns, row, strict=True)) for row in self._rows]
            missing = [row for row in missing if _step([row[STEP]]) > last]
            self._columns = columns + [name for name in self._columns if name not in columns]
            self._rows = [row + [""] * (len(self._columns) - len(row)) for row in rows]
            self._rows += [[row.get(name, "") for name in self._columns] for row in missing]
        self._write_whole()

    def _write_whole(self) -> None:
        if self._file is not None:  # Windows replaces no open file.
            self._file.close()
            self._file = None
        with (
            written_whole(self.path) as beside,
            open(beside, "w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows([self._columns, *self._rows])

    def _append(self, rows: Sequence[Sequence[str]]) -> None:
        assert self._file is not None
        csv.writer(self._file).writerows(rows)
        self._file.flush()
        self._size = os.fstat(self._file.fileno()).st_size


def read(path: Path) -> list[dict[str, float]]:
    """The rows of a table, as numbers by column; a metric that was not measured is left out.

    Returns:
        The rows in the order of the file; [] if there is no file.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is no table of metrics, or no regular file.
    """
    if not path.exists():
        return []
    columns, rows = _read(path)
    numbers = []
    for row in rows:
        cells = {name: text for name, text in zip(columns, row, strict=True) if text}
        try:
            numbers.append({name: float(text) for name, text in cells.items()})
        except ValueError as error:
            raise ValueError(f"{path}, step {row[0]}: {error}") from error
    return numbers


def _step(row: Sequence[str]) -> int:
    return int(float(row[0]))


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names of a table's columns, and its whole rows, of which the first cell is a step."""
    rows: list[list[str]] = []
    with io.TextIOWrapper(open_regular(path), newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            columns = next(reader, [])
            if columns[:2] != [STEP, EPOCH] or len(set(columns)) < len(columns):
                raise ValueError(f"its first line is not {STEP},{EPOCH} and names of metrics")
            for row in reader:
                if len(row) == len(columns):
                    if not float(row[0]).is_integer():
                        raise ValueError(f"{row[0][:40]!r} is no step")
                    rows.append(row)
        except (ValueError, OverflowError, csv.Error) as error:
            raise ValueError(
                f"{path}, line {reader.line_num} is not as a run writes it ({error}): mend it, or "
                "remove the file, which drops the rows before"
            ) from error
    return columns, rows
