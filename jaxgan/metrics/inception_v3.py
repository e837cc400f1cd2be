"""The Inception-V3 that published FIDs are computed with: its features and its classes. Pure.

It is the network of 2015 that came with TensorFlow, which Heusel et al. 2017 (arXiv 1706.08500)
took for the FID: the architecture of Szegedy et al. 2015 (arXiv 1512.00567) with 1008 classes. Its
average pooling does not count the padding, and its last block takes the maximum where the blocks
before take the average. No weights ship with the package. `variables_of` takes them from the state
dict of pytorch-fid's file.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.metrics.scoring import Embedding, score

PyTree = Any
# How images are brought to the network's size.
Resize = Literal["bilinear", "antialiased"]
SIZE = 299
NUM_FEATURES = 2048
NUM_CLASSES = 1008
# Of the network's batch normalisations.
_EPSILON = 1e-3
# The parts of a batch normalisation in a state dict.
_NORM = ("weight", "bias", "running_mean", "running_var")
# What a state dict may have besides: a counter of training, and the bias that `InceptionV3` lacks.
_UNUSED = (".num_batches_tracked", "fc.bias")


class InceptionV3(nn.Module):
    """Computes 2048 features of images and their logits in 1008 classes.

    The submodules have the names of the state dict. The batch normalisation behind each convolution
    is folded into the kernel and the bias of the convolution. The logits have no bias, as in the
    inception scores of Salimans et al. 2016 (arXiv 1606.03498).
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Computes the features of images and their logits.

        Args:
            x: float32 [batch, 299, 299, 3], pixels in [-1, 1] (`as_inputs`).

        Returns:
            (features float32 [batch, 2048] at least 0, logits float32 [batch, 1008]).
        """
        x = _conv(x, "Conv2d_1a_3x3", 32, (3, 3), stride=2)
        x = _conv(x, "Conv2d_2a_3x3", 32, (3, 3), padding="VALID")
        x = _halved(_conv(x, "Conv2d_2b_3x3", 64, (3, 3)))
        x = _conv(x, "Conv2d_3b_1x1", 80)
        x = _halved(_conv(x, "Conv2d_4a_3x3", 192, (3, 3), padding="VALID"))
        x = BlockA(32, name="Mixed_5b")(x)
        x = BlockA(64, name="Mixed_5c")(x)
        x = BlockA(64, name="Mixed_5d")(x)
        x = BlockB(name="Mixed_6a")(x)
        x = BlockC(128, name="Mixed_6b")(x)
        x = BlockC(160, name="Mixed_6c")(x)
        x = BlockC(160, name="Mixed_6d")(x)
        x = BlockC(192, name="Mixed_6e")(x)
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(average_pool, name="Mixed_7b")(x)
        x = BlockE(max_pool, name="Mixed_7c")(x)
        features = x.mean(axis=(1, 2))
        return features, nn.Dense(NUM_CLASSES, use_bias=False, name="fc")(features)


class BlockA(nn.Module):
    """[batch, h, w, c] -> [batch, h, w, 224 + pool_width]: windows of 1, 5, and 3 and 3 pixels."""

    pool_width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _joined(
            _conv(x, "branch1x1", 64),
            _chain(x, "branch5x5", (48, (1, 1)), (64, (5, 5))),
            _chain(x, "branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
            _conv(average_pool(x), "branch_pool", self.pool_width),
        )


class BlockB(nn.Module):
    """[batch, 2h + 1, 2w + 1, c] -> [batch, h, w, 480 + c]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        double = _chain(x, "branch3x3dbl", (64, (1, 1)), (96, (3, 3)))
        return _joined(
            _conv(x, "branch3x3", 384, (3, 3), stride=2),
            _conv(double, "branch3x3dbl_3", 96, (3, 3), stride=2),
            _halved(x),
        )


class BlockC(nn.Module):
    """[batch, h, w, c] -> [batch, h, w, 768]: windows of 7 pixels as rows and columns."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        point, row, column = ((self.width, kernel) for kernel in ((1, 1), (1, 7), (7, 1)))
        return _joined(
            _conv(x, "branch1x1", 192),
            _chain(x, "branch7x7", point, row, (192, (7, 1))),
            _chain(x, "branch7x7dbl", point, column, row, column, (192, (1, 7))),
            _conv(average_pool(x), "branch_pool", 192),
        )


class BlockD(nn.Module):
    """[batch, 2h + 1, 2w + 1, c] -> [batch, h, w, 512 + c]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        three = _chain(x, "branch3x3", (192, (1, 1)))
        seven = _chain(x, "branch7x7x3", (192, (1, 1)), (192, (1, 7)), (192, (7, 1)))
        return _joined(
            _conv(three, "branch3x3_2", 320, (3, 3), stride=2),
            _conv(seven, "branch7x7x3_4", 192, (3, 3), stride=2),
            _halved(x),
        )


