"""The settings of pix2pix (Isola et al. 2016, arXiv 1611.07004): image to image, from pairs."""

import dataclasses
import math
import shlex
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from jaxgan import schedules
from jaxgan.data import Dataset, load
from jaxgan.game import GAN, TrainState
from jaxgan.losses import ADVERSARIAL_LOSSES
from jaxgan.run.config import Precision, RunConfig
from jaxgan.run.settings import count, rate, setting, share, weight
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
# Examples in the grid of an epoch.
PICTURED = 12
# The largest value of an input that is taken for a map of labels.
_MOST_LABELS = 31


@dataclasses.dataclass(frozen=True)
class Pix2PixConfig(RunConfig):
    """The settings of pix2pix, added to those of every run.

    Raises:
        ValueError: a value is out of range, or settings do not go together.
    """

    task: TaskName = setting("edges2face")
    """The translation to learn. 'edges2face', 'grey2colour' and 'mask2face' compute the inputs
    (edges, grey images, masked images) from the images; 'pairs' takes inputs and images from a data
    set of TensorFlow Datasets."""
    input_feature: str | None = setting(None)
    """With --task pairs: the feature of the data set that is the input."""
    output_feature: str | None = setting(None)
    """With --task pairs: the feature of the data set that is the true output; None: its main
    image."""
    input_channels: int = setting(None)
    """Channels of the inputs, 1 or 3. By default 3 with --task pairs; other tasks fix the
    number."""
    dataset: str = setting("toon_faces")
    """Name of the data set: 'toon_faces' or 'mnist', which are built in, or a name of TensorFlow
    Datasets."""
    image_shape: tuple[int, int, int] = setting((64, 64, 3))
    """Height, width and channels that images are resized to. Height and width are powers of two, 16
    or more."""
    workdir: str = setting("runs/pix2pix", may_change=True)
    """The folder that the run writes to, and resumes from."""
    epochs: int = setting(3, count(1), may_change=True)
    """Total number of passes over the data set. A stopped run continues up to this number."""
    batch_size: int = setting(16, count(1))
    """Images in a step, over all devices together; a multiple of the number of devices."""
    generator_learning_rate: float = setting(2e-4, rate)
    """Adam's learning rate for the generator."""
    discriminator_learning_rate: float = setting(2e-4, rate)
    """Adam's learning rate for the discriminator."""
    beta1: float = setting(0.5, share())
    """Adam's decay of the first moment, in [0, 1)."""
    beta2: float = setting(0.999, share())
    """Adam's decay of the second moment, in [0, 1)."""
    loss: str = setting("non_saturating", choices=ADVERSARIAL_LOSSES)
    """The adversarial loss."""
    adversarial_weight: float = setting(1.0, weight)
    """Weight of the adversarial loss in the generator's loss; 0: the L1 distance alone."""
    l1_weight: float = setting(100.0, weight)
    """Weight (lambda) of the mean absolute difference from the true image in the generator's loss;
    0: the adversarial loss alone."""
    ema_decay: float = setting(0.999, share())
    """Decay, in [0, 1), of the moving average of the generator's weights. Images are made with the
    averaged weights."""
    width: int = setting(32, count(1))
    """Channels of the largest feature maps of both networks."""
    precision: Precision = setting("float32")
    """The dtype of matrix products. Parameters and the optimiser's state are always float32."""

    about_curves = ABOUT_THE_GAME

    def __post_init__(self):
        if self.task != PAIRS and self.task not in TASKS:
            raise ValueError(f"unknown task {self.task!r}: one of {', '.join(TASKS)}, {PAIRS}")
        if self.input_channels is None:
            own = 3 if self.task == PAIRS else TASKS[self.task].channels
            object.__setattr__(self, "input_channels", own or self.image_shape[-1])
        super().__post_init__()
        if self.input_channels not in (1, 3):
            raise ValueError(f"--input-channels must be 1 or 3, not {self.input_channels}")
        if self.task == PAIRS and self.input_feature is None:
            raise ValueError("--task pairs wants --input-feature: what goes in, by its name")
        if self.task != PAIRS and (self.input_feature or self.output_feature):
            raise ValueError("--input-feature and --output-feature want --task pairs")
        if self.task != PAIRS and self.input_channels != (
            TASKS[self.task].channels or self.image_shape[-1]
        ):
            raise ValueError(f"--input-channels of {self.task} cannot be chosen")
        if not self.adversarial_weight and not self.l1_weight:
            raise ValueError("--adversarial-weight and --l1-weight cannot both be 0")
        networks.num_halvings(self.image_shape)
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
            )

        dataset = feature(self.output_feature, self.image_shape[-1])
        if self.task != PAIRS:
            return dataclasses.replace(dataset, inputs=TASKS[self.task].inputs(dataset.images))
        of = feature(self.input_feature, self.input_channels)
        inputs, notes = of.images, [*dataset.notes, *of.notes]
        # A map of labels has small numbers, so as an image it would be nearly black. The factor
        # depends only on the number of bits of the largest label: a split that lacks the largest
        # label usually gets the same factor.
        top = int(inputs.max())
        if 0 < top <= _MOST_LABELS:
            factor = 255 // (2 ** top.bit_length() - 1)
            inputs = inputs * np.uint8(factor)
            notes.append(f"{self.input_feature}: labels up to {top}, multiplied by {factor}")
        return dataclasses.replace(dataset, inputs=inputs, notes=tuple(dict.fromkeys(notes)))

    def generator(self) -> networks.UNet:
        """The generator's module: inputs [n, *input_shape()] -> images [n, *image_shape].

        Inputs and images are in [-1, 1].
        """
        return networks.UNet(
            self.width, self.image_shape, self.input_channels, jnp.dtype(self.precision)
        )

    def gan(self) -> GAN:
        """The game of generator and discriminator with these settings; as `paired_gan`."""

        def adam(learning_rate: float) -> optax.GradientTransformation:
            return schedules.adam(
                learning_rate, self.beta1, self.beta2, images_per_update=self.batch_size
            )

        return paired_gan(
            self.generator(),
            networks.PatchDiscriminator(
                self.width, self.image_shape, self.input_channels, jnp.dtype(self.precision)
            ),
            adam(self.generator_learning_rate),
            adam(self.discriminator_learning_rate),
            loss=self.loss,
            adversarial_weight=self.adversarial_weight,
            l1_weight=self.l1_weight,
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

    def translate(self, params: PyTree, images: ArrayLike, key: jax.Array) -> jax.Array:
        return translate(params, images, key, generator=self.generator())

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
