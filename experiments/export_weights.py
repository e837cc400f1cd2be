"""Exports the networks of a run for the reference code of its system.

python experiments/export_weights.py --workdir runs/stylegan2 --out official.npz

OUT.npz holds the arrays of the reference's state dicts, by the names NETWORK/KEY. OUT.json beside
it holds what the constructors of the reference's networks are to be given. In the reference code:

    arrays, arguments = np.load("official.npz"), json.load(open("official.json"))
    G = Generator(**arguments["G_ema"])
    G.load_state_dict({key.removeprefix("G_ema/"): torch.from_numpy(arrays[key])
                       for key in arrays if key.startswith("G_ema/")})
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import jaxgan
from jaxgan.files.writing import written_whole
from jaxgan.run import flags
from jaxgan.run.settings import local_path, setting
from jaxgan.systems import registry


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The run to export, and the file to write."""

    workdir: str = setting("runs/stylegan2", local_path)
    """The folder of the run, or an .npz of import_weights.py."""
    out: str = setting("official.npz", local_path)
    """The .npz to write. The constructors' arguments are written to a .json beside it."""

    def __post_init__(self):
        if Path(self.out).suffix != ".npz":
            raise ValueError(f"--out must end in .npz, not {self.out!r}")


def players_of(run: jaxgan.Run) -> dict[str, Any]:
    """The averaged generator, and the discriminator if there is one."""
    players = {"generator": run.params}
    try:
        players["discriminator"] = run.player("discriminator")
    except ValueError:
        # Only imported weights may lack it: of a run, the generator could not be read either.
        if Path(run.workdir).is_dir():
            raise
    return players


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ExportConfig, sys.argv[1:], description=__doc__)
        run = jaxgan.load_run(config.workdir)
        name = run.config.system_name()
        known = [each for each in registry.references() if _export_of(each)]
        if name not in known:
            raise ValueError(f"a run of {name} has no other form, only of {' and '.join(known)}")
        exported = _export_of(name)(run.config, players_of(run))
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out.with_suffix(".json")) as beside:
            beside.write_text(json.dumps(exported.arguments, indent=2) + "\n", encoding="utf-8")
        with written_whole(out) as beside:
            arrays: dict[str, Any] = {
                f"{net}/{key}": np.asarray(array, np.float32)
                for net, state in exported.states.items()
                for key, array in state.items()
            }
            np.savez(beside, **arrays)
    held = " and ".join(exported.states)
    print(f"{out}, {out.stat().st_size / 1e6:.2f} MB, {held}; {out.with_suffix('.json')}")


def _export_of(name: str) -> Any:
    """The function of a system's reference that exports its networks; None if it has none."""
    return getattr(registry.find_reference(name), "exported", None)


if __name__ == "__main__":
    main()