class BlockE(nn.Module):
    """[batch, h, w, c] -> [batch, h, w, 2048]: rows and columns of 3 pixels side by side."""

    pool: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        three = _chain(x, "branch3x3", (384, (1, 1)))
        double = _chain(x, "branch3x3dbl", (448, (1, 1)), (384, (3, 3)))
        return _joined(
            _conv(x, "branch1x1", 320),
            _conv(three, "branch3x3_2a", 384, (1, 3)),
            _conv(three, "branch3x3_2b", 384, (3, 1)),
            _conv(double, "branch3x3dbl_3a", 384, (1, 3)),
            _conv(double, "branch3x3dbl_3b", 384, (3, 1)),
            _conv(self.pool(x), "branch_pool", 192),
        )


def average_pool(x: jax.Array) -> jax.Array:
    """The mean over windows of 3x3 pixels, at the edges of the pixels that there are.

    [batch, h, w, c] -> [batch, h, w, c].
    """
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def max_pool(x: jax.Array) -> jax.Array:
    """The maximum over windows of 3x3 pixels: [batch, h, w, c] -> [batch, h, w, c]."""
    return nn.max_pool(x, (3, 3), padding="SAME")


def resize(images: Any, how: Resize = "bilinear") -> Any:
    """Resizes images to 299x299 pixels.

    "bilinear" interpolates between the two nearest pixels of a row and of a column. It is that of
    pytorch-fid: pixels are squares (align_corners=False), and shrinking does not average, so it
    aliases. "antialiased" is Pillow's bicubic filter on floats, which widens when it shrinks, as
    Parmar et al. 2022 (arXiv 2104.11222, clean-fid) have it.

    Args:
        images: float32 [n, height, width, channels] in [0, 1], of NumPy or of JAX.
        how: "bilinear" or "antialiased".

    Returns:
        float32 [n, 299, 299, channels] in [0, 1], of NumPy or of JAX.
    """
    height, width = images.shape[1:3]
    if height == width == SIZE:
        return images
    library = images.__array_namespace__()
    # [299, n, width, channels], then [299, 299, n, channels]: its columns, then its rows.
    x = library.tensordot(_weights(height, how), images, axes=(1, 1))
    x = library.tensordot(_weights(width, how), x, axes=(1, 2))
    # The bicubic filter overshoots, and the others do by rounding.
    return library.clip(library.permute_dims(x, (2, 1, 0, 3)), 0, 1)


def as_inputs(images: Any, how: Resize = "bilinear") -> Any:
    """What the network takes, of images in [0, 1].

    Args:
        images: float32 [n, height, width, 1 or 3] in [0, 1], of NumPy or of JAX. Grey is repeated.
        how: as in `resize`.

    Returns:
        float32 [n, 299, 299, 3]. Black is -1. White is 1, as pytorch-fid has it; for "antialiased"
        it is 127 / 128, as clean-fid has it.
    """
    x = resize(images, how)
    if x.shape[-1] == 1:
        x = x.repeat(3, axis=-1)
    return x * 2 - 1 if how == "bilinear" else (x * 255 - 128) / 128


