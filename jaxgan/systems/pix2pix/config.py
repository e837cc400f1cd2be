"""Image to image by pairs (Isola et al. 2016, arXiv 1611.07004), from its settings."""

import dataclasses
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
from jaxgan.systems.pix2pix.translation import translate
from jaxgan.training.stages import Picture, Stage

PyTree = Any
PAIRS = "pairs"
TaskName = Literal["edges2face", "grey2colour", "mask2face", "pairs"]
PICTURED = 12
_MOST_LABELS = 31


@dataclasses.dataclass(frozen=True)
class Pix2PixConfig(RunConfig):
    """Settings of a translation, on top of those of every run."""

    task: TaskName = setting("edges2face")
    """What is made of what: edges, grey or masked images, computed from the images, of the images;
    or 'pairs', for a set of TensorFlow Datasets that has both."""
    input_feature: str | None = setting(None)
    """Of 'pairs': the name in the data set of what goes in."""
    output_feature: str | None = setting(None)
    """Of 'pairs': the name in the data set of what comes out; None: what the set is about."""
    input_channels: int = setting(None)
    """Channels of what goes in: 1 or 3; by default the task's, of 'pairs' 3."""
    dataset: str = setting("toon_faces")
    """'toon_faces' and 'mnist' are built in; any other name is one of TensorFlow Datasets."""
    image_shape: tuple[int, int, int] = setting((64, 64, 3))
    """Height, width and channels that images are brought to: powers of two, 16 or more."""
    workdir: str = setting("runs/pix2pix", may_change=True)
    """The folder that the run leaves everything in, and goes on from."""
    epochs: int = setting(3, count(1), may_change=True)
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    batch_size: int = setting(16, count(1))
    """Images a step, over all devices together; a multiple of their number."""
    generator_learning_rate: float = setting(2e-4, rate)
    """Adam's learning rate, of the generator."""
    discriminator_learning_rate: float = setting(2e-4, rate)
    """Adam's learning rate, of the discriminator."""
    beta1: float = setting(0.5, share())
    """Adam's decay of the first moment."""
    beta2: float = setting(0.999, share())
    """Adam's decay of the second moment."""
    loss: str = setting("non_saturating", choices=ADVERSARIAL_LOSSES)
    """The adversarial part of the objective."""
    adversarial_weight: float = setting(1.0, weight)
    """Its weight in the generator's loss; 0: L1 alone."""
    l1_weight: float = setting(100.0, weight)
    """Lambda, the weight of the mean absolute difference from the true image; 0: cGAN alone."""
    ema_decay: float = setting(0.999, share())
    """Of the moving average of the generator's weights that pictures are made with."""
    width: int = setting(32, count(1))
    """Channels of the largest maps of both networks."""
    precision: Precision = setting("float32")
    """What matrix products are computed in. Parameters and optimiser stay float32."""

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
        self.gan()  # Refuses an unknown loss.

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
        # Maps of labels count from 0 or 1: as grey they would all be black. By a power of two, so
        # that it is the same in a split that lacks the last of them.
        top = int(inputs.max())
        if 0 < top <= _MOST_LABELS:
            factor = 255 // (2 ** top.bit_length() - 1)
            inputs = inputs * np.uint8(factor)
            notes.append(f"{self.input_feature}: labels up to {top}, multiplied by {factor}")
        return dataclasses.replace(dataset, inputs=inputs, notes=tuple(dict.fromkeys(notes)))

    def generator(self) -> networks.UNet:
        """The module that translates."""
        return networks.UNet(
            self.width, self.image_shape, self.input_channels, jnp.dtype(self.precision)
        )

    def gan(self) -> GAN:
        """The game of both networks that these settings ask for."""

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
        # `load_dataset` gives every set its inputs.
        all_inputs = cast(np.ndarray, dataset.inputs)

        def draw(state: TrainState, key: jax.Array, num_samples: int) -> jax.Array:
            # As many as the data set has, if it has fewer.
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
        )
        title = "The game: both losses, and what the discriminator believes"
        l1 = Panel("L1, pixels in [0, 1]", {"l1": "mean |y - G(x)|"})
        return System(self, [stage], title, [LOSSES, JUDGEMENT, l1])

    def translate(self, params: PyTree, images: ArrayLike, key: jax.Array) -> jax.Array:
        return translate(params, images, key, generator=self.generator())

    def input_shape(self) -> tuple[int, int, int]:
        return (*self.image_shape[:2], self.input_channels)

    def inputs_of(self, images: np.ndarray) -> tuple[np.ndarray, str]:
        if self.task == PAIRS:
            raise ValueError("the inputs of a run of pairs cannot be computed: give its input")
        return TASKS[self.task].inputs(images), TASKS[self.task].about

    def objective(self) -> str:
        # As the paper's table 1 calls it.
        parts = [("L1", self.l1_weight), ("cGAN", self.adversarial_weight)]
        return " + ".join(name for name, weight in parts if weight)


def beside(inputs: np.ndarray, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Input, output and truth of each image in turn, all with the channels of the output.

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
