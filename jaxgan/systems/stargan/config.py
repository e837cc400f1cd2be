"""The settings of StarGAN (Choi et al. 2017, arXiv 1711.09020): edits of images by attributes."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan import schedules
from jaxgan.data import Dataset
from jaxgan.game import GAN, TrainState
from jaxgan.losses import UNPAIRED_LOSSES
from jaxgan.options import with_own_options
from jaxgan.run import settings
from jaxgan.run.config import Precision, RunConfig
from jaxgan.run.program import Input, Program, named_codes
from jaxgan.run.rates import FallingRates
from jaxgan.run.settings import count, one_of, probability, rate, setting, share, weight
from jaxgan.run.system import JUDGEMENT, LOSSES, Panel, System
from jaxgan.systems.stargan import editing, networks
from jaxgan.systems.stargan.labels import Coding
from jaxgan.systems.stargan.losses import editing_gan
from jaxgan.training.stages import Picture, Stage

PyTree = Any
RecipeName = Literal["default", "textbook"]
# Faces in the grid of an epoch.
PICTURED = 6
# Shares of classes told and of edits shown below which something is wrong after an epoch. Guesses
# among two classes have a half, edits that do not depend on the labels nearly nothing.
_FEW_TOLD, _FEW_SHOWN = 0.3, 0.1

# Recipes: the values of settings that are not given. 'textbook' is the paper's training on CelebA
# (section 7.2): its learning rates are constant for ten epochs of 202,599 images, and fall in ten
# more. The authors' code lowers them by a thousandth in all: it divides by the wrong number.
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {
            "image_shape": (64, 64, 3),
            "epochs": 10,
            "batch_size": 16,
            "generator_learning_rate": 4e-4,
            "discriminator_learning_rate": 1e-3,
            "decay_after_kimg": 90.0,
            "decay_kimg": 90.0,
            "beta1": 0.5,
            "beta2": 0.99,
            "adam_epsilon": schedules.ADAM_EPSILON,
            "loss": "non_saturating",
            "gradient_penalty": 0.0,
            "r1": 0.02,
            "change_weight": 1.0,
            "single_edits": 0.5,
            "discriminator_steps": 1,
            "ema_decay": 0.999,
            "width": 32,
            "blocks": 2,
            "generator_halvings": 2,
            "end_size": 3,
            "discriminator_width": 32,
            "halvings": 5,
            "discriminator_init": "he",
            "judged": "classes",
            "class_weight": 0.25,
            "conditioning": "norms",
            "output": "masked",
            "block_size": 2,
            "skips": True,
            "flip": 0.0,
        },
        "textbook": {
            "image_shape": (128, 128, 3),
            "epochs": 20,
            "batch_size": 16,
            "generator_learning_rate": 1e-4,
            "discriminator_learning_rate": 1e-4,
            "decay_after_kimg": 2026.0,
            "decay_kimg": 2026.0,
            "beta1": 0.5,
            "beta2": 0.999,
            "adam_epsilon": 1e-8,
            "loss": "wasserstein",
            "gradient_penalty": 10.0,
            "r1": 0.0,
            "change_weight": 0.0,
            "single_edits": 0.0,
            "discriminator_steps": 5,
            "ema_decay": 0.0,
            "width": 64,
            "blocks": 6,
            "generator_halvings": 2,
            "end_size": 7,
            "discriminator_width": 64,
            "halvings": 6,
            "discriminator_init": "uniform",
            "judged": "image",
            "class_weight": 1.0,
            "conditioning": "planes",
            "output": "image",
            "block_size": 1,
            "skips": False,
            "flip": 0.5,
        },
    }
)
# The default of `attributes`, by the name of the data set.
_ATTRIBUTES = {
    "toon_faces": ("hair_colour", "beard", "mouth", "skin", "eyebrows"),
    "celeb_a": ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young"),
}


def odd(value: int) -> str | None:
    """The range of the size of a kernel."""
    return None if 1 <= value <= 31 and value % 2 else f"an odd number from 1 to 31, not {value}"


@dataclasses.dataclass(frozen=True)
class StarGANConfig(FallingRates, RunConfig):
    """The settings of StarGAN, added to those of every run.

    A setting that is None here gets its value from the recipe; `--help` shows the values that will
    be used.

    Raises:
        ValueError: a value is out of range, or settings do not go together.
    """

    recipe: RecipeName = setting("default")
    """The recipe, which gives the values of settings that are not given. 'textbook' is the paper's
    training on CelebA at 128x128."""
    dataset: str = setting("toon_faces")
    """The data set: 'toon_faces', which is built in, a folder or a .zip of images with attributes,
    or a name of TensorFlow Datasets, such as celeb_a."""
    attributes: tuple[str, ...] = setting(())
    """The attributes to edit, by their names in the data set. By default hair_colour, beard, mouth,
    skin and eyebrows of toon_faces, and the paper's five of celeb_a."""
    classes: tuple[tuple[str, tuple[str, ...]], ...] = setting((), is_flag=False, may_change=True)
    """(attribute, names of its classes) for each label, taken from the data set."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are resized to. Height and width are multiples of
    2**halvings."""
    workdir: str = setting("runs/stargan", may_change=True)
    """The folder that the run writes to, and resumes from."""
    epochs: int = setting(None, count(1), may_change=True)
    """Total number of passes over the data set. A stopped run continues up to this number."""
    batch_size: int = setting(None, count(1))
    """Images in a step, over all devices together; a multiple of the number of devices."""
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
    loss: str = setting(None, one_of(*UNPAIRED_LOSSES))
    """The adversarial loss; the paper's is 'wasserstein'."""
    class_weight: float = setting(None, rate)
    """Weight (lambda_cls) of the classification loss in both players' losses."""
    reconstruction_weight: float = setting(10.0, weight)
    """Weight (lambda_rec) of the mean absolute difference from the image that is edited back."""
    gradient_penalty: float = setting(None, weight)
    """Lambda of WGAN-GP's gradient penalty (lambda_gp); 0: no penalty."""
    r1: float = setting(None, weight)
    """Gamma of the gradient penalty at real images (R1); 0: no penalty."""
    change_weight: float = setting(None, weight)
    """Weight of the mean absolute difference of an image and its edit in the generator's loss; 0:
    not in the loss, as in the paper."""
    single_edits: float = setting(None, probability)
    """The share of the edits asked for in training that change a single attribute; 0, as in the
    paper: all attributes take the classes of a random image."""
    discriminator_steps: int = setting(None, count(1))
    """Updates of the discriminator before each update of the generator (n_critic)."""
    ema_decay: float = setting(None, share())
    """Decay, in [0, 1), of the moving average of the generator's weights. Edits are made with the
    averaged weights."""
    width: int = setting(None, count(1))
    """Channels of the generator's largest feature maps."""
    blocks: int = setting(None, count(0))
    """Residual blocks of the generator."""
    generator_halvings: int = setting(None, count(0))
    """How often the generator halves its maps before the residual blocks; 2 in the paper."""
    end_size: int = setting(None, odd)
    """Size of the generator's first and last kernels, an odd number; 7 in the paper."""
    discriminator_width: int = setting(None, count(1))
    """Channels of the discriminator's largest feature maps."""
    halvings: int = setting(None, count(1))
    """How often the discriminator halves height and width."""
    discriminator_init: str = setting(None, one_of(*networks.INITS))
    """The discriminator's kernels at the start. 'uniform', as in the authors' code, or 'he'."""
    judged: str = setting(None, one_of("image", "classes"))
    """What is judged to be real. 'image', as in the paper. 'classes': also, by a branch of the
    discriminator for each class, an image as one that shows the classes asked for; so classes that
    only the classifier sees count as fakes."""
    conditioning: str = setting(None, one_of(*networks.CONDITIONINGS))
    """Where the generator is told the labels. 'planes', as in the paper: behind the channels of the
    image. 'norms': they add to scale and offset of each normalisation."""
    output: str = setting(None, one_of(*networks.OUTPUTS))
    """What the generator gives. 'image', as in the paper: the whole image. 'masked': a new image,
    and a mask of how much of it replaces the input."""
    block_size: int = setting(None, count(1))
    """The generator's maps have one pixel for each block of so many pixels a side; 1, as in the
    paper: one for each pixel."""
    skips: bool = setting(None)
    """Whether the generator adds its maps before each halving to those of their size after the
    doubling; False, as in the paper: it does not."""
    flip: float = setting(None, probability)
    """The probability that an image is mirrored left to right."""
    precision: Precision = setting("float32")
    """The dtype of matrix products. Parameters and the optimiser's state are always float32."""

    presets = frozenset({"recipe"})
    # Networks of before it had none.
    added = MappingProxyType({"skips": False})
    about_curves = (
        "Both losses; what the discriminator believes; how often it tells the classes of real "
        "images, and sees in edits what was asked for; and how far an image that is edited and "
        "edited back is from itself."
    )

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(RECIPES)}")
        settings.fill(self, {**RECIPES[self.recipe], "attributes": _ATTRIBUTES.get(self.dataset)})
        if not self.attributes:
            raise ValueError(
                f"--attributes is wanted: the names of the attributes of {self.dataset} to edit"
            )
        if len(set(self.attributes)) < len(self.attributes):
            raise ValueError(f"--attributes has one twice: {' '.join(self.attributes)}")
        super().__post_init__()
        networks.check_sizes(
            self.image_shape, self.generator_halvings, self.block_size, self.halvings
        )

    @property
    def coding(self) -> Coding:
        """How the classes become the numbers that the networks take and give."""
        return Coding(self.classes)

    def generator(self) -> networks.Generator:
        """The generator's module: images [n, *image_shape], labels [n, coding.size] -> images.

        Images are in [-1, 1].
        """
        return networks.Generator(
            self.width,
            self.image_shape,
            self.coding.size,
            self.blocks,
            self.generator_halvings,
            self.end_size,
            jnp.dtype(self.precision),
            self.conditioning,
            self.output,
            self.block_size,
            self.skips,
        )

    def discriminator(self) -> networks.Discriminator:
        """The discriminator's module: images -> (logits of patches, logits of classes)."""
        return networks.Discriminator(
            self.discriminator_width,
            self.image_shape,
            self.coding.size,
            self.halvings,
            jnp.dtype(self.precision),
            self.discriminator_init,
            self.coding.num_classes if self.judged == "classes" else 0,
        )

    def gan(self) -> GAN:
        """The game of generator and discriminator with these settings; as `editing_gan`."""
        return editing_gan(
            self.generator(),
            self.discriminator(),
            self.falling_adam(
                self.generator_learning_rate, self.batch_size * self.discriminator_steps
            ),
            self.falling_adam(self.discriminator_learning_rate, self.batch_size),
            coding=self.coding,
            discriminator_steps=self.discriminator_steps,
            ema_decay=self.ema_decay,
            loss=self.loss,
            class_weight=self.class_weight,
            reconstruction_weight=self.reconstruction_weight,
            gradient_penalty=self.gradient_penalty,
            r1=self.r1,
            change_weight=self.change_weight,
            single_edits=self.single_edits,
            flip=self.flip,
        )

    def for_dataset(self, dataset: Dataset) -> Self:
        """These settings with the names of the classes of the data set.

        Raises:
            ValueError: the data set lacks an attribute, or all its images are of one class.
        """
        codes = dataset.codes(self.attributes)
        for name, its in zip(self.attributes, codes.T, strict=True):
            names = dataset.attributes[name].classes
            if len(np.unique(its)) < 2:
                raise ValueError(
                    f"every image of {dataset.name} has {name}={names[its[0]]}: there is nothing "
                    "to learn about this attribute"
                )
        classes = tuple((name, dataset.attributes[name].classes) for name in self.attributes)
        return dataclasses.replace(self, classes=classes)

    def system(self, dataset: Dataset) -> System:
        config = self.for_dataset(dataset)
        codes = dataset.codes(config.attributes)

        def draw(state: TrainState, key: jax.Array, num_samples: int) -> jax.Array:
            return config.judged_samples(state.averages["generator"], key, num_samples, dataset)[0]

        def picture(state: TrainState, key: jax.Array) -> Picture:
            images, codes_shown = dataset.images[:PICTURED], codes[:PICTURED]
            return config.figure(state.averages["generator"], images, codes_shown)

        stage = Stage(
            config.gan(),
            {"images": dataset.images, "labels": codes},
            config.epochs,
            config.batch_size,
            draw=draw,
            picture=picture,
            progress=(
                "loss G {generator_loss:.2f} D {discriminator_loss:.2f} shown {edits_shown:.2f} "
                "reconstruction {reconstruction:.3f}"
            ),
            warning=warning,
            # Of 32x32 pixels, two cores train about a hundred in a second.
            images_per_piece=max(1, 1000 * 32 * 32 // math.prod(config.image_shape[:2])),
        )
        shares = {
            "classes_told": "classes of real images that D tells",
            "edits_shown": "edits in which D sees the class asked for",
        }
        distances = {
            "reconstruction": "an image and itself edited back",
            "change": "an image and its edit",
        }
        panels = [
            LOSSES,
            JUDGEMENT,
            Panel("share", shares, limits=(0, 1)),
            Panel("L1, pixels in [0, 1]", distances),
        ]
        return System(config, [stage], "The game of edits", panels)

    def figure(self, params: PyTree, images: np.ndarray, codes: np.ndarray) -> Picture:
        """Each image in a row: itself, then with each class of each attribute in turn.

        Args:
            params: the generator's variables, {"params": ...}.
            images: uint8 [n, *image_shape].
            codes: int [n, attributes], the images' own classes.
        """
        columns = [np.asarray(images) / np.float32(255)]
        for attribute, names in self.classes:
            for code in range(len(names)):
                wanted = self.coding.changed(jnp.asarray(codes), attribute, code)
                columns.append(np.asarray(self.edit(params, images, wanted)))
        cells = np.stack(columns, axis=1).reshape(-1, *self.image_shape)
        return cells, len(columns)

    @with_own_options
    def judged_samples(
        self, params: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        # Random images, each with the classes of another random image.
        rows, targets = jax.random.randint(key, (2, num_samples), 0, len(dataset.images))
        codes = jnp.asarray(dataset.codes(self.attributes))[targets]
        images = self.edit(params, dataset.images[np.asarray(rows)], codes)
        return images, dict(zip(self.attributes, codes.T, strict=True))

    def edit(
        self,
        params: PyTree,
        images: ArrayLike,
        labels: ArrayLike,
        *,
        own: ArrayLike | None = None,
        strength: ArrayLike = 1.0,
    ) -> jax.Array:
        return editing.edit(
            params,
            images,
            labels,
            own=own,
            strength=strength,
            generator=self.generator(),
            coding=self.coding,
        )

    def edited_classes(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return self.classes

    def recognise(self, params: PyTree, images: ArrayLike) -> jax.Array:
        return editing.recognise(
            params, images, discriminator=self.discriminator(), coding=self.coding
        )

    def program(self, params: PyTree) -> Program:
        self.check_params(params)
        generator, coding = self.generator(), self.coding

        def apply(params: PyTree, images: jax.Array, labels: jax.Array) -> jax.Array:
            return editing.edited(params, images, coding.encode(labels), generator)

        images = Input("images", self.image_shape, "float32", "in [0, 1]")
        labels = Input("labels", (len(self.classes),), "int32", named_codes(self.classes))
        return Program((images, labels), params, apply)

    def check_params(self, params: PyTree) -> None:
        editing.check_params(params, self.generator())

    def commands(self, workdir: str) -> dict[str, str]:
        where = shlex.quote(workdir)
        return {
            "Images": f"python experiments/edit.py --workdir {where} --in face.png "
            "--out edited.png",
            "Scores": f"python experiments/evaluate_edits.py --workdir {where}",
        }


def warning(metrics: Mapping[str, float]) -> str | None:
    """What may be wrong with a training, by the metrics of `editing_gan`; None if nothing is.

    The commonest complaint of StarGAN's users is that every label gives the same image.
    """
    if metrics["classes_told"] < _FEW_TOLD:
        return (
            f"the discriminator tells {metrics['classes_told']:.0%} of the classes of real images, "
            "so it can teach none to the generator: are the labels those of the images?"
        )
    if metrics["edits_shown"] < _FEW_SHOWN:
        return (
            f"{metrics['edits_shown']:.0%} of the edits show the class asked for, so the outputs "
            "hardly depend on the labels: train longer, or with a larger --class-weight"
        )
    return None