def evaluator(
    variables: PyTree, how: Resize = "bilinear", devices: Sequence[jax.Device] | None = None
) -> Callable[[Any], Embedding]:
    """The network as a function for `scoring.embed`, in float32, jitted.

    Args:
        variables: what `InceptionV3` takes (`variables_of`).
        how: as in `resize`.
        devices: the devices that a batch is split over; None for JAX's first one.

    Returns:
        images float32 [n, height, width, 1 or 3] in [0, 1] -> `Embedding` of features [n, 2048]
        and probabilities [n, 1008]. n must be a multiple of the number of devices. It is compiled
        for each shape.
    """
    mesh = jax.sharding.Mesh(np.asarray(devices or jax.devices()[:1]), ("batch",))
    everywhere, split = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))
        for axes in ((), ("batch",))
    )
    variables = jax.device_put(variables, everywhere)

    @functools.partial(jax.jit, in_shardings=(everywhere, split), out_shardings=split)
    def look(variables: PyTree, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        # By default GPUs and TPUs round the operands of products.
        with jax.default_matmul_precision("highest"):
            outputs: Any = InceptionV3().apply(variables, as_inputs(images, how))
        features, logits = outputs
        return features, jax.nn.softmax(logits)

    return lambda images: Embedding(*look(variables, images))


def batch_size(devices: Sequence[jax.Device]) -> int:
    """How many images to give the network at a time: 32, or more to be a multiple of devices."""
    return -(-32 // len(devices)) * len(devices)


def scores(images: Embedding, reference: Embedding, *, seed: int = 0) -> dict[str, float]:
    """Scores images against a reference, both embedded by `evaluator`.

    Args:
        images: of the images to score, at least 10, in any order.
        reference: of the images to compare with, at least 6.
        seed: of the order of the images and of the draws in `scoring.score`.

    Returns:
        What `scoring.score` returns, without "modes" and "mode_kl": the classes are those of
        ImageNet, not of the images.

    Raises:
        ValueError: as `scoring.score`.
    """
    # The inception score needs a random order, and files are in the order of their names.
    order = np.random.default_rng(seed).permutation(len(images.features))
    images = Embedding(*(np.asarray(array)[order] for array in images))
    found = score(images, reference, seed=seed)
    return {name: value for name, value in found.items() if name not in ("modes", "mode_kl")}


def variables_of(state: Mapping[str, np.ndarray]) -> PyTree:
    """Converts the state dict of pytorch-fid's network to the variables of `InceptionV3`.

    Args:
        state: real arrays by name. A convolution "NAME" has the kernel "NAME.conv.weight" and the
            batch normalisation "NAME.bn.weight", ".bias", ".running_mean" and ".running_var".

    Returns:
        {"params": ...}, float32 NumPy arrays.

    Raises:
        ValueError: an array is missing, unknown, of another shape, or not of finite numbers.
    """
    state = {name: array for name, array in state.items() if not name.endswith(_UNUSED)}
    shapes: dict[str, tuple[int, ...]] = {}
    for (*path, leaf), shape in _shapes().items():
        name = ".".join(path)
        if leaf == "bias":
            shapes |= {f"{name}.bn.{part}": shape for part in _NORM}
        else:
            last = "weight" if name == "fc" else "conv.weight"
            shapes[f"{name}.{last}"] = (*shape[:-3:-1], *shape[:-2])
    _check(state, shapes)
    found: dict[tuple[str, ...], np.ndarray] = {}
    found["fc", "kernel"] = np.asarray(state["fc.weight"], np.float32).T
    for name in (kernel.removesuffix(".conv.weight") for kernel in shapes if ".conv." in kernel):
        scale, offset, mean, variance = (
            np.asarray(state[f"{name}.bn.{part}"], np.float64) for part in _NORM
        )
        if variance.min() < 0:
            raise ValueError(f"{name}.bn.running_var has numbers below 0, which no variance has")
        scale = scale / np.sqrt(variance + _EPSILON)
        kernel = np.asarray(state[f"{name}.conv.weight"], np.float64).transpose(2, 3, 1, 0)
        at = tuple(name.split("."))
        found[*at, "kernel"] = (kernel * scale).astype(np.float32)
        found[*at, "bias"] = (offset - mean * scale).astype(np.float32)
    return {"params": flax.traverse_util.unflatten_dict(found)}


def check_variables(variables: PyTree) -> None:
    """Checks that variables are of `InceptionV3`.

    Args:
        variables: nested dict of arrays.

    Raises:
        ValueError: an array is missing, unknown, of another shape, or not of finite numbers.
    """
    flat = flax.traverse_util.flatten_dict(variables, sep="/")
    _check(flat, {"/".join(("params", *path)): shape for path, shape in _shapes().items()})


def _check(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"there is no {name}, of the shape {shape}")
        if np.shape(arrays[name]) != shape:
            raise ValueError(f"{name} has the shape {np.shape(arrays[name])}, not {shape}")
    for name, array in arrays.items():
        if name not in shapes:
            raise ValueError(f"there is {name[:100]!r}, which the network has not")
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite floats")


@functools.cache
def _shapes() -> dict[tuple[str, ...], tuple[int, ...]]:
    """The shape of each of the network's variables, by its path below "params"."""
    images = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    variables = jax.eval_shape(InceptionV3().init, jax.random.key(0), images)
    flat = flax.traverse_util.flatten_dict(variables["params"])
    return {path: leaf.shape for path, leaf in flat.items()}


@functools.lru_cache(maxsize=64)
def _weights(length: int, how: Resize) -> np.ndarray:
    """float32 [299, length]: the weight of each pixel of a side in each pixel of the new side."""
    if how not in get_args(Resize):
        raise ValueError(f"resize must be {' or '.join(get_args(Resize))}, not {how!r}")
    pixels, centres = np.arange(length), (np.arange(SIZE)[:, None] + 0.5) * length / SIZE - 0.5
    if how == "bilinear":
        # Beyond the middle of the outermost pixel there is nothing to interpolate with.
        weights = np.maximum(1 - np.abs(np.clip(centres, 0, length - 1) - pixels), 0)
        return weights.astype(np.float32)
    weights = _cubic((pixels - centres) / max(length / SIZE, 1))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution with a = -1/2 (1981, 10.1109/TASSP.1981.1163711), equation 15."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _conv(
    x: jax.Array,
    name: str,
    width: int,
    kernel: tuple[int, int] = (1, 1),
    *,
    stride: int = 1,
    padding: str | None = None,
) -> jax.Array:
    padding = padding or ("SAME" if stride == 1 else "VALID")
    return nn.relu(nn.Conv(width, kernel, stride, padding, name=name)(x))


def _chain(x: jax.Array, name: str, *layers: tuple[int, tuple[int, int]]) -> jax.Array:
    """Convolutions one after the other, named NAME_1, NAME_2 and so on: (width, kernel) each."""
    for number, (width, kernel) in enumerate(layers, start=1):
        x = _conv(x, f"{name}_{number}", width, kernel)
    return x


def _joined(*branches: jax.Array) -> jax.Array:
    return jnp.concatenate(branches, axis=-1)


def _halved(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2))
