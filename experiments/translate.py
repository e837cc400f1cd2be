"""Translates an image into another one, with a trained run of pix2pix.

python experiments/translate.py --workdir runs/pix2pix --in drawing.png --out face.png
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import simple_parsing
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from jaxgan import data
from jaxgan.run import flags, images
from jaxgan.run.settings import local_path, setting
from jaxgan.trained import load_run

# A pixel of the generated image is a square of this many pixels a side in the .png.
SCALE = 4


@dataclasses.dataclass(frozen=True)
class TranslateConfig:
    """The image to translate, and the file to write."""

    workdir: str = setting("runs/pix2pix", local_path)
    """The folder of the run to translate with."""
    input: str = setting("drawing.png", local_path, alias=["--in"])
    """The input image, of any size and any format that Pillow reads. It should look like the inputs
    of the run's task (for edges2face black lines on white)."""
    from_photo: bool = simple_parsing.field(default=False, negative_prefix="--no-")
    """Compute the input from the image first, as the run's task does (for edges2face find the
    edges)."""
    seed: int = 0
    """Seed of the generator's noise. The same seed gives the same image."""
    out: str = setting("face.png", local_path)
    """The .png to write."""

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")
        if Path(self.out).suffix.lower() != ".png":
            raise ValueError(f"--out must end in .png, not {self.out!r}")


def read(path: Path, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, list[str]]:
    """Reads an image file and resizes the image.

    Args:
        path: the file, of any format that Pillow reads.
        image_shape: height, width and channels (1 or 3) of the result.

    Returns:
        (the image, uint8 [*image_shape]; a list of what was done to it, in words).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image that Pillow reads, or the image is too large.
    """
    if not path.exists():
        raise FileNotFoundError(f"--in {path} is not there")
    try:
        with Image.open(path) as picture:
            done = [f"{picture.format}, {picture.width}x{picture.height}, {picture.mode}"]
            if getattr(picture, "n_frames", 1) > 1:
                done.append("its first frame")
            if picture.getexif().get(ExifTags.Base.Orientation) in range(2, 9):
                picture = ImageOps.exif_transpose(picture)
                done.append("turned as the camera was")
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                ground = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(ground, picture).convert("RGB")
                done.append("put on white")
            elif picture.mode.startswith("I") or picture.mode == "F":
                # Pixels have 16 bits or more. Pillow itself would clip them at 255.
                values = np.asarray(picture, np.float64)
                top = 65535 if picture.mode.startswith("I;16") else max(values.max(), 1)
                picture = Image.fromarray(np.uint8(np.rint(np.clip(values / top, 0, 1) * 255)))
                done.append("brought to 8 bits")
            elif picture.mode not in ("L", "RGB"):
                picture = picture.convert("L" if picture.mode == "1" else "RGB")
            picture, fitted = data.fit(picture, image_shape)
            done += fitted
    except Image.DecompressionBombError as error:
        raise ValueError(f"--in {path} is too large: {error}") from error
    except (UnidentifiedImageError, SyntaxError, EOFError) as error:
        raise ValueError(f"--in {path} is not an image that Pillow reads: {error}") from error
    except OSError as error:
        raise ValueError(f"--in {path} cannot be read as an image: {error}") from error
    return np.asarray(picture).reshape(image_shape), done


def main() -> None:
    with flags.user_errors():
        config = flags.parse(TranslateConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        shape = run.config.input_shape()
        image, done = read(
            Path(config.input), run.config.image_shape if config.from_photo else shape
        )
        inputs = image[None]
        if config.from_photo:
            inputs, about = run.config.inputs_of(inputs)
            done.append(f"made {about}")
        made = run.translate(inputs, run.key(config.seed))
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(out, images.to_uint8(np.asarray(made[0])), SCALE)
    print(f"{config.input}: {', '.join(done)}")
    print(f"{made.shape[1]}x{made.shape[2]} in {out}, each pixel {SCALE}x{SCALE}")


if __name__ == "__main__":
    main()
