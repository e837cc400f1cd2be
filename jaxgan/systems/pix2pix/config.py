"""The settings of pix2pix (Isola et al. 2016, arXiv 1611.07004): image to image, from pairs."""

import dataclasses
import math
import shlex
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxgan import schedules
from jaxgan.data import Dataset, load
from jaxgan.data.folders import INPUTS, PARTNERS
from jaxgan.data.names import is_path
from jaxgan.game import GAN, TrainState
from jaxgan.losses import UNPAIRED_LOSSES
from jaxgan.run import settings
from jaxgan.run.config import Precision, RunConfig
from jaxgan.run.program import Input, Program
from jaxgan.run.rates import FallingRates
from jaxgan.run.settings import count, factor, one_of, probability, rate, setting, share, weight
from jaxgan.run.system import ABOUT_THE_GAME, GAME_PROGRESS, JUDGEMENT, LOSSES, Panel, System
from jaxgan.systems.pix2pix import networks
from jaxgan.systems.pix2pix.losses import paired_gan
from jaxgan.systems.pix2pix.tasks import TASKS
from jaxgan.systems.pix2pix.translation import check_params, translate
from jaxgan.training.stages import Picture, Stage

PyTree = Any
# The task whose inputs come from the data set. The inputs of all other tasks are computed.
PAIRS = "pairs"
TaskName = Literal["edges2face", "grey2colour", "mask2face", "pairs"]
RecipeName = Literal["default", "textbook"]
FAKES = ("new", "same")
# Examples in the grid of an epoch.
PICTURED = 12
# The most halvings of the discriminator: a logit then depends on 286x286 pixels.
_MOST_HALVINGS = 5
# The largest value of an input that is taken for a map of labels.
_MOST_LABELS = 31

# Recipes: the values of settings that are not given. 'textbook' is what the authors' PyTorch port
# of the paper does by default, for images of 256x256.
RECIPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {
            "image_shape": (64, 64, 3),
            "epochs": 3,
            "batch_size": 16,
            "adam_epsilon": schedules.ADAM_EPSILON,
            "discriminator_weight": 0.5,
            "adversarial_weight": 1.0,
            "fakes": "new",
            "ema_decay": 0.999,
            "width": 32,
            "halvings": None,
            "discriminator_halvings": 2,
            "norm": "scaled_instance",
            "norm_scale_std": 0.0,
            "dropout": "paper",
            "jitter": 1.0,
            "flip": 0.0,
        },
        "textbook": {
            "image_shape": (256, 256, 3),
            "epochs": 200,
            "batch_size": 1,
            "adam_epsilon": 1e-8,
            "discriminator_weight": 0.5,
            "adversarial_weight": 1.0,
            "fakes": "same",
            "ema_decay": 0.0,
            "width": 64,
            "halvings": 8,
            "discriminator_halvings": 3,
            "norm": "batch",
            "norm_scale_std": 0.02,
            "dropout": "port",
            "jitter": 286 / 256,
            "flip": 0.5,
        },
    }
)
# The port's mean squares have no factor of one half, as those of `losses.least_squares_generator`
# and `losses.least_squares_discriminator` have.
_TEXTBOOK_LEAST_SQUARES = {"discriminator_weight": 1.0, "adversarial_weight": 2.0}


def halvings_of_patches(value: int) -> str | None:
    """The range of how often a discriminator of patches halves."""
    return None if 1 <= value <= _MOST_HALVINGS else f"from 1 to {_MOST_HALVINGS}, not {value}"


