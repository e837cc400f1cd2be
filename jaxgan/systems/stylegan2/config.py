"""The settings of StyleGAN2 (arXiv 1912.04958) with adaptive augmentation (arXiv 2006.06676)."""

import dataclasses
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan.data import Dataset
from jaxgan.game import GAN
from jaxgan.run import settings
from jaxgan.run.config import Precision, RunConfig
from jaxgan.run.settings import count, one_of, probability, rate, setting, share, weight
from jaxgan.run.system import JUDGEMENT, LOSSES, Panel
from jaxgan.systems.latent.images import OWN_SHAPES
from jaxgan.systems.latent.labelled import LabelledConfig
from jaxgan.systems.stylegan2 import networks
from jaxgan.systems.stylegan2 import styles as of_styles
from jaxgan.systems.stylegan2.augmentation import PIPELINES
from jaxgan.systems.stylegan2.losses import PROBABILITY, style_gan
from jaxgan.systems.stylegan2.networks import DISCRIMINATOR_KINDS, GENERATOR_KINDS
from jaxgan.systems.stylegan2.projection import Projection, project
from jaxgan.training import collapse
from jaxgan.training.collapse import Sign

PyTree = Any
# Above this probability of an augmentation generated images begin to show it (arXiv 2006.06676,
# section 2.2).
LEAKING = 0.8
# The share of images judged right from which on the discriminator has won: with R1 and with
# augmentations it is seldom so sure.
WON = 0.98

# What all recipes of the official code share, but for those that say otherwise.
_OFFICIAL: Mapping[str, Any] = {
    "image_shape": (256, 256, 3),
    "epochs": 100,
    "beta1": 0.0,
    "beta2": 0.99,
    "adam_epsilon": 1e-8,
    "length_weight": 2.0,
    "mixing": 0.9,
    "augmentations": "bgc",
    "target": 0.6,
    "target_kimg": 500.0,
    "most_probable": 0.0,
    "latent_size": 512,
    "style_size": 512,
    "mapping_layers": 8,
    "channel_max": 512,
    "discriminator_kind": "resnet",
    "clamp": 256.0,
}


def _official(
    side: int,
    batch_size: int,
    group_size: int,
    channel_base: int,
    learning_rate: float,
    gamma: float,
    ema_kimg: float,
    ema_ramp_up: float = 0.0,
    **others: Any,
) -> Mapping[str, Any]:
    return {
        **_OFFICIAL,
        "image_shape": (side, side, 3),
        "batch_size": batch_size,
        "group_size": group_size,
        "channel_base": channel_base,
        "learning_rate": learning_rate,
        "gamma": gamma,
        "ema_kimg": ema_kimg,
        "ema_ramp_up": ema_ramp_up,
        **others,
    }


