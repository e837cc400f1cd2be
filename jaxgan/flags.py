"""The command line of an experiment: flags in, a configuration or one clear line out."""

import contextlib
import itertools
import signal
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import simple_parsing

from jaxgan import processes
from jaxgan.config import flag

ConfigT = TypeVar("ConfigT")


class _Parser(simple_parsing.ArgumentParser):
    def error(self, message: str):
        raise ValueError(f"{message} (--help lists the flags)")


def parse(config_class: type[ConfigT], argv: Sequence[str], *, description: str) -> ConfigT:
    """Reads a configuration off the command line; --help prints and exits.

    Args:
        config_class: a dataclass with a docstring under each field.
        argv: the arguments, without the program's name.
        description: what the experiment does, for --help.

    Raises:
        ValueError: an unknown flag, or a value that is no value of it.
    """
    parser = _Parser(
        usage=f"python {sys.argv[0]} [--FLAG VALUE ...]",
        description=description,
        add_option_string_dash_variants=simple_parsing.DashVariant.DASH,
        allow_abbrev=False,
    )
    parser.add_arguments(config_class, dest="config")
    _check_values_given(config_class, argv)
    return parser.parse_args(argv).config


def _check_values_given(config_class: type, argv: Sequence[str]) -> None:
    # simple-parsing takes a flag that may be None for None where no value follows it.
    types = typing.get_type_hints(config_class)
    wants_value = {flag(name) for name, its_type in types.items() if its_type is not bool}
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue="--"):
        if word in wants_value and following.startswith("--"):
            raise ValueError(f"argument {word}: a value is expected (--help lists the flags)")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Ends the program with one line and exit code 2 if the block raises for a user's mistake.

    Ctrl-C ends it too, with no word and exit code 130.
    """
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        _print_error(error)
        processes.leave(2, together=True)
    except KeyboardInterrupt:
        processes.leave(128 + signal.SIGINT, together=True)


@contextlib.contextmanager
def failures(kind: type[Exception]) -> Iterator[None]:
    """Ends the program with one line and exit code 1 if the block raises an error of this kind."""
    try:
        yield
    except kind as error:
        _print_error(error)
        processes.leave(1, together=False)


def _print_error(error: Exception) -> None:
    line = " ".join(str(error).split())
    print(f"{Path(sys.argv[0]).name}: error: {line}", file=sys.stderr)
