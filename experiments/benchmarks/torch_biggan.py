"""BigGAN in PyTorch: the networks and losses of `jaxgan.systems.biggan` for images below 64x64.

Brock et al. 2018 (arXiv 1809.11096): class-conditional batch normalisation, a shared embedding of
classes, latents in parts, projection, hinge loss, spectral normalisation; no attention. Several
labels are the sum of their embeddings.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_game import Adam, Batch, Game, one_hot

MULTIPLE = 4  # channels of all maps of small images, in widths
BLOCKS, HALVINGS = 4, 2  # of the discriminator

# --- Layers ---


class Spectral(nn.Module):
    """Weights [outputs, ...] that are divided by an estimate of their largest singular value.

    Miyato et al. 2018 (arXiv 1802.05957), algorithm 1: each call makes one step of the power
    iteration. PyTorch's own parametrisation begins it at the other vector.
    """

    def __init__(self, *shape: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.orthogonal_(self.weight)
        self.register_buffer("u", torch.randn(shape[0]))
        self._epsilon = epsilon

    def normalised(self) -> Tensor:
        matrix = self.weight.flatten(1)
        # No gradient goes through the two vectors.
        v = functional.normalize(matrix.detach().T @ self.u, dim=0, eps=self._epsilon)
        product = matrix @ v
        u = functional.normalize(product.detach(), dim=0, eps=self._epsilon)
        self.u.copy_(u)
        return self.weight / (u @ product)


class Dense(Spectral):
    """A fully connected layer: [batch, inputs] -> [batch, outputs]."""

    def __init__(self, inputs: int, outputs: int, *, epsilon: float, bias: bool = True):
        super().__init__(outputs, inputs, epsilon=epsilon)
        self.bias = first_bias(outputs, inputs) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.normalised(), self.bias)


class Convolution(Spectral):
    """A convolution, NCHW, which may double the map before it ("up") or halve it after it ("down").

    Doubling and a convolution of 3x3 are one transposed convolution of 4x4, with fewer products;
    and so are a convolution of 3x3 and means of 2x2 pixels, of stride 2.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, resampling: str = "", *, epsilon: float
    ):
        super().__init__(outputs, inputs, size, size, epsilon=epsilon)
        self.bias = first_bias(outputs, inputs * size * size)
        self._size, self._resampling = size, resampling

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.normalised()
        if not self._resampling:
            return functional.conv2d(x, kernel, self.bias, padding=self._size // 2)
        if self._size == 1:
            # It comes where there are fewer pixels.
            if self._resampling == "down":
                return functional.conv2d(functional.avg_pool2d(x, 2), kernel, self.bias)
            return functional.interpolate(
                functional.conv2d(x, kernel, self.bias), scale_factor=2.0, mode="nearest"
            )
        kernel = functional.pad(kernel, (1, 1, 1, 1))
        kernel = kernel[:, :, 1:] + kernel[:, :, :-1]
        kernel = kernel[..., 1:] + kernel[..., :-1]
        if self._resampling == "down":
            return functional.conv2d(x, kernel / 4, self.bias, stride=2, padding=1)
        kernel = kernel.flip(2, 3).transpose(0, 1)
        return functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


def first_bias(outputs: int, inputs: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(outputs).uniform_(-(inputs**-0.5), inputs**-0.5))


class ConditionalNorm(nn.Module):
    """Batch normalisation whose scale and offset are linear in a condition; then a ReLU."""

    def __init__(self, condition: int, channels: int, *, epsilon: float, norm_epsilon: float):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, norm_epsilon, affine=False)
        self.gain = Dense(condition, channels, epsilon=epsilon, bias=False)
        self.bias = Dense(condition, channels, epsilon=epsilon, bias=False)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, bias = (learnt(condition)[:, :, None, None] for learnt in (self.gain, self.bias))
        return torch.addcmul(bias, self.norm(x), 1 + gain).relu_()


# --- Networks ---


class GeneratorBlock(nn.Module):
    """A residual block that doubles the map, given a condition [batch, n]."""

    def __init__(self, channels: int, condition: int, *, epsilon: float, norm_epsilon: float):
        super().__init__()
        sizes, epsilons = (condition, channels), {"epsilon": epsilon, "norm_epsilon": norm_epsilon}
        self.bn1, self.bn2 = (ConditionalNorm(*sizes, **epsilons) for _ in range(2))
        self.conv1 = Convolution(channels, channels, 3, "up", epsilon=epsilon)
        self.conv2 = Convolution(channels, channels, 3, epsilon=epsilon)
        self.conv_sc = Convolution(channels, channels, 1, "up", epsilon=epsilon)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        y = self.conv1(self.bn1(x, condition))
        return self.conv2(self.bn2(y, condition)) + self.conv_sc(x)


