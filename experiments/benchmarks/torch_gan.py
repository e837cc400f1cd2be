"""The chapter's GAN in PyTorch, as jaxgan's contender: several ways to train the same networks.

python experiments/torch_gan.py --way tutorial --epochs 25 --out runs/torch_gan

It imports nothing of JAX, so that it starts and takes memory as a PyTorch program does.
"""

import argparse
import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from jaxgan import data
from jaxgan.files import written_whole

LATENT_SIZE = 100
GENERATOR_WIDTHS = (LATENT_SIZE, 256, 512, 1024, 784)
DISCRIMINATOR_WIDTHS = (784, 1024, 512, 256, 1)
LEARNING_RATE = 2e-4
BETAS = (0.5, 0.999)

# Trains for so many steps. What it has started on a GPU may still be under way when it returns.
Run = Callable[[int], None]


def perceptron(widths: Sequence[int], last: nn.Module | None) -> nn.Sequential:
    """Linear layers, LeakyReLU(0.2) between them, and something after the last."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1], *([] if last is None else [last]))


def make_generator() -> nn.Sequential:
    """Latents [batch, 100] -> images [batch, 784] in [-1, 1]."""
    return perceptron(GENERATOR_WIDTHS, nn.Tanh())


def make_discriminator(last: nn.Module | None = None) -> nn.Sequential:
    """Images [batch, 784] -> logits [batch, 1], or probabilities with last=nn.Sigmoid()."""
    return perceptron(DISCRIMINATOR_WIDTHS, last)


def load_images(count: int | None = None) -> Tensor:
    """The training set, or its first `count` images: float32 [n, 784] in [-1, 1]."""
    images = data.load().images[:count].reshape(-1, 784)
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1)


def batches_in_memory(images: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Batches of shuffled epochs, for ever, on the device of the images."""
    while True:
        order = torch.randperm(len(images), device=images.device)
        for start in range(0, len(images) - batch_size + 1, batch_size):
            yield images[order[start : start + batch_size]]


def batches_of_loader(images: Tensor, batch_size: int) -> Iterator[Tensor]:
    """The same through a DataLoader, on the CPU."""
    loader = DataLoader(TensorDataset(images), batch_size, shuffle=True, drop_last=True)
    while True:
        for (batch,) in loader:
            yield batch


@dataclasses.dataclass
class Players:
    """Both networks and what trains them."""

    generator: nn.Sequential
    discriminator: nn.Sequential
    generator_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer

    @classmethod
    def make(
        cls, device: torch.device, last: nn.Module | None = None, *, fused: bool = False
    ) -> "Players":
        generator, discriminator = make_generator().to(device), make_discriminator(last).to(device)
        optimizers = [
            torch.optim.Adam(network.parameters(), LEARNING_RATE, BETAS, fused=fused)
            for network in (generator, discriminator)
        ]
        return cls(generator, discriminator, *optimizers)


def tutorial(players: Players, batches: Iterator[Tensor], device: torch.device) -> Run:
    """The loop that most tutorials teach.

    The generator moves first; the discriminator is then shown the same fakes, detached. Sigmoid and
    binary cross-entropy, noise from NumPy, and both losses fetched every step, to be printed.
    """
    criterion = nn.BCELoss()

    def run(steps: int) -> None:
        for _ in range(steps):
            real_images = next(batches).to(device)
            valid = torch.ones(len(real_images), 1, device=device)
            fake = torch.zeros(len(real_images), 1, device=device)

            players.generator_optimizer.zero_grad()
            noise = np.random.normal(0, 1, (len(real_images), LATENT_SIZE))
            latents = torch.tensor(noise, dtype=torch.float32, device=device)
            fake_images = players.generator(latents)
            generator_loss = criterion(players.discriminator(fake_images), valid)
            generator_loss.backward()
            players.generator_optimizer.step()

            players.discriminator_optimizer.zero_grad()
            real_loss = criterion(players.discriminator(real_images), valid)
            fake_loss = criterion(players.discriminator(fake_images.detach()), fake)
            discriminator_loss = (real_loss + fake_loss) / 2
            discriminator_loss.backward()
            players.discriminator_optimizer.step()

            generator_loss.item(), discriminator_loss.item()

    return run


def eager(players: Players, batches: Iterator[Tensor], device: torch.device) -> Run:
    """jaxgan's game in plain PyTorch: discriminator first, fresh fakes for both, logits."""
    criterion = nn.BCEWithLogitsLoss()

    def run(steps: int) -> None:
        for _ in range(steps):
            real_images = next(batches)
            valid = torch.ones(len(real_images), 1, device=device)
            fake = torch.zeros(len(real_images), 1, device=device)

            players.discriminator_optimizer.zero_grad()
            latents = torch.randn(len(real_images), LATENT_SIZE, device=device)
            fake_images = players.generator(latents).detach()
            real_loss = criterion(players.discriminator(real_images), valid)
            fake_loss = criterion(players.discriminator(fake_images), fake)
            (real_loss + fake_loss).backward()
            players.discriminator_optimizer.step()

            players.generator_optimizer.zero_grad()
            latents = torch.randn(len(real_images), LATENT_SIZE, device=device)
            criterion(players.discriminator(players.generator(latents)), valid).backward()
            players.generator_optimizer.step()

    return run


