"""Searches the styles of which a StyleGAN2 run makes the image in a picture.

python experiments/project.py --in face.png --out projected.png --film projected.gif
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jaxgan import weights
from jaxgan.metrics.evaluator import check_evaluated, load_evaluator
from jaxgan.run import flags, images
from jaxgan.run.settings import count, local_path, one_of, setting, weight
from jaxgan.systems.stylegan2.config import with_styles
from jaxgan.systems.stylegan2.projection import SPACES
from jaxgan.trained import load_run

# A pixel of an image is a square of this many pixels a side in what is written.
SCALE = 4
# The frames of the film, and how long each is shown.
FRAMES, MILLISECONDS = 60, 80


@dataclasses.dataclass(frozen=True)
class ProjectConfig:
    """The picture, the search, and the files to write."""

    workdir: str = setting("runs/stylegan2", local_path)
    """The folder of the run, or an .npz of import_weights.py."""
    input: str = setting("face.png", local_path, alias=["--in"])
    """The picture, of any size, as a file of PNG, JPEG, TIFF, WebP or another common format of
    pictures. It is cropped about its centre and resized to the run's images, which it should look
    like."""
    space: str = setting("w", one_of(*SPACES))
    """Where to search: 'w', one style for all layers, which can be edited; or 'w+', one for each
    layer, which comes nearer to the picture."""
    steps: int = setting(1000, count(1))
    """Steps of the search."""
    feature_weight: float = setting(0.01, weight)
    """How much the features of the package's evaluator count beside the pixels; 0: pixels alone, as
    for data sets without an evaluator."""
    seed: int = setting(0, count(0))
    """Seed of the noise in the search."""
    labels: tuple[str, ...] = ()
    """For a conditional run: the classes that the picture shows, of all attributes, as sample.py
    takes them."""
    out: str = setting("projected.png", local_path)
    """The .png to write: the picture, and what the generator makes of it."""
    film: str | None = setting(None, local_path)
    """A .gif to write, with the search as a film; None: no film."""
    styles: str | None = setting(None, local_path)
    """An .npz to write, with the styles and the noise that were found, for directions.py; None: no
    such file."""

    def __post_init__(self):
        endings = {"out": ".png", "film": ".gif", "styles": weights.SUFFIX}
        for name, ending in endings.items():
            path = getattr(self, name)
            if path is not None and Path(path).suffix.lower() != ending:
                raise ValueError(f"--{name} must end in {ending}, not {path!r}")
        if self.seed >= 2**32:
            raise ValueError(f"--seed must be from 0 to below 2**32, not {self.seed}")


def features_of(dataset: str, image_shape: tuple[int, int, int]) -> Callable | None:
    """The features of the package's evaluator of a data set; None if it has no such one."""
    try:
        check_evaluated(dataset, image_shape)
    except ValueError:
        return None
    evaluator = load_evaluator(dataset)
    return lambda made: evaluator(made).features


def main() -> None:
    with flags.user_errors():
        config = flags.parse(ProjectConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        settings = with_styles(run.config)
        if settings.classes and len(config.labels) < len(settings.classes):
            every = " ".join(f"{name}={its[0]}" for name, its in settings.classes)
            raise ValueError(
                f"this run is conditional: name what the picture shows, such as --labels {every}"
            )
        labels, _ = settings.labels_named(config.labels, jax.random.key(0), 1)
        settings.check_params(run.params)
        images.check_grid(2, settings.image_shape, SCALE)
        image, done = images.read_fitted(Path(config.input), settings.image_shape)
        embed = None
        if config.feature_weight:
            embed = features_of(settings.dataset, settings.image_shape)
        found = settings.project(
            run.params,
            image[None],
            run.key(config.seed),
            labels=labels,
            embed=embed,
            space=config.space,
            steps=config.steps,
            num_frames=min(FRAMES, config.steps) if config.film else 1,
            feature_weight=config.feature_weight,
        )
        picture, film = image / np.float32(255), np.asarray(found.film)[:, 0]
        paths = [Path(each) for each in (config.out, config.film, config.styles) if each]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(Path(config.out), images.grid(np.stack([picture, film[-1]]), 2), SCALE)
        if config.film:
            frames = [images.grid(np.stack([picture, each]), 2) for each in film]
            images.write_gif(Path(config.film), frames, milliseconds=MILLISECONDS, scale=SCALE)
        if config.styles:
            held = {"styles": found.styles, "noise": found.noise}
            weights.write(Path(config.styles), jax.tree.map(lambda x: x[0], held))
    error = np.abs(film[-1] - picture).mean()
    by = "pixels and features" if embed else "pixels"
    print(f"{config.input}: {', '.join(done)}")
    print(
        f"{config.space}, {config.steps} steps, by {by}: mean absolute difference {error:.3f} of "
        "pixels in [0, 1]"
    )
    print(
        f"{config.out}: the picture, then its projection"
        + "".join(f"; {path}" for path in paths[1:])
    )


if __name__ == "__main__":
    main()
