"""The settings of the convolutional GAN (Radford et al. 2015, arXiv 1511.06434)."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data import LABEL, Dataset
from jaxgan.data.classes import classes_named
from jaxgan.latents import NOISES
from jaxgan.layers.chain import Layer
from jaxgan.options import with_own_options
from jaxgan.run.settings import count, one_of, rate, setting
from jaxgan.schedules import ADAM_EPSILON
from jaxgan.systems.dcgan import networks
from jaxgan.systems.dcgan.chain import discriminator_chain, generator_chain
from jaxgan.systems.latent.config import LatentGANConfig
from jaxgan.systems.latent.drawing import generate
from jaxgan.training.stages import Picture

PyTree = Any
FAKES = ("new", "same")
RecipeName = Literal["default", "textbook"]
# Images in a row of a conditional run's grid.
GRID_COLUMNS = 10

# Recipes: the values of settings that are not given. 'textbook' is the training of the paper
# (section 4), except for the number of epochs, with the networks of PyTorch's example.
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
            "adam_epsilon": ADAM_EPSILON,
            "fakes": "new",
            "biases": "unnormalised",
            "running_variance": "biased",
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
            "adam_epsilon": 1e-8,
            "fakes": "same",
            "biases": "none",
            "running_variance": "unbiased",
        },
    }
)
# The default of `image_shape`, by the name of the data set.
_SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "kmnist": (28, 28, 1)}
_OTHER_SHAPE = (32, 32, 3)


@dataclasses.dataclass(frozen=True)
class DCGANConfig(LatentGANConfig):
    """The settings of the convolutional GAN, added to those of every GAN with latents."""

    recipe: RecipeName = setting("default")
    """The recipe, which gives the values of settings that are not given. 'textbook' is the plain
    training of the paper."""
    workdir: str = setting("runs/dcgan", may_change=True)
    """The folder that the run writes to, and resumes from."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are resized to. Height and width are 4 to 7 times a
    power of two. By default 28 28 1 for mnist, fashion_mnist and kmnist, and 32 32 3 for other data
    sets."""
    conditional: bool = setting(False)
    """Train conditional networks, which take labels, so that images of a chosen class can be
    drawn."""
    attributes: tuple[str, ...] = setting(())
    """With --conditional: the attributes that are labels, by their names in the data set. By
    default the attribute 'label', or all attributes if the data set has no such one."""
    classes: tuple[tuple[str, tuple[str, ...]], ...] = setting((), is_flag=False, may_change=True)
    """(attribute, names of its classes) for each label, taken from the data set."""
    width: int = setting(64, count(1))
    """Channels of the largest feature maps. Each halving of height and width doubles the
    channels."""
    adam_epsilon: float = setting(None, rate)
    """Adam's epsilon, added to the square root of the second moment."""
    fakes: str = setting(None, one_of(*FAKES))
    """The latents of the generator's turn: 'new' draws them, 'same' takes those of the
    discriminator's last turn, so that the generator makes the very images that were judged."""
    biases: str = setting(None, one_of("unnormalised", "none"))
    """The layers that have a bias: 'unnormalised', those that no normalisation follows; or
    'none'."""
    running_variance: str = setting(None, one_of("biased", "unbiased"))
    """The variance of a batch that the running variance of a batch normalisation is the mean of:
    'biased', or 'unbiased', as PyTorch's."""

    recipes = RECIPES
    # Version 0.2.0 brought them; `textbook` has had other networks since.
    added = MappingProxyType(
        {
            name: RECIPES["default"][name]
            for name in ("adam_epsilon", "fakes", "biases", "running_variance")
        }
    )

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
    def images_per_piece(self) -> int:
        # Of 28x28 pixels, two cores train a thousand in seconds.
        return max(1, 1000 * 28 * 28 // math.prod(self.image_shape[:2]))

    @property
    def attribute_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.classes)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """The number of classes of each label; () if the run is not conditional."""
        return tuple(len(names) for _, names in self.classes)

    def generator(self) -> networks.Generator:
        return networks.Generator(
            self.latent_size,
            self.width,
            self.image_shape,
            self.num_classes,
            jnp.dtype(self.precision),
            *self._options,
        )

    def discriminator(self) -> networks.Discriminator:
        return networks.Discriminator(
            self.width,
            self.image_shape,
            self.num_classes,
            jnp.dtype(self.precision),
            *self._options,
        )

    @property
    def _options(self) -> tuple[bool, bool]:
        return self.biases != "none", self.running_variance == "unbiased"

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
        rows = self.num_classes[0]
        latents = NOISES[self.noise](key, (GRID_COLUMNS, self.latent_size))
        labels = self.label_array(dataset, key, GRID_COLUMNS)
        assert labels is not None  # `classes` is not empty.
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
