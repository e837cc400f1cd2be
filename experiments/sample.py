"""Draws images from a trained run, into a picture (.png, a grid) or an array (.npz).

python experiments/sample.py --workdir runs/mnist_gan --num 100 --seed 0 --out digits.png
"""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np

from jaxgan.files import written_whole
from jaxgan.run import flags, images
from jaxgan.systems.registry import load_run

ENDINGS = (".png", ".npz")


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """What to draw, and where to put it."""

    workdir: str = "runs/mnist_gan"
    """The folder of the run to draw from."""
    num: int = 100
    """How many images."""
    seed: int = 0
    """The same seed draws the same images."""
    labels: tuple[str, ...] = ()
    """What all are to show, of a conditional run: a class of its attribute (7), or of some of its
    attributes (hair_colour=blond beard=none). Without it each class of the first attribute has a
    row. Attributes that are not asked for are drawn at random."""
    out: str = "digits.png"
    """The file to write: .png for a grid, .npz for 'images', float32 in [0, 1], [num, H, W, C], and
    of a conditional run 'labels', int32 [num, k]."""

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
        key = jax.random.key(config.seed)
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
