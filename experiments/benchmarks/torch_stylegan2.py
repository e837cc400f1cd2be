"""StyleGAN2 in PyTorch: the networks and losses of `jaxgan.systems.stylegan2`, without labels.

Karras et al. 2020 (arXiv 1912.04958). The generator's blocks add to the image ("skip"), those of
the discriminator are residual ("resnet"). There are no augmentations, and nothing is clamped.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_game import Adam, Batch, Game, Turn, softplus_mean

EPSILON = 1e-8
MULTIPLIER = 0.01  # of the learning rate of the mapping
MEAN_SHARE, LENGTH_SHARE = 0.005, 0.01  # of the newest in the running means
SMALLEST = 4

# --- Layers ---
# A LeakyReLU(0.2) and then a factor are the factor, and then the LeakyReLU. So the root of 2 that
# follows each LeakyReLU is a factor of weights and biases here, which are smaller than maps.


class Filter(torch.autograd.Function):
    """The binomial filter over each channel, NCHW, or the transpose of this linear map.

    Each is the other's derivative. PyTorch's own second derivative of a convolution by channels
    goes through the channels one by one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int, padding: int, is_transposed: bool) -> Tensor:
        ctx.options = stride, padding, not is_transposed
        taps = torch.tensor([0.125, 0.375, 0.375, 0.125], dtype=x.dtype, device=x.device)
        kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
        convolve = functional.conv_transpose2d if is_transposed else functional.conv2d
        return convolve(x, kernel, stride=stride, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[Tensor, None, None, None]:
        return Filter.apply(slopes[0], *ctx.options), None, None, None


def activated(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.2, inplace=True)


class Dense(nn.Module):
    """Weights N(0, 1) / multiplier, which are used times multiplier / sqrt(inputs)."""

    def __init__(self, inputs: int, outputs: int, *, multiplier: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self._factors = multiplier / math.sqrt(inputs), multiplier

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        of_weight, of_bias = (gain * factor for factor in self._factors)
        bias = self.bias if of_bias == 1 else self.bias * of_bias
        return functional.linear(x, self.weight * of_weight, bias)


class Convolution(nn.Module):
    """Weights N(0, 1), which are used times 1 / sqrt(inputs)."""

    def __init__(self, inputs: int, outputs: int, size: int, *, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self._factor, self._padding = 1 / math.sqrt(inputs * size * size), size // 2

    def forward(self, x: Tensor, gain: float, stride: int = 1) -> Tensor:
        """Convolves; a stride of 2 takes maps that are padded."""
        bias = self.bias if self.bias is None or gain == 1 else self.bias * gain
        padding = self._padding if stride == 1 else 0
        return functional.conv2d(x, self.weight * (gain * self._factor), bias, stride, padding)


class SynthesisLayer(nn.Module):
    """A modulated 3x3 convolution, which may double the map, noise, a bias and a LeakyReLU."""

    def __init__(self, inputs: int, outputs: int, style_size: int, *, doubles: bool):
        super().__init__()
        self.affine = Dense(style_size, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._doubles = doubles

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        scales, gain = self.affine(style), math.sqrt(2)
        squares = scales.square() @ self.weight.square().sum(dim=(2, 3)).T
        x = x * scales[:, :, None, None]
        if self._doubles:
            x = functional.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2)
            x = Filter.apply(x, 1, 1, False)
            after = 4 * gain  # Each pixel was spread over four.
        else:
            x, after = functional.conv2d(x, self.weight, padding=1), gain
        norms = after * (squares + EPSILON).rsqrt()
        x = torch.addcmul(gain * self.bias[:, None, None], x, norms[:, :, None, None])
        return activated(x.add_(noise * (gain * self.noise_strength)))


class ToImage(nn.Module):
    """A modulated 1x1 convolution that is not demodulated, and a bias."""

    def __init__(self, inputs: int, channels: int, style_size: int):
        super().__init__()
        self.affine = Dense(style_size, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scales = self.affine(style) / math.sqrt(x.shape[1])
        # A product for each image with its own weights does not make a map of scaled channels.
        weights = self.weight.flatten(1) * scales[:, None]
        return torch.baddbmm(self.bias[:, None], weights, x.flatten(2)).unflatten(2, x.shape[2:])


# --- Networks ---


class Sizes(NamedTuple):
    """What sizes both networks have: the arguments of `StyleGAN2`."""

    image_shape: Sequence[int]
    channel_base: int
    channel_max: int
    block_size: int

    @property
    def channels(self) -> int:
        """Of the images that are added up: a pixel of the largest maps makes a block of pixels."""
        return self.image_shape[-1] * self.block_size**2


def pyramid(sizes: Sizes) -> tuple[tuple[int, int], list[int]]:
    """(height, width) of the smallest maps, and the channels of each block, the smallest first."""
    height, width = (side // sizes.block_size for side in sizes.image_shape[:2])
    halvings = int(math.log2(min(height, width) / SMALLEST))
    widths = [
        min(sizes.channel_base // (SMALLEST << i), sizes.channel_max) for i in range(halvings + 1)
    ]
    return (height >> halvings, width >> halvings), widths


def spread_blocks(x: Tensor, size: int) -> Tensor:
    """[batch, size * size * c, h, w] -> [batch, c, size * h, size * w]; c runs fastest."""
    if size == 1:
        return x
    blocks = x.unflatten(1, (size, size, -1)).permute(0, 3, 4, 1, 5, 2)
    return blocks.flatten(4, 5).flatten(2, 3)


def gather_blocks(x: Tensor, size: int) -> Tensor:
    """The inverse of `spread_blocks`."""
    if size == 1:
        return x
    blocks = x.unflatten(3, (-1, size)).unflatten(2, (-1, size))
    return blocks.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


class Mapping(nn.Module):
    """Latents [batch, latent_size] -> styles [batch, style_size]; it keeps their running mean."""

    def __init__(self, latent_size: int, style_size: int, layers: int):
        super().__init__()
        for i, pair in enumerate(itertools.pairwise([latent_size, *[style_size] * layers])):
            self.add_module(f"fc{i}", Dense(*pair, multiplier=MULTIPLIER))
        self.register_buffer("w_avg", torch.zeros(style_size))

    def forward(self, latents: Tensor) -> Tensor:
        x = latents * (latents.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()
        for layer in self.children():
            x = activated(layer(x, math.sqrt(2)))
        return x

    @torch.no_grad()
    def move_mean(self, styles: Tensor) -> None:
        self.w_avg.lerp_(styles.mean(dim=0), MEAN_SHARE)


class SynthesisBlock(nn.Module):
    """The layers of one size: maps and image of the size before -> those of this one, NCHW."""

    def __init__(self, before: int, width: int, channels: int, style_size: int):
        super().__init__()
        self.conv0 = SynthesisLayer(before, width, style_size, doubles=True)
        self.conv1 = SynthesisLayer(width, width, style_size, doubles=False)
        self.torgb = ToImage(width, channels, style_size)

    def forward(
        self, x: Tensor, image: Tensor, styles: Sequence[Tensor], noise: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        x = self.conv0(x, styles[0], noise[0])
        x = self.conv1(x, styles[1], noise[1])
        return x, 4 * Filter.apply(image, 2, 1, True) + self.torgb(x, styles[2])


class FirstBlock(nn.Module):
    """The layers of the smallest size, which begin with a learnt constant."""

    def __init__(self, shape: tuple[int, int], width: int, channels: int, style_size: int):
        super().__init__()
        self.const = nn.Parameter(torch.randn(width, *shape))
        self.conv1 = SynthesisLayer(width, width, style_size, doubles=False)
        self.torgb = ToImage(width, channels, style_size)

    def forward(self, styles: Sequence[Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        # It is scaled by each image's style, which makes a batch of it.
        x = self.conv1(self.const[None], styles[0], noise)
        return x, self.torgb(x, styles[1])


class Synthesis(nn.Module):
    """A style for each layer [batch, num_styles, style_size], and noise -> images NCHW."""

    def __init__(self, sizes: Sizes, style_size: int):
        super().__init__()
        shape, widths = pyramid(sizes)
        self.b4 = FirstBlock(shape, widths[0], sizes.channels, style_size)
        for i, pair in enumerate(itertools.pairwise(widths), 1):
            block = SynthesisBlock(*pair, sizes.channels, style_size)
            self.add_module(f"b{SMALLEST << i}", block)
        self._block_size = sizes.block_size
        self.noise_shapes = [(shape[0] << i, shape[1] << i) for i in range(len(widths))]

    def forward(self, styles: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Noise: [batch, 1, height, width] of each layer that has it, from the smallest on."""
        each = styles.unbind(dim=1)
        first, *others = self.children()
        x, image = first(each, noise[0])
        for i, block in enumerate(others):
            x, image = block(x, image, each[2 * i + 1 :], noise[2 * i + 1 :])
        return spread_blocks(image, self._block_size)


class Generator(nn.Module):
    """A mapping of latents to styles, and a synthesis of images."""

    def __init__(self, mapping: Mapping, synthesis: Synthesis):
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def forward(self, styles: Tensor, noise: Sequence[Tensor]) -> Tensor:
        return self.synthesis(styles, noise)


class DiscriminatorBlock(nn.Module):
    """A residual block that halves the map. The first one is given the image."""

    def __init__(self, before: int, width: int, channels: int = 0):
        super().__init__()
        self.fromrgb = Convolution(channels, before, 1) if channels else None
        self.conv0 = Convolution(before, before, 3)
        self.conv1 = Convolution(before, width, 3)
        self.skip = Convolution(before, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.fromrgb is not None:
            x = activated(self.fromrgb(x, math.sqrt(2)))
        y = activated(self.conv0(x, math.sqrt(2)))
        # The gains are sqrt(2) of the LeakyReLU and sqrt(1/2) of a sum of two.
        y = activated(self.conv1(Filter.apply(y, 1, 2, False), 1.0, stride=2))
        return y + self.skip(Filter.apply(x, 2, 1, False), math.sqrt(0.5))


def deviations(x: Tensor, group_size: int, parts: int) -> Tensor:
    """The deviation within groups of a part of the batch: [batch, c, h, w] -> [batch, 1, 1, 1]."""
    size = min(group_size, len(x) // parts)
    groups = x.reshape(parts, size, -1, *x.shape[1:])
    variance = groups.var(dim=1, correction=0)
    means = (variance + EPSILON).sqrt().mean(dim=(2, 3, 4))
    return means[:, None].expand(-1, size, -1).reshape(-1, 1, 1, 1)


class Epilogue(nn.Module):
    """The judgement of the smallest maps: [batch, c, h, w] -> logits [batch]."""

    def __init__(self, shape: tuple[int, int], width: int, group_size: int):
        super().__init__()
        self.conv = Convolution(width + 1, width, 3)
        self.fc = Dense(width * math.prod(shape), width)
        self.out = Dense(width, 1)
        self._group_size = group_size

    def forward(self, x: Tensor, parts: int) -> Tensor:
        planes = deviations(x, self._group_size, parts).expand(-1, -1, *x.shape[2:])
        x = activated(self.conv(torch.cat([x, planes], dim=1), math.sqrt(2)))
        return self.out(activated(self.fc(x.flatten(1), math.sqrt(2))))[:, 0]


class Discriminator(nn.Module):
    """Images NCHW, of `parts` batches that do not see each other -> logits [batch]."""

    def __init__(self, sizes: Sizes, group_size: int):
        super().__init__()
        shape, widths = pyramid(sizes)
        self._block_size = sizes.block_size
        for i in reversed(range(1, len(widths))):
            channels = sizes.channels if i == len(widths) - 1 else 0
            block = DiscriminatorBlock(widths[i], widths[i - 1], channels)
            self.add_module(f"b{SMALLEST << i}", block)
        self.b4 = Epilogue(shape, widths[0], group_size)

    def forward(self, images: Tensor, parts: int = 1) -> Tensor:
        x = gather_blocks(images, self._block_size)
        *blocks, epilogue = self.children()
        for block in blocks:
            x = block(x)
        return epilogue(x, parts)


# --- Game ---


class StyleGAN2(Game):
    """The game of styles: batches have images. Arguments are as in `StyleGAN2Config`.

    Each turn is a step of Adam. A lazy turn adds steps: so its player's rate and betas are smaller.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        latent_size: int,
        style_size: int,
        mapping_layers: int,
        channel_base: int,
        channel_max: int,
        block_size: int,
        group_size: int,
        gamma: float,
        penalty_interval: int,
        length_weight: float,
        length_interval: int,
        mixing: float,
        learning_rate: float,
        discriminator_learning_rate: float,
        beta1: float,
        beta2: float,
        adam_epsilon: float,
    ):
        mapping = Mapping(latent_size, style_size, mapping_layers)
        sizes = Sizes(image_shape, channel_base, channel_max, block_size)
        synthesis = Synthesis(sizes, style_size)
        self.generator = Generator(mapping, synthesis)
        self.discriminator = Discriminator(sizes, group_size)
        self.mean_length = torch.zeros(())
        self._latent_size, self._mixing = latent_size, mixing
        self._num_styles = 2 * len(synthesis.noise_shapes)
        self._gamma, self._penalty_interval = gamma, penalty_interval if gamma else 0
        self._length_weight = length_weight
        self._length_interval = length_interval if length_weight else 0

        def adam(rate: float, interval: int) -> Adam:
            share = interval / (interval + 1) if interval else 1.0
            return Adam(rate * share, (beta1**share, beta2**share), adam_epsilon)

        rate = discriminator_learning_rate or learning_rate
        self.adam = {
            "generator": adam(learning_rate, self._length_interval),
            "discriminator": adam(rate, self._penalty_interval),
        }

    def turns(self) -> Sequence[Turn]:
        turns = [Turn("generator", self.generator_loss, self.noise)]
        if every := self._length_interval:
            turns.append(Turn("generator", self.length_loss, self.noise_of_half, every, True))
        turns.append(Turn("discriminator", self.discriminator_loss, self.noise))
        if every := self._penalty_interval:
            turns.append(Turn("discriminator", self.penalty_loss, lambda batch: {}, every, True))
        return turns

    def noise(self, batch: Batch) -> Batch:
        return self._drawn(len(batch["images"]), batch["images"].device)

    def noise_of_half(self, batch: Batch) -> Batch:
        """The numbers of half a batch of images, and directions of their shape."""
        images = batch["images"][::2]
        return self._drawn(len(images), images.device) | {"directions": torch.randn_like(images)}

    def _drawn(self, count: int, device: torch.device) -> dict[str, Any]:
        """Latents [count, n]; with mixing others and the first layer of theirs [count]; pixels."""
        size, last = (count, self._latent_size), self._num_styles
        drawn: dict[str, Any] = {"latents": torch.randn(size, device=device)}
        if self._mixing:
            layers = torch.randint(1, last, (count,), device=device)
            is_mixed = torch.rand(count, device=device) < self._mixing
            drawn["cutoffs"] = torch.where(is_mixed, layers, last)
            drawn["second"] = torch.randn(size, device=device)
        # The smallest size has one layer, all others two.
        _, *shapes = [shape for shape in self.generator.synthesis.noise_shapes for _ in range(2)]
        drawn["pixels"] = [torch.randn(count, 1, *shape, device=device) for shape in shapes]
        return drawn

    def generator_loss(self, batch: Batch) -> Tensor:
        fake = self.generator(self._styles(batch), batch["pixels"])
        return softplus_mean(-self.discriminator(fake))

    def length_loss(self, batch: Batch) -> Tensor:
        """The path length penalty: a step of a style should change images by the same size."""
        styles = self._styles(batch)
        images = self.generator(styles, batch["pixels"])
        moved = (images * batch["directions"]).sum() / math.sqrt(math.prod(images.shape[2:]))
        (slopes,) = torch.autograd.grad(moved, styles, create_graph=True)
        squares = slopes.square().sum(dim=2).mean(dim=1)
        lengths = squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
        # Gradients go through the running mean of lengths too.
        mean = torch.lerp(self.mean_length.to(lengths), lengths.mean(), LENGTH_SHARE)
        self.mean_length = mean.detach()
        weight = self._length_interval * self._length_weight
        return weight * (lengths - mean).square().mean()

    def discriminator_loss(self, batch: Batch) -> Tensor:
        real = batch["images"]
        with torch.no_grad():
            fake = self.generator(self._styles(batch), batch["pixels"])
        logits = self.discriminator(torch.cat([real, fake]), parts=2)
        real_logits, fake_logits = logits.chunk(2)
        return softplus_mean(-real_logits) + softplus_mean(fake_logits)

    def penalty_loss(self, batch: Batch) -> Tensor:
        """The gradient penalty at real images (R1)."""
        real = batch["images"].detach().requires_grad_(True)
        (slopes,) = torch.autograd.grad(self.discriminator(real).sum(), real, create_graph=True)
        penalty = slopes.square().sum(dim=(1, 2, 3)).mean()
        return self._penalty_interval * self._gamma / 2 * penalty

    def _styles(self, batch: Batch) -> Tensor:
        """A style for each layer [batch, num_styles, style_size], mixed of two."""
        mapping, count = self.generator.mapping, len(batch["latents"])
        if not self._mixing:
            styles = mapping(batch["latents"])
            mapping.move_mean(styles)
            return styles[:, None].expand(-1, self._num_styles, -1)
        # Both are mapped in one pass.
        styles, second = mapping(torch.cat([batch["latents"], batch["second"]])).split(count)
        mapping.move_mean(styles)
        layers = torch.arange(self._num_styles, device=styles.device)
        is_second = layers >= batch["cutoffs"][:, None]
        return torch.where(is_second[..., None], second[:, None], styles[:, None])
