"""The convolutional GANs in PyTorch, as jaxgan's contenders: the same networks and losses.

They are trained as `torch_gan.BestEffort` trains the chapter's: fused Adam, the generator outside
the graph of the discriminator's step, the discriminator frozen in the generator's, the data in
memory, and nothing fetched. Less is done than jaxgan does: no metrics, and no moving average of the
generator. Nothing of JAX is imported.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from jaxgan import data
from jaxgan.data import LABEL
from jaxgan.systems.pix2pix.tasks import TASKS

LATENT_SIZE = 100
SLOPE = 0.2
EPSILON = 1e-5
DCGAN_WIDTH = 64
PIX2PIX_WIDTH = 32
# Dropped out of, the first layers of the U-Net's decoder.
NOISY_LAYERS = 3

Arrays = dict[str, np.ndarray]
Batch = dict[str, Tensor]
# Trains for so many steps.
Run = Callable[[int], None]


def halve(channels: int, width: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 4, stride=2, padding=1, bias=bias)


def keep(channels: int, width: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 4, padding=1, bias=bias)


def double(channels: int, width: int, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, width, 4, stride=2, padding=1, bias=bias)


def one_hot(labels: Tensor, num_classes: Sequence[int]) -> Tensor:
    """int64 [batch, k] -> float32 [batch, sum(num_classes)]."""
    columns = [functional.one_hot(labels[:, i], count) for i, count in enumerate(num_classes)]
    return torch.cat(columns, dim=1).float()


# --- DCGAN ---


class DCGANGenerator(nn.Module):
    """Latents [batch, 100] and labels -> images [batch, channels, height, width] in [-1, 1].

    The layers of `jaxgan.systems.dcgan.networks.Generator`, and their names in its order: Dense_0,
    ConvTranspose_0 and so on are `first`, `doubling[0]` ...
    """

    def __init__(self, width: int, image_shape: Sequence[int], num_classes: Sequence[int]):
        super().__init__()
        self.num_classes = tuple(num_classes)
        halvings, (height, width_of_map) = smallest_map(image_shape)
        channels = width << (halvings - 1)
        self._map = (channels, height, width_of_map)
        self.first = nn.Linear(
            LATENT_SIZE + sum(num_classes), channels * height * width_of_map, bias=False
        )
        self.doubling, self.norms = nn.ModuleList(), nn.ModuleList([batch_norm(channels)])
        for _ in range(halvings - 1):
            self.doubling.append(double(channels, channels // 2, bias=False))
            channels //= 2
            self.norms.append(batch_norm(channels))
        self.doubling.append(double(channels, image_shape[-1], bias=True))

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        x = latents
        if self.num_classes:
            x = torch.cat([x, one_hot(labels, self.num_classes)], dim=1)
        x = self.first(x).view(len(x), *self._map)
        for norm, layer in zip(self.norms, self.doubling, strict=True):
            x = layer(functional.relu(norm(x), inplace=True))
        return torch.tanh(x)


class DCGANDiscriminator(nn.Module):
    """Images and labels -> logits [batch]: the layers of `jaxgan.systems.dcgan`."""

    def __init__(self, width: int, image_shape: Sequence[int], num_classes: Sequence[int]):
        super().__init__()
        self.num_classes = tuple(num_classes)
        halvings, (height, width_of_map) = smallest_map(image_shape)
        self.halving, self.norms = nn.ModuleList(), nn.ModuleList([nn.Identity()])
        channels = image_shape[-1]
        for i in range(halvings):
            self.halving.append(halve(channels, width << i, bias=i == 0))
            channels = width << i
            if i:
                self.norms.append(batch_norm(channels))
        size = channels * height * width_of_map
        self.last = nn.Linear(size, 1)
        self.learnt = nn.Linear(sum(num_classes), size, bias=False) if num_classes else None

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = images
        for norm, layer in zip(self.norms, self.halving, strict=True):
            x = functional.leaky_relu(norm(layer(x)), SLOPE, inplace=True)
        x = x.flatten(1)
        logits = self.last(x)[:, 0]
        if self.learnt is not None:
            logits = logits + (x * self.learnt(one_hot(labels, self.num_classes))).sum(dim=1)
        return logits


def smallest_map(image_shape: Sequence[int]) -> tuple[int, tuple[int, int]]:
    """How often an image is halved to 4 to 7 pixels, and the height and width that leaves."""
    height, width, _ = image_shape
    halvings = 0
    while min(height, width) >= 8:
        halvings, height, width = halvings + 1, height // 2, width // 2
    return halvings, (height, width)


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, EPSILON, momentum=0.1)


class DCGAN:
    """The conditional game. Its batches have images, labels, and latents for each of two turns."""

    def __init__(
        self, image_shape: Sequence[int], num_classes: Sequence[int], width: int = DCGAN_WIDTH
    ):
        self.generator = DCGANGenerator(width, image_shape, num_classes)
        self.discriminator = DCGANDiscriminator(width, image_shape, num_classes)

    def noise(self, batch: Batch) -> Batch:
        return {"latents": torch.randn(len(batch["images"]), LATENT_SIZE)}

    def discriminator_loss(self, batch: Batch) -> Tensor:
        labels = batch["labels"]
        with torch.no_grad():
            fake = self.generator(batch["latents"], labels)
        # Apart, each with the statistics of its own.
        real_logits = self.discriminator(batch["images"], labels)
        fake_logits = self.discriminator(fake, labels)
        return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        labels = batch["labels"]
        logits = self.discriminator(self.generator(batch["latents"], labels), labels)
        return functional.softplus(-logits).mean()


# --- pix2pix ---


class UNet(nn.Module):
    """Images to images: the U-Net of `jaxgan.systems.pix2pix`. Dropout unless in eval()."""

    def __init__(self, width: int, image_shape: Sequence[int], input_channels: int):
        super().__init__()
        halvings = (min(image_shape[:2]) // 2).bit_length() - 1
        channels = [width * min(1 << i, 8) for i in range(halvings)]
        self.halving, self.norms_down = nn.ModuleList(), nn.ModuleList()
        for i, (fan_in, fan_out) in enumerate(
            zip([input_channels, *channels], channels, strict=False)
        ):
            is_normalised = 0 < i < halvings - 1
            self.halving.append(halve(fan_in, fan_out, bias=not is_normalised))
            self.norms_down.append(instance_norm(fan_out) if is_normalised else nn.Identity())
        self.doubling, self.norms_up = nn.ModuleList(), nn.ModuleList()
        fan_in = channels[-1]
        for fan_out in channels[-2::-1]:
            self.doubling.append(double(fan_in, fan_out, bias=False))
            self.norms_up.append(instance_norm(fan_out))
            fan_in = 2 * fan_out  # beside the encoder's
        self.doubling.append(double(fan_in, image_shape[-1], bias=True))

    def forward(self, inputs: Tensor) -> Tensor:
        x, maps = inputs, []
        for i, (layer, norm) in enumerate(zip(self.halving, self.norms_down, strict=True)):
            x = norm(layer(functional.leaky_relu(x, SLOPE) if i else x))
            maps.append(x)
        x = functional.relu(maps.pop())
        for i, (layer, norm) in enumerate(zip(self.doubling[:-1], self.norms_up, strict=True)):
            x = norm(layer(x))
            if i < NOISY_LAYERS:
                x = functional.dropout(x, 0.5, training=self.training)
            x = functional.relu(torch.cat([x, maps.pop()], dim=1), inplace=True)
        return torch.tanh(self.doubling[-1](x))


class PatchDiscriminator(nn.Module):
    """Images and what they were made of -> logits of patches, [batch, height, width]."""

    def __init__(self, width: int, image_shape: Sequence[int], input_channels: int):
        super().__init__()
        self.first = halve(input_channels + image_shape[-1], width, bias=True)
        self.layers = nn.ModuleList(
            [halve(width, 2 * width, bias=False), keep(2 * width, 4 * width, bias=False)]
        )
        self.norms = nn.ModuleList([instance_norm(2 * width), instance_norm(4 * width)])
        self.last = keep(4 * width, 1, bias=True)

    def forward(self, images: Tensor, inputs: Tensor) -> Tensor:
        x = self.first(torch.cat([inputs, images], dim=1))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(layer(functional.leaky_relu(x, SLOPE, inplace=True)))
        return self.last(functional.leaky_relu(x, SLOPE, inplace=True))[:, 0]


def instance_norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, EPSILON, affine=True)


class Pix2Pix:
    """The game of pairs. Its batches have images and inputs."""

    def __init__(
        self,
        image_shape: Sequence[int],
        input_channels: int,
        width: int = PIX2PIX_WIDTH,
        l1_weight: float = 100.0,
    ):
        self.generator = UNet(width, image_shape, input_channels)
        self.discriminator = PatchDiscriminator(width, image_shape, input_channels)
        self._l1_weight = l1_weight

    def noise(self, batch: Batch) -> Batch:
        return {}  # Dropout draws its own.

    def discriminator_loss(self, batch: Batch) -> Tensor:
        real, inputs = batch["images"], batch["inputs"]
        with torch.no_grad():
            fake = self.generator(inputs)
        logits = self.discriminator(torch.cat([real, fake]), torch.cat([inputs, inputs]))
        real_logits, fake_logits = logits.chunk(2)
        loss = functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()
        return loss / 2

    def generator_loss(self, batch: Batch) -> Tensor:
        fake = self.generator(batch["inputs"])
        logits = self.discriminator(fake, batch["inputs"])
        adversarial = functional.softplus(-logits).mean()
        return adversarial + self._l1_weight * functional.l1_loss(fake, batch["images"])


# --- Training ---

# Way -> (memory format, whether torch.compile compiles both losses).
WAYS = {
    "plain": (torch.contiguous_format, False),
    "channels last": (torch.channels_last, False),
    "compile": (torch.contiguous_format, True),
}


@dataclasses.dataclass(frozen=True)
class Adam:
    """Settings of an optimiser."""

    learning_rate: float
    beta1: float
    beta2: float


def load_dcgan(dataset: str, image_shape: Sequence[int], count: int) -> tuple[DCGAN, Arrays]:
    """The game of a data set, and its first images with all that is known of them."""
    whole = data.load(dataset, image_shape=tuple(image_shape))
    names = [LABEL] if LABEL in whole.attributes else list(whole.attributes)
    num_classes = [len(whole.attributes[name].classes) for name in names]
    arrays = {"images": whole.images[:count], "labels": whole.codes(names)[:count]}
    return DCGAN(image_shape, num_classes), arrays


def load_pix2pix(dataset: str, image_shape: Sequence[int], count: int) -> tuple[Pix2Pix, Arrays]:
    """The game of edges and images, and the first pairs."""
    images = data.load(dataset, image_shape=tuple(image_shape)).images[:count]
    arrays = {"images": images, "inputs": TASKS["edges2face"].inputs(images)}
    return Pix2Pix(image_shape, input_channels=1), arrays


def make(
    way: str, game: DCGAN | Pix2Pix, arrays: Arrays, batch_size: int, generator: Adam, other: Adam
) -> Run:
    """The training of a game from random weights, on the CPU.

    Args:
        way: one of `WAYS`.
        game: what to train.
        arrays: of the data set: images uint8 [n, height, width, channels], labels [n, k].
        batch_size: of every step.
        generator: how the generator is trained.
        other: how the discriminator is.
    """
    memory_format, compiles = WAYS[way]
    networks = game.generator, game.discriminator
    for network in networks:
        network.to(memory_format=memory_format).train()
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0, 0.02)
    generator_optimizer, discriminator_optimizer = (
        torch.optim.Adam(
            network.parameters(),
            settings.learning_rate,
            (settings.beta1, settings.beta2),
            fused=True,
        )
        for network, settings in zip(networks, (generator, other), strict=True)
    )
    losses = game.discriminator_loss, game.generator_loss
    if compiles:
        losses = tuple(map(torch.compile, losses))
    discriminator_loss, generator_loss = losses
    batches = batches_in_memory(arrays, batch_size, memory_format)

    def descend(optimizer: torch.optim.Optimizer, loss: Callable, batch: Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(batch | game.noise(batch)).backward()
        optimizer.step()

    def run(steps: int) -> None:
        for _ in range(steps):
            batch = next(batches)
            game.discriminator.requires_grad_(True)
            descend(discriminator_optimizer, discriminator_loss, batch)
            game.discriminator.requires_grad_(False)
            descend(generator_optimizer, generator_loss, batch)

    return run


def batches_in_memory(
    arrays: Arrays, batch_size: int, memory_format: torch.memory_format
) -> Iterator[Batch]:
    """Batches of shuffled epochs, for ever: images as `as_images` gives them, labels int64."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    count = len(arrays["images"])
    while True:
        order = torch.randperm(count)
        for start in range(0, count - batch_size + 1, batch_size):
            rows = order[start : start + batch_size]
            yield {
                name: as_images(x[rows], memory_format)
                if x.dtype == torch.uint8
                else x[rows].long()
                for name, x in tensors.items()
            }


def as_images(x: Tensor, memory_format: torch.memory_format) -> Tensor:
    """uint8 [n, height, width, channels] -> float32 [n, channels, height, width] in [-1, 1]."""
    x = x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    return x.float() / 127.5 - 1
