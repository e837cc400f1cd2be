"""A setting: its default, its range and whether a run may change it, once, at its field."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import simple_parsing

# No count that makes sense gets near it, and floats are computed with all counts below it.
MOST_COUNT = 2**32
# Networks and optimisers compute in float32.
_MOST_WEIGHT = 3.4e38
_KEY = "jaxgan"

# A value -> what is wrong with it, as the end of "--flag must be ..."; None if nothing is.
Range = Callable[[Any], str | None]


def count(least: int) -> Range:
    """A whole number of at least so many."""

    def check(value: int) -> str | None:
        if value < least:
            return f"{least} or more, not {value}"
        return f"2**32 or less, not {value}" if value > MOST_COUNT else None

    return check


def counts(value: tuple[int, ...]) -> str | None:
    """Whole numbers of 1 or more."""
    return None if all(1 <= each <= MOST_COUNT for each in value) else "from 1 to 2**32 each"


def share(below: float = 1) -> Range:
    """A number from 0 to below a bound."""

    def check(value: float) -> str | None:
        return None if 0 <= value < below else f"from 0 to below {below:g}, not {value}"

    return check


def weight(value: float) -> str | None:
    """A finite number of 0 or more."""
    return None if 0 <= value <= _MOST_WEIGHT else f"0 or more and finite in float32, not {value}"


def rate(value: float) -> str | None:
    """A finite number above 0."""
    return None if 0 < value <= _MOST_WEIGHT else f"above 0 and finite in float32, not {value}"


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
) -> Any:
    """A field of a configuration; what it means stands in the docstring below it.

    Args:
        default: its value where none is given; None where another setting, such as the recipe,
            chooses the value.
        allowed: the range, such as `count(1)`; None for any value of the field's type.
        choices: the words that it may be; None for any value.
        is_flag: whether the command line has a flag for it.
        may_change: whether a run may be gone on with after the setting has changed: the setting
            changes where and how long the run trains, or what it leaves, but no number of it.
        of_command: whether the setting is of the command that was given rather than of the run, and
            so is not repeated with the run.
    """
    options: dict[str, Any] = {} if choices is None else {"choices": tuple(choices)}
    if isinstance(default, bool):
        options["negative_prefix"] = "--no-"
    about = _About(allowed, may_change or of_command, of_command)
    return simple_parsing.field(default=default, cmd=is_flag, metadata={_KEY: about}, **options)


def flag(name: str) -> str:
    """The flag that sets a field."""
    return "--" + name.replace("_", "-")


def check(config: Any) -> None:
    """Raises a ValueError that names the flag if a setting is out of its range."""
    for field in dataclasses.fields(config):
        value, allowed = getattr(config, field.name), _about(field).range
        if allowed is not None and value is not None and (wrong := allowed(value)):
            raise ValueError(f"{flag(field.name)} must be {wrong}")


def may_change(config_class: type) -> frozenset[str]:
    """The settings that a run may be gone on with after they have changed."""
    fields = dataclasses.fields(config_class)
    return frozenset(field.name for field in fields if _about(field).may_change)


def of_command(config_class: type) -> frozenset[str]:
    """The settings that are of the command rather than of the run."""
    fields = dataclasses.fields(config_class)
    return frozenset(field.name for field in fields if _about(field).of_command)


def _about(field: dataclasses.Field) -> _About:
    return field.metadata.get(_KEY, _PLAIN)