@dataclasses.dataclass(frozen=True)
class Pix2PixConfig(FallingRates, RunConfig):
    """The settings of pix2pix, added to those of every run.

    A setting that is None here gets its value from the recipe; `--help` shows the values that will
    be used.

    Raises:
        ValueError: a value is out of range, or settings do not go together.
    """

    recipe: RecipeName = setting("default")
    """The recipe, which gives the values of settings that are not given. 'textbook' is that of the
    authors' PyTorch port, for images of 256x256."""
    task: TaskName = setting("edges2face")
    """The translation to learn. 'edges2face', 'grey2colour' and 'mask2face' compute the inputs
    (edges, grey images, masked images) from the images; 'pairs' takes inputs and images from a data
    set of TensorFlow Datasets, or from a folder with the sub-folders inputs and targets."""
    input_feature: str | None = setting(None)
    """With --task pairs: the feature of the data set that is the input. Of a folder of pictures of
    both side by side: left or right."""
    output_feature: str | None = setting(None)
    """With --task pairs: the feature of the data set that is the true output; None: its main image,
    or the other half."""
    input_channels: int = setting(None)
    """Channels of the inputs, 1 or 3. By default 3 with --task pairs; other tasks fix the
    number."""
    dataset: str = setting("toon_faces")
    """The data set: 'toon_faces' or 'mnist', which are built in, a folder or a .zip of images, or a
    name of TensorFlow Datasets."""
    # simple-parsing makes a tuple of this default, so it cannot be None.
    image_shape: tuple[int, int, int] = setting(())
    """Height, width and channels that images are resized to. Height and width are powers of two, 16
    or more; with --halvings N they are multiples of 2**N."""
    workdir: str = setting("runs/pix2pix", may_change=True)
    """The folder that the run writes to, and resumes from."""
    epochs: int = setting(None, count(1), may_change=True)
    """Total number of passes over the data set. A stopped run continues up to this number."""
    batch_size: int = setting(None, count(1))
    """Images in a step, over all devices together; a multiple of the number of devices."""
    generator_learning_rate: float = setting(2e-4, rate)
    """Adam's learning rate for the generator, at the start of training."""
    discriminator_learning_rate: float = setting(2e-4, rate)
    """Adam's learning rate for the discriminator, at the start of training."""
    decay_after_kimg: float = setting(0.0, weight)
    """With --decay-kimg: thousands of images after which the learning rates begin to fall."""
    decay_kimg: float = setting(0.0, weight)
    """Thousands of images in which the learning rates then fall linearly to 0; 0: the rates are
    constant."""
    beta1: float = setting(0.5, share())
    """Adam's decay of the first moment, in [0, 1)."""
    beta2: float = setting(0.999, share())
    """Adam's decay of the second moment, in [0, 1)."""
    adam_epsilon: float = setting(None, rate)
    """Adam's epsilon, added to the square root of the second moment."""
    loss: str = setting("non_saturating", choices=UNPAIRED_LOSSES)
    """The adversarial loss."""
    adversarial_weight: float = setting(None, weight)
    """Weight of the adversarial loss in the generator's loss; 0: the L1 distance alone. With
    --recipe textbook --loss least_squares the default is 2, since our loss has a factor of 1/2."""
    discriminator_weight: float = setting(None, rate)
    """Weight of the adversarial loss in the discriminator's loss. With --recipe textbook --loss
    least_squares the default is 1."""
    l1_weight: float = setting(100.0, weight)
    """Weight (lambda) of the mean absolute difference from the true image in the generator's loss;
    0: the adversarial loss alone."""
    fakes: str = setting(None, one_of(*FAKES))
    """The images of the generator's turn: 'new' has another dropout and another jitter, 'same' are
    the very images that the discriminator has just judged."""
    jitter: float = setting(None, factor)
    """Enlarge input and image by this factor and cut them to their size at a random place; 1: leave
    them as they are."""
    flip: float = setting(None, probability)
    """The probability that input and image are both mirrored left to right."""
    ema_decay: float = setting(None, share())
    """Decay, in [0, 1), of the moving average of the generator's weights. Images are made with the
    averaged weights."""
    width: int = setting(None, count(1))
    """Channels of the largest feature maps of both networks."""
    halvings: int | None = setting(None, count(2))
    """How often the U-Net halves height and width: 8 of 256x256 leave 1x1. None: until the shorter
    side has 2 pixels, or what the recipe says."""
    discriminator_halvings: int = setting(None, halvings_of_patches)
    """How often the discriminator halves height and width, 1 to 5. 2: it judges patches of 34x34
    pixels, 3: of 70x70."""
    norm: str = setting(None, one_of(*networks.NORMS))
    """The normalisation of both networks. 'scaled_instance': of each map by itself, with a learnt
    scale and offset. 'instance': without them. 'batch': batch normalisation."""
    norm_scale_std: float = setting(None, weight)
    """Standard deviation of the scales of the normalisation at the start of training, around 1."""
    dropout: str = setting(None, one_of(*networks.DROPOUTS))
    """The layers of the decoder with dropout. 'paper': the first three. 'port': as in the authors'
    PyTorch port, the second to fourth of a U-Net of 256x256."""
    normalises_innermost: bool = setting(False)
    """Normalise the smallest map too, as the authors' first code does."""
    precision: Precision = setting("float32")
    """The dtype of matrix products. Parameters and the optimiser's state are always float32."""

    presets = frozenset({"recipe"})
    about_curves = ABOUT_THE_GAME

    def __post_init__(self):
        if self.recipe not in RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: one of {', '.join(RECIPES)}")
        wanted = dict(RECIPES[self.recipe])
        if self.recipe == "textbook" and self.loss == "least_squares":
            wanted |= _TEXTBOOK_LEAST_SQUARES
        settings.fill(self, wanted)
        if self.task != PAIRS and self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}: one of {', '.join(TASKS)}, {PAIRS}")
        if self.input_channels is None:
            own = 3 if self.task == PAIRS else TASKS[self.task].channels
            object.__setattr__(self, "input_channels", own or self.image_shape[-1])
        super().__post_init__()
        if self.input_channels not in (1, 3):
            raise ValueError(f"--input-channels must be 1 or 3, not {self.input_channels}")
        if self.task == PAIRS and self.input_feature is None and not is_path(self.dataset):
            raise ValueError("--task pairs wants --input-feature: what goes in, by its name")
        if self.task != PAIRS and (self.input_feature or self.output_feature):
            raise ValueError("--input-feature and --output-feature want --task pairs")
        if self.task != PAIRS and self.input_channels != (
            TASKS[self.task].channels or self.image_shape[-1]
        ):
            raise ValueError(f"--input-channels of {self.task} cannot be chosen")
        if not self.adversarial_weight and not self.l1_weight:
            raise ValueError("--adversarial-weight and --l1-weight cannot both be 0")
        networks.num_halvings(self.image_shape, self.halvings)
        networks.check_patches(self.image_shape, self.discriminator_halvings)
        self.gan()  # Raises a ValueError for an unknown loss.

    def commands(self, workdir: str) -> dict[str, str]:
        where = shlex.quote(workdir)
        return {
            "Images": f"python experiments/translate.py --workdir {where} --in drawing.png "
            "--out face.png",
            "Scores": f"python experiments/evaluate_pairs.py --workdirs {where}",
        }

    def load_dataset(self, split: str = "train") -> Dataset:
        def feature(name: str | None, channels: int) -> Dataset:
            return load(
                self.dataset,
                split=split,
                image_shape=(*self.image_shape[:2], channels),
                data_dir=self.data_dir,
                download=self.download,
                feature=name,
                crop=self.crop,
                skip_unusable=self.skip_unusable,
            )

        into, out = self._features()
        dataset = feature(out, self.image_shape[-1])
        if self.task != PAIRS:
            return dataclasses.replace(dataset, inputs=TASKS[self.task].inputs(dataset.images))
        of = feature(into, self.input_channels)
        inputs, notes = of.images, [*dataset.notes, *of.notes]
        # A map of labels has small numbers, so as an image it would be nearly black. The factor
        # depends only on the number of bits of the largest label: a split that lacks the largest
        # label usually gets the same factor.
        top = int(inputs.max())
        if 0 < top <= _MOST_LABELS:
            factor = 255 // (2 ** top.bit_length() - 1)
            inputs = inputs * np.uint8(factor)
            notes.append(f"{into}: labels up to {top}, multiplied by {factor}")
        return dataclasses.replace(
            dataset,
            inputs=inputs,
            notes=tuple(dict.fromkeys(notes)),
            digest=dataset.digest and f"{dataset.digest} {of.digest}",
        )

    def _features(self) -> tuple[str | None, str | None]:
        """The features of the data set that are the inputs and the outputs."""
        if self.task != PAIRS or not is_path(self.dataset):
            return self.input_feature, self.output_feature
        into = self.input_feature or PARTNERS.get(self.output_feature or "", INPUTS)
        return into, self.output_feature or PARTNERS.get(into)

    def generator(self) -> networks.UNet:
        """The generator's module: inputs [n, *input_shape()] -> images [n, *image_shape].

        Inputs and images are in [-1, 1].
        """
        return networks.UNet(
            self.width,
            self.image_shape,
            self.input_channels,
            jnp.dtype(self.precision),
            self.halvings,
            self.norm,
            self.dropout,
            self.norm_scale_std,
            self.normalises_innermost,
        )

    def discriminator(self) -> networks.PatchDiscriminator:
        """The discriminator's module: images, inputs -> logits [n, height, width]."""
        return networks.PatchDiscriminator(
            self.width,
            self.image_shape,
            self.input_channels,
            jnp.dtype(self.precision),
            self.discriminator_halvings,
            self.norm,
            self.norm_scale_std,
        )

    def gan(self) -> GAN:
        """The game of generator and discriminator with these settings; as `paired_gan`."""
        return paired_gan(
            self.generator(),
            self.discriminator(),
            self.falling_adam(self.generator_learning_rate, self.batch_size),
            self.falling_adam(self.discriminator_learning_rate, self.batch_size),
            loss=self.loss,
            adversarial_weight=self.adversarial_weight,
            l1_weight=self.l1_weight,
            discriminator_weight=self.discriminator_weight,
            jitter=self.jitter,
            flip=self.flip,
            same_fakes=self.fakes == "same",
            ema_decay=self.ema_decay,
        )

    def system(self, dataset: Dataset) -> System:
        # A data set from `load_dataset` always has inputs.
        all_inputs = cast(np.ndarray, dataset.inputs)

        def draw(state: TrainState, key: jax.Array, num_samples: int) -> jax.Array:
            # Fewer images if the data set has fewer inputs.
            inputs = all_inputs[:num_samples]
            return self.translate(state.averages["generator"], inputs, key)

        def picture(state: TrainState, key: jax.Array) -> Picture:
            outputs = np.asarray(draw(state, key, PICTURED))
            return beside(all_inputs[:PICTURED], outputs, dataset.images[:PICTURED]), 6

        stage = Stage(
            self.gan(),
            {"images": dataset.images, "inputs": all_inputs},
            self.epochs,
            self.batch_size,
            draw=draw,
            picture=picture,
            progress=GAME_PROGRESS,
            # Of 64x64 pixels, two cores train a few hundred in seconds.
            images_per_piece=max(1, 250 * 64 * 64 // math.prod(self.image_shape[:2])),
        )
        title = "The game: both losses, and what the discriminator believes"
        l1 = Panel("L1, pixels in [0, 1]", {"l1": "mean |y - G(x)|"})
        return System(self, [stage], title, [LOSSES, JUDGEMENT, l1])

    def translate(self, params: PyTree, images: ArrayLike, key: jax.Array | None) -> jax.Array:
        return translate(params, images, key, generator=self.generator())

    def program(self, params: PyTree) -> Program:
        self.check_params(params)
        generator = self.generator()

        def apply(params: PyTree, images: jax.Array) -> jax.Array:
            return (cast(jax.Array, generator.apply(params, 2 * images - 1)) + 1) / 2

        images = Input("images", self.input_shape(), "float32", "in [0, 1]")
        return Program((images,), params, apply)

    def check_params(self, params: PyTree) -> None:
        check_params(params, self.generator())

    def input_shape(self) -> tuple[int, int, int]:
        return (*self.image_shape[:2], self.input_channels)

    def inputs_of(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        if self.task == PAIRS:
            raise ValueError("the inputs of a run of pairs cannot be computed: give its input")
        return TASKS[self.task].inputs(images), TASKS[self.task].about

    def objective(self) -> str:
        # The names of table 1 of the paper.
        parts = [("L1", self.l1_weight), ("cGAN", self.adversarial_weight)]
        return " + ".join(name for name, weight in parts if weight)


def beside(inputs: np.ndarray, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Puts the input, the output and the true image of each example one after another.

    An input gets the channels of the output: a grey one is repeated, a colour one is averaged.

    Args:
        inputs: uint8 [n, height, width, 1 or 3].
        outputs: float [n, height, width, channels] in [0, 1].
        truth: uint8 [n, height, width, channels].

    Returns:
        float32 [3 * n, height, width, channels] in [0, 1].
    """
    shape = outputs.shape
    if inputs.shape[-1] > shape[-1]:
        inputs = inputs.mean(axis=-1, keepdims=True)
    inputs = np.broadcast_to(inputs, shape)
    columns = (inputs / np.float32(255), outputs, truth / np.float32(255))
    return np.stack(columns, axis=1).reshape(-1, *shape[1:]).astype(np.float32)
