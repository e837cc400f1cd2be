"""Files that give the attributes of a user's images: a CSV, StyleGAN's JSON, CelebA's list."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from jaxgan.data.classes import YES_OR_NO
from jaxgan.data.dataset import LABEL
from jaxgan.data.sources import normal, one_line

# The largest file of attributes that is read. CelebA's has 25 MB.
MOST_BYTES = 1 << 28
# What stands for no and yes in a column that holds nothing else.
_TRUTHS = ({"0": 0, "1": 1}, {"-1": 0, "1": 1}, {"no": 0, "yes": 1}, {"false": 0, "true": 1})
_DELIMITERS = ",;\t"


class Table(NamedTuple):
    """The attributes of images by the names of their files.

    Attributes:
        name: the file that says so.
        classes: the names of the classes of each attribute, by the attribute's name.
        codes: for each image file the class of each attribute, as an index into `classes`. A name
            may be a path by "/", and is as `sources.normal` gives it.
    """

    name: str
    classes: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, tuple[int, ...]]

    def key_of(self, path: str) -> str | None:
        """The name by which an image is in the table: its path, or the end of its path."""
        parts = PurePosixPath(normal(path)).parts
        ends = ("/".join(parts[i:]) for i in range(len(parts)))
        return next((end for end in ends if end in self.codes), None)


def read_table(path: str, content: bytes) -> Table | None:
    """Reads a file of attributes.

    Args:
        path: the file's path, whose name says of which kind it is.
        content: its bytes.

    Returns:
        The table; None if the file says that there are no attributes.

    Raises:
        ValueError: the file does not have its form. The message is one line, which names it.
    """
    name = PurePosixPath(path).name
    kinds: dict[str, Callable[[str], tuple[list[str], list[tuple[int, list[str]]]] | None]] = {
        ".csv": _read_csv,
        ".json": _read_json,
        ".txt": _read_celeba,
    }
    try:
        found = kinds[PurePosixPath(name).suffix](content.decode("utf-8-sig"))
        return None if found is None else _table(path, *found)
    except (ValueError, csv.Error, RecursionError) as error:
        why = " ".join(str(error).split())[:300]
        raise ValueError(f"{one_line(path)} gives no attributes: {why}") from error


def _table(path: str, names: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> Table:
    """Makes the table of rows of text.

    Args:
        path: the file's path.
        names: the names of the attributes.
        rows: for each image the number of its line, and the image's name and values.
    """
    if not names:
        raise ValueError("it has no column beside the names of the files")
    if "" in names or len({*names}) < len(names):
        raise ValueError(f"each attribute wants a name of its own: {', '.join(names)[:200]}")
    if not rows:
        raise ValueError("it has no rows")
    for line, row in rows:
        if len(row) != 1 + len(names):
            raise ValueError(f"line {line} has {len(row)} values, not {1 + len(names)}")
        if "" in row:
            raise ValueError(f"line {line} lacks {('the name', *names)[row.index('')]}")
    classes, columns = {}, []
    for i, attribute in enumerate(names, 1):
        values = [row[i] for _, row in rows]
        classes[attribute], numbers = _classes(attribute, {*values})
        columns.append([numbers[value] for value in values])
    codes: dict[str, tuple[int, ...]] = {}
    for (line, row), own in zip(rows, zip(*columns, strict=True), strict=True):
        image = normal(row[0].replace("\\", "/").removeprefix("./"))
        if image in codes:
            raise ValueError(f"line {line} names {one_line(image)} a second time")
        codes[image] = own
    return Table(path, classes, codes)


def _classes(attribute: str, values: set[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes of an attribute, and the number of the class of each of its values."""
    # The digits 0 and 1 may be all that a label has.
    for truth in _TRUTHS if attribute != LABEL else ():
        if {value.lower() for value in values} <= truth.keys():
            return YES_OR_NO, {value: truth[value.lower()] for value in values}
    try:
        ordered = sorted(values, key=lambda value: (int(value), value))
    except ValueError:
        ordered = sorted(values)
    return tuple(ordered), {value: i for i, value in enumerate(ordered)}


def _read_csv(text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    # What spreadsheets write depends on the country.
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = [(reader.line_num, [value.strip() for value in row]) for row in reader if row]
    if not rows:
        raise ValueError("it is empty")
    return rows[0][1][1:], rows[1:]


def _read_celeba(text: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    lines = [line.split() for line in text.splitlines()]
    if len(lines) < 2 or len(lines[0]) != 1 or not lines[0][0].isdecimal():
        raise ValueError(
            "it begins with the number of images and the names of the attributes, a line each"
        )
    rows = [(i, line) for i, line in enumerate(lines[2:], 3) if line]
    if len(rows) != int(lines[0][0]):
        raise ValueError(f"it says {lines[0][0]} images and has {len(rows)}")
    for line, row in rows:
        if wrong := {*row[1:]} - {"-1", "1"}:
            raise ValueError(f"line {line} has {min(wrong)!r}, not 1 or -1")
    return lines[1], rows


def _read_json(text: str) -> tuple[list[str], list[tuple[int, list[str]]]] | None:
    values = json.loads(text)
    labels = values.get("labels") if isinstance(values, dict) else values
    if isinstance(values, dict) and labels is None:
        return None
    if not isinstance(labels, list):
        raise ValueError('it has no list "labels"')
    rows = []
    for i, pair in enumerate(labels):
        match pair:
            case [str(name), int(label)] if label >= 0 and not isinstance(label, bool):
                rows.append((i, [name, str(label)]))
            case _:
                raise ValueError(
                    f'entry {i} of "labels" is not the name of a file and a whole number, 0 or more'
                )
    return [LABEL], rows
