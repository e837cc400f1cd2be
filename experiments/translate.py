"""Translates an image into another one, with a trained run of pix2pix.

python experiments/translate.py --workdir runs/pix2pix --in drawing.png --out face.png
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import simple_parsing

from jaxgan.run import flags, images
from jaxgan.run.settings import local_path, setting
from jaxgan.trained import load_run

# A pixel of the generated image is a square of this many pixels a side in the .png.
SCALE = 4


@dataclasses.dataclass(frozen=True)
class TranslateConfig:
    """The image to translate, and the file to write."""

    workdir: str = setting("runs/pix2pix", local_path)
    """The folder of the run to translate with, or an .npz of import_weights.py."""
    input: str = setting("drawing.png", local_path, alias=["--in"])
    """The input image, of any size, as a file of PNG, JPEG, TIFF, WebP or another common format of
    pictures. It should look like the inputs of the run's task (for edges2face black lines on
    white)."""
    from_photo: bool = simple_parsing.field(default=False, negative_prefix="--no-")
    """Compute the input from the image first, as the run's task does (for edges2face find the
    edges)."""
    seed: int = 0
    """Seed of the generator's noise. The same seed gives the same image."""
    evaluation: bool = simple_parsing.field(default=False, negative_prefix="--no-")
    """Translate in evaluation mode: without noise, and by the running statistics of a batch
    normalisation, if the run has one. Otherwise both are as in training, as in the paper."""
    out: str = setting("face.png", local_path)
    """The .png to write."""

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")
        if Path(self.out).suffix.lower() != ".png":
            raise ValueError(f"--out must end in .png, not {self.out!r}")


def main() -> None:
    with flags.user_errors():
        config = flags.parse(TranslateConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        shape = run.config.input_shape()
        # The settings may claim any size. The weights and the memory say whether it can be.
        run.config.check_params(run.params)
        images.check_grid(1, run.config.image_shape, SCALE)
        image, done = images.read_fitted(
            Path(config.input), run.config.image_shape if config.from_photo else shape
        )
        inputs = image[None]
        if config.from_photo:
            inputs, about = run.config.inputs_of(inputs)
            done.append(f"made {about}")
        made = run.translate(inputs, None if config.evaluation else run.key(config.seed))
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(out, images.to_uint8(np.asarray(made[0])), SCALE)
    print(f"{config.input}: {', '.join(done)}")
    print(f"{made.shape[1]}x{made.shape[2]} in {out}, each pixel {SCALE}x{SCALE}")


if __name__ == "__main__":
    main()
