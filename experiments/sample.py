"""Draws images from a trained run, into a picture (.png, a grid) or an array (.npz).

python experiments/sample.py --workdir runs/mnist_gan --num 100 --seed 0 --out digits.png
"""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np

from jaxgan import checkpoints, flags, images
from jaxgan.files import written_whole
from jaxgan.mlp_gan import MLPGANConfig
from jaxgan.sampling import sample

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
    """What the images are to show, of a conditional run: a class of its attribute (7), or of some
    of its attributes (hair_colour=blond beard=none); what is not said is as in the data set. By
    default a row, or ten images, of each class of the first attribute."""
    out: str = "digits.png"
    """The file to write: .png for a grid, .npz for 'images', float32 in [0, 1], [num, H, W, C]."""

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
        run = MLPGANConfig.load(config.workdir)
        drawn = sample(
            checkpoints.load_params(config.workdir),
            jax.random.key(config.seed),
            num_samples=config.num,
            noise=run.noise,
            generator=run.generator(),
        )
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".png":
            images.write_png(out, images.grid(np.asarray(drawn)), scale=2)
        else:
            with written_whole(out) as beside:
                np.savez_compressed(beside, images=np.asarray(drawn))
    print(f"{config.num} images in {out}")


if __name__ == "__main__":
    main()
