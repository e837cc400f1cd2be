"""Finds the system of a run by its name: a folder beside this file, or a user's own class."""

import dataclasses
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import reprlib
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jaxgan.systems
from jaxgan.run.config import RunConfig, name_in

# The environment variable that names the modules of systems outside the package that may be
# imported, separated by commas.
VARIABLE = "JAXGAN_SYSTEMS"
# The group of entry points by which an installed package offers its systems.
ENTRY_POINTS = "jaxgan.systems"


def names() -> list[str]:
    """The names of the systems of the package: the folders that contain networks.py."""
    return [
        entry.name
        for entry in pkgutil.iter_modules(jaxgan.systems.__path__)
        if entry.ispkg and _has_networks(entry.name)
    ]


def find(name: str) -> type[RunConfig]:
    """Finds the class of a system's settings.

    A module outside the package is imported only if the user allows it (by `VARIABLE`) or an
    installed package offers it (by `ENTRY_POINTS`), or if it is imported already. So a run's
    config.json cannot make this process import code.

    Args:
        name: a folder of `jaxgan/systems` or a former name of its system; or "module:Class" of a
            class elsewhere.

    Raises:
        ValueError: there is no such system, or its module may not be imported.
    """
    if ":" in name:
        return _find_outside(name)
    for folder in names():
        config = _settings_in(folder)
        if name in (config.system_name(), *config.former_names):
            return config
    known = ", ".join(names())
    raise ValueError(f"this is a run of {reprlib.repr(name)}, not of one of {known}")


def config(name: str, /, **settings: Any) -> RunConfig:
    """The settings of a system by its name, for `jaxgan.train`.

    Args:
        name: as in `find`, such as "dcgan".
        settings: by name, such as epochs=2; the others have the defaults that `--help` shows.

    Raises:
        ValueError: there is no such system or setting, or a value is not of its setting's type or
            out of range. The message is one line.
    """
    if not isinstance(name, str):
        raise ValueError(f"the name of a system is a text, such as 'dcgan', not {name!r}")
    return find(name).of(settings)


def references() -> list[str]:
    """The names of the systems that have a reference: the folders that contain reference.py."""
    return [name for name in names() if importlib.util.find_spec(_reference(name))]


def find_reference(name: str) -> ModuleType:
    """Finds the module that compares a system with its reference, as `systems.reference` says.

    Args:
        name: a name of `references()`.

    Raises:
        ValueError: there is no such system, or it has no reference.
    """
    if name not in (known := references()):
        raise ValueError(f"{reprlib.repr(name)} has no reference: one of {', '.join(known)}")
    return importlib.import_module(_reference(name))


def _reference(name: str) -> str:
    return f"jaxgan.systems.{name}.reference"


def load_config(workdir: str | Path) -> RunConfig:
    """Reads the settings of a run of any system.

    Args:
        workdir: the run's folder; or the .npz of imported weights, beside which is a .json.

    Returns:
        The settings, of the class of the run's system. Their `workdir` is the path given.

    Raises:
        FileNotFoundError: the folder holds no run, or the file has no settings beside it.
        ValueError: config.json is damaged, or names a system that cannot be found.
    """
    # The folder may have been moved since the run was trained.
    return dataclasses.replace(_AnyRun.load(workdir), workdir=str(workdir))


class _AnyRun(RunConfig):
    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Any:
        # Settings of the class that belongs to the system named in the values.
        return find(name_in(values)).from_json(values)


def _has_networks(folder: str) -> bool:
    return any((Path(path) / folder / "networks.py").is_file() for path in jaxgan.systems.__path__)


def _settings_in(folder: str) -> type[RunConfig]:
    module = importlib.import_module(f"jaxgan.systems.{folder}.config")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, RunConfig)
        and value.__module__ == module.__name__
    )


def _find_outside(name: str) -> type[RunConfig]:
    module_name, _, class_name = name.partition(":")
    module = _imported(module_name)
    if module is None:
        allowed = {each.strip() for each in os.environ.get(VARIABLE, "").split(",")}
        allowed |= {each.module for each in importlib.metadata.entry_points(group=ENTRY_POINTS)}
        if module_name not in allowed:
            raise ValueError(
                f"this is a run of {reprlib.repr(name)}, a system outside jaxgan: if you trust it, "
                f"set {VARIABLE}={shlex.quote(module_name)} in the environment, with its folder in "
                "PYTHONPATH"
            )
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise ValueError(
                f"the module {module_name!r} of the run's system cannot be imported ({error}): put "
                "its folder into PYTHONPATH"
            ) from error
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, RunConfig)):
        raise ValueError(f"{module_name!r} has no settings {class_name!r}: a subclass of RunConfig")
    return found


def _imported(name: str) -> Any:
    """A module that this process has imported already, or the script that it runs."""
    main = sys.modules["__main__"]
    if Path(getattr(main, "__file__", None) or "notebook").stem == name:
        return main
    return sys.modules.get(name)
