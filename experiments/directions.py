"""Shows attributes of an image of a StyleGAN2 run as sliders: a strip of images for each class.

python experiments/directions.py --attributes hair_colour beard --out sliders.png
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import weights
from jaxgan.data.embedded import classes_of
from jaxgan.latents import normal
from jaxgan.metrics.agreement import classify
from jaxgan.metrics.evaluator import ATTRIBUTES, check_evaluated, load_attribute_classifier
from jaxgan.run import flags, images
from jaxgan.run.config import RunConfig
from jaxgan.run.settings import count, local_path, setting
from jaxgan.systems.stylegan2.config import with_styles
from jaxgan.systems.stylegan2.directions import LEAST_SHARE, class_directions, moved
from jaxgan.systems.stylegan2.styles import layers_named, with_noise
from jaxgan.trained import load_run

PyTree = Any
# A pixel of an image is a square of this many pixels a side in the .png.
SCALE = 2


@dataclasses.dataclass(frozen=True)
class DirectionsConfig:
    """The image, its sliders, and the file to write."""

    workdir: str = setting("runs/stylegan2", local_path)
    """The folder of the run, or an .npz of import_weights.py."""
    attributes: tuple[str, ...] = ()
    """The attributes that have sliders, by their names in the data set; by default the first one
    that the package's classifier of the data set knows."""
    seed: int = setting(0, count(0))
    """The seed of the image, which draws the latent that it draws in the official tools."""
    styles: str | None = setting(None, local_path)
    """The .npz of project.py, whose image is shown instead; None: that of --seed."""
    truncation: float = 0.7
    """How far the styles of the image of --seed are from their mean."""
    strength: float = 1.5
    """The last image of a strip is so far along the direction, the first one as far back; at 1 it
    should show the class."""
    steps: int = setting(7, count(2))
    """Images in a strip."""
    layers: tuple[str, ...] = ()
    """The layers whose styles move, from 0, the smallest, on: numbers or FIRST-LAST, such as 0-3;
    by default all."""
    num: int = setting(4000, count(2))
    """How many samples the directions are found in."""
    out: str = setting("sliders.png", local_path)
    """The .png to write."""

    def __post_init__(self):
        if Path(self.out).suffix.lower() != ".png":
            raise ValueError(f"--out must end in .png, not {self.out!r}")
        if not 0 < self.strength < np.inf:
            raise ValueError(f"--strength must be above 0 and finite, not {self.strength}")


def checked_attributes(settings: RunConfig, names: Sequence[str]) -> tuple[str, ...]:
    """The attributes that are asked for, or else the first one that the classifier knows.

    Raises:
        ValueError: the package has no classifier of the data set, or it knows no such attribute.
    """
    check_evaluated(settings.dataset, settings.image_shape)
    known = tuple(ATTRIBUTES[settings.dataset])
    for name in names:
        if name not in known:
            raise ValueError(
                f"--attributes {name}: the classifier of {settings.dataset} knows "
                f"{', '.join(known)} only"
            )
    return tuple(names) or known[:1]


def found_directions(
    settings: Any, params: PyTree, key: jax.Array, num: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Finds the directions of all classes of all attributes that the classifier knows.

    Args:
        settings: of the run, with styles.
        params: the generator's variables.
        key: a PRNG key, of the latents and of the labels of a conditional run.
        num: how many samples the classifier sees.

    Returns:
        (the directions by attribute, float32 [classes, style_size]; the share of the samples that
        show each class by attribute, float [classes]). A class that less than `LEAST_SHARE` of the
        samples show has the direction 0.
    """
    settings = settings.truncated(1.0)
    latents = normal(key, (num, settings.latent_size))
    labels, _ = settings.labels_named((), jax.random.fold_in(key, 0), num)
    styles = settings.styles(params, latents, labels=labels)
    made = settings.render(params, styles)
    seen = classify(made, load_attribute_classifier(settings.dataset))
    shares = {name: each.mean(axis=0) for name, each in seen.items()}
    kept = {
        name: (share >= LEAST_SHARE) & (share <= 1 - LEAST_SHARE) for name, share in shares.items()
    }
    varied = {name: each[:, kept[name]] for name, each in seen.items() if kept[name].any()}
    found = class_directions(styles[:, 0], varied)
    directions = {}
    for name, is_kept in kept.items():
        directions[name] = np.zeros((len(is_kept), settings.style_size), np.float32)
        if name in found:
            directions[name][is_kept] = found[name]
    return directions, shares


def main() -> None:
    with flags.user_errors():
        config = flags.parse(DirectionsConfig, sys.argv[1:], description=__doc__)
        run = load_run(config.workdir)
        settings = with_styles(run.config)
        names = checked_attributes(settings, config.attributes)
        num_styles = settings.generator().num_styles
        layers = layers_named(config.layers, num_styles) or None
        settings.check_params(run.params)
        params = run.params
        if config.styles is None:
            latents = settings.latents_of_seeds([config.seed])
            labels, _ = settings.labels_named((), jax.random.key(0), 1)
            own = settings.truncated(config.truncation).styles(run.params, latents, labels=labels)
            shown = f"seed {config.seed}"
        else:
            held = weights.read(config.styles)
            if held.keys() != {"styles", "noise"} or isinstance(held["styles"], dict):
                raise ValueError(f"--styles {config.styles} is no file of project.py")
            own, params = held["styles"][None], with_noise(params, held["noise"])
            shown = config.styles
        classes = classes_of(settings.dataset)
        directions, shares = found_directions(settings, run.params, jax.random.key(0), config.num)
        strengths = np.linspace(-config.strength, config.strength, config.steps)
        parts, said = [], []
        for name in names:
            its, share = classes[name], shares[name]
            rows = [i for i in range(len(its)) if directions[name][i].any()]
            said.append(
                f"{name}: " + ", ".join(f"{its[i]} {share[i]:.1%}" for i in range(len(its)))
            )
            if not rows:
                continue
            styles = np.concatenate(
                [moved(own, directions[name][i], strengths, layers)[0] for i in rows]
            )
            made = np.asarray(settings.render(params, styles))
            headings = [f"{each:+.2g}" for each in strengths]
            words = [its[i] for i in rows]
            parts.append(images.headed_grid(made, headings, f"{name}, {shown}", SCALE, words))
        if not parts:
            raise ValueError(
                f"the samples show no two classes of {', '.join(names)}: there is no direction"
            )
        out = Path(config.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        images.write_png(out, images.stacked(parts))
    print(f"{config.num} samples show, by the package's classifier:")
    print("\n".join(said))
    print(f"{out}: a strip for each class, from -{config.strength:g} to {config.strength:g}")


if __name__ == "__main__":
    main()
