"""Arrays as text in a page: weights rounded to multiples of a step, deflated, in base 85.

The two networks of the chapter have 2.95 million weights. As float16 these are 5.9 MB, and 5.05 MB
deflated: no compressor shortens the ten bits of a mantissa, which are noise. So weights are rounded
to multiples of a step. How coarse the steps may be is measured by the network's output.
"""

import base64
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

PyTree = Any

# How many steps of the largest layer make a standard deviation of its weights: the first and the
# last that are tried.
_COARSEST, _FINEST = 32.0, 8192.0
_MOST_STEPS = 2**15 - 1


def round_weights(
    variables: PyTree, error: Callable[[PyTree], float], tolerance: float
) -> dict[str, tuple[np.ndarray, float]]:
    """Rounds the kernel of each layer to whole multiples of a step of its own.

    A layer's step is a fraction of the standard deviation of its weights. The fraction is smaller
    for a layer of fewer weights, since such a layer costs few bytes. All steps are divided by the
    square root of two until the error is small enough.

    Args:
        variables: {"params": {layer: {"kernel": float of any shape, "bias": ...}}}.
        error: variables with rounded kernels -> the error of the network's output.
        tolerance: the largest error allowed.

    Returns:
        For each layer the multiples, int32 of the kernel's shape, below 2**15 in size, and the
        step.

    Raises:
        ValueError: no step that is tried is small enough, as when a weight is NaN.
    """
    kernels = {name: np.asarray(layer["kernel"]) for name, layer in variables["params"].items()}
    largest = max(kernel.size for kernel in kernels.values())
    fineness = _COARSEST
    while fineness <= _FINEST:
        rounded = {}
        for name, kernel in kernels.items():
            step = kernel.std() / (fineness * np.sqrt(largest / kernel.size))
            # In float32, as the page multiplies by it.
            step = np.float32(max(step, np.abs(kernel).max() / _MOST_STEPS)) or np.float32(1)
            with np.errstate(invalid="ignore"):
                rounded[name] = (np.rint(kernel / step).astype(np.int32), float(step))
        if error(restored(variables, rounded)) <= tolerance:
            return rounded
        fineness *= np.sqrt(2)
    raise ValueError(f"its weights cannot be rounded so that its output stays within {tolerance:g}")


def restored(variables: PyTree, rounded: Mapping[str, tuple[np.ndarray, float]]) -> PyTree:
    """The variables with their kernels replaced by the rounded ones of `round_weights`, float32."""
    layers = {
        name: {**layer, "kernel": rounded[name][0] * np.float32(rounded[name][1])}
        for name, layer in variables["params"].items()
    }
    return {"params": layers}


class Pack:
    """Arrays as bytes, in the order in which they are added; `networks.js` reads them.

    - Rounded integers n, below 2**15 in size, are written in the zigzag form u (n = 0, -1, 1, -2
      ... is u = 0, 1, 2, 3 ...): first the lowest four bits of all u, two u to a byte, the first u
      in the lower half; then the next eight bits of all u, a byte each; then the highest four bits
      of all u, a byte each. Separated like this, they deflate best.
    - Nibbles, integers from 0 to 15, are written two to a byte, the first in the lower half.
    - uint8 and float32 (little-endian) are written as they are.

    The bytes of all arrays are deflated together (zlib) and written in base 85 like Python's
    `base64.b85encode`, but with a comma for "<", which would end the element in the page. Base 85
    takes five characters for four bytes, base 64 five and a third.
    """

    def __init__(self) -> None:
        self._index: list[dict[str, Any]] = []
        self._content: list[bytes] = []

    def add_rounded(self, name: str, values: np.ndarray, step: float) -> None:
        """Adds int32 of any shape, below 2**15 in size. The page multiplies them by the step."""
        flat = values.ravel().astype(np.int32)
        zigzag = (flat << 1) ^ (flat >> 31)
        parts = (_in_pairs(zigzag & 15), (zigzag >> 4) & 255, zigzag >> 12)
        content = b"".join(part.astype(np.uint8).tobytes() for part in parts)
        self._add(name, "rounded", values.shape, content, step=step)

    def add_nibbles(self, name: str, values: np.ndarray) -> None:
        """Adds integers of any shape from 0 to 15."""
        self._add(name, "nibbles", values.shape, _in_pairs(values.ravel()).tobytes())

    def add(self, name: str, values: np.ndarray) -> None:
        """Adds uint8 or float32 of any shape."""
        self._add(name, values.dtype.name, values.shape, np.ascontiguousarray(values).tobytes())

    def index(self) -> dict[str, Any]:
        """What the page needs to read `text`, in types that JSON has.

        Returns:
            "arrays": for each its name, kind and shape, and its step if its integers are rounded;
            "bytes": how many there are when deflated.
        """
        return {"arrays": self._index, "bytes": len(self._deflated())}

    def text(self) -> str:
        """The arrays as ASCII text without line ends, "<", quotes or spaces."""
        deflated = self._deflated()
        padded = deflated + bytes(-len(deflated) % 4)
        return base64.b85encode(padded).decode().replace("<", ",")

    def _deflated(self) -> bytes:
        # Weights are noise, in which deflate finds short repetitions by chance. Z_FILTERED ignores
        # those of fewer than six bytes, which cost more than they save: a fortieth of the page.
        deflate = zlib.compressobj(9, strategy=zlib.Z_FILTERED)
        return deflate.compress(b"".join(self._content)) + deflate.flush()

    def _add(self, name: str, kind: str, shape: tuple[int, ...], content: bytes, **more) -> None:
        self._index.append({"name": name, "kind": kind, "shape": list(shape), **more})
        self._content.append(content)


def _in_pairs(nibbles: np.ndarray) -> np.ndarray:
    even = np.append(nibbles, np.zeros(len(nibbles) % 2, nibbles.dtype))
    return (even[0::2] | (even[1::2] << 4)).astype(np.uint8)
