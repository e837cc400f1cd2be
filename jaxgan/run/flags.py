"""The command line of a script: from flags to a configuration, or to one line of error."""

import ast
import contextlib
import dataclasses
import inspect
import itertools
import shlex
import signal
import sys
import textwrap
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import simple_parsing
from simple_parsing.utils import Dataclass

from jaxgan.run import backend, processes, settings, streams
from jaxgan.run.config import FILE_NAME, RunConfig
from jaxgan.run.settings import expanded, flag

CONFIG = "--config"
_HELP = frozenset({"-h", "--help"})
ConfigT = TypeVar("ConfigT", bound=Dataclass)


class _Parser(simple_parsing.ArgumentParser):
    def error(self, message: str):
        raise ValueError(f"{message} (--help lists the flags)")


def parse(config_class: type[ConfigT], argv: Sequence[str], *, description: str) -> ConfigT:
    """Reads a configuration from the command line; --help prints the flags and exits.

    A `RunConfig` also has the flag `--config PATH`. The configuration then starts from the
    config.json of a run, except for the settings that `settings.of_command` names. Other flags on
    the command line replace single settings.

    Args:
        config_class: a dataclass with a docstring under each field.
        argv: the arguments, without the program's name.
        description: what the script does, for --help.

    Returns:
        A `config_class` of the settings asked for.

    Raises:
        ValueError: a flag is unknown, a value is not allowed (`settings.check`), the file of
            --config holds no configuration of this class, or a flag sets a preset to another value
            than the file's.
        OSError: the file of --config does not exist or cannot be read.
        SystemExit: --help was given.
    """
    _check_values_given(config_class, argv)
    if asked := _HELP.intersection(argv):
        # --help shows as defaults the values that the other flags would give.
        shown = parse(config_class, [word for word in argv if word not in _HELP], description="")
        argv = [*asked]
    held = _read_config(config_class, argv) if issubclass(config_class, RunConfig) else None
    parser = _Parser(
        # argparse formats the text by "%".
        usage=f"python {shlex.quote(sys.argv[0]).replace('%', '%%')} [--FLAG VALUE ...]",
        description=description,
        add_option_string_dash_variants=simple_parsing.DashVariant.DASH,
        allow_abbrev=False,
    )
    if issubclass(config_class, RunConfig):
        _add_config(parser)
    _document(config_class)
    parser.add_arguments(config_class, dest="settings", default=shown if asked else held)
    config = parser.parse_args(argv).settings
    settings.check(config)
    if held is not None:
        _check_presets(held, config)
    return config


def _document(config_class: type) -> None:
    """Makes the docstring below each field the field's help text.

    simple-parsing finds docstrings by itself, but takes an argument of a method for the field of
    the same name.
    """
    help_of: dict[str, str] = {}
    for each in config_class.__mro__[:-1]:
        try:
            source = inspect.getsource(each)
        except (OSError, TypeError):
            continue  # A class without a source file, such as one typed into an interpreter.
        (body,) = ast.parse(textwrap.dedent(source)).body
        assert isinstance(body, ast.ClassDef)  # `each` is a class.
        for statement, below in itertools.pairwise(body.body):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    help_of.setdefault(name, " ".join(text.split()))
    for field in dataclasses.fields(config_class):
        field.metadata = MappingProxyType({**field.metadata, "help": help_of.get(field.name, "")})


def _add_config(parser: _Parser) -> None:
    parser.add_argument(
        CONFIG,
        metavar="PATH",
        help=f"Repeat a run: all settings of its {FILE_NAME}. Flags beside it set single ones to "
        "something else, such as --workdir; without --workdir, the run resumes in its own folder.",
    )


def _read_config(config_class: type[RunConfig], argv: Sequence[str]) -> RunConfig | None:
    parser = _Parser(add_help=False, allow_abbrev=False)
    _add_config(parser)
    path = parser.parse_known_args(argv)[0].config
    if path is None:
        return None
    path = expanded(path)
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{CONFIG} {path} is not there, or no file: give a run's {FILE_NAME}"
        )
    return config_class.read(Path(path)).again()


def _check_presets(held: RunConfig, config: RunConfig) -> None:
    for name in held.presets:
        mine, theirs = getattr(held, name), getattr(config, name)
        if mine != theirs:
            raise ValueError(
                f"{flag(name)} {theirs} sets nothing beside {CONFIG}, whose file has all settings "
                f"of a run of {flag(name)} {mine}: leave out one of the two"
            )


def _check_values_given(config_class: type, argv: Sequence[str]) -> None:
    # Without this check, simple-parsing sets an optional field to None if its flag has no value.
    types = typing.get_type_hints(config_class)
    wants_value = {
        flag(field.name)
        for field in dataclasses.fields(config_class)
        if types[field.name] is not bool
    }
    wants_value.add(CONFIG)
    for word, following in itertools.zip_longest(argv, argv[1:], fillvalue="--"):
        if word in wants_value and following.startswith("--"):
            raise ValueError(f"argument {word}: a value is expected (--help lists the flags)")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Ends the program with one line and exit code 2 if the block raises a user's mistake.

    Mistakes are ValueError, OSError and ImportError, and every error that comes of JAX having no
    devices. Ctrl-C ends the program without a line, with exit code 130. From here on the standard
    streams are those of `streams.make_lasting`.
    """
    streams.make_lasting()
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        _print_error(error)
        processes.leave(2, together=True)
    except KeyboardInterrupt:
        processes.leave(128 + signal.SIGINT, together=True)
    except Exception:
        line = backend.fault()
        if line is None:
            raise
        _print_error(RuntimeError(line))
        processes.leave(2, together=True)


@contextlib.contextmanager
def failures(kind: type[Exception]) -> Iterator[None]:
    """Ends the program with one line and exit code 1 if the block raises an error of this class."""
    try:
        yield
    except kind as error:
        _print_error(error)
        processes.leave(1, together=False)


def _print_error(error: Exception) -> None:
    line = " ".join(str(error).split())
    print(f"{Path(sys.argv[0]).name}: error: {line}", file=sys.stderr)
