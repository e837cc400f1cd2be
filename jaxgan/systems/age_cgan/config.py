"""The settings of Age-cGAN (Antipov et al. 2017, arXiv 1702.01983): faces aged by a GAN."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxgan import schedules
from jaxgan.data import Dataset
from jaxgan.game import GAN, TrainState
from jaxgan.options import with_own_options
from jaxgan.run.settings import count, one_of, rate, setting, share, weight
from jaxgan.run.system import Panel, System
from jaxgan.systems.age_cgan import groups, inversion
from jaxgan.systems.age_cgan.groups import AGE, Group
from jaxgan.systems.age_cgan.losses import with_encoder, with_likeness
from jaxgan.systems.age_cgan.networks import CONDITIONINGS, Encoder, Generator
from jaxgan.systems.dcgan import config as dcgan
from jaxgan.training.stages import Picture, Stage

PyTree = Any
# Faces in the grid of an epoch of the encoder's stage.
PICTURED = 8
_ENCODER_BETAS = (0.9, 0.999)
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {
            **dcgan.RECIPES["default"],
            "gan_epochs": 16,
            "epochs": 56,
            "decay_after_kimg": 150.0,
            "generator_half_life_kimg": 60.0,
            "discriminator_half_life_kimg": 120.0,
            "conditioning": "last_norm",
            "likeness": 3.0,
            "encoder_learning_rate": 1e-3,
            "encoder_half_life_kimg": 150.0,
            "encoder_ema_decay": 0.99,
            "encoder_distortions": True,
        },
        "textbook": {
            **dcgan.RECIPES["textbook"],
            "gan_epochs": 100,
            "epochs": 110,
            "conditioning": "latents",
            "likeness": 0.0,
            # The encoder of the paper is trained as the GAN is; it says no more of it.
            "encoder_learning_rate": 1e-3,
            "encoder_half_life_kimg": 60.0,
            "encoder_ema_decay": 0.0,
            "encoder_distortions": False,
        },
    }
)


@dataclasses.dataclass(frozen=True)
class AgeCGANConfig(dcgan.DCGANConfig):
    """The settings of Age-cGAN, added to those of the convolutional GAN that it begins with.

    Raises:
        ValueError: a value is out of range, or the groups cannot be read or are not given.
    """

    dataset: str = setting("toon_faces")
    """The data set: 'toon_faces', which is built in, a folder or a .zip of images, or a name of
    TensorFlow Datasets, such as celeb_a; with attributes of faces."""
    groups: tuple[str, ...] = setting(())
    """The groups of age, the youngest first, each NAME=ATTRIBUTE:CLASS. Slashes between classes:
    any of them; commas between several ATTRIBUTE:CLASS: all of them. By default of toon_faces
    natural=hair_colour:black/brown/auburn/blond grey=hair_colour:grey white=hair_colour:white, of
    celeb_a young=Young:yes middle=Young:no,Gray_Hair:no old=Young:no,Gray_Hair:yes."""
    workdir: str = setting("runs/age_cgan", may_change=True)
    """The folder that the run writes to, and resumes from."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are resized to. Height and width are 4 to 7 times a
    power of two. By default 32 32 3, and 64 64 3, as in the paper, with the recipe 'textbook'."""
    epochs: int = setting(None, count(1), may_change=True)
    """Total number of passes: of the GAN over the data set, then of the encoder over as many
    generated faces. A stopped run continues up to this number."""
    gan_epochs: int = setting(None, count(1))
    """How many of the epochs train the GAN, the first ones. The others train the encoder."""
    conditioning: str = setting(None, one_of(*CONDITIONINGS))
    """Where the generator is told the group. 'latents', as in the paper: beside the latents.
    'last_norm': it adds to scale and offset of the last normalisation, so that a face keeps its
    shapes when it ages."""
    likeness: float = setting(None, weight)
    """Weight, in the generator's loss, of the distance between its images of one latent in two
    groups, so that a face stays the same when it ages; 0: no such term, as in the paper."""
    encoder_learning_rate: float = setting(None, rate)
    """Adam's learning rate for the encoder, at the start of its stage."""
    encoder_half_life_kimg: float = setting(None, weight)
    """Thousands of generated faces in which the encoder's learning rate halves; 0: the rate is
    constant."""
    encoder_ema_decay: float = setting(None, share())
    """Decay of the moving average of the encoder that is used in the end."""
    encoder_distortions: bool = setting(None)
    """Whether the encoder learns from generated faces that are blurred and noisy, each by a random
    amount, so that it does not rely on the generator's faults, which real faces have not."""
    # What the system is: its networks are told the age, and no other attribute.
    conditional: bool = setting(True, is_flag=False)
    attributes: tuple[str, ...] = setting((AGE,), is_flag=False)

    recipes = RECIPES
    # Runs of before had the paper's.
    added = MappingProxyType(
        {
            name: RECIPES["textbook"][name]
            for name in ("conditioning", "likeness", "encoder_ema_decay", "encoder_distortions")
        }
    )

    def __post_init__(self):
        if not self.image_shape:
            side = 64 if self.recipe == "textbook" else 32
            object.__setattr__(self, "image_shape", (side, side, 3))
        if not self.groups:
            if self.dataset not in groups.DEFAULTS:
                raise ValueError(
                    f"--dataset {self.dataset} wants --groups too, such as "
                    "young=Young:yes old=Young:no"
                )
            object.__setattr__(self, "groups", groups.DEFAULTS[self.dataset])
        classes = AGE, tuple(group.name for group in self.parsed_groups)
        object.__setattr__(self, "classes", (classes,))
        super().__post_init__()
        if self.epochs <= self.gan_epochs:
            raise ValueError(
                f"--epochs must be more than --gan-epochs {self.gan_epochs}, since the encoder has "
                f"the rest of them, not {self.epochs}"
            )

    @property
    def parsed_groups(self) -> tuple[Group, ...]:
        """The groups of age, the youngest first."""
        return groups.parse(self.groups)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the groups of age, the youngest first."""
        return self.classes[0][1]

    def gan(self) -> GAN:
        return with_likeness(super().gan(), self.generator(), self.likeness)

    def generator(self) -> Generator:
        return super().generator().clone(conditioning=self.conditioning)

    def encoder(self) -> Encoder:
        """The encoder's module: images [batch, *image_shape] in [-1, 1] -> latents."""
        return Encoder(
            self.latent_size,
            self.width,
            self.image_shape,
            jnp.dtype(self.precision),
            *self._options,
        )

    def for_dataset(self, dataset: Dataset) -> Self:
        groups.check_used(dataset, self.parsed_groups)
        return self

    def ages(self, dataset: Dataset) -> np.ndarray:
        """The group of age of each image of a data set, int32 [n, 1].

        Raises:
            ValueError: an image is in no group or in two.
        """
        return groups.ages(dataset, self.parsed_groups)[:, None]

    def _codes(self, dataset: Dataset) -> np.ndarray:
        return self.ages(dataset)

    def judged_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        # A judge of the data set's attributes knows no groups of age.
        return super().judged_samples(params, key, num_samples, dataset)[0], {}

    def encoder_stage(self) -> GAN:
        """The system of the second stage, in which the encoder learns; as `with_encoder`."""
        learning_rate = schedules.halving(
            self.encoder_learning_rate, after=0, half_life=1000 * self.encoder_half_life_kimg
        )
        optimizer: optax.GradientTransformation = schedules.adam(
            learning_rate, *_ENCODER_BETAS, images_per_update=self.batch_size
        )
        return with_encoder(
            self.gan(),
            self.generator(),
            self.encoder(),
            optimizer,
            noise=self.noise,
            distorts=self.encoder_distortions,
            ema_decay=self.encoder_ema_decay,
        )

    def system(self, dataset: Dataset) -> System:
        first = super().system(dataset)
        (stage,) = first.stages
        pairs = Stage(
            self.encoder_stage(),
            # Each pair is a new one. An epoch has as many of them as the data set has images.
            {"number": np.arange(len(dataset.images), dtype=np.int32)},
            self.epochs - self.gan_epochs,
            self.batch_size,
            picture=lambda state, key: self._picture_of_ages(state, dataset),
            progress="encoder {encoder_loss:.2f}, always 0 {encoder_baseline:.2f}",
            images_per_piece=self.images_per_piece,
        )
        curves = {"encoder_loss": "encoder", "encoder_baseline": "an encoder that always says 0"}
        panel = Panel("distance of E(G(z, y)) from z", curves)
        stages = [dataclasses.replace(stage, epochs=self.gan_epochs), pairs]
        return dataclasses.replace(first, stages=stages, panels=[*first.panels, panel])

    @with_own_options
    def _picture_of_ages(self, state: TrainState, dataset: Dataset) -> Picture:
        """The first faces of the data set, a row each: itself, then its guess in every group."""
        images = dataset.images[:PICTURED] / np.float32(255)
        latents = self.encode(state.averages["encoder"], images)
        aged = np.asarray(self.aged(state.averages["generator"], latents))
        cells = np.concatenate([images[:, None], aged], axis=1)
        return cells.reshape(-1, *self.image_shape), cells.shape[1]

    def encode(self, params: PyTree, images: ArrayLike) -> jax.Array:
        """Guesses the latents of images with a trained encoder of these settings; as `encode`."""
        return inversion.encode(params, images, encoder=self.encoder())

    def aged(self, params: PyTree, latents: ArrayLike) -> jax.Array:
        """Makes the image of each latent in every group, with a trained generator; as `ages`."""
        return inversion.ages(params, latents, generator=self.generator())

    def invert(
        self,
        params: PyTree,
        images: ArrayLike,
        labels: ArrayLike,
        key: jax.Array,
        **options: Any,
    ) -> jax.Array:
        """Searches the latents of images, with a trained generator; as `jaxgan.invert`."""
        return inversion.invert(params, images, labels, key, generator=self.generator(), **options)

    def check_playable(self, workdir: str | Path) -> None:
        super().check_playable(workdir)
        if self.conditioning != "latents":
            raise ValueError(
                "the playground shows generators that are told the group beside the latents; "
                f"{workdir} is a run with --conditioning {self.conditioning}"
            )

    def commands(self, workdir: str) -> dict[str, str]:
        where = f"--workdir {shlex.quote(workdir)}"
        inherited = super().commands(workdir)
        if self.conditioning != "latents":
            inherited.pop("Play", None)
        return {
            **inherited,
            "Ages": f"python experiments/age.py {where} --in face.png --out ages.png",
            "Ageing": f"python experiments/evaluate_ageing.py {where}",
        }
