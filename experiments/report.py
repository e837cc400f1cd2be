"""Writes a run's report.html anew, such as after evaluate.py or while it still trains.

python experiments/report.py --workdir runs/mnist_gan

At the end of training a run writes it by itself.
"""

import dataclasses
import sys
from pathlib import Path

from jaxgan.run import flags, report
from jaxgan.systems.registry import load_config


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Whose report."""

    workdir: str = "runs/mnist_gan"
    """The folder of the run, whatever it trained."""


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ReportConfig, sys.argv[1:], description=__doc__)
        path = report.write(Path(config.workdir), load_config(config.workdir))
    print(f"{path}: open it in a browser")


if __name__ == "__main__":
    main()
