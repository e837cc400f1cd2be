"""A trained run: its settings together with its weights."""

import dataclasses
import functools
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jax
from numpy.typing import ArrayLike

from jaxgan import weights
from jaxgan.files.reading import read_json
from jaxgan.run import judging, keys
from jaxgan.run.checkpoints import Checkpoints, load_params
from jaxgan.run.config import RunConfig, name_in
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
        if self._is_file:
            return 0, {"generator": self.player("generator")}
        return Checkpoints(self.workdir / "checkpoints").load("generator")

    @property
    def _is_file(self) -> bool:
        return self.workdir.suffix == weights.SUFFIX and self.workdir.is_file()

    def player(self, name: str) -> PyTree:
        """The variables of a player, such as "discriminator"; as `jaxgan.load_params`."""
        if not self._is_file:
            return load_params(self.workdir, player=name)
        players = weights.read(self.workdir)
        if name not in players:
            raise ValueError(f"{self.workdir} has no {name}")
        return players[name]

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
        self,
        key: jax.Array,
        num_samples: int = 64,
        *,
        labels: ArrayLike | None = None,
        truncation: float | None = None,
    ) -> jax.Array:
        """Draws images from the run's generator. The same key gives the same images.

        Args:
            key: a PRNG key, typed (`jax.random.key`) or old-style (`jax.random.PRNGKey`).
            num_samples: how many images to draw, 1 or more.
            labels: for a conditional run the classes of each image, int [num_samples, k]. Column i
                has numbers of the classes of attribute i in `config.classes`. None otherwise.
            truncation: for better images of fewer kinds, as `config.truncated` takes it; None for
                the run's setting.

        Returns:
            float32 [num_samples, height, width, channels] in [0, 1].

        Raises:
            ValueError: the run's system cannot make images from noise alone; none of the
                checkpoints can be read; or as `jaxgan.sample`.
            FileNotFoundError: there is no checkpoint yet.
        """
        config = self.config if truncation is None else self.config.truncated(truncation)
        return config.sample(self.params, key, num_samples, labels=labels)

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

    def evaluate(self, num_samples: int | None = None, *, seed: int = 0) -> dict[str, Any]:
        """Scores the run by the evaluator of its data set (mnist, toon_faces, stacked_mnist).

        The numbers are those of evaluate.py. Nothing is written.

        Args:
            num_samples: how many images to draw, 10 or more; None: as many as there are held-out
                images. Most scores depend on this number.
            seed: from 0 to below 2**32, of the samples and of the scores' random choices.

        Returns:
            What evaluation.json has: `["scores"]["samples"]["fid"]` is the FID, and
            `["scores"]["held_out"]` has those of held-out images, the best to expect.

        Raises:
            ValueError: no evaluator of the package knows the images; the run's system is not judged
                by its images alone; the arguments are out of range; or as `sample`.
            FileNotFoundError: there is no checkpoint yet.
        """
        judging.check_judged(str(self.workdir), self.config)
        if num_samples is not None:
            if num_samples < 10:
                raise ValueError(f"num_samples must be 10 or more, not {num_samples}")
            judging.check_memory(self.config, num_samples)
        if not 0 <= seed < 2**32:
            raise ValueError(f"seed must be from 0 to below 2**32, not {seed}")
        return judging.judge(
            self.config,
            self.params,
            self.step,
            self.key(seed),
            num_samples=num_samples,
            seed=seed,
        ).values

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

    def edit(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        own: ArrayLike | None = None,
        strength: ArrayLike = 1.0,
    ) -> jax.Array:
        """Changes the attributes of images.

        Args:
            images: [n, *config.image_shape], float in [0, 1] or uint8.
            labels: what the images are to show, int [n, k]. Column i has numbers of the classes of
                attribute i in `config.edited_classes()`.
            own: what the images show as they are, as `labels`, such as `recognise(images)`; wanted
                for a strength other than 1.
            strength: how strong the edits are, a number or float [n], as in `jaxgan.edit`.

        Returns:
            float32 [n, *config.image_shape] in [0, 1].

        Raises:
            ValueError: the run's system does not edit images; none of the checkpoints can be read;
                or as `jaxgan.edit`.
            FileNotFoundError: there is no checkpoint yet.
        """
        return self.config.edit(self.params, images, labels, own=own, strength=strength)

    def recognise(self, images: ArrayLike) -> jax.Array:
        """The classes that the discriminator of an editor sees in images.

        Args:
            images: as in `edit`.

        Returns:
            int32 [n, k], as the labels of `edit`.

        Raises:
            ValueError: the run's system does not edit images; the run has no discriminator that can
                be read; or the images have another shape or dtype.
            FileNotFoundError: there is no checkpoint yet.
        """
        self.config.edited_classes()  # Raises a ValueError for a system that does not edit images.
        return self.config.recognise(self.player("discriminator"), images)


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


def load_pretrained(name: str) -> Run:
    """A system that ships with the package, as a run: its settings and weights.

    Args:
        name: one of `weights.PRETRAINED`.

    Raises:
        ValueError: an unknown name.
    """
    weights.check_pretrained(name)
    path = Path(str(resources.files("jaxgan") / "embedded" / f"{name}{weights.SUFFIX}"))
    settings = read_json(path.with_suffix(".json"), dict)["settings"]
    config = registry.find(name_in(settings)).from_json(settings)
    return Run(path, dataclasses.replace(config, workdir=str(path)))


def load_editor(workdir: str) -> Run:
    """A run that edits images: a trained one, or that which ships with the package.

    Args:
        workdir: as in `load_run`; or "pretrained".

    Raises:
        FileNotFoundError, ValueError: as `load_run`.
    """
    return load_pretrained(weights.EDITOR) if workdir == "pretrained" else load_run(workdir)