class BestEffort:
    """jaxgan's game with what PyTorch has to make it fast.

    Fused Adam, the generator outside the graph of the discriminator's step, the discriminator
    frozen in the generator's, real and fake images in one pass, and nothing fetched.

    Args:
        players: with optimisers made `fused`.
        batch_size: of every batch.
        device: where they are.
        precision: "float32", or "bfloat16" for autocast.
        mode: what torch.compile is given to compile both losses with, forward and backward; None
            for eager.
    """

    def __init__(
        self,
        players: Players,
        batch_size: int,
        device: torch.device,
        precision: str = "float32",
        mode: str | None = None,
    ):
        self._players = players
        self._shape = (batch_size, LATENT_SIZE)
        self._device = device
        self._precision = precision
        self._mode = mode
        self._valid = torch.ones(batch_size, 1, device=device)
        self._labels = torch.cat([self._valid, torch.zeros_like(self._valid)])
        self._discriminator_loss, self._generator_loss = (
            loss if mode is None else torch.compile(loss, mode=mode)
            for loss in (self._loss_of_discriminator, self._loss_of_generator)
        )
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TensorFloat-32, as JAX does by default

    def update_discriminator(self, real: Tensor, latents: Tensor) -> Tensor:
        """One step of the discriminator; gives the loss before it."""
        self._players.discriminator.requires_grad_(True)
        return self._descend(
            self._players.discriminator_optimizer, self._discriminator_loss, real, latents
        )

    def update_generator(self, latents: Tensor) -> Tensor:
        """One step of the generator; gives the loss before it."""
        self._players.discriminator.requires_grad_(False)
        return self._descend(self._players.generator_optimizer, self._generator_loss, latents)

    def training(self, batches: Iterator[Tensor]) -> Run:
        def run(steps: int) -> None:
            for _ in range(steps):
                self.update_discriminator(next(batches), self._latents())
                self.update_generator(self._latents())

        return run

    def _latents(self) -> Tensor:
        return torch.randn(self._shape, device=self._device)

    def _loss_of_discriminator(self, real: Tensor, latents: Tensor) -> Tensor:
        with torch.no_grad():
            fake = self._players.generator(latents)
        logits = self._players.discriminator(torch.cat([real, fake.float()]))
        # The mean over both halves is half the sum of their means.
        return 2 * functional.binary_cross_entropy_with_logits(logits.float(), self._labels)

    def _loss_of_generator(self, latents: Tensor) -> Tensor:
        logits = self._players.discriminator(self._players.generator(latents))
        return functional.binary_cross_entropy_with_logits(logits.float(), self._valid)

    def _descend(
        self, optimizer: torch.optim.Optimizer, loss: Callable[..., Tensor], *inputs: Tensor
    ) -> Tensor:
        if self._mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad(set_to_none=True)
        with contextlib.ExitStack() as stack:
            if self._precision == "bfloat16":
                stack.enter_context(torch.autocast(self._device.type, torch.bfloat16))
            value = loss(*inputs)
        value.backward()
        optimizer.step()
        return value.detach()


MODES = {"best": None, "compile": "default", "cuda graphs": "reduce-overhead"}
WAYS = ("tutorial", "tutorial in memory", "eager", *MODES)


def make(
    way: str, images: Tensor, batch_size: int, device: torch.device, precision: str = "float32"
) -> tuple[Players, Run]:
    """Players with random weights, and the training of them.

    Args:
        way: one of `WAYS`: "tutorial" (through a DataLoader), "tutorial in memory", "eager",
            "best", "compile" (best, under torch.compile) or "cuda graphs" (the same, replayed).
        images: from `load_images`.
        batch_size: of every step.
        device: where to train.
        precision: "float32", or "bfloat16" for autocast, with the last three.
    """
    if way == "tutorial":
        players = Players.make(device, nn.Sigmoid())
        return players, tutorial(players, batches_of_loader(images, batch_size), device)
    batches = batches_in_memory(images.to(device), batch_size)
    if way in MODES:
        players = Players.make(device, fused=True)
        best = BestEffort(players, batch_size, device, precision, MODES[way])
        return players, best.training(batches)
    if way == "eager":
        players = Players.make(device)
        return players, eager(players, batches, device)
    players = Players.make(device, nn.Sigmoid())
    return players, tutorial(players, batches, device)


def save_generator(path: Path, generator: nn.Sequential) -> None:
    """Writes the weights as arrays named such as "0.weight", [units out, units in]."""
    with written_whole(path) as beside:
        np.savez(beside, **{k: v.cpu().numpy() for k, v in generator.state_dict().items()})


def main() -> None:
    # Without jaxgan.flags, which imports JAX.
    parser = argparse.ArgumentParser(usage=argparse.SUPPRESS, description=__doc__)
    parser.add_argument("--way", choices=WAYS, default="tutorial")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=60_000, help="the first so many")
    parser.add_argument("--out", type=Path, default=Path("runs/torch_gan"))
    arguments = parser.parse_args()
    if not 1 <= arguments.batch_size <= arguments.images or arguments.epochs < 1:
        parser.error("--epochs and --batch-size must be 1 or more, and --images at least a batch")
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed % 2**32)
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = load_images(arguments.images)
    players, run = make(arguments.way, images, arguments.batch_size, device)
    for epoch in range(1, arguments.epochs + 1):
        run(len(images) // arguments.batch_size)
        save_generator(arguments.out / f"epoch_{epoch:04d}.npz", players.generator)
        print(f"epoch {epoch}/{arguments.epochs}", file=sys.stderr)


if __name__ == "__main__":
    main()
