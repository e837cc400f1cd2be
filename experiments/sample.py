"""Draws images from a trained run, as a grid (.png), an array (.npz), or a film of a walk (.gif).

python experiments/sample.py --workdir runs/mnist_gan --num 100 --seed 0 --out digits.png
"""

import dataclasses
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from jaxgan import memory
from jaxgan.files.writing import written_whole
from jaxgan.run import flags, images
from jaxgan.run.settings import count, local_path, setting
from jaxgan.trained import load_run

ENDINGS = (".png", ".npz", ".gif")
# A pixel of an image is a square of this many pixels a side in the grid, and in a film.
SCALE, FILM_SCALE = 2, 4
# How long a frame of a film is shown.
MILLISECONDS = 50


@dataclasses.dataclass(frozen=True)
class SampleConfig:
    """The images to draw, and the file to write."""

    workdir: str = setting("runs/mnist_gan", local_path)
    """The folder of the run to draw from."""
    num: int = 100
    """How many images to draw."""
    seed: int = 0
    """Seed of the images. The same seed draws the same images."""
    seeds: tuple[int, ...] = ()
    """For a run with styles (StyleGAN2), in the place of --num and --seed: a seed for each image. A
    seed draws the latent that it draws in the official tools."""
    labels: tuple[str, ...] = ()
    """For a conditional run: the classes of all images, as a class of the only attribute (7) or as
    classes of some attributes (hair_colour=blond beard=none). The classes of other attributes are
    random. Without --labels, each class of the first attribute has a row of the grid."""
    truncation: float | None = None
    """For better and more similar images. Of a run with styles (StyleGAN2): how far styles are from
    their mean, 0.7, or 1 for the true ones, 0 for the mean image. Of BigGAN: the bound of the
    truncated normal distribution of latents, 0.5, or 0 for none. None: the run's setting."""
    cutoff: int | None = None
    """With --truncation: how many layers' styles are truncated, from the smallest on; None: all."""
    steps: int = setting(24, count(1))
    """For a film: the frames from an image up to the next one."""
    out: str = setting("digits.png", local_path)
    """The file to write: .png for a grid; .npz for the array 'images', float32 [num, H, W, C] in
    [0, 1], and for a conditional run also 'labels', int32 [num, k]; .gif for a film of a walk
    through the --num images and back to the first."""

    def __post_init__(self):
        if self.num < 1:
            raise ValueError(f"--num must be 1 or more, not {self.num}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")
        if Path(self.out).suffix not in ENDINGS:
            raise ValueError(f"--out must end in .png, .npz or .gif, not {self.out!r}")
        if self.cutoff is not None and self.truncation is None:
            raise ValueError("--cutoff wants --truncation too")
        if self.seeds and self.is_film:
            raise ValueError(f"--seeds wants an --out that ends in .png or .npz, not {self.out!r}")
        if self.is_film and self.num < 2:
            raise ValueError(f"--num must be 2 or more for a film, not {self.num}")

    @property
    def count(self) -> int:
        """How many images are drawn, but for the frames between them."""
        return len(self.seeds) or self.num

    @property
    def is_film(self) -> bool:
        """Whether a film is asked for."""
        return Path(self.out).suffix == ".gif"


def write_npz(
    path: Path, shape: tuple[int, ...], parts: Iterable[jax.Array], labels: jax.Array | None
) -> None:
    """Writes images as an .npz file, compressed, with no more than a part of them in memory.

    Args:
        path: the file. An old file of this name is replaced.
        shape: of all images together, [num, H, W, C].
        parts: the images in order, float32 [n, H, W, C] each.
        labels: int32 [num, k]; None for no labels.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (
        written_whole(path) as beside,
        zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        with archive.open("images.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                file.write(np.asarray(part, "<f4").tobytes())
        if labels is not None:
            with archive.open("labels.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(labels))


def main() -> None:
    with flags.user_errors():
        config = flags.parse(SampleConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        if config.truncation is not None:
            settings = run.config.truncated(config.truncation, config.cutoff)
            run = dataclasses.replace(run, config=settings)
        out, count = Path(config.out), config.count
        is_grid = out.suffix == ".png"
        if is_grid or config.is_film:
            scale = SCALE if is_grid else FILM_SCALE
            images.check_grid(count if is_grid else 1, run.config.image_shape, scale)
        drawn = count * config.steps if config.is_film else count
        is_whole = is_grid or config.is_film or bool(config.seeds)
        needed = run.config.sample_bytes(drawn, whole=is_whole)
        asked = f"{count} --seeds" if config.seeds else f"--num {count}"
        other = "others" if config.seeds else "another --seed"
        memory.check(needed, asked, f"draw fewer at a time, each time {other}")
        key = run.key(config.seed)
        label_key = jax.random.fold_in(key, 0)
        labels, columns = run.config.labels_named(config.labels, label_key, count)
        # Mistakes are found before anything is written, and parts are drawn when they are written.
        if config.seeds:
            drawn_images = run.config.sample_of_seeds(run.params, config.seeds, labels=labels)
            parts: Iterable[jax.Array] = [drawn_images]
        elif config.is_film:
            walk = run.config.walk(run.params, key, count, config.steps, labels=labels)
            frames = [images.to_uint8(each) for each in np.asarray(walk)]
        elif is_grid:
            parts = [run.sample(key, count, labels=labels)]
        else:
            parts = run.sample_in_parts(key, count, labels=labels)
        if is_grid:
            canvas = images.grid(np.concatenate(list(parts)), columns)
        out.parent.mkdir(parents=True, exist_ok=True)
        if is_grid:
            images.write_png(out, canvas, SCALE)
        elif config.is_film:
            images.write_gif(
                out, frames, milliseconds=MILLISECONDS, last=MILLISECONDS, scale=FILM_SCALE
            )
        else:
            write_npz(out, (count, *run.config.image_shape), parts, labels)
    print(f"{count} images in {out}")


if __name__ == "__main__":
    main()
