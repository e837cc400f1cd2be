"""What a game in PyTorch is: two networks whose players take turns, as in `jaxgan.game`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

# Arrays of the data set, and random numbers beside them, by name.
Batch = Mapping[str, Any]


class Adam(NamedTuple):
    """What `torch.optim.Adam` is given. The default is that of the systems whose rate is 2e-4."""

    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-6


class Turn(NamedTuple):
    """A move of one player: a step of its Adam.

    Attributes:
        player: "generator" or "discriminator".
        loss: (batch with the turn's random numbers) -> scalar.
        noise: batch -> the turn's random numbers by name.
        every: the turn is taken only at steps that are multiples of this number.
        is_twice: whether the loss has a gradient in it. torch.compile has no second derivatives.
    """

    player: str
    loss: Callable[[Batch], Tensor]
    noise: Callable[[Batch], Batch]
    every: int = 1
    is_twice: bool = False


class Game:
    """Two networks, and the turns that train them.

    Attributes:
        generator, discriminator: the networks.
        adam: what Adam is given, by player.
    """

    generator: nn.Module
    discriminator: nn.Module
    adam: Mapping[str, Adam] = {"generator": Adam(), "discriminator": Adam()}

    def turns(self) -> Sequence[Turn]:
        """The turns of a step, in order."""
        return (
            Turn("discriminator", self.discriminator_loss, self.noise),
            Turn("generator", self.generator_loss, self.noise),
        )

    def noise(self, batch: Batch) -> Batch:
        """The random numbers of a turn by name; nothing."""
        return {}

    def discriminator_loss(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def generator_loss(self, batch: Batch) -> Tensor:
        raise NotImplementedError


def softplus_mean(logits: Tensor) -> Tensor:
    """The cross-entropy, in float32, of logits of images that are to be judged as fake."""
    return functional.softplus(logits.float()).mean()


def one_hot(labels: Tensor, num_classes: Sequence[int]) -> Tensor:
    """Labels int64 [batch, k] -> their one-hot vectors side by side: float32 [batch, sum]."""
    columns = zip(labels.T, num_classes, strict=True)
    return torch.cat([functional.one_hot(*column) for column in columns], dim=1).float()
