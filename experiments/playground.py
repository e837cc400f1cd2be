"""Makes an interactive page of a trained GAN: playground.html, which opens in any browser.

python experiments/playground.py --workdir runs/mnist_gan

The page needs no server and no internet, so it can be sent to others. It shows runs of mnist_gan.py
and dcgan.py on images of 28x28x1. In the page of a conditional run, classes can be chosen. Without
--workdir, the page shows the pretrained GAN of the package, without the history of its training.
"""

import dataclasses
import sys
from pathlib import Path

from jaxgan.files.writing import written_whole
from jaxgan.playground import page
from jaxgan.run import flags
from jaxgan.run.settings import local_path, setting

FILE_NAME = "playground.html"


@dataclasses.dataclass(frozen=True)
class PlaygroundConfig:
    """The run to show, and the file to write."""

    workdir: str | None = setting(None, local_path)
    """The folder of the run to show, such as runs/mnist_gan; None: the pretrained GAN of the
    package, without the history of its training."""
    out: str | None = setting(None, local_path)
    """The .html to write; None: playground.html in the work dir, or in the current folder if there
    is no --workdir."""

    def __post_init__(self):
        if self.out is not None and Path(self.out).suffix != ".html":
            raise ValueError(f"--out must end in .html, not {self.out!r}")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(PlaygroundConfig, sys.argv[1:], description=__doc__)
        pair = page.of_package() if config.workdir is None else page.of_run(config.workdir)
        out = Path(config.out or Path(config.workdir or "") / FILE_NAME)
        content = page.assemble(pair).encode()
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as beside:
            beside.write_bytes(content)
    if config.workdir is not None and pair.story is None:
        print(f"{config.workdir} has no metrics.csv and no samples/: the story is left out")
    print(f"{out} ({len(content) / 1e6:.1f} MB): open it in a browser")


if __name__ == "__main__":
    main()