def _auto(config: Any) -> Mapping[str, Any]:
    """The official code's own choice for a size of images, on one accelerator."""
    side = max(config.image_shape[:2]) if config.image_shape else 256
    batch_size = config.batch_size or max(min(4096 // side, 32), 1)
    return _official(
        side,
        batch_size,
        min(batch_size, 4),
        32768 if side >= 512 else 16384,
        0.002 if side >= 1024 else 0.0025,
        0.0002 * side**2 / batch_size,
        batch_size * 10 / 32,
        0.05,
        mapping_layers=2,
    )


def _fixed(values: Mapping[str, Any]) -> Callable[[Any], Mapping[str, Any]]:
    return lambda config: values


# Recipes: the values of settings that are not given, by the official code's names, and 'default'
# for two cores. Each is a function of the settings that are given.
RECIPES: Mapping[str, Callable[[Any], Mapping[str, Any]]] = MappingProxyType(
    {
        "default": _fixed(
            {
                **_official(64, 16, 4, 1024, 0.0025, 0.5, 5.0, 0.05),
                "epochs": 10,
                "channel_max": 64,
                "latent_size": 64,
                "style_size": 64,
                "mapping_layers": 2,
                # In so few epochs of 18,000 images the discriminator does not learn them by heart.
                "augmentations": "none",
                "most_probable": 0.8,
                "clamp": 0.0,
            }
        ),
        "auto": _auto,
        "stylegan2": _fixed(_official(1024, 32, 4, 32768, 0.002, 10.0, 10.0)),
        "paper256": _fixed(_official(256, 64, 8, 16384, 0.0025, 1.0, 20.0)),
        "paper512": _fixed(_official(512, 64, 8, 32768, 0.0025, 0.5, 20.0)),
        "paper1024": _fixed(_official(1024, 32, 4, 32768, 0.002, 2.0, 10.0)),
        "cifar": _fixed(
            _official(
                32,
                64,
                32,
                32768,
                0.0025,
                0.01,
                500.0,
                0.05,
                mapping_layers=2,
                length_weight=0.0,
                mixing=0.0,
                discriminator_kind="orig",
            )
        ),
    }
)


@dataclasses.dataclass(frozen=True)
class StyleGAN2Config(LabelledConfig):
    """The settings of StyleGAN2, added to those of every run.

    A setting that is None here gets its value from the recipe; `--help` shows the values that will
    be used.

    Raises:
        ValueError: a value is out of range, or settings do not go together.
    """

    recipe: str = setting("default", one_of(*RECIPES))
    """The recipe, which gives the values of settings that are not given. 'default' is for two
    cores; the others are those of the official code, by its names: auto, stylegan2, paper256,
    paper512, paper1024, cifar."""
    dataset: str = setting("toon_faces")
    """The data set: 'mnist' or 'toon_faces', which are built in, a folder or a .zip of images, or a
    name of TensorFlow Datasets."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are resized to. Height and width are 4 to 7 times a
    power of two from 2 on, or the longer side a larger multiple of that power; 1 channel is grey.
    By default those of the recipe, and of 'default' 28 28 1 for mnist, fashion_mnist and kmnist."""
    mirror: bool = setting(False)
    """Train on each image mirrored left to right too."""
    workdir: str = setting("runs/stylegan2", may_change=True)
    """The folder that the run writes to, and resumes from."""
    epochs: int = setting(None, count(1), may_change=True)
    """Total number of passes over the data set. A stopped run continues up to this number."""
    batch_size: int = setting(None, count(2))
    """Images in a step, over all devices together; a multiple of --group-size, and of twice the
    number of devices."""
    learning_rate: float = setting(None, rate)
    """Adam's learning rate, of the generator."""
    discriminator_learning_rate: float = setting(0.0, weight)
    """Adam's learning rate, of the discriminator; 0: that of the generator."""
    beta1: float = setting(None, share())
    """Adam's decay of the first moment, in [0, 1)."""
    beta2: float = setting(None, share())
    """Adam's decay of the second moment, in [0, 1)."""
    adam_epsilon: float = setting(None, rate)
    """Adam's epsilon, added to the square root of the second moment."""
    gamma: float = setting(None, weight)
    """Gamma of the gradient penalty at real images (R1); 0: no penalty. Of all settings it is the
    one to try others of, by factors of 2 to 4: larger for larger images, smaller batches and less
    data."""
    penalty_interval: int = setting(16, count(1))
    """Steps between two turns on the gradient penalty."""
    length_weight: float = setting(None, weight)
    """Weight of the path length penalty; 0: no penalty."""
    length_interval: int = setting(4, count(1))
    """Steps between two turns on the path length penalty."""
    mixing: float = setting(None, probability)
    """The probability that an image is made of two styles."""
    augmentations: str = setting(None, one_of(*PIPELINES))
    """The augmentations of what the discriminator sees: 'none', or the sets of the official code,
    of which 'bgc' is the usual one: moves of pixels, of geometry, of colours."""
    augment_probability: float = setting(-1.0)
    """The probability of each augmentation; -1: it follows the discriminator (ADA)."""
    target: float = setting(None, probability)
    """The mean sign of the real logits that the probability of augmentations aims at."""
    target_kimg: float = setting(None, rate)
    """Thousands of images in which the probability can go from 0 to 1."""
    most_probable: float = setting(None, weight)
    """A bound of the probability of augmentations; 0: none. Above about 0.8 generated images begin
    to show the augmentations."""
    ema_kimg: float = setting(None, rate)
    """Thousands of images in which a step's share of the averaged generator halves. Samples are
    drawn with the averaged weights."""
    ema_ramp_up: float = setting(None, weight)
    """The average's half-life is at most this share of the images seen; 0: no limit."""
    latent_size: int = setting(None, count(1))
    """Length of a latent vector z."""
    style_size: int = setting(None, count(1))
    """Length of a style vector w."""
    mapping_layers: int = setting(None, count(1))
    """Layers of the mapping network."""
    mapping_hidden: int = setting(0, count(0), is_flag=False)
    """Width of the mapping's layers but the last; 0: that of a style."""
    mapping_embedded: int = setting(0, count(0), is_flag=False)
    """Size of the embedding of labels; 0: that of a style."""
    channel_base: int = setting(None, count(1))
    """A block of RxR has this number divided by R channels, and at most --channel-max."""
    channel_max: int = setting(None, count(1))
    """The most channels that a block has."""
    block_size: int = setting(1, count(1))
    """A pixel of the largest maps is a block of so many pixels a side; 1 is the paper's. The sizes
    of blocks in --channel-base and --half-blocks count from these maps."""
    generator_kind: str = setting("skip", one_of(*GENERATOR_KINDS))
    """How the generator's blocks are joined: 'skip', each adds to the image; 'resnet' or 'orig',
    only the last makes an image."""
    discriminator_kind: str = setting(None, one_of(*DISCRIMINATOR_KINDS))
    """How the discriminator's blocks are joined: 'resnet', 'orig' (no skip connections) or 'skip'
    (each sees the image)."""
    group_size: int = setting(None, count(1))
    """Examples in a group of the minibatch deviation."""
    clamp: float = setting(None, weight)
    """The outputs of convolutions are cut to this size; 0: they are not."""
    precision: Precision = setting("float32")
    """The dtype of matrix products in the --half-blocks largest blocks of both networks. All others
    are float32, and so are parameters and the optimiser's state."""
    half_blocks: int = setting(4, count(0))
    """How many of the largest blocks --precision is for."""
    truncation: float = setting(1.0, weight, may_change=True)
    """Psi: images are made of styles so far from their mean; 1 for the true ones, 0 for the mean
    image. Scores are of true ones."""
    truncation_cutoff: int = setting(0, count(0), may_change=True)
    """How many layers' styles are truncated, from the smallest layer on; 0 for all."""

    presets = frozenset({"recipe"})
    no_truncation = 1.0
    title = "The game of styles"
    panels = (
        LOSSES,
        JUDGEMENT,
        Panel("probability of an augmentation", {PROBABILITY: "each augmentation"}),
    )
    about_curves = (
        "Both losses; what the discriminator believes; and how probable each augmentation is, "
        "which grows while the discriminator is too sure of real images."
    )

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(RECIPES)}")
        if self.recipe == "default" and not self.image_shape:
            object.__setattr__(self, "image_shape", OWN_SHAPES.get(self.dataset, ()))
        settings.fill(self, RECIPES[self.recipe](self))
        super().__post_init__()
        networks.pyramid(self.image_shape, self.channel_base, self.channel_max, self.block_size)
        if self.batch_size % min(self.group_size, self.batch_size):
            raise ValueError(
                f"--batch-size {self.batch_size} must be a multiple of --group-size "
                f"{self.group_size}"
            )
        if self.augment_probability != -1 and probability(self.augment_probability):
            raise ValueError(
                f"--augment-probability must be from 0 to 1, or -1, not {self.augment_probability}"
            )

    def generator(self) -> networks.Generator:
        """The generator's module: latents (and labels) -> images in [-1, 1].

        Its images are truncated as the settings say. Training takes no notice of that.
        """
        return networks.Generator(
            self.latent_size,
            self.image_shape,
            self.num_classes,
            self.style_size,
            self.mapping_layers,
            self.channel_base,
            self.channel_max,
            self.generator_kind,
            self.clamp or None,
            jnp.dtype(self.precision),
            self.half_blocks,
            self.truncation,
            self.truncation_cutoff or None,
            self.mapping_hidden or None,
            self.mapping_embedded or None,
            block_size=self.block_size,
        )

    def discriminator(self) -> networks.Discriminator:
        """The discriminator's module: images (and labels) -> logits."""
        return networks.Discriminator(
            self.image_shape,
            self.num_classes,
            self.channel_base,
            self.channel_max,
            self.discriminator_kind,
            self.clamp or None,
            jnp.dtype(self.precision),
            self.half_blocks,
            self.group_size,
            block_size=self.block_size,
        )

    def gan(self) -> GAN:
        """The game of generator and discriminator with these settings; as `style_gan`."""
        return style_gan(
            self.generator(),
            self.discriminator(),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            discriminator_learning_rate=self.discriminator_learning_rate or None,
            beta1=self.beta1,
            beta2=self.beta2,
            adam_epsilon=self.adam_epsilon,
            ema_kimg=self.ema_kimg,
            ema_ramp_up=self.ema_ramp_up,
            gamma=self.gamma,
            penalty_interval=self.penalty_interval,
            length_weight=self.length_weight,
            length_interval=self.length_interval,
            mixing=self.mixing,
            operations=PIPELINES[self.augmentations],
            probability=None if self.augment_probability == -1 else self.augment_probability,
            target=self.target,
            target_kimg=self.target_kimg,
            most_probable=self.most_probable or math.inf,
        )

    def examples(self, dataset: Dataset) -> dict[str, np.ndarray]:
        arrays = super().examples(dataset)
        if self.mirror:
            arrays = {name: np.concatenate([each, each]) for name, each in arrays.items()}
            half = len(dataset.images)
            arrays["images"][half:] = arrays["images"][:half, :, ::-1]
        return arrays

    @property
    def images_per_piece(self) -> int:
        # Of 64x64 pixels, two cores train about thirty in a second.
        return max(1, 200 * 64 * 64 // math.prod(self.image_shape[:2]))

    @property
    def signs(self) -> tuple[Sign, ...]:
        return collapse.signs("non_saturating", won=WON)

    def warning(self, metrics: Mapping[str, float]) -> str | None:
        """What is wrong at the end of an epoch, if something is: a leak of the augmentations."""
        probable = metrics.get(PROBABILITY, 0.0)
        if self.most_probable and probable > 0.999 * self.most_probable:
            return (
                f"the augmentations are as probable as --most-probable {self.most_probable:g} "
                "lets them be, and the discriminator is still too sure of the real images: more "
                "images, --mirror or a larger --gamma may help"
            )
        if probable > LEAKING:
            return (
                f"each augmentation has the probability {probable:.2f}: above about {LEAKING:g} "
                "generated images begin to show them; --most-probable bounds it"
            )
        return None

    def truncated(self, truncation: float, cutoff: int | None = None) -> Self:
        if cutoff is not None and not 1 <= cutoff <= (count := self.generator().num_styles):
            raise ValueError(f"the cutoff must be from 1 to {count}, the layers, not {cutoff}")
        if wrong := weight(truncation):
            raise ValueError(f"the truncation must be {wrong}")
        return dataclasses.replace(self, truncation=truncation, truncation_cutoff=cutoff or 0)

    def check_params(self, params: PyTree) -> None:
        of_styles.check_params(params, self.generator())

    def latents_of_seeds(self, seeds: Sequence[int]) -> np.ndarray:
        """The latents of the seeds of the official tools; as `latents_of_seeds`."""
        return of_styles.latents_of_seeds(seeds, self.latent_size)

    def sample_of_seeds(
        self, params: PyTree, seeds: Sequence[int], *, labels: ArrayLike | None = None
    ) -> jax.Array:
        styles = self.styles(params, self.latents_of_seeds(seeds), labels=labels)
        return self.render(params, styles)

    def styles(
        self, params: PyTree, latents: ArrayLike, *, labels: ArrayLike | None = None
    ) -> jax.Array:
        """The styles of latents, truncated as the settings say; as `styles_of`."""
        return of_styles.styles_of(params, latents, labels=labels, generator=self.generator())

    def render(self, params: PyTree, styles: ArrayLike, *, noise: PyTree = None) -> jax.Array:
        """Makes the images of styles; as `render`."""
        return of_styles.render(params, styles, noise=noise, generator=self.generator())

    def walk(
        self,
        params: PyTree,
        key: jax.Array,
        num_samples: int,
        num_steps: int,
        *,
        labels: ArrayLike | None = None,
    ) -> jax.Array:
        """The images of a closed walk, as `RunConfig.walk`; it goes straight from style to style.

        So classes change on the way too.
        """
        generator = self.generator()
        return of_styles.walk(
            params, key, num_samples, num_steps, labels=labels, generator=generator
        )

    def project(
        self, params: PyTree, images: ArrayLike, key: jax.Array, **options: Any
    ) -> Projection:
        """Searches the styles of images; as `jaxgan.project`."""
        return project(params, images, key, generator=self.generator(), **options)

    def commands(self, workdir: str) -> dict[str, str]:
        where = f"--workdir {shlex.quote(workdir)}"
        return {
            **super().commands(workdir),
            "Truncated": f"python experiments/sample.py {where} --truncation 0.7 --out samples.png",
            "Mixed": f"python experiments/style_mix.py {where} --out mixed.png",
            "Project": f"python experiments/project.py {where} --in face.png --out projected.png",
        }


def with_styles(config: RunConfig) -> StyleGAN2Config:
    """The settings of a run, if it has styles.

    Raises:
        ValueError: it is a run of another system. The message names its folder.
    """
    if not isinstance(config, StyleGAN2Config):
        raise ValueError(
            f"{config.workdir} is a run of {config.system_name()}, which has no styles: give one "
            "of experiments/stylegan2.py"
        )
    return config
