"""Writes the report.html of a run again, for example while the run still trains.

python experiments/report.py --workdir runs/mnist_gan

A run writes the report itself when its training ends.
"""

import dataclasses
import sys
from pathlib import Path

from jaxgan.run import flags, report
from jaxgan.run.settings import local_path, setting
from jaxgan.systems.registry import load_config


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """The run to report on."""

    workdir: str = setting("runs/mnist_gan", local_path)
    """The folder of the run, which may be of any system."""


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ReportConfig, sys.argv[1:], description=__doc__)
        settings = load_config(config.workdir)
        if not Path(config.workdir).is_dir():
            raise ValueError(f"{config.workdir} holds imported weights: only a run has a report")
        path = report.write(Path(config.workdir), settings)
    print(f"{path}: open it in a browser")


if __name__ == "__main__":
    main()
