"""Which system a run is of: the folders beside this file, and what users have put elsewhere."""

import dataclasses
import importlib
import importlib.metadata
import os
import pkgutil
import reprlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jaxgan.systems
from jaxgan.run.config import RunConfig, name_in

# Modules of systems outside the package that may be imported, with commas between them.
VARIABLE = "JAXGAN_SYSTEMS"
ENTRY_POINTS = "jaxgan.systems"


def names() -> list[str]:
    """The systems of the package: the folders that have networks of their own."""
    return [
        entry.name
        for entry in pkgutil.iter_modules(jaxgan.systems.__path__)
        if entry.ispkg and _has_networks(entry.name)
    ]


def find(name: str) -> type[RunConfig]:
    """The settings of a system.

    Args:
        name: a folder of `jaxgan/systems`, or "module:Class" of a class elsewhere.

    Raises:
        ValueError: there is no such system, or it is in a module that nobody has said may be
            imported. What a file names is never imported unasked.
    """
    if ":" in name:
        return _find_outside(name)
    for folder in names():
        config = _settings_in(folder)
        if name in (config.system_name(), *config.former_names):
            return config
    known = ", ".join(names())
    raise ValueError(f"this is a run of {reprlib.repr(name)}, not of one of {known}")


def load_config(workdir: str | Path) -> RunConfig:
    """The settings of a run, of the class of its system.

    Args:
        workdir: the run's folder.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: its config.json is damaged, or of no system that can be found.
    """
    # The folder may have been moved since.
    return dataclasses.replace(_AnyRun.load(workdir), workdir=str(workdir))


class _AnyRun(RunConfig):
    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Any:
        # The settings of the system that the values name.
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
                f"set {VARIABLE}={module_name} in the environment, with its folder in PYTHONPATH"
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
