"""Image to image by pairs (Isola et al. 2016, arXiv 1611.07004), from its settings."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan.data import Dataset, load
from jaxgan.game import GAN
from jaxgan.run.config import Precision, RunConfig
from jaxgan.systems.latent.config import ADAM_EPSILON, LossName
from jaxgan.systems.pix2pix import networks as pix2pix
from jaxgan.systems.pix2pix.losses import paired_gan
from jaxgan.systems.pix2pix.tasks import TASKS
from jaxgan.systems.pix2pix.translation import translate

PyTree = Any
PAIRS = "pairs"
TaskName = Literal["edges2face", "grey2colour", "mask2face", "pairs"]
PICTURED = 12
_MOST_LABELS = 31


@dataclasses.dataclass(frozen=True)
class Pix2PixConfig(RunConfig):
    """Settings of a translation, on top of those of every run."""

    task: TaskName = "edges2face"
    """What is made of what: edges, grey or masked images, computed from the images, of the images;
    or 'pairs', for a set of TensorFlow Datasets that has both."""
    input_feature: str | None = None
    """Of 'pairs': the name in the data set of what goes in."""
    output_feature: str | None = None
    """Of 'pairs': the name in the data set of what comes out; None: what the set is about."""
    input_channels: int | None = None
    """Channels of what goes in: 1 or 3; None: the task's, of 'pairs' 3."""
    dataset: str = "toon_faces"
    """'toon_faces' and 'mnist' are built in; any other name is one of TensorFlow Datasets."""
    image_shape: tuple[int, int, int] = (64, 64, 3)
    """Height, width and channels that images are brought to: powers of two, 16 or more."""
    workdir: str = "runs/pix2pix"
    """The folder that the run leaves everything in, and goes on from."""
    epochs: int = 3
    """Passes over the data set, in all: a run that has been stopped goes on to this many."""
    batch_size: int = 16
    """Images a step, over all devices together; a multiple of their number."""
    generator_learning_rate: float = 2e-4
    """Adam's learning rate, of the generator."""
    discriminator_learning_rate: float = 2e-4
    """Adam's learning rate, of the discriminator."""
    beta1: float = 0.5
    """Adam's decay of the first moment."""
    beta2: float = 0.999
    """Adam's decay of the second moment."""
    loss: LossName = "non_saturating"
    """The adversarial part of the objective."""
    adversarial_weight: float = 1.0
    """Its weight in the generator's loss; 0: L1 alone."""
    l1_weight: float = 100.0
    """Lambda, the weight of the mean absolute difference from the true image; 0: cGAN alone."""
    ema_decay: float = 0.999
    """Of the moving average of the generator's weights that pictures are made with."""
    width: int = 32
    """Channels of the largest maps of both networks."""
    precision: Precision = "float32"
    """What matrix products are computed in. Parameters and optimiser stay float32."""

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
        self._check_at_least("width", 1)
        for name in ("generator_learning_rate", "discriminator_learning_rate"):
            self._check_weight(name, positive=True)
        for name in ("adversarial_weight", "l1_weight"):
            self._check_weight(name)
        if not self.adversarial_weight and not self.l1_weight:
            raise ValueError("--adversarial-weight and --l1-weight cannot both be 0")
        for name in ("beta1", "beta2", "ema_decay"):
            self._check_share(name, below=1)
        pix2pix.num_halvings(self.image_shape)

    @classmethod
    def experiment_name(cls) -> str:
        return "pix2pix"

    def command_for_images(self, workdir: str) -> str:
        return (
            f"python experiments/translate.py --workdir {workdir} --in drawing.png --out face.png"
        )

    def command_for_scores(self, workdir: str) -> str:
        return f"python experiments/evaluate_pairs.py --workdirs {workdir}"

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

    def generator(self) -> pix2pix.UNet:
        """The module that translates."""
        return pix2pix.UNet(
            self.width, self.image_shape, self.input_channels, jnp.dtype(self.precision)
        )

    def gan(self) -> GAN:
        def adam(learning_rate: float) -> optax.GradientTransformation:
            return optax.adam(learning_rate, self.beta1, self.beta2, ADAM_EPSILON)

        return paired_gan(
            self.generator(),
            pix2pix.PatchDiscriminator(
                self.width, self.image_shape, self.input_channels, jnp.dtype(self.precision)
            ),
            adam(self.generator_learning_rate),
            adam(self.discriminator_learning_rate),
            loss=self.loss,
            adversarial_weight=self.adversarial_weight,
            l1_weight=self.l1_weight,
            ema_decay=self.ema_decay,
        )

    def examples(self, dataset: Dataset) -> dict[str, np.ndarray]:
        return {"images": dataset.images, "inputs": dataset.inputs}

    def draw(
        self, variables: PyTree, key: jax.Array, num_samples: int, dataset: Dataset
    ) -> jax.Array:
        """The first inputs of the data set translated, as many as it has if it has fewer."""
        inputs = dataset.inputs[:num_samples]
        return translate(variables, inputs, key, generator=self.generator())

    def picture(
        self, variables: PyTree, key: jax.Array, dataset: Dataset
    ) -> tuple[jax.Array, int | None]:
        """Rows of two: input, output and truth beside each other."""
        outputs = np.asarray(self.draw(variables, key, PICTURED, dataset))
        return beside(dataset.inputs[:PICTURED], outputs, dataset.images[:PICTURED]), 6


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
