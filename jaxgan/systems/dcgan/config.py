"""The convolutional GAN (Radford et al. 2015), conditional if wanted, from its settings."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import LABEL, Dataset
from jaxgan.latents import NOISES
from jaxgan.layers.chain import Layer
from jaxgan.run.settings import count, setting
from jaxgan.systems.dcgan import networks
from jaxgan.systems.dcgan.chain import discriminator_chain, generator_chain
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.latent.drawing import generate
from jaxgan.training.stages import Picture

PyTree = Any
RecipeName = Literal["default", "textbook"]
GRID_COLUMNS = 10

# 'textbook' is how the paper trains (section 4), but for the number of epochs.
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {
            "epochs": 12,
            "batch_size": 64,
            "generator_learning_rate": 4e-4,
            "discriminator_learning_rate": 2e-4,
            "decay_after_kimg": 300.0,
            "generator_half_life_kimg": 120.0,
            "discriminator_half_life_kimg": 240.0,
            "beta1": 0.0,
            "beta2": 0.99,
            "r1": 0.1,
            "penalty_interval": 4,
            "translation": 2,
            "ema_decay": 0.9995,
        },
        "textbook": {
            "epochs": 20,
            "batch_size": 128,
            "generator_learning_rate": 2e-4,
            "discriminator_learning_rate": 2e-4,
            "decay_after_kimg": 0.0,
            "generator_half_life_kimg": 0.0,
            "discriminator_half_life_kimg": 0.0,
            "beta1": 0.5,
            "beta2": 0.999,
            "r1": 0.0,
            "penalty_interval": 1,
            "translation": 0,
            "ema_decay": 0.0,
        },
    }
)
# The sizes that a set's images are brought to unless it is told.
_SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "kmnist": (28, 28, 1)}
_OTHER_SHAPE = (32, 32, 3)


@dataclasses.dataclass(frozen=True)
class DCGANConfig(LatentGANConfig):
    """Settings of the convolutional GAN, on top of those of every GAN from latents."""

    recipe: RecipeName = setting("default")
    """Sets what is not given: 'textbook' is the paper's plain training."""
    workdir: str = setting("runs/dcgan", may_change=True)
    """The folder that the run leaves everything in, and goes on from."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are brought to, height and width of 4 to 7 times a
    power of two; by default 28 28 1 for digits, 32 32 3 for other sets."""
    conditional: bool = setting(False)
    """Have both networks told what the image is to show, so that it can be asked for."""
    attributes: tuple[str, ...] = setting(())
    """Which attributes the networks are told, by their names in the data set; by default its label,
    or all attributes if it has none."""
    classes: tuple[tuple[str, tuple[str, ...]], ...] = setting((), is_flag=False, may_change=True)
    """The classes of each attribute that the networks are told; from the data set."""
    width: int = setting(64, count(1))
    """Channels of the largest maps; twice as many with each halving of an image."""

    recipes = RECIPES

    def __post_init__(self):
        if not self.image_shape:
            object.__setattr__(self, "image_shape", _SHAPES.get(self.dataset, _OTHER_SHAPE))
        if self.attributes and not self.conditional:
            raise ValueError("--attributes wants --conditional too")
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"--attributes has one twice: {' '.join(self.attributes)}")
        super().__post_init__()
        networks.num_halvings(self.image_shape)

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.classes)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """The number of classes of each attribute that the networks are told; () for none."""
        return tuple(len(names) for _, names in self.classes)

    def generator(self) -> networks.Generator:
        return networks.Generator(
            self.latent_size,
            self.width,
            self.image_shape,
            self.num_classes,
            jnp.dtype(self.precision),
        )

    def discriminator(self) -> networks.Discriminator:
        return networks.Discriminator(
            self.width, self.image_shape, self.num_classes, jnp.dtype(self.precision)
        )

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

    def label_array(self, dataset: Dataset, key: jax.Array, num_images: int) -> jax.Array | None:
        if not self.classes:
            return None
        # The latents are drawn with the key itself.
        label_key = jax.random.fold_in(key, 0)
        rows = jax.random.randint(label_key, (num_images,), 0, len(dataset.images))
        return jnp.asarray(self._codes(dataset))[rows]

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
        for word in words:
            name, _, wanted = word.rpartition("=")
            if not name and len(classes) == 1:
                name = next(iter(classes))
            if name not in classes:
                raise ValueError(
                    f"{word!r} names no attribute that this run was told: give ATTRIBUTE=CLASS, of "
                    f"{', '.join(classes)}"
                )
            if wanted not in classes[name]:
                raise ValueError(
                    f"{name} cannot be {wanted!r}: it is one of {', '.join(classes[name])}"
                )
            codes[name] = jnp.full(num_images, classes[name].index(wanted), jnp.int32)
        labels = jnp.stack(list(codes.values()), axis=1)
        if words:
            return labels, None
        # A row for each class of the first attribute.
        columns = math.ceil(num_images / self.num_classes[0])
        return labels.at[:, 0].set(jnp.arange(num_images) // columns), columns

    def picture(self, params: PyTree, key: jax.Array, dataset: Dataset) -> Picture:
        if not self.classes:
            return super().picture(params, key, dataset)
        # A row for each class of the first attribute; in a column all else is the same.
        rows = self.num_classes[0]
        latents = NOISES[self.noise](key, (GRID_COLUMNS, self.latent_size))
        labels = self.label_array(dataset, key, GRID_COLUMNS)
        assert labels is not None  # There are classes.
        labels = jnp.tile(labels, (rows, 1))
        labels = labels.at[:, 0].set(jnp.repeat(jnp.arange(rows), GRID_COLUMNS))
        latents = jnp.tile(latents, (rows, 1))
        images = generate(params, latents, labels=labels, generator=self.generator())
        return images, GRID_COLUMNS

    def _codes(self, dataset: Dataset) -> np.ndarray:
        return dataset.codes(self.attribute_names)

    @property
    def picture_shape(self) -> tuple[int, int]:
        return (self.num_classes[0], GRID_COLUMNS) if self.classes else super().picture_shape

    def generator_chain(self, variables: PyTree) -> list[Layer]:
        return generator_chain(variables)

    def discriminator_chain(self, variables: PyTree) -> list[Layer]:
        return discriminator_chain(variables)
