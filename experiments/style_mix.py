"""Crosses the styles of images of a StyleGAN2 run: each row's image with styles of each column's.

python experiments/style_mix.py --rows 1 2 3 --columns 4 5 6 7 --out mixed.png
"""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np

from jaxgan.run import flags, images
from jaxgan.run.settings import local_path, setting
from jaxgan.systems.stylegan2.config import with_styles
from jaxgan.systems.stylegan2.styles import coarse_layers, crossed, layers_named
from jaxgan.trained import load_run

# A pixel of an image is a square of this many pixels a side in the .png.
SCALE = 2


@dataclasses.dataclass(frozen=True)
class MixConfig:
    """The images to cross, and the file to write."""

    workdir: str = setting("runs/stylegan2", local_path)
    """The folder of the run, or an .npz of import_weights.py."""
    rows: tuple[int, ...] = (0, 1, 2, 3)
    """The seeds of the images of the rows. A seed draws the latent that it draws in the official
    tools."""
    columns: tuple[int, ...] = (4, 5, 6, 7, 8, 9)
    """The seeds of the images of the columns."""
    layers: tuple[str, ...] = ()
    """The layers that take the column's style, from 0, the smallest, on: numbers or FIRST-LAST,
    such as 0-3 6. All others have the row's. By default the first seven of eighteen, in
    proportion."""
    truncation: float = 0.7
    """How far styles are from their mean: 1 for the true ones, 0 for the mean image."""
    labels: tuple[str, ...] = ()
    """For a conditional run: the classes of all images, as sample.py takes them."""
    out: str = setting("mixed.png", local_path)
    """The .png to write."""

    def __post_init__(self):
        if Path(self.out).suffix.lower() != ".png":
            raise ValueError(f"--out must end in .png, not {self.out!r}")
        if not self.rows or not self.columns:
            raise ValueError("--rows and --columns want a seed each, or more")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(MixConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        settings = with_styles(run.config).truncated(config.truncation)
        num_styles = settings.generator().num_styles
        layers = layers_named(config.layers, num_styles) or coarse_layers(num_styles)
        num_rows, num_columns = len(config.rows), len(config.columns)
        images.check_grid((num_rows + 1) * (num_columns + 1), settings.image_shape, SCALE)
        latents = settings.latents_of_seeds([*config.rows, *config.columns])
        labels, _ = settings.labels_named(config.labels, jax.random.key(0), len(latents))
        styles = settings.styles(run.params, latents, labels=labels)
        rows, columns = styles[:num_rows], styles[num_rows:]
        table = crossed(rows, columns, layers).reshape(-1, *styles.shape[1:])
        made = np.asarray(settings.render(run.params, np.concatenate([styles, table])))
        of_rows, of_columns, inner = np.split(made, [num_rows, len(styles)])
        blank = np.ones((1, *settings.image_shape), np.float32)
        lines = [np.concatenate([blank, of_columns])]
        for i, line in enumerate(inner.reshape(num_rows, num_columns, *settings.image_shape)):
            lines.append(np.concatenate([of_rows[i : i + 1], line]))
        spans = " ".join(config.layers) or f"0-{layers[-1]}"
        canvas = images.headed_grid(
            np.concatenate(lines),
            ["", *map(str, config.columns)],
            f"layers {spans} of {num_styles} from the columns",
            SCALE,
            ["", *map(str, config.rows)],
        )
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(out, canvas)
    print(f"{num_rows} rows, {num_columns} columns, layers {spans} of {num_styles}: {out}")


if __name__ == "__main__":
    main()
