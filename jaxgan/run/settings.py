"""Settings: each field of a configuration states its default, its range and if it may change."""

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import simple_parsing

from jaxgan.data.fitting import parse_crop

# The largest count that is accepted. No sensible count is near it, and no arithmetic on smaller
# counts overflows a float.
MOST_COUNT = 2**32
# The most items of a setting that is a list, such as the layers of a network. Deeper networks take
# minutes to compile.
MOST_ITEMS = 100
# The largest float32, nearly: networks and optimisers compute in float32.
_MOST_WEIGHT = 3.4e38
# The key of a field's metadata.
_KEY = "jaxgan"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

# A value -> what is wrong with it, as the end of "--flag must be ..."; None if nothing is.
Range = Callable[[Any], str | None]


def count(least: int) -> Range:
    """The range of whole numbers from `least` to `MOST_COUNT`."""

    def check(value: int) -> str | None:
        if value < least:
            return f"{least} or more, not {value}"
        return f"2**32 or less, not {value}" if value > MOST_COUNT else None

    return check


def counts(value: tuple[int, ...]) -> str | None:
    """The range of a tuple of whole numbers, each from 1 to `MOST_COUNT`."""
    return None if all(1 <= each <= MOST_COUNT for each in value) else "from 1 to 2**32 each"


def share(below: float = 1) -> Range:
    """The range of numbers from 0 to below a bound, which is 1 by default."""

    def check(value: float) -> str | None:
        return None if 0 <= value < below else f"from 0 to below {below:g}, not {value}"

    return check


def weight(value: float) -> str | None:
    """The range of numbers from 0 to the largest float32."""
    return None if 0 <= value <= _MOST_WEIGHT else f"0 or more and finite in float32, not {value}"


def rate(value: float) -> str | None:
    """The range of numbers above 0, up to the largest float32."""
    return None if 0 < value <= _MOST_WEIGHT else f"above 0 and finite in float32, not {value}"


def factor(value: float) -> str | None:
    """The range of numbers from 1 to 2."""
    return None if 1 <= value <= 2 else f"from 1 to 2, not {value}"


def probability(value: float) -> str | None:
    """The range of numbers from 0 to 1."""
    return None if 0 <= value <= 1 else f"from 0 to 1, not {value}"


def one_of(*words: str) -> Range:
    """The range of a setting whose value is one of these words."""

    def check(value: str) -> str | None:
        return None if value in words else f"one of {', '.join(words)}, not {value!r}"

    return check


def crop(value: str) -> str | None:
    """The range of what is cut out of images, as `fitting.parse_crop` reads it."""
    try:
        parse_crop(value)
    except ValueError as error:
        return str(error).removeprefix("crop must be ")
    return None


def local_path(value: str | tuple[str, ...]) -> str | None:
    """The range of a path on this machine, or of several. `check` expands a "~" at its beginning.

    It holds for a field of this name in all subclasses too.
    """
    for each in (value,) if isinstance(value, str) else value:
        if _URL.match(each):
            return f"a path on this machine, not {each}: give a local or a mounted folder"
        if Path(expanded(each)).parts[:1] == ("~",):
            return f"a path without ~, not {each}: this process has no home folder"
    return None


def expanded(value: Any) -> Any:
    """A path, or a tuple of paths, with the home folder in the place of a "~" at the beginning."""
    # A path whose user is unknown stays as it is: a folder's name may begin with a "~".
    return os.path.expanduser(value) if isinstance(value, str) else tuple(map(expanded, value))


@dataclasses.dataclass(frozen=True)
class _About:
    range: Range | None
    may_change: bool
    of_command: bool


_PLAIN = _About(None, may_change=False, of_command=False)


def setting(
    default: Any,
    allowed: Range | None = None,
    *,
    choices: Iterable[str] | None = None,
    is_flag: bool = True,
    may_change: bool = False,
    of_command: bool = False,
    alias: Sequence[str] = (),
) -> Any:
    """A field of a configuration. The docstring below the field is the help text of its flag.

    Args:
        default: the value if none is given; None if another setting, such as the recipe, chooses
            the value.
        allowed: the range of values, such as `count(1)`; None for any value of the field's type.
        choices: the words that are allowed; None for any value.
        is_flag: whether the command line has a flag for the setting.
        may_change: whether a run may be resumed with another value of the setting. Such a setting
            says where the run trains, for how long, or what it writes. It does not change any
            number that the run computes.
        of_command: whether the setting describes one command, such as the number of this process,
            and not the run. Such a setting may change, and --config does not repeat it.
        alias: other names of the flag.

    Returns:
        A dataclass field.
    """
    options: dict[str, Any] = {} if choices is None else {"choices": tuple(choices)}
    if isinstance(default, bool):
        options["negative_prefix"] = "--no-"
    if alias:
        options["alias"] = list(alias)
    about = _About(allowed, may_change or of_command, of_command)
    return simple_parsing.field(default=default, cmd=is_flag, metadata={_KEY: about}, **options)


def flag(name: str) -> str:
    """The flag that sets a field: "batch_size" gives "--batch-size"."""
    return "--" + name.replace("_", "-")


def check(config: Any) -> None:
    """Checks the range of each setting of a configuration, and expands the "~" of its paths.

    A setting that is None passes. A `Path` becomes its text.

    Args:
        config: a dataclass.

    Raises:
        ValueError: a setting is out of its range, or a list of more than `MOST_ITEMS`. The message
            names its flag.
    """
    paths = {
        field.name
        for each in type(config).__mro__
        for field in each.__dict__.get("__dataclass_fields__", {}).values()
        if _about(field).range is local_path
    }
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
            object.__setattr__(config, field.name, value)
        allowed = local_path if field.name in paths else _about(field).range
        if isinstance(value, tuple) and len(value) > MOST_ITEMS:
            raise ValueError(
                f"{flag(field.name)} must be {MOST_ITEMS} or fewer, not {len(value):,}"
            )
        if allowed is None or value is None:
            continue
        if wrong := allowed(value):
            raise ValueError(f"{flag(field.name)} must be {wrong}")
        if allowed is local_path:
            object.__setattr__(config, field.name, expanded(value))


def fill(config: Any, values: Mapping[str, Any]) -> None:
    """Gives values to the settings that are None, or (), which stands for None in a tuple's place.

    Args:
        config: a frozen dataclass, in its `__post_init__`.
        values: by the name of the setting, such as those of a recipe.
    """
    for name, value in values.items():
        if getattr(config, name) in (None, ()):
            object.__setattr__(config, name, value)


def may_change(config_class: type) -> frozenset[str]:
    """The names of the settings that a run may be resumed with after they have changed."""
    fields = dataclasses.fields(config_class)
    return frozenset(field.name for field in fields if _about(field).may_change)


def of_command(config_class: type) -> frozenset[str]:
    """The names of the settings that describe one command and not the run, as in `setting`."""
    fields = dataclasses.fields(config_class)
    return frozenset(field.name for field in fields if _about(field).of_command)


def _about(field: dataclasses.Field) -> _About:
    return field.metadata.get(_KEY, _PLAIN)
