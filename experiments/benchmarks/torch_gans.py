"""The systems in PyTorch: the same networks and losses as jaxgan's, and ways to train them.

python experiments/benchmarks/torch_gans.py --epochs 25 --out runs/torch_gan

trains the chapter's GAN as tutorials do, and saves its generator after every epoch: arrays named
such as "0.weight", float32 [units out, units in]. The module does not import JAX, so that it starts
as a PyTorch program does. PyTorch's side does less than jaxgan's: no metrics, no moving average of
the generator.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_biggan import BigGAN
from torch_game import Adam, Batch, Game, Turn, one_hot, softplus_mean
from torch_stylegan2 import StyleGAN2

from jaxgan import data
from jaxgan.files.writing import written_whole

LATENT_SIZE = 100
WIDTHS = (256, 512, 1024)  # of the generator's hidden layers; the discriminator's go down
L1_WEIGHT = 100.0

Arrays = Mapping[str, np.ndarray]
Step = Callable[[Batch], None]

# --- Networks ---

downsample = partial(nn.Conv2d, kernel_size=4, stride=2, padding=1)
keep = partial(nn.Conv2d, kernel_size=4, padding=1)
upsample = partial(nn.ConvTranspose2d, kernel_size=4, stride=2, padding=1)
instance_norm = partial(nn.InstanceNorm2d, affine=True)
leaky_relu = partial(nn.LeakyReLU, 0.2)


def perceptron(widths: Sequence[int], *last: nn.Module) -> nn.Sequential:
    """Linear layers with LeakyReLU(0.2) between them, and something after the last."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), leaky_relu()]
    return nn.Sequential(*layers[:-1], *last)


def smallest_map(image_shape: Sequence[int]) -> tuple[int, tuple[int, int]]:
    """How often the DCGAN halves an image to 4 to 7 pixels, and the size that leaves."""
    height, width, _ = image_shape
    halvings = 0
    while min(height, width) >= 8:
        halvings, height, width = halvings + 1, height // 2, width // 2
    return halvings, (height, width)


def dcgan_generator(width: int, image_shape: Sequence[int], labels: int) -> nn.Sequential:
    """Latents beside one-hot labels [batch, 100 + labels] -> images NCHW in [-1, 1]."""
    halvings, size = smallest_map(image_shape)
    channels = [*(width << i for i in reversed(range(halvings))), image_shape[-1]]
    units = channels[0] * size[0] * size[1]
    layers = [nn.Linear(LATENT_SIZE + labels, units, bias=False)]
    layers += [nn.Unflatten(1, (channels[0], *size))]
    for i, pair in enumerate(itertools.pairwise(channels)):
        layers += [nn.BatchNorm2d(pair[0]), nn.ReLU(inplace=True)]
        layers += [upsample(*pair, bias=i == halvings - 1)]
    return nn.Sequential(*layers, nn.Tanh())


class DCGANDiscriminator(nn.Module):
    """Images NCHW and one-hot labels [batch, labels] -> logits [batch], by a projection."""

    def __init__(self, width: int, image_shape: Sequence[int], labels: int):
        super().__init__()
        halvings, (height, map_width) = smallest_map(image_shape)
        channels = [image_shape[-1], *(width << i for i in range(halvings))]
        layers: list[nn.Module] = []
        for i, pair in enumerate(itertools.pairwise(channels)):
            norm = [nn.BatchNorm2d(pair[1])] if i else []
            layers += [downsample(*pair, bias=i == 0), *norm, leaky_relu(inplace=True)]
        self.features = nn.Sequential(*layers, nn.Flatten())
        size = channels[-1] * height * map_width
        self.last, self.learnt = nn.Linear(size, 1), nn.Linear(labels, size, bias=False)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.features(images)
        return self.last(x)[:, 0] + (x * self.learnt(labels)).sum(dim=1)


