"""The settings of BigGAN (Brock et al. 2018, arXiv 1809.11096)."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
from numpy.typing import ArrayLike

from jaxgan import schedules
from jaxgan.data import Dataset
from jaxgan.game import GAN
from jaxgan.layers.normalisation import EPSILON
from jaxgan.layers.spectral import INITS
from jaxgan.losses import UNPAIRED_LOSSES
from jaxgan.run import settings
from jaxgan.run.config import Precision
from jaxgan.run.program import Program
from jaxgan.run.rates import FallingRates
from jaxgan.run.settings import MOST_COUNT, count, one_of, rate, setting, share, weight
from jaxgan.run.system import JUDGEMENT, LOSSES, Panel
from jaxgan.systems.biggan import drawing, networks
from jaxgan.systems.biggan.losses import FAKE_LABELS, NORMS, big_gan
from jaxgan.systems.latent.images import OWN_SHAPES
from jaxgan.systems.latent.labelled import LabelledConfig
from jaxgan.training import collapse
from jaxgan.training.collapse import Sign

PyTree = Any
RecipeName = Literal["default", "cifar", "textbook"]

# Recipes: the values of settings that are not given. 'textbook' is the paper's training on ImageNet
# at 128x128 (appendices B and C), for about 150,000 steps, with orthogonal regularisation; 'cifar'
# is the authors' script for CIFAR-10.
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {
            "image_shape": (32, 32, 3),
            "epochs": 16,
            "batch_size": 32,
            "discriminator_steps": 1,
            "generator_learning_rate": 4e-4,
            "discriminator_learning_rate": 8e-4,
            "decay_after_kimg": 200.0,
            "decay_kimg": 100.0,
            "beta1": 0.0,
            "beta2": 0.99,
            "adam_epsilon": schedules.ADAM_EPSILON,
            "fake_labels": "data",
            "translation": 2,
            "generator_orthogonal": 0.0,
            "ema_decay": 0.999,
            "ema_start": 0,
            "latent_size": 64,
            "shared_size": 32,
            "hierarchical": True,
            "width": 8,
            "discriminator_width": 12,
            "generator_attention": (0,),
            "discriminator_attention": (0,),
            "init_kernels": "orthogonal",
            "spectral_epsilon": 1e-6,
            "norm_epsilon": EPSILON,
        },
        "cifar": {
            "image_shape": (32, 32, 3),
            "epochs": 500,
            "batch_size": 50,
            "discriminator_steps": 4,
            "generator_learning_rate": 2e-4,
            "discriminator_learning_rate": 2e-4,
            "decay_after_kimg": 0.0,
            "decay_kimg": 0.0,
            "beta1": 0.0,
            "beta2": 0.999,
            "adam_epsilon": 1e-8,
            "fake_labels": "uniform",
            "translation": 0,
            "generator_orthogonal": 0.0,
            "ema_decay": 0.9999,
            "ema_start": 1000,
            "latent_size": 128,
            "shared_size": 0,
            "hierarchical": False,
            "width": 64,
            "discriminator_width": 64,
            "generator_attention": (0,),
            "discriminator_attention": (0,),
            "init_kernels": "normal",
            "spectral_epsilon": 1e-8,
            "norm_epsilon": EPSILON,
        },
        "textbook": {
            "image_shape": (128, 128, 3),
            "epochs": 480,
            "batch_size": 2048,
            "discriminator_steps": 2,
            "generator_learning_rate": 5e-5,
            "discriminator_learning_rate": 2e-4,
            "decay_after_kimg": 0.0,
            "decay_kimg": 0.0,
            "beta1": 0.0,
            "beta2": 0.999,
            "adam_epsilon": 1e-6,
            "fake_labels": "uniform",
            "translation": 0,
            "generator_orthogonal": 1e-4,
            "ema_decay": 0.9999,
            "ema_start": 20_000,
            "latent_size": 120,
            "shared_size": 128,
            "hierarchical": True,
            "width": 96,
            "discriminator_width": 96,
            "generator_attention": (64,),
            "discriminator_attention": (64,),
            "init_kernels": "orthogonal",
            "spectral_epsilon": 1e-4,
            "norm_epsilon": 1e-4,
        },
    }
)


def heights(value: tuple[int, ...]) -> str | None:
    """The range of the heights of maps, or 0 for none."""
    return None if all(0 <= each <= MOST_COUNT for each in value) else "0 or more each"


@dataclasses.dataclass(frozen=True)
class BigGANConfig(FallingRates, LabelledConfig):
    """The settings of BigGAN, added to those of every run.

    A setting that is None here gets its value from the recipe; `--help` shows the values that will
    be used.

    Raises:
        ValueError: a value is out of range, or settings do not go together.
    """

    recipe: RecipeName = setting("default")
    """The recipe, which gives the values of settings that are not given. 'default' is for two
    cores; 'cifar' is the authors' for CIFAR-10; 'textbook' is the paper's for ImageNet at 128x128,
    for accelerators."""
    dataset: str = setting("toon_faces")
    """The data set: 'mnist' or 'toon_faces', which are built in, a folder or a .zip of images, or a
    name of TensorFlow Datasets, such as cifar10 or imagenet2012."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are resized to. Height and width are 4 to 7 times a
    power of two from 2 to 128. By default those of the recipe, and of 'default' 28 28 1 for mnist,
    fashion_mnist and kmnist."""
    conditional: bool = setting(True)
    """Train networks that take labels, so that images of a chosen class can be drawn.
    --no-conditional: all images are of one class."""
    attributes: tuple[str, ...] = setting(())
    """The attributes that are labels, by their names in the data set. By default the attribute
    'label', or all attributes if the data set has no such one."""
    workdir: str = setting("runs/biggan", may_change=True)
    """The folder that the run writes to, and resumes from."""
    epochs: int = setting(None, count(1), may_change=True)
    """Total number of passes over the data set. A stopped run continues up to this number."""
    batch_size: int = setting(None, count(1))
    """Images in a turn, over all devices together; a multiple of --accumulate times the number of
    devices."""
    accumulate: int = setting(1, count(1))
    """Compute each gradient in so many parts of the batch, one after the other, which takes less
    memory. Each part has its own batch statistics."""
    discriminator_steps: int = setting(None, count(1))
    """Updates of the discriminator before each update of the generator."""
    generator_learning_rate: float = setting(None, rate)
    """Adam's learning rate for the generator, at the start of training."""
    discriminator_learning_rate: float = setting(None, rate)
    """Adam's learning rate for the discriminator, at the start of training."""
    decay_after_kimg: float = setting(None, weight)
    """With --decay-kimg: thousands of images after which the learning rates begin to fall."""
    decay_kimg: float = setting(None, weight)
    """Thousands of images in which the learning rates then fall linearly to 0; 0: the rates are
    constant."""
    beta1: float = setting(None, share())
    """Adam's decay of the first moment, in [0, 1)."""
    beta2: float = setting(None, share())
    """Adam's decay of the second moment, in [0, 1)."""
    adam_epsilon: float = setting(None, rate)
    """Adam's epsilon, added to the square root of the second moment."""
    loss: str = setting("hinge", one_of(*UNPAIRED_LOSSES))
    """The adversarial loss; the paper's is 'hinge'."""
    fake_labels: str = setting(None, one_of(*FAKE_LABELS))
    """The labels of generated images in training. 'uniform', as in the paper: each class as often
    as the others; 'data': those of random images of the data set."""
    r1: float = setting(0.0, weight)
    """Gamma of the gradient penalty at real images (R1); 0, as in the paper: no penalty."""
    translation: int = setting(None, count(0))
    """Half of all images, real and generated, are shifted by up to this many pixels before the
    discriminator sees them; 0, as in the paper: no shifts."""
    generator_orthogonal: float = setting(None, weight)
    """Strength of the orthogonal regularisation of the generator; 1e-4 in the paper, 0: none."""
    discriminator_orthogonal: float = setting(0.0, weight)
    """Strength of the orthogonal regularisation of the discriminator; 0, as in the paper: none."""
    ema_decay: float = setting(None, share())
    """Decay, in [0, 1), of the moving average of the generator's weights. Samples are drawn with
    the averaged weights."""
    ema_start: int = setting(None, count(0))
    """Before this step the average is a copy of the generator; 0: it is an average from the start,
    with a short memory at first."""
    latent_size: int = setting(None, count(1))
    """Length of a latent vector. With --hierarchical the latent is cut into equal parts, and what
    is left over is not used: 128 becomes 126 for images of 64x64 and larger."""
    shared_size: int = setting(None, count(0))
    """Length of the vector of a class, which all blocks of the generator share; 0: each block has
    a table of its own, and --hierarchical is not possible."""
    hierarchical: bool = setting(None)
    """Tell each block of the generator a part of the latent, and those of BigGAN-deep all of it."""
    width: int = setting(None, count(1))
    """Channels of the generator's maps are multiples of this number (ch): in images of less than
    64x64 four times this number, in larger ones 1 to 16 times."""
    discriminator_width: int = setting(None, count(1))
    """Channels of the discriminator's maps are multiples of this number, as with --width."""
    generator_attention: tuple[int, ...] = setting((), heights)
    """The heights of the generator's maps after which there is attention; 0: nowhere."""
    discriminator_attention: tuple[int, ...] = setting((), heights)
    """The heights of the discriminator's maps after which there is attention; 0: nowhere. In images
    of less than 64x64 all its maps count as half as high as the image, as in the authors' code."""
    depth: int = setting(0, count(0))
    """Blocks for each map of BigGAN-deep, 2 in the paper; 0: the blocks of BigGAN."""
    init_kernels: str = setting(None, one_of(*INITS))
    """The weights at the start: 'orthogonal', 'normal', which is N(0, 0.02), or 'xavier'."""
    spectral_epsilon: float = setting(None, rate)
    """The least norm of a vector in the power iteration of a spectral norm."""
    norm_epsilon: float = setting(None, rate)
    """Is added to the variance by conditional batch normalisation."""
    precision: Precision = setting("float32")
    """The dtype of matrix products. Parameters and the optimiser's state are always float32."""
    truncation: float = setting(0.0, weight, may_change=True)
    """Draw images from latents of the normal distribution truncated at this number: better images,
    and fewer kinds; 0: they are not truncated. Training and scores take no notice of it."""
    standing: int = setting(16, count(0), may_change=True)
    """With --truncation: gather the statistics of batch normalisation from so many batches of 64
    images before images are drawn; 0: use those of training."""

    presets = frozenset({"recipe"})
    no_truncation = 0.0
    panels = (
        LOSSES,
        JUDGEMENT,
        Panel(
            "largest singular value",
            {NORMS["generator"]: "generator", NORMS["discriminator"]: "discriminator"},
        ),
    )
    about_curves = (
        "Both losses; what the discriminator believes; and the largest singular value of each "
        "network's layers, which grows slowly, and leaps when a run collapses."
    )

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(RECIPES)}")
        if self.recipe == "default" and not self.image_shape:
            object.__setattr__(self, "image_shape", OWN_SHAPES.get(self.dataset, ()))
        settings.fill(self, RECIPES[self.recipe])
        super().__post_init__()
        steps = networks.generator_steps(self.image_shape, self.depth)
        if self.hierarchical and not self.shared_size:
            raise ValueError("--hierarchical wants a --shared-size above 0")
        if self.hierarchical and self.latent_size <= len(steps):
            raise ValueError(
                f"--latent-size must be {len(steps) + 1} or more, one number for each part of a "
                f"hierarchical latent, not {self.latent_size}"
            )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"--batch-size {self.batch_size} must be a multiple of --accumulate "
                f"{self.accumulate}"
            )
        networks.check_attention(
            min(self.width, self.discriminator_width),
            self.image_shape,
            *map(_heights, (self.generator_attention, self.discriminator_attention)),
            self.depth,
        )

    @property
    def images_per_piece(self) -> int:
        # Of 32x32 pixels, two cores train about a hundred in a second.
        return max(1, 1000 * 32 * 32 // math.prod(self.image_shape[:2]))

    def generator(self) -> networks.Generator:
        """The generator's module: latents (and labels) -> images in [-1, 1].

        Latents of N(0, 1) are truncated as the settings say. Training takes no notice of that.
        """
        latent_size = self.latent_size
        if self.hierarchical and not self.depth:
            parts = len(networks.generator_steps(self.image_shape)) + 1
            latent_size = latent_size // parts * parts
        return networks.Generator(
            latent_size,
            self.width,
            self.image_shape,
            self.num_classes,
            self.shared_size,
            self.hierarchical,
            _heights(self.generator_attention),
            self.depth,
            self.init_kernels,
            self.spectral_epsilon,
            self.norm_epsilon,
            jnp.dtype(self.precision),
            self.truncation or None,
        )

    @property
    def signs(self) -> tuple[Sign, ...]:
        return collapse.signs(self.loss)

    def discriminator(self) -> networks.Discriminator:
        """The discriminator's module: images (and labels) -> logits."""
        return networks.Discriminator(
            self.discriminator_width,
            self.image_shape,
            self.num_classes,
            _heights(self.discriminator_attention),
            self.depth,
            self.init_kernels,
            self.spectral_epsilon,
            jnp.dtype(self.precision),
        )

    def gan(self) -> GAN:
        """The game of generator and discriminator with these settings; as `big_gan`."""
        return big_gan(
            self.generator().clone(truncation=None),
            self.discriminator(),
            self.falling_adam(
                self.generator_learning_rate, self.batch_size * self.discriminator_steps
            ),
            self.falling_adam(self.discriminator_learning_rate, self.batch_size),
            discriminator_steps=self.discriminator_steps,
            parts=self.accumulate,
            ema_decay=self.ema_decay,
            ema_start=self.ema_start,
            generator_ortho=self.generator_orthogonal,
            discriminator_ortho=self.discriminator_orthogonal,
            loss=self.loss,
            fake_labels=self.fake_labels,
            r1=self.r1,
            translation=self.translation,
        )

    def for_dataset(self, dataset: Dataset) -> Self:
        if self.conditional and not dataset.attributes:
            raise ValueError(f"{dataset.name} has no attributes: give --no-conditional")
        return super().for_dataset(dataset)

    def truncated(self, truncation: float, cutoff: int | None = None) -> Self:
        """These settings with truncated latents: fewer kinds of images, and fewer bad ones.

        Args:
            truncation: the bound of the truncated normal distribution, above 0; 0 for none.
            cutoff: None. Latents have no layers.

        Raises:
            ValueError: the truncation is out of its range, or there is a cutoff.
        """
        if cutoff is not None:
            raise ValueError("a run of biggan has no cutoff, which is of styles")
        if wrong := weight(truncation):
            raise ValueError(f"the truncation must be {wrong}")
        return dataclasses.replace(self, truncation=truncation)

    def sample(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        params = self._with_statistics(params, key)
        return super().sample(params, key, num_samples, labels=labels)

    def sample_in_parts(
        self, params: PyTree, key: jax.Array, num_samples: int, *, labels: ArrayLike | None = None
    ) -> Iterator[jax.Array]:
        params = self._with_statistics(params, key)
        return super().sample_in_parts(params, key, num_samples, labels=labels)

    def program(self, params: PyTree) -> Program:
        # The statistics of truncated images are of the seed's own latents.
        return super().program(self._with_statistics(params, jax.random.key(self.seed)))

    def walk(
        self,
        params: PyTree,
        key: jax.Array,
        num_samples: int,
        num_steps: int,
        *,
        labels: ArrayLike | None = None,
    ) -> jax.Array:
        """The images of a closed walk, as `RunConfig.walk`; classes change on the way too."""
        return drawing.walk(
            self._with_statistics(params, key),
            key,
            num_samples=num_samples,
            num_steps=num_steps,
            labels=labels,
            generator=self.generator(),
        )

    def _with_statistics(self, params: PyTree, key: jax.Array) -> PyTree:
        """The variables with the statistics of truncated latents, if they are truncated."""
        if not (self.truncation and self.standing):
            return params
        return drawing.with_standing_statistics(
            params, key, calls=self.standing, generator=self.generator()
        )


def _heights(attention: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(height for height in attention if height)
