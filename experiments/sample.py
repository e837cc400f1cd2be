"""Draws images from a trained run and writes them as a grid (.png) or as an array (.npz).

python experiments/sample.py --workdir runs/mnist_gan --num 100 --seed 0 --out digits.png
"""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np

from jaxgan.files import written_whole
from jaxgan.run import flags, images
from jaxgan.run.settings import local_path, setting
from jaxgan.trained import load_run

ENDINGS = (".png", ".npz")


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """The images to draw, and the file to write."""

    workdir: str = setting("runs/mnist_gan", local_path)
    """The folder of the run to draw from."""
    num: int = 100
    """How many images to draw."""
    seed: int = 0
    """Seed of the images. The same seed draws the same images."""
    labels: tuple[str, ...] = ()
    """For a conditional run: the classes of all images, as a class of the only attribute (7) or as
    classes of some attributes (hair_colour=blond beard=none). The classes of other attributes are
    random. Without --labels, each class of the first attribute has a row of the grid."""
    out: str = setting("digits.png", local_path)
    """The file to write: .png for a grid; .npz for the array 'images', float32 [num, H, W, C] in
    [0, 1], and for a conditional run also 'labels', int32 [num, k]."""

    def __post_init__(self):
        if self.num < 1:
            raise ValueError(f"--num must be 1 or more, not {self.num}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")
        if Path(self.out).suffix not in ENDINGS:
            raise ValueError(f"--out must end in {' or '.join(ENDINGS)}, not {self.out!r}")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(SampleConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        key = run.key(config.seed)
        label_key = jax.random.fold_in(key, 0)
        labels, columns = run.config.labels_named(config.labels, label_key, config.num)
        drawn = run.sample(key, config.num, labels=labels)
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".png":
            images.write_png(out, images.grid(np.asarray(drawn), columns), scale=2)
        else:
            arrays = {"images": drawn} if labels is None else {"images": drawn, "labels": labels}
            with written_whole(out) as beside:
                np.savez_compressed(beside, **jax.tree.map(np.asarray, arrays))
    print(f"{config.num} images in {out}")


if __name__ == "__main__":
    main()
