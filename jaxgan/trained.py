"""A trained run: its settings and its weights together."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
from numpy.typing import ArrayLike

from jaxgan.run.checkpoints import Checkpoints, load_params
from jaxgan.run.config import RunConfig
from jaxgan.systems import registry

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as `load_run` gives it.

    Attributes:
        workdir: its folder.
        config: its settings, of the class of its system.
    """

    workdir: Path
    config: RunConfig

    @functools.cached_property
    def params(self) -> PyTree:
        """What the generator's `apply` takes, from the newest checkpoint: the moving average.

        Raises:
            FileNotFoundError: there is no checkpoint yet.
            ValueError: none of the checkpoints can be read.
        """
        return self.player("generator")

    def player(self, name: str) -> PyTree:
        """What the `apply` of a player takes; as `jaxgan.load_params`."""
        return load_params(self.workdir, player=name)

    @property
    def steps(self) -> list[int]:
        """The steps of the run's checkpoints, oldest first."""
        return Checkpoints(self.workdir / "checkpoints").steps()

    def sample(
        self, key: jax.Array, num_samples: int = 64, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        """Draws images by the run's own settings: noise, widths and labels. The same key gives the
        same images.

        Args:
            key: a PRNG key, typed (`jax.random.key`) or old-style (`jax.random.PRNGKey`).
            num_samples: how many, 1 or more.
            labels: what each image is to show, int [num_samples, k], of a conditional run: for each
                attribute of `config.classes` the number of a class.

        Returns:
            float32 [num_samples, height, width, channels] in [0, 1].

        Raises:
            ValueError: the run makes no images from noise alone, or as `jaxgan.sample`.
            FileNotFoundError: there is no checkpoint yet.
        """
        return self.config.sample(self.params, key, num_samples, labels=labels)

    def translate(self, images: ArrayLike, key: jax.Array) -> jax.Array:
        """Makes an image of each image. The same key gives the same images.

        Args:
            images: [n, height, width, channels] of the shape that the run was trained on: float in
                [0, 1], or uint8.
            key: a PRNG key, of the noise.

        Returns:
            float32 [n, height, width, channels] in [0, 1].

        Raises:
            ValueError: the run makes no images of images, or as `jaxgan.translate`.
            FileNotFoundError: there is no checkpoint yet.
        """
        return self.config.translate(self.params, images, key)


def load_run(workdir: str | Path) -> Run:
    """A trained run.

    Args:
        workdir: the run's folder, written on any number of devices.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: its config.json is damaged, or of no system that can be found.
    """
    return Run(Path(workdir), registry.load_config(workdir))
