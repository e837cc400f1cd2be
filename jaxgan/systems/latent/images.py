"""The settings of every system whose generator makes images from latents: drawing, and the grid."""

import dataclasses
import math
import shlex
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.data import Dataset
from jaxgan.game import GAN, TrainState
from jaxgan.run.config import RunConfig
from jaxgan.run.program import Program
from jaxgan.run.system import ABOUT_THE_GAME, GAME_PROGRESS, JUDGEMENT, LOSSES, Panel, System
from jaxgan.systems.latent import drawing
from jaxgan.training import collapse
from jaxgan.training.collapse import Sign
from jaxgan.training.stages import Picture, Stage

PyTree = Any
# Images in the grid of an epoch.
GRID_IMAGES = 64
# The shapes of images of data sets that networks take as they are. Others are resized.
OWN_SHAPES: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        **dict.fromkeys(("mnist", "fashion_mnist", "kmnist"), (28, 28, 1)),
        "stacked_mnist": (28, 28, 3),
    }
)


@dataclasses.dataclass(frozen=True)
class LatentConfig(RunConfig):
    """The settings of a run that draws its images from latents.

    A subclass defines `generator` and `gan`.
    """

    about_curves = ABOUT_THE_GAME
    # The title of losses.png, and its plots.
    title: ClassVar[str] = "The game: both losses, and what the discriminator believes"
    panels: ClassVar[tuple[Panel, ...]] = (LOSSES, JUDGEMENT)
    # The truncation that leaves all images as they are; None if the system has no truncation.
    no_truncation: ClassVar[float | None] = None

    def generator(self) -> nn.Module:
        """The generator's module: latents [batch, latent_size] -> images [batch, *image_shape].

        The images are in [-1, 1]. A conditional generator takes labels as its second argument.
        """
        raise NotImplementedError

    def gan(self) -> GAN:
        """The game of generator and discriminator with these settings."""
        raise NotImplementedError

    # Properties, not fields: only some systems have settings of these names.
    @property
    def noise(self) -> str:
        """The distribution of the latents, by its name in `latents.NOISES`."""
        return "normal"

    @property
    def classes(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(attribute, names of its classes) for each label; () if the run is not conditional."""
        return ()

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes that are labels of the networks; () if the run is not conditional."""
        return tuple(name for name, _ in self.classes)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """The number of classes of each label; () if the run is not conditional."""
        return tuple(len(names) for _, names in self.classes)

    @property
    def images_per_piece(self) -> int | None:
        """About how many images a row of metrics is the mean over at most, as in `Stage`."""
        return None

    def warning(self, metrics: Mapping[str, float]) -> str | None:
        """What is said at the end of an epoch if something is wrong, as in `Stage`."""
        return None

    @property
    def signs(self) -> tuple[Sign, ...]:
        """The signs of a collapse, as in `Stage`."""
        return collapse.signs("non_saturating")

    def system(self, dataset: Dataset) -> System:
        config = self.for_dataset(dataset)

        def draw(state: TrainState, key: jax.Array, num_samples: int) -> jax.Array:
            return config.judged_samples(state.averages["generator"], key, num_samples, dataset)[0]

        stage = Stage(
            config.gan(),
            config.examples(dataset),
            config.epochs,
            config.batch_size,
            draw=draw,
            picture=lambda state, key: config.picture(state.averages["generator"], key, dataset),
            progress=GAME_PROGRESS,
            warning=config.warning,
            signs=config.signs,
            images_per_piece=config.images_per_piece,
        )
        return System(config, [stage], self.title, list(self.panels))

    def for_dataset(self, dataset: Dataset) -> Self:
        """These settings, completed from the data set (such as the names of its classes).

        Raises:
            ValueError: the data set lacks something that the settings need, such as attributes.
        """
        return self

    def examples(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """The training data that batches are taken from: arrays [N, ...] by name.

        "images" is uint8 [N, H, W, C]. A conditional run has "labels" too, int32 [N, k].
        """
        return {"images": dataset.images}

    def label_array(self, dataset: Dataset, key: jax.Array, num_images: int) -> jax.Array | None:
        """Draws the labels of random images of a data set, with replacement.

        Args:
            dataset: the data set.
            key: a PRNG key.
            num_images: how many images to draw labels for.

        Returns:
            int32 [num_images, k]; None if the run is not conditional.
        """
        return None

    def sample(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        return drawing.sample(
            params,
            key,
            num_samples=num_samples,
            labels=labels,
            noise=self.noise,
            generator=self.generator(),
        )

    def sample_in_parts(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> Iterator[jax.Array]:
        return drawing.sample_in_parts(
            params,
            key,
            num_samples=num_samples,
            labels=labels,
            noise=self.noise,
            generator=self.generator(),
        )

    def sample_bytes(self, num_samples: int, *, whole: bool = True) -> int:
        return drawing.sample_bytes(self.generator(), num_samples, whole=whole)

    def walk(
        self,
        params: PyTree,
        key: jax.Array,
        num_samples: int,
        num_steps: int,
        *,
        labels: ArrayLike | None = None,
    ) -> jax.Array:
        return drawing.walk(
            params,
            key,
            num_samples=num_samples,
            num_steps=num_steps,
            labels=labels,
            noise=self.noise,
            generator=self.generator(),
        )

    def judged_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        # Scores are of images of all kinds.
        whole = self if self.no_truncation is None else self.truncated(self.no_truncation)
        return whole._judged(params, key, num_samples, dataset)

    def truncated_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset, truncation: float
    ) -> jax.Array:
        return self.truncated(truncation)._judged(params, key, num_samples, dataset)[0]

    def _judged(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        labels = self.label_array(dataset, key, num_samples)
        images = self.sample(params, key, num_samples, labels=labels)
        asked = {} if labels is None else dict(zip(self.attribute_names, labels.T, strict=True))
        return images, asked

    def program(self, params: PyTree) -> Program:
        return drawing.program(params, self.noise, self.classes, generator=self.generator())

    def picture(self, params: PyTree, key: jax.Array, dataset: Dataset) -> Picture:
        """Draws the grid of images that is saved at an epoch.

        Args:
            params: the generator's variables, {"params": ..., other collections}.
            key: a PRNG key, the same at every epoch, for latents and labels.
            dataset: the data set that labels are drawn from.

        Returns:
            (images, float32 [n, H, W, C] in [0, 1]; images in a row, None for a nearly square
            grid).
        """
        labels = self.label_array(dataset, key, GRID_IMAGES)
        return self.sample(params, key, GRID_IMAGES, labels=labels), None

    @property
    def picture_shape(self) -> tuple[int, int]:
        """(rows, columns) of the grid that `picture` draws."""
        side = math.isqrt(GRID_IMAGES)
        return side, side

    def commands(self, workdir: str) -> dict[str, str]:
        where = f"--workdir {shlex.quote(workdir)}"
        return {
            "Images": f"python experiments/sample.py {where} --num 100 --out samples.png",
            "Scores": f"python experiments/evaluate.py {where}",
        }
