"""Makes the file of pretrained networks that `jaxgan.pretrained` loads, from an evaluated run.

python experiments/export_pretrained.py --workdir runs/mnist_gan --out mnist_gan.npz
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import weights
from jaxgan.files.reading import read_json
from jaxgan.files.writing import written_whole
from jaxgan.run import checkpoints, flags
from jaxgan.run.settings import local_path, setting
from jaxgan.systems.registry import load_config

# By the name of the system: the script that trains it, the file of a run's scores, the networks.
SCRIPTS = {
    "mlp_gan": ("mnist_gan.py", "evaluation.json", ("generator", "discriminator")),
    "stargan": ("stargan.py", "edits.json", ("generator",)),
}


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """The run to export, and the file to write."""

    workdir: str = setting("runs/mnist_gan", local_path)
    """The folder of the run. It must contain its scores: of mnist_gan.py the evaluation.json of
    experiments/evaluate.py, of stargan.py the edits.json of experiments/evaluate_edits.py."""
    out: str = setting("mnist_gan.npz", local_path)
    """The .npz to write, with the networks as float16. The scores and the settings are written to
    a .json beside it."""

    def __post_init__(self):
        if Path(self.out).suffix != ".npz":
            raise ValueError(f"--out must end in .npz, not {self.out!r}")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ExportConfig, sys.argv[1:], description=__doc__)
        run: Any = load_config(config.workdir)
        name = run.system_name()
        if name not in SCRIPTS:
            raise ValueError(f"a run of {name} is not exported, only of {' and '.join(SCRIPTS)}")
        recipe = type(run)(recipe=run.recipe, seed=run.seed)
        differences = run.differences(recipe)
        if run.epochs != recipe.epochs:
            differences.append(f"--epochs {run.epochs}, not {recipe.epochs}")
        if differences:
            raise ValueError(
                f"{config.workdir} is not the recipe {run.recipe} as it stands: "
                f"{'; '.join(differences)}"
            )
        script, scores, names = SCRIPTS[name]
        evaluation = Path(config.workdir) / scores
        if not evaluation.is_file():
            command = run.commands(config.workdir)["Scores"]
            raise FileNotFoundError(f"{evaluation} is not there: {command}")
        card = {
            "command": f"python experiments/{script} --recipe {run.recipe} --seed {run.seed}",
            # The folder on the machine that trained the run is not published.
            "settings": dataclasses.replace(run, workdir=recipe.workdir).to_json(),
            "evaluation": read_json(evaluation, dict),
        }
        held = checkpoints.Checkpoints(Path(config.workdir) / "checkpoints")
        _, players = held.load(*names)
        out = Path(config.out)
        weights.write(out, players, np.float16)
        with written_whole(out.with_suffix(".json")) as beside:
            beside.write_text(json.dumps(card, indent=2) + "\n")
    print(f"{out}, {out.stat().st_size / 1e6:.2f} MB; {out.with_suffix('.json')}")


if __name__ == "__main__":
    main()