class UNet(nn.Module):
    """Images to images, NCHW: the U-Net of `jaxgan.systems.pix2pix`. eval() has no dropout."""

    def __init__(self, width: int, image_shape: Sequence[int], input_channels: int):
        super().__init__()
        halvings = (min(image_shape[:2]) // 2).bit_length() - 1
        channels = [width * min(1 << i, 8) for i in range(halvings)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, pair in enumerate(itertools.pairwise([input_channels, *channels])):
            norm = [instance_norm(pair[1])] if 0 < i < halvings - 1 else []
            # Not in place: the map goes to the decoder too.
            activation = [leaky_relu()] if i else []
            self.down.append(nn.Sequential(*activation, downsample(*pair, bias=not norm), *norm))
        fan_in = channels[-1]
        for i, fan_out in enumerate(channels[-2::-1]):
            layers = [upsample(fan_in, fan_out, bias=False), instance_norm(fan_out)]
            layers += [nn.Dropout(0.5)] if i < 3 else []  # section 6.1.1
            self.up.append(nn.Sequential(nn.ReLU(inplace=True), *layers))
            fan_in = 2 * fan_out  # beside the encoder's map
        last = upsample(fan_in, image_shape[-1])
        self.up.append(nn.Sequential(nn.ReLU(inplace=True), last, nn.Tanh()))

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for block in self.down:
            x = block(x)
            maps.append(x)
        x = maps.pop()
        for block in self.up[:-1]:
            x = torch.cat([block(x), maps.pop()], dim=1)
        return self.up[-1](x)


def patch_discriminator(width: int, channels: int) -> nn.Sequential:
    """Inputs and images beside each other, NCHW -> logits of patches [batch, 1, height, width]."""
    layers = [downsample(channels, width), leaky_relu(inplace=True)]
    for layer, fan_in in ((downsample, width), (keep, 2 * width)):
        layers += [layer(fan_in, 2 * fan_in, bias=False), instance_norm(2 * fan_in)]
        layers += [leaky_relu(inplace=True)]
    return nn.Sequential(*layers, keep(4 * width, 1))


class Residual(nn.Module):
    """Two convolutions of 3x3, each normalised, added to what goes in."""

    def __init__(self, width: int):
        super().__init__()
        conv = partial(nn.Conv2d, width, width, 3, padding=1, bias=False)
        layers = [conv(), instance_norm(width), nn.ReLU(inplace=True), conv(), instance_norm(width)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def editor(width: int, channels: int, labels: int, blocks: int = 6) -> nn.Sequential:
    """Images beside planes of labels, NCHW -> images: the generator of StarGAN's paper."""
    widths = [width, 2 * width, 4 * width]
    layers: list[nn.Module] = [nn.Conv2d(channels + labels, width, 7, padding=3, bias=False)]
    for before, after in itertools.pairwise(widths):
        layers += [
            instance_norm(before),
            nn.ReLU(inplace=True),
            downsample(before, after, bias=False),
        ]
    layers += [instance_norm(widths[-1]), nn.ReLU(inplace=True)]
    layers += [Residual(widths[-1]) for _ in range(blocks)]
    for before, after in itertools.pairwise(widths[::-1]):
        layers += [upsample(before, after, bias=False), instance_norm(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(width, channels, 7, padding=3, bias=False), nn.Tanh())


class ClassifyingDiscriminator(nn.Module):
    """Images NCHW -> logits of patches and of classes: the discriminator of StarGAN's paper."""

    def __init__(self, width: int, image_shape: Sequence[int], labels: int, halvings: int):
        super().__init__()
        channels = [image_shape[-1], *(width << i for i in range(halvings))]
        layers: list[nn.Module] = []
        for pair in itertools.pairwise(channels):
            layers += [downsample(*pair), nn.LeakyReLU(0.01)]
        self.features = nn.Sequential(*layers)
        self.patches = nn.Conv2d(channels[-1], 1, 3, padding=1, bias=False)
        size = [side >> halvings for side in image_shape[:2]]
        self.classes = nn.Conv2d(channels[-1], labels, size, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(images)
        return self.patches(x), self.classes(x).flatten(1)


# --- Games ---


def latents_of(batch: Batch) -> Batch:
    """The latents of a turn, [batch, 100]."""
    images = batch["images"]
    return {"latents": torch.randn(len(images), LATENT_SIZE, device=images.device)}


class MLPGAN(Game):
    """The chapter's game (Goodfellow et al. 2014): batches have images and latents."""

    def __init__(self, image_shape: Sequence[int] = (28, 28, 1)):
        pixels = math.prod(image_shape)
        self.generator = perceptron((LATENT_SIZE, *WIDTHS, pixels), nn.Tanh())
        self.discriminator = perceptron((pixels, *WIDTHS[::-1], 1))

    def noise(self, batch: Batch) -> Batch:
        return latents_of(batch)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            fake = self.generator(batch["latents"]).float()
        both = torch.cat([batch["images"].flatten(1), fake])
        real_logits, fake_logits = self.discriminator(both).chunk(2)
        return softplus_mean(-real_logits) + softplus_mean(fake_logits)

    def generator_loss(self, batch: Batch) -> Tensor:
        return softplus_mean(-self.discriminator(self.generator(batch["latents"])))


class DCGAN(Game):
    """The conditional game: batches have images, latents, and labels int64 [batch, k]."""

    adam = dict.fromkeys(Game.adam, Adam(eps=1e-8))

    def __init__(self, image_shape: Sequence[int], num_classes: Sequence[int], width: int = 64):
        self._num_classes = num_classes
        self.generator = dcgan_generator(width, image_shape, sum(num_classes))
        self.discriminator = DCGANDiscriminator(width, image_shape, sum(num_classes))

    def noise(self, batch: Batch) -> Batch:
        return latents_of(batch)

    def _fakes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        labels = one_hot(batch["labels"], self._num_classes)
        return self.generator(torch.cat([batch["latents"], labels], dim=1)), labels

    def discriminator_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            fake, labels = self._fakes(batch)
        # Real and fake images go in apart, each with batch statistics of their own.
        real_loss = softplus_mean(-self.discriminator(batch["images"], labels))
        return real_loss + softplus_mean(self.discriminator(fake, labels))

    def generator_loss(self, batch: Batch) -> Tensor:
        return softplus_mean(-self.discriminator(*self._fakes(batch)))


class Pix2Pix(Game):
    """The game of pairs (Isola et al. 2016): batches have images and inputs."""

    def __init__(self, image_shape: Sequence[int], input_channels: int = 1, width: int = 32):
        self.generator = UNet(width, image_shape, input_channels)
        self.discriminator = patch_discriminator(width, input_channels + image_shape[-1])

    def _logits(self, images: Tensor, inputs: Tensor) -> Tensor:
        return self.discriminator(torch.cat([inputs, images], dim=1))

    def discriminator_loss(self, batch: Batch) -> Tensor:
        real, inputs = batch["images"], batch["inputs"]
        with torch.no_grad():
            fake = self.generator(inputs).float()
        both = self._logits(torch.cat([real, fake]), torch.cat([inputs, inputs]))
        real_logits, fake_logits = both.chunk(2)
        return (softplus_mean(-real_logits) + softplus_mean(fake_logits)) / 2

    def generator_loss(self, batch: Batch) -> Tensor:
        fake = self.generator(batch["inputs"])
        l1 = functional.l1_loss(fake, batch["images"])
        return softplus_mean(-self._logits(fake, batch["inputs"])) + L1_WEIGHT * l1


class StarGAN(Game):
    """The game of edits (Choi et al. 2017): batches have images, and labels int64 [batch, k].

    An attribute has more than two classes. Targets are the batch's labels in another order. The
    discriminator has a turn for each of the generator's.
    """

    adam = dict.fromkeys(Game.adam, Adam(lr=1e-4, eps=1e-8))

    def __init__(
        self, image_shape: Sequence[int], num_classes: Sequence[int], width: int, halvings: int = 5
    ):
        self._num_classes, labels = num_classes, sum(num_classes)
        self.generator = editor(width, image_shape[-1], labels)
        self.discriminator = ClassifyingDiscriminator(width, image_shape, labels, halvings)

    def turns(self) -> Sequence[Turn]:
        first, second = super().turns()
        return first._replace(is_twice=True), second  # the gradient penalty

    def _edited(self, images: Tensor, labels: Tensor) -> Tensor:
        planes = one_hot(labels, self._num_classes)[:, :, None, None].expand(
            -1, -1, *images.shape[2:]
        )
        return self.generator(torch.cat([images, planes], dim=1))

    def _classification(self, logits: Tensor, labels: Tensor) -> Tensor:
        parts = zip(logits.split(list(self._num_classes), dim=1), labels.T, strict=True)
        return sum(functional.cross_entropy(part, its) for part, its in parts)

    def discriminator_loss(self, batch: Batch) -> Tensor:
        real, labels = batch["images"], batch["labels"]
        with torch.no_grad():
            fake = self._edited(real, labels[torch.randperm(len(labels), device=labels.device)])
        patches, classes = self.discriminator(torch.cat([real, fake]))
        real_logits, fake_logits = patches.chunk(2)
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * fake).requires_grad_(True)
        judged = self.discriminator(between)[0].sum()
        (slope,) = torch.autograd.grad(judged, between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        told = self._classification(classes[: len(real)], labels)
        return fake_logits.mean() - real_logits.mean() + told + 10 * penalty

    def generator_loss(self, batch: Batch) -> Tensor:
        real, labels = batch["images"], batch["labels"]
        targets = labels[torch.randperm(len(labels), device=labels.device)]
        fake = self._edited(real, targets)
        patches, classes = self.discriminator(fake)
        again = functional.l1_loss(self._edited(fake, labels), real)
        return self._classification(classes, targets) - patches.mean() + 10 * again


GAMES: Mapping[str, Callable[..., Game]] = {
    "mlp": MLPGAN,
    "dcgan": DCGAN,
    "pix2pix": Pix2Pix,
    "stargan": StarGAN,
    "stylegan2": StyleGAN2,
    "biggan": BigGAN,
}

# --- Training ---


def batches_in_memory(
    arrays: Arrays, batch_size: int, device: torch.device, layout: torch.memory_format
) -> Iterator[Batch]:
    """Batches of shuffled epochs, without end, from arrays that are kept on the device.

    uint8 images NHWC become float32 NCHW in [-1, 1] in that memory format, other numbers int64.
    """

    def prepare(x: Tensor) -> Tensor:
        if x.dtype != torch.uint8:
            return x.long()
        return x.permute(0, 3, 1, 2).contiguous(memory_format=layout).float() / 127.5 - 1

    tensors = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    while True:
        order = torch.randperm(len(arrays["images"]), device=device)
        for rows in order.split(batch_size)[: len(order) // batch_size]:
            yield {name: prepare(x[rows]) for name, x in tensors.items()}


# Way of a best effort -> (memory format, whether torch.compile compiles the losses).
WAYS = {
    "best": (torch.contiguous_format, False),
    "channels last": (torch.channels_last, False),
    "compile": (torch.contiguous_format, True),
}


def make(
    way: str, game: Game, arrays: Arrays, batch_size: int, *, gpu: bool, precision: str = "float32"
) -> Callable[[int], None]:
    """The training of a game: a function that does so many steps, and waits for the device.

    Args:
        way: one of `WAYS`, or for an MLPGAN "tutorial".
        game: what to train; its networks are moved to the device.
        arrays: by the names of a batch's: images uint8 NHWC, labels integers [N, k].
        batch_size: of every step.
        gpu: whether on the GPU.
        precision: "float32", or "bfloat16" for autocast in one of `WAYS`.
    """
    device = torch.device("cuda" if gpu else "cpu")
    if gpu:
        torch.set_float32_matmul_precision("high")  # TensorFloat-32, as JAX does by default
    layout, compiles = WAYS.get(way, WAYS["best"])
    for network in (game.generator, game.discriminator):
        network.to(device, memory_format=layout).train()
    batches = batches_in_memory(arrays, batch_size, device, layout)
    step = tutorial(game) if way == "tutorial" else best_effort(game, precision, compiles=compiles)

    def run(steps: int) -> None:
        for _ in range(steps):
            step(next(batches))
        if gpu:
            torch.cuda.synchronize()

    return run


def tutorial(game: MLPGAN) -> Step:
    """The step that most tutorials teach, without their DataLoader, which makes it slower.

    The generator moves first; the discriminator is then shown the same fakes, detached. Sigmoid and
    binary cross-entropy, noise from NumPy, and both losses fetched in every step, to be printed.
    """
    generator, discriminator = game.generator, nn.Sequential(game.discriminator, nn.Sigmoid())
    rate, betas, _ = Adam()
    generator_optimizer, discriminator_optimizer = (
        torch.optim.Adam(network.parameters(), rate, betas)
        for network in (generator, discriminator)
    )
    criterion = nn.BCELoss()

    def step(batch: Batch) -> None:
        real_images = batch["images"].flatten(1)
        valid = torch.ones(len(real_images), 1, device=real_images.device)
        fake = torch.zeros(len(real_images), 1, device=real_images.device)

        generator_optimizer.zero_grad()
        noise = np.random.normal(0, 1, (len(real_images), LATENT_SIZE))
        latents = torch.tensor(noise, dtype=torch.float32, device=real_images.device)
        fake_images = generator(latents)
        generator_loss = criterion(discriminator(fake_images), valid)
        generator_loss.backward()
        generator_optimizer.step()

        discriminator_optimizer.zero_grad()
        real_loss = criterion(discriminator(real_images), valid)
        fake_loss = criterion(discriminator(fake_images.detach()), fake)
        discriminator_loss = (real_loss + fake_loss) / 2
        discriminator_loss.backward()
        discriminator_optimizer.step()

        generator_loss.item(), discriminator_loss.item()

    return step


def best_effort(game: Game, precision: str = "float32", *, compiles: bool = False) -> Step:
    """A step of jaxgan's game with what PyTorch has to make it fast.

    Fused Adam, the generator outside the graph of the discriminator's turn, the discriminator
    frozen in the generator's turn, and nothing fetched.
    """
    networks = {"generator": game.generator, "discriminator": game.discriminator}
    optimizers = {
        name: torch.optim.Adam(network.parameters(), *game.adam[name], fused=True)
        for name, network in networks.items()
    }
    turns = [
        turn._replace(loss=torch.compile(turn.loss)) if compiles and not turn.is_twice else turn
        for turn in game.turns()
    ]
    steps = itertools.count()

    def take(turn: Turn, batch: Batch) -> None:
        for name, network in networks.items():
            network.requires_grad_(name == turn.player)
        optimizer, device = optimizers[turn.player], batch["images"].device
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            value = turn.loss({**turn.noise(batch), **batch})
        value.backward()
        for parameter in networks[turn.player].parameters():
            # Of a lazy turn's loss, which does not see it: Adam's moments decay all the same.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()

    def step(batch: Batch) -> None:
        number = next(steps)
        for turn in turns:
            if number % turn.every == 0:
                take(turn, batch)

    return step


def main() -> None:
    # jaxgan.run.flags would import JAX.
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/torch_gan"))
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)
    arguments.out = arguments.out.expanduser()
    arguments.out.mkdir(parents=True, exist_ok=True)
    game, arrays = MLPGAN(), {"images": data.load().images}
    run = make("tutorial", game, arrays, 128, gpu=torch.cuda.is_available())
    for epoch in range(1, arguments.epochs + 1):
        run(len(arrays["images"]) // 128)
        weights = game.generator.state_dict()
        with written_whole(arguments.out / f"epoch_{epoch:04d}.npz") as beside:
            np.savez(beside, **{name: x.cpu().numpy() for name, x in weights.items()})
        print(f"epoch {epoch}/{arguments.epochs}", file=sys.stderr)


if __name__ == "__main__":
    main()
