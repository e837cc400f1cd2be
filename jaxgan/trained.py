"""A trained run: its settings together with its weights."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from numpy.typing import ArrayLike

from jaxgan import weights
from jaxgan.run import keys
from jaxgan.run.checkpoints import Checkpoints, load_params
from jaxgan.run.config import RunConfig
from jaxgan.systems import registry

PyTree = Any


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run; made by `load_run`.

    Attributes:
        workdir: the run's folder, or a file that import_weights.py has written.
        config: the run's settings, of the class of its system.
    """

    workdir: Path
    config: RunConfig

    @property
    def params(self) -> PyTree:
        """The generator's variables from the newest checkpoint: their moving average.

        They are what the generator's `apply` takes, {"params": ..., other collections}: NumPy
        arrays; the params are float32. They are read when they are first asked for.

        Raises:
            FileNotFoundError: there is no checkpoint yet.
            ValueError: none of the checkpoints can be read.
        """
        return self._generator[1]["generator"]

    @property
    def step(self) -> int:
        """The step of the checkpoint that `params` are from.

        Raises:
            FileNotFoundError, ValueError: as `params`.
        """
        return self._generator[0]

    @functools.cached_property
    def _generator(self) -> tuple[int, dict[str, PyTree]]:
        if self.workdir.suffix == weights.SUFFIX and self.workdir.is_file():
            players = weights.read(self.workdir)
            if "generator" not in players:
                raise ValueError(f"{self.workdir} has no generator")
            return 0, players
        return Checkpoints(self.workdir / "checkpoints").load("generator")

    def player(self, name: str) -> PyTree:
        """The variables of a player, such as "discriminator"; as `jaxgan.load_params`."""
        return load_params(self.workdir, player=name)

    def key(self, seed: int) -> jax.Array:
        """A PRNG key of the implementation of random numbers that the run was begun with.

        So a seed gives the same images under every `JAX_DEFAULT_PRNG_IMPL`.

        Args:
            seed: from 0 to below 2**32.

        Raises:
            ValueError: versions.json is damaged.
        """
        return keys.key(self.workdir, seed)

    def sample(
        self, key: jax.Array, num_samples: int = 64, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        """Draws images from the run's generator. The same key gives the same images.

        Args:
            key: a PRNG key, typed (`jax.random.key`) or old-style (`jax.random.PRNGKey`).
            num_samples: how many images to draw, 1 or more.
            labels: for a conditional run the classes of each image, int [num_samples, k]. Column i
                has numbers of the classes of attribute i in `config.classes`. None otherwise.

        Returns:
            float32 [num_samples, height, width, channels] in [0, 1].

        Raises:
            ValueError: the run's system cannot make images from noise alone; none of the
                checkpoints can be read; or as `jaxgan.sample`.
            FileNotFoundError: there is no checkpoint yet.
        """
        return self.config.sample(self.params, key, num_samples, labels=labels)

    def sample_in_parts(
        self, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> Iterator[jax.Array]:
        """The images of `sample`, some at a time, so that not all are in memory at once.

        Args:
            key, num_samples, labels: as in `sample`.

        Returns:
            The images in order, float32 [n, height, width, channels] in [0, 1], `num_samples` in
            all. They are those of `sample`, bit for bit.

        Raises:
            ValueError, FileNotFoundError: as `sample`.
        """
        return self.config.sample_in_parts(self.params, key, num_samples, labels=labels)

    def translate(self, images: ArrayLike, key: jax.Array | None) -> jax.Array:
        """Translates each image into another one. The same key gives the same images.

        Args:
            images: [n, *config.input_shape()], float in [0, 1] or uint8.
            key: a PRNG key, for the generator's noise; None for evaluation mode, without noise.

        Returns:
            float32 [n, *config.image_shape] in [0, 1].

        Raises:
            ValueError: the run's system does not translate images; none of the checkpoints can be
                read; or as `jaxgan.translate`.
            FileNotFoundError: there is no checkpoint yet.
        """
        return self.config.translate(self.params, images, key)


def load_run(workdir: str | Path) -> Run:
    """Loads the settings of a trained run. The weights are read when they are first needed.

    Args:
        workdir: the run's folder. The run may have been trained on any number of devices. Or the
            .npz of experiments/import_weights.py, beside which are the settings.

    Raises:
        FileNotFoundError: the folder holds no run.
        ValueError: config.json is damaged, or names a system that cannot be found.
    """
    return Run(Path(workdir), registry.load_config(workdir))
