"""Ages a face, with a trained run of Age-cGAN: the face as each group of age would have it.

python experiments/age.py --workdir runs/age_cgan --in face.png --out ages.png
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.run import flags, images
from jaxgan.run.settings import count, local_path, one_of, setting
from jaxgan.systems.age_cgan.config import AgeCGANConfig
from jaxgan.systems.age_cgan.inversion import OBJECTIVES
from jaxgan.systems.age_cgan.recognition import check_known, load_recogniser
from jaxgan.trained import load_run

PyTree = Any
# A pixel of an image is a square of this many pixels a side in the .png.
SCALE = 4


@dataclasses.dataclass(frozen=True)
class AgeConfig:
    """The face to age, and the file to write."""

    workdir: str = setting("runs/age_cgan", local_path)
    """The folder of the run."""
    input: str = setting("face.png", local_path, alias=["--in"])
    """The picture of the face, of any size, as a file of PNG, JPEG, TIFF, WebP or another common
    format of pictures. It should look like the run's data set."""
    group: str | None = None
    """The group that the face is in, by its name; None: the group in which the generator makes a
    face nearest to it."""
    objective: str | None = setting(None, one_of(*OBJECTIVES))
    """What the search brings nearer to the picture: its pixels ('pixelwise'), the features of a
    recogniser ('identity-preserving'), 'both', or pixels and the features of the face 'in every
    group'. None: in every group, and pixelwise where the package has no recogniser."""
    steps: int = setting(200, count(0))
    """Steps of the search for the face's latent; 0: the encoder's guess as it is."""
    out: str = setting("ages.png", local_path)
    """The .png to write."""

    def __post_init__(self):
        if Path(self.out).suffix.lower() != ".png":
            raise ValueError(f"--out must end in .png, not {self.out!r}")


def load(workdir: str) -> tuple[AgeCGANConfig, PyTree, PyTree]:
    """Loads a run of Age-cGAN.

    Args:
        workdir: the run's folder.

    Returns:
        (its settings, the generator's variables, the encoder's variables).

    Raises:
        FileNotFoundError: the folder holds no run, or no checkpoint yet.
        ValueError: the run is of another system, has no encoder yet, or cannot be read.
    """
    run = load_run(workdir)
    if not isinstance(run.config, AgeCGANConfig):
        raise ValueError(
            f"{workdir} is a run of {run.config.system_name()}, which ages no faces: give one of "
            "experiments/age_cgan.py"
        )
    params = run.params
    try:
        return run.config, params, run.player("encoder")
    except ValueError as error:
        raise ValueError(f"{workdir} has no encoder, it trains after the GAN: {error}") from None


def main() -> None:
    with flags.user_errors():
        config = flags.parse(AgeConfig, sys.argv[1:], description=__doc__)
        settings, params, encoder = load(config.workdir)
        names = settings.group_names
        if config.group is not None and config.group not in names:
            raise ValueError(f"--group must be one of {', '.join(names)}, not {config.group!r}")
        images.check_grid(2 + len(names), settings.image_shape, SCALE)
        objective, embed = config.objective, None
        if objective != "pixelwise":
            try:
                check_known(settings.dataset, settings.image_shape)
                objective, embed = objective or "in every group", load_recogniser()
            except ValueError as error:
                if objective is not None:
                    raise ValueError(f"--objective {objective} cannot be had: {error}") from None
                objective = "pixelwise"
        face, done = images.read_fitted(Path(config.input), settings.image_shape)
        # A search in each group that may be the face's own.
        own = range(len(names)) if config.group is None else [names.index(config.group)]
        faces = np.repeat(face[None], len(own), axis=0)
        latents = settings.invert(
            params,
            faces,
            np.asarray(own),
            jax.random.key(0),
            embed=embed,
            start=settings.encode(encoder, faces),
            steps=config.steps,
            **OBJECTIVES[objective],
        )
        aged = np.asarray(settings.aged(params, latents))
        made = aged[np.arange(len(own)), own]
        errors = np.abs(made - face / np.float32(255)).mean(axis=(1, 2, 3))
        best = int(errors.argmin())
        strip = np.stack([face / np.float32(255), made[best], *aged[best]])
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(out, images.grid(strip, len(strip)), SCALE)
    found = "as --group says" if config.group else "in which the generator makes the nearest face"
    print(f"{config.input}: {', '.join(done)}")
    print(f"taken for {names[own[best]]}, {found}; {objective}, {config.steps} steps")
    print(f"reconstruction: mean absolute difference {errors[best]:.3f} of pixels in [0, 1]")
    print(f"{out}: the picture, its reconstruction, then {', '.join(names)}")


if __name__ == "__main__":
    main()
