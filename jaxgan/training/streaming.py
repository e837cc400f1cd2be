"""Images that stay on the host: a thread gathers those of the coming call while devices compute.

Loaders such as Grain or tf.data choose an order, decode and batch in processes of their own. Here
the order is known (`examples.rows_of_epoch`), the images are decoded already and lie in a file that
is mapped into memory, and each process needs its own devices' part alone. `np.take` in one thread
is all that is left to do, so a loader would be more code than this file.
"""

import mmap
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np

# The most bytes of images that a call takes in a process, unless two steps take more. The host has
# those of two calls at a time, and the devices those of one.
CALL_BYTES = 1 << 27


class GatheringError(Exception):
    """The images of a call could not be gathered. The message is one line that says why."""


def lengths(steps: int, bytes_of_step: int) -> tuple[int, ...]:
    """Cuts a call into shorter ones, none of whose images are more than `CALL_BYTES`.

    A call of one step is compiled in another way (`loop.compile_epoch`), so none is made of a
    longer one. Calls are of one length if they can be: each length is compiled by itself.

    Args:
        steps: the steps of the call.
        bytes_of_step: the bytes of the images that this process gathers for a step.

    Returns:
        The steps of each shorter call, in order; of two or three of them if two steps are too many
        bytes already.
    """
    fewest = -(-steps * bytes_of_step // CALL_BYTES)
    most = max(1, steps // 2)
    fewest = min(max(1, fewest), most)
    counts = range(fewest, min(2 * fewest, most) + 1)
    count = next((count for count in counts if steps % count == 0), fewest)
    short, longer = divmod(steps, count)
    return (short + 1,) * longer + (short,) * (count - longer)


class Stream:
    """The thread that gathers, and the arrays that it gathers from. Use it in a `with` block.

    Attributes:
        arrays: the arrays by name, [N, ...], in memory or mapped into it; {} for nothing to gather.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        self.arrays = arrays
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="images")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def gather(self, rows: np.ndarray, first: int, steps: int) -> Future[dict[str, np.ndarray]]:
        """Has what some steps take gathered.

        Args:
            rows: of the epoch, the part of `loop.Program.order` that each of this process's devices
                has, int32 [local devices, ...]. They are NumPy's: the thread calls nothing of JAX.
            first: the first of the steps, counted from the beginning of the epoch.
            steps: how many steps there are.

        Returns:
            By name, arrays [local devices, n, ...], or for a stack of seeds [local devices, seeds,
            n, ...], in which the rows of the steps follow each other. Its `result` raises a
            `GatheringError` if the arrays cannot be read.
        """
        return self._pool.submit(self._gather, rows, first, steps)

    def _gather(self, rows: np.ndarray, first: int, steps: int) -> dict[str, np.ndarray]:
        own = rows[..., first : first + steps, :, :].reshape(*rows.shape[:-3], -1)
        try:
            gathered = {name: np.take(array, own, axis=0) for name, array in self.arrays.items()}
            for array in self.arrays.values():
                _unmap(array)
            return gathered
        except Exception as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise GatheringError(f"the images could not be read: {why}") from error


def _unmap(array: np.ndarray) -> None:
    """Takes what was read of a mapped file out of this process's memory.

    The system keeps it in its cache of files as long as it has room. Otherwise the process grows to
    the size of the file.
    """
    is_read_only = False
    base: Any = array
    while isinstance(base, np.ndarray):
        is_read_only = is_read_only or (isinstance(base, np.memmap) and base.mode == "r")
        base = base.base
    # Of a private, writable mapping this would throw away what was written.
    if is_read_only and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