class Generator(nn.Module):
    """Latents [batch, latent_size] and one-hot labels [batch, labels] -> images NCHW in [-1, 1]."""

    def __init__(
        self,
        image_shape: Sequence[int],
        labels: int,
        *,
        latent_size: int,
        shared_size: int,
        width: int,
        epsilon: float,
        norm_epsilon: float,
    ):
        super().__init__()
        height, map_width, image_channels = image_shape
        count = (min(height, map_width) // 4).bit_length() - 1
        channels, self._parts = MULTIPLE * width, count + 1
        self._map = channels, height >> count, map_width >> count
        part = latent_size // self._parts
        self.shared = nn.Parameter(torch.empty(labels, shared_size))
        nn.init.orthogonal_(self.shared)
        units = channels * self._map[1] * self._map[2]
        self.linear = Dense(part, units, epsilon=epsilon)
        epsilons = {"epsilon": epsilon, "norm_epsilon": norm_epsilon}
        self.blocks = nn.ModuleList(
            GeneratorBlock(channels, shared_size + part, **epsilons) for _ in range(count)
        )
        self.norm = nn.BatchNorm2d(channels)
        self.image = Convolution(channels, image_channels, 3, epsilon=epsilon)

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        classes = labels @ self.shared
        # Each block is told a part of the latent.
        first, *parts = latents.chunk(self._parts, dim=1)
        x = self.linear(first).unflatten(1, self._map)
        for block, part in zip(self.blocks, parts, strict=True):
            x = block(x, torch.cat([classes, part], dim=1))
        return self.image(self.norm(x).relu_()).tanh()


class DiscriminatorBlock(nn.Module):
    """A residual block. The first one is given the image (`before` is its channels)."""

    def __init__(
        self, before: int, after: int, *, is_first: bool = False, halves: bool, epsilon: float
    ):
        super().__init__()
        resampling = "down" if halves else ""
        self.conv1 = Convolution(before, after, 3, epsilon=epsilon)
        self.conv2 = Convolution(after, after, 3, resampling, epsilon=epsilon)
        self.conv_sc = (
            Convolution(before, after, 1, resampling, epsilon=epsilon)
            if halves or before != after
            else nn.Identity()
        )
        self._is_first = is_first

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x if self._is_first else x.relu())
        return self.conv2(y.relu_()) + self.conv_sc(x)


class Discriminator(nn.Module):
    """Images NCHW and one-hot labels [batch, labels] -> logits [batch], by a projection."""

    def __init__(self, image_shape: Sequence[int], labels: int, *, width: int, epsilon: float):
        super().__init__()
        channels = MULTIPLE * width
        self.blocks = nn.Sequential(
            *(
                DiscriminatorBlock(
                    channels if i else image_shape[-1],
                    channels,
                    is_first=i == 0,
                    halves=i < HALVINGS,
                    epsilon=epsilon,
                )
                for i in range(BLOCKS)
            )
        )
        self.linear = Dense(channels, 1, epsilon=epsilon)
        self.embed = Spectral(labels, channels, epsilon=epsilon)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.blocks(images).relu_().sum(dim=(2, 3))
        return self.linear(x)[:, 0] + (labels @ self.embed.normalised() * x).sum(dim=1)


# --- Game ---


class BigGAN(Game):
    """The game of classes: batches have images, and labels int64 [batch, k].

    Args:
        image_shape: (height, width, channels), of less than 64x64 pixels.
        num_classes: how many classes each label has.
        Others are as in `BigGANConfig`.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        num_classes: Sequence[int],
        *,
        latent_size: int,
        shared_size: int,
        width: int,
        discriminator_width: int,
        spectral_epsilon: float,
        norm_epsilon: float,
        generator_learning_rate: float,
        discriminator_learning_rate: float,
        beta1: float,
        beta2: float,
        adam_epsilon: float,
    ):
        self._num_classes, labels = num_classes, sum(num_classes)
        self._latent_size = latent_size
        self.generator = Generator(
            image_shape,
            labels,
            latent_size=latent_size,
            shared_size=shared_size,
            width=width,
            epsilon=spectral_epsilon,
            norm_epsilon=norm_epsilon,
        )
        self.discriminator = Discriminator(
            image_shape, labels, width=discriminator_width, epsilon=spectral_epsilon
        )
        rates = {"generator": generator_learning_rate, "discriminator": discriminator_learning_rate}
        self.adam = {name: Adam(rate, (beta1, beta2), adam_epsilon) for name, rate in rates.items()}

    def noise(self, batch: Batch) -> Batch:
        """Latents [batch, n], and the labels of random images of the batch."""
        labels = batch["labels"]
        count, device = len(labels), labels.device
        rows = torch.randint(count, (count,), device=device)
        latents = torch.randn(count, self._latent_size, device=device)
        return {"latents": latents, "fake_labels": labels[rows]}

    def discriminator_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            fake, fake_labels = self._fakes(batch)
        labels = one_hot(batch["labels"], self._num_classes)
        # Both are judged in one call, so the spectral norms take one step.
        images = torch.cat([fake, batch["images"]])
        fake_logits, real_logits = self.discriminator(
            images, torch.cat([fake_labels, labels])
        ).chunk(2)
        return (1 - real_logits).relu().mean() + (1 + fake_logits).relu().mean()

    def generator_loss(self, batch: Batch) -> Tensor:
        return -self.discriminator(*self._fakes(batch)).mean()

    def _fakes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        labels = one_hot(batch["fake_labels"], self._num_classes)
        return self.generator(batch["latents"], labels), labels
