"""Imports the weights of a generator that the reference code of a system has trained.

python experiments/import_weights.py --from NAME FILE --out OUT.npz

FILE is a state dict that PyTorch has saved (.pt, .pth); PyTorch must be installed to read it. For
stylegan2 FILE is a network pickle of NVIDIA's code (.pkl) or a checkpoint of its port (.pt), which
are read without PyTorch. Nothing in a file is run. OUT.npz holds the weights, and OUT.json beside
it the settings that they belong to. `jaxgan.load_run("OUT.npz")` and the --workdir of the
other scripts take them as a trained run.
"""

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import simple_parsing

from jaxgan import weights
from jaxgan.files.writing import written_whole
from jaxgan.run import flags, torch_files
from jaxgan.run.config import RunConfig
from jaxgan.run.settings import local_path, setting
from jaxgan.systems import registry
from jaxgan.systems.reference import Imported


@dataclasses.dataclass(frozen=True)
class ImportConfig:
    """The file to import, and the file to write."""

    file: str = simple_parsing.field(default="latest_net_G.pth", positional=True, nargs="?")
    """The trained network, as the reference code has saved it."""
    system: str = setting("", alias=["--from"])
    """Name of the system whose reference code has saved the file: a folder of jaxgan/systems that
    has a reference.py."""
    discriminator: str = setting("", local_path)
    """The state dict of the discriminator of the same run, for biggan; without it the run has
    none."""
    out: str = setting("weights.npz", local_path)
    """The .npz to write. The settings are written to a .json beside it."""

    def __post_init__(self):
        if Path(self.out).suffix != ".npz":
            raise ValueError(f"--out must end in .npz, not {self.out!r}")


def state_dict(path: str) -> dict[str, np.ndarray]:
    """Reads the state dict of one network.

    Raises:
        ValueError: the file holds something else.
        ImportError, OSError: as `torch_files.read`.
    """
    held: Any = torch_files.read(path)
    if not isinstance(held, dict) or not held:
        found = type(held).__name__ if held else f"{type(held).__name__} of nothing"
        raise ValueError(f"{path} holds no state dict, but a {found}")
    for key, value in held.items():
        if not isinstance(value, np.ndarray):
            raise ValueError(
                f"{path} is no state dict of one network: {key!r} in it is a {type(value).__name__}"
            )
    return held


def imported(reference: Any, path: str) -> Imported:
    """Imports what a file of a reference holds.

    Raises:
        ValueError: the file or what it holds is not the reference's. The message is one line, which
            names the file.
        ImportError, OSError: as the reading of the file.
    """
    of_file = getattr(reference, "imported_file", None)
    state = None if of_file else state_dict(path)
    try:
        return of_file(path) if of_file else reference.imported(state)
    except ValueError as error:
        why = str(error).removeprefix(f"{path} cannot be read: ")
        raise ValueError(f"{path} cannot be imported: {why}") from error


def discriminator_of(reference: Any, path: str, settings: RunConfig) -> tuple[RunConfig, Any]:
    """Imports the discriminator of the run that a generator is of.

    Returns:
        (the settings of both, the discriminator's variables).

    Raises:
        ValueError: the reference's discriminators cannot be imported, or the file is none of them.
    """
    imported = getattr(reference, "imported_discriminator", None)
    if imported is None:
        raise ValueError(f"--discriminator: {settings.system_name()} imports generators only")
    try:
        return imported(state_dict(path), settings)
    except ValueError as error:
        raise ValueError(f"{path} cannot be imported: {error}") from error


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ImportConfig, sys.argv[1:], description=__doc__)
        reference = registry.find_reference(config.system)
        found = imported(reference, config.file)
        out = Path(config.out)
        settings = dataclasses.replace(found.config, workdir=str(out))
        players = {"generator": found.generator}
        if found.discriminator is not None:
            players["discriminator"] = found.discriminator
        if config.discriminator:
            settings, players["discriminator"] = discriminator_of(
                reference, config.discriminator, settings
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        # The weights come last: a file of weights always has its settings.
        with written_whole(out.with_suffix(".json")) as beside:
            beside.write_text(json.dumps(settings.to_json(), indent=2) + "\n", encoding="utf-8")
        weights.write(out, players)
    held = " and ".join(players)
    print(f"{out}, {out.stat().st_size / 1e6:.2f} MB, {held}; {out.with_suffix('.json')}")
    print(settings.commands(shlex.quote(str(out)))["Images"])


if __name__ == "__main__":
    main()
