"""Arrays as text that a page can hold: weights rounded as far as nobody can see, deflated, base 85.

Two networks of the chapter's widths have 2.95 million weights. As float16 these are 5.9 MB, and
since ten of each one's bits are mantissa, noise to any compressor, still 5.05 MB deflated, before
they are text. So weights are rounded to multiples of a step instead, and what they need is
measured, not assumed: the steps are as coarse as the network's own output allows.
"""

import base64
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

PyTree = Any

# Weights to a standard deviation, of the largest layer: the coarsest and the finest tried.
_COARSEST, _FINEST = 32.0, 8192.0
_MOST_STEPS = 2**15 - 1


def round_weights(
    variables: PyTree, error: Callable[[PyTree], float], tolerance: float
) -> dict[str, tuple[np.ndarray, float]]:
    """Rounds the kernels of a network's layers to whole multiples of a step of each.

    A layer's step is a fraction of the standard deviation of its weights, the smaller the fewer
    they are: a layer of few weights is cheap to be exact about. The fraction is the first of a
    series, each finer by the square root of two, whose error is small enough.

    Args:
        variables: {"params": {layer: {"kernel": float [inputs, outputs], "bias": ...}}}.
        error: of rounded variables, how far the network's output is off.
        tolerance: the most that it may be.

    Returns:
        For each layer int32 [inputs, outputs], below 2**15 in size, and its step.

    Raises:
        ValueError: no step is small enough, as when a weight is no number.
    """
    kernels = {name: np.asarray(layer["kernel"]) for name, layer in variables["params"].items()}
    largest = max(kernel.size for kernel in kernels.values())
    fineness = _COARSEST
    while fineness <= _FINEST:
        rounded = {}
        for name, kernel in kernels.items():
            step = kernel.std() / (fineness * np.sqrt(largest / kernel.size))
            # float32, as the page reckons.
            step = np.float32(max(step, np.abs(kernel).max() / _MOST_STEPS)) or np.float32(1)
            with np.errstate(invalid="ignore"):
                rounded[name] = (np.rint(kernel / step).astype(np.int32), float(step))
        if error(restored(variables, rounded)) <= tolerance:
            return rounded
        fineness *= np.sqrt(2)
    raise ValueError(f"its weights cannot be rounded so that its output stays within {tolerance:g}")


def restored(variables: PyTree, rounded: Mapping[str, tuple[np.ndarray, float]]) -> PyTree:
    """The variables with the kernels that `round_weights` left of them, float32."""
    layers = {
        name: {**layer, "kernel": rounded[name][0] * np.float32(rounded[name][1])}
        for name, layer in variables["params"].items()
    }
    return {"params": layers}


class Pack:
    """Arrays in the order in which they are added; `networks.js` takes them apart again.

    - rounded integers below 2**15, each n in the zigzag form u (0, -1, 1, -2 ... -> 0, 1, 2, 3
      ...): the lowest four bits of all u, two to a byte, the first in the lower half; then the next
      eight bits of each, and the next four. Apart from each other, they deflate best.
    - nibbles, integers from 0 to 15, two to a byte in the same way.
    - uint8 and float32, as they are.

    All together are deflated (zlib) and written in base 85 as Python's `base64.b85encode` does,
    five characters for four bytes where base 64 has five and a third, with a comma for "<", which
    a page may not hold.
    """

    def __init__(self) -> None:
        self._index: list[dict[str, Any]] = []
        self._content: list[bytes] = []

    def add_rounded(self, name: str, values: np.ndarray, step: float) -> None:
        """Adds int32 of any shape, below 2**15 in size, which the page multiplies by the step."""
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
        """What JSON holds of it: the arrays, and how many bytes they are when deflated."""
        return {"arrays": self._index, "bytes": len(self._deflated())}

    def text(self) -> str:
        """The arrays, as text without line ends, "<", quotes or spaces."""
        deflated = self._deflated()
        padded = deflated + bytes(-len(deflated) % 4)
        return base64.b85encode(padded).decode().replace("<", ",")

    def _deflated(self) -> bytes:
        return zlib.compress(b"".join(self._content), 9)

    def _add(self, name: str, kind: str, shape: tuple[int, ...], content: bytes, **more) -> None:
        self._index.append({"name": name, "kind": kind, "shape": list(shape), **more})
        self._content.append(content)


def _in_pairs(nibbles: np.ndarray) -> np.ndarray:
    even = np.append(nibbles, np.zeros(len(nibbles) % 2, nibbles.dtype))
    return (even[0::2] | (even[1::2] << 4)).astype(np.uint8)
