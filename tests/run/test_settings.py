"""A setting stands once, at its field: its default, its range, and what a run may change."""

import dataclasses
import math
import re

import pytest

from jaxgan.run import settings
from jaxgan.run.settings import (
    MOST_COUNT,
    count,
    counts,
    local_path,
    rate,
    setting,
    share,
    weight,
)

NO_NUMBERS = [math.nan, math.inf, -math.inf]


@dataclasses.dataclass(frozen=True)
class Paintings:
    """Something that can be told a little."""

    pigments: int = setting(3, count(2))
    """How many colours to paint with."""
    widths: tuple[int, ...] = setting((4, 5), counts)
    """Of the brushes."""
    gloss: float | None = setting(None, share())
    """How much of the light comes back; None: the varnish decides."""
    folder: str = setting("here", may_change=True)
    """Where they are put."""
    hurry: bool = setting(False, of_command=True)
    """Whether to be quick."""
    plain: int = 7


@dataclasses.dataclass(frozen=True)
class Portraits(Paintings):
    """A subclass may have another default and range."""

    pigments: int = setting(9, count(5), may_change=True)
    """How many colours to paint a face with."""


def test_the_defaults_are_those_of_the_settings():
    assert Paintings() == Paintings(3, (4, 5), None, "here", False, 7)
    settings.check(Paintings())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pigments": 1}, "--pigments must be 2 or more, not 1"),
        ({"widths": (4, 0)}, "--widths must be from 1 to 2**32 each"),
        ({"gloss": 1.0}, "--gloss must be from 0 to below 1, not 1.0"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_flag(changes, said):
    with pytest.raises(ValueError) as error:
        settings.check(Paintings(**changes))
    assert str(error.value) == said


def test_a_subclass_has_its_own_ranges_and_those_of_its_parent():
    settings.check(Portraits())
    with pytest.raises(ValueError, match="--pigments must be 5 or more, not 4"):
        settings.check(Portraits(pigments=4))
    with pytest.raises(ValueError, match="--gloss must be from 0 to below 1"):
        settings.check(Portraits(gloss=-0.5))


def test_which_settings_may_change_and_which_are_of_the_command():
    assert settings.may_change(Paintings) == {"folder", "hurry"}
    assert settings.may_change(Portraits) == {"folder", "hurry", "pigments"}
    assert settings.of_command(Paintings) == settings.of_command(Portraits) == {"hurry"}


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (count(1), [1, 2, MOST_COUNT], [0, -1, MOST_COUNT + 1]),
        (count(0), [0], [-1]),
        (counts, [(), (1,), (3, MOST_COUNT)], [(0,), (3, -1), (MOST_COUNT + 1,)]),
        (share(), [0, 0.5, 0.9999], [-0.1, 1, 1.5, *NO_NUMBERS]),
        (share(0.5), [0, 0.49], [0.5, 1]),
        (weight, [0, 1e-30, 3.4e38], [-1e-9, 3.5e38, *NO_NUMBERS]),
        (rate, [1e-30, 3.4e38], [0, -1e-9, 3.5e38, *NO_NUMBERS]),
    ],
    ids=["count(1)", "count(0)", "counts", "share()", "share(0.5)", "weight", "rate"],
)
def test_ranges(allowed, good, bad):
    assert [value for value in good if allowed(value) is not None] == []
    for value in bad:
        wrong = allowed(value)
        assert wrong and "\n" not in wrong


def test_the_flag_of_a_field():
    assert settings.flag("keep_checkpoints") == "--keep-checkpoints"


@dataclasses.dataclass(frozen=True)
class Exhibition:
    """Something with paths."""

    room: str = setting("here", local_path)
    """Where they hang."""
    catalogue: str | None = setting(None, local_path)
    """What to write."""
    lenders: tuple[str, ...] = setting((), local_path, alias=["--from"])
    """Where they come from."""


@dataclasses.dataclass(frozen=True)
class Retrospective(Exhibition):
    """A subclass may have another default."""

    room: str = setting("there")


@pytest.mark.parametrize("kind", [Exhibition, Retrospective])
def test_the_home_folder_takes_the_place_of_a_tilde(kind, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    shown = kind("~/room", "~", ("~/a", "b", "c/~"))
    settings.check(shown)
    settings.check(shown)
    assert shown == kind("/home/somebody/room", "/home/somebody", ("/home/somebody/a", "b", "c/~"))
    plain = kind()
    settings.check(plain)
    assert plain == kind()


@pytest.mark.parametrize("kind", [Exhibition, Retrospective])
@pytest.mark.parametrize("address", ["gs://bucket/run", "s3://a", "file:///a", "hf+x.y-1://a"])
def test_an_address_of_a_bucket_is_no_path(kind, address):
    said = f"must be a path on this machine, not {address}: give a local or a mounted folder"
    for shown, name in (
        (kind(address), "--room"),
        (kind(catalogue=address), "--catalogue"),
        (kind(lenders=("a", address)), "--lenders"),
    ):
        with pytest.raises(ValueError, match="^" + re.escape(f"{name} {said}") + "$"):
            settings.check(shown)
    for path in ("C:\\runs", "a:b", "gs:/bucket", "a/gs://b", "://a"):
        settings.check(kind(path))


def test_without_a_home_folder_a_tilde_is_refused(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ValueError, match="--room must be a path without ~, not ~/run: .* no home"):
        settings.check(Exhibition("~/run"))
    # Of a user who is unknown: a folder of this name.
    settings.check(Exhibition("~somebody"))
