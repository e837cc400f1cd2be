"""The settings of systems that may be told labels: conditional networks, and images by class."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import LABEL, Dataset
from jaxgan.data.classes import classes_named
from jaxgan.latents import NOISES
from jaxgan.options import with_own_options
from jaxgan.run.settings import setting
from jaxgan.systems.latent.drawing import generate
from jaxgan.systems.latent.images import LatentConfig
from jaxgan.training.stages import Picture

PyTree = Any
# Images in a row of a conditional run's grid.
GRID_COLUMNS = 10


@dataclasses.dataclass(frozen=True)
class LabelledConfig(LatentConfig):
    """The settings of a conditional run, added to those of every run from latents.

    Raises:
        ValueError: attributes are named twice, or for a run that is not conditional.
    """

    conditional: bool = setting(False)
    """Train conditional networks, which take labels, so that images of a chosen class can be
    drawn."""
    attributes: tuple[str, ...] = setting(())
    """With --conditional: the attributes that are labels, by their names in the data set. By
    default the attribute 'label', or all attributes if the data set has no such one."""
    classes: tuple[tuple[str, tuple[str, ...]], ...] = setting((), is_flag=False, may_change=True)
    """(attribute, names of its classes) for each label, taken from the data set."""

    def __post_init__(self):
        if self.attributes and not self.conditional:
            raise ValueError("--attributes wants --conditional too")
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"--attributes has one twice: {' '.join(self.attributes)}")
        super().__post_init__()

    def for_dataset(self, dataset: Dataset) -> Self:
        if not self.conditional:
            return dataclasses.replace(self, classes=())
        if not dataset.attributes:
            raise ValueError(f"{dataset.name} has no attributes: leave out --conditional")
        names = self.attributes or (
            (LABEL,) if LABEL in dataset.attributes else tuple(dataset.attributes)
        )
        dataset.codes(names)
        classes = tuple((name, dataset.attributes[name].classes) for name in names)
        return dataclasses.replace(self, classes=classes)

    def examples(self, dataset: Dataset) -> dict[str, np.ndarray]:
        arrays = super().examples(dataset)
        if self.classes:
            arrays["labels"] = self._codes(dataset)
        return arrays

    @with_own_options
    def label_array(self, dataset: Dataset, key: jax.Array, num_images: int) -> jax.Array | None:
        if not self.classes:
            return None
        # `key` itself draws the latents, so the labels need another one.
        label_key = jax.random.fold_in(key, 0)
        rows = jax.random.randint(label_key, (num_images,), 0, len(dataset.images))
        return jnp.asarray(self._codes(dataset))[rows]

    @with_own_options
    def labels_named(
        self, words: Sequence[str], key: jax.Array, num_images: int
    ) -> tuple[jax.Array | None, int | None]:
        if not self.classes:
            return super().labels_named(words, key, num_images)
        classes = dict(self.classes)
        codes = {
            name: jax.random.randint(jax.random.fold_in(key, i), (num_images,), 0, len(its))
            for i, (name, its) in enumerate(classes.items())
        }
        for name, wanted in classes_named(words, classes).items():
            codes[name] = jnp.full(num_images, wanted, jnp.int32)
        labels = jnp.stack(list(codes.values()), axis=1)
        if words:
            return labels, None
        # Each class of the first attribute fills a row of the grid.
        columns = math.ceil(num_images / self.num_classes[0])
        return labels.at[:, 0].set(jnp.arange(num_images) // columns), columns

    @with_own_options
    def picture(self, params: PyTree, key: jax.Array, dataset: Dataset) -> Picture:
        if not self.classes:
            return super().picture(params, key, dataset)
        # A row for each class of the first attribute. The images of a column share their latent and
        # their other labels.
        rows, generator = self.num_classes[0], self.generator()
        latents = NOISES[self.noise](key, (GRID_COLUMNS, generator.latent_size))
        labels = self.label_array(dataset, key, GRID_COLUMNS)
        assert labels is not None  # `classes` is not empty.
        labels = jnp.tile(labels, (rows, 1))
        labels = labels.at[:, 0].set(jnp.repeat(jnp.arange(rows), GRID_COLUMNS))
        latents = jnp.tile(latents, (rows, 1))
        images = generate(params, latents, labels=labels, generator=generator)
        return images, GRID_COLUMNS

    @property
    def picture_shape(self) -> tuple[int, int]:
        return (self.num_classes[0], GRID_COLUMNS) if self.classes else super().picture_shape

    def _codes(self, dataset: Dataset) -> np.ndarray:
        return dataset.codes(self.attribute_names)
