"""Which kind of run a work dir holds."""

import importlib
import reprlib
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jaxgan.run.config import RunConfig

# The module and the class of the settings of each experiment.
EXPERIMENTS = MappingProxyType(
    {
        "mnist_gan": ("jaxgan.systems.mlp_gan.config", "MLPGANConfig"),
        "dcgan": ("jaxgan.systems.dcgan.config", "DCGANConfig"),
        "pix2pix": ("jaxgan.systems.pix2pix.config", "Pix2PixConfig"),
    }
)


class _AnyRun(RunConfig):
    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunConfig:
        name = values.get("experiment")
        if not isinstance(name, str) or name not in EXPERIMENTS:
            known = ", ".join(EXPERIMENTS)
            raise ValueError(f"this is a run of {reprlib.repr(name)}, not of one of {known}")
        module, its_class = EXPERIMENTS[name]
        return getattr(importlib.import_module(module), its_class).from_json(values)


def load_run(workdir: str | Path) -> RunConfig:
    """The settings of a run, of the class of its experiment.

    Args:
        workdir: the run's folder.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: its config.json is not one of these experiments'.
    """
    return _AnyRun.load(workdir)
