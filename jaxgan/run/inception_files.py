"""The files of an FID: the Inception network's weights, folders of pictures, and statistics."""

import dataclasses
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from jaxgan import weights
from jaxgan.data.pictures import endings, read_picture
from jaxgan.files.reading import check_regular, open_regular
from jaxgan.files.writing import written_whole
from jaxgan.metrics.frechet import Moments
from jaxgan.metrics.inception_v3 import (
    NUM_FEATURES,
    Resize,
    batch_size,
    check_variables,
    evaluator,
    resize,
    variables_of,
)
from jaxgan.metrics.scoring import Embedding, embed, joined
from jaxgan.run import torch_files

PyTree = Any
# The largest file that is read. The network's weights have 96 MB, the statistics 34 MB.
_MOST_BYTES = 1 << 29
_MOST_HEADER_BYTES = 1024
# A picture may take a gigabyte while it is resized, so not many are read at once.
_MOST_READERS = 4
# Fewer images have no inception score of ten splits.
_LEAST = 10
_CONVERT = "python experiments/evaluate.py --inception FILE.pth --save-inception FILE.npz"


def read_weights(path: str | Path) -> PyTree:
    """Reads the weights of the FID's Inception-V3. Nothing in the file is run.

    Args:
        path: the file of pytorch-fid, such as pt_inception-2015-12-05-6726825d.pth, which wants
            PyTorch; or an .npz that `weights.write` made of it, which does not.

    Returns:
        What `inception_v3.InceptionV3` takes, {"params": ...}, float32 NumPy arrays.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: the file is not an .npz, and PyTorch is not installed.
        ValueError: the file holds something else or is damaged. The message is one line, which
            names the file.
    """
    path = Path(path)
    _check_size(path)
    try:
        if path.suffix == ".npz":
            variables = weights.read(path)
            check_variables(variables)
            return variables
        return variables_of(_state_dict(path))
    except ValueError as error:
        why = str(error).removeprefix(f"{path} is no file of weights: ")
        why = why.replace(f"{path} is no file", "it is no file", 1)
        raise ValueError(f"{path} is not the weights of FID's Inception-V3: {why}") from error


def read_statistics(path: str | Path) -> Moments:
    """Reads the statistics of features that `write_statistics` or pytorch-fid has written.

    Args:
        path: an .npz with the arrays mu [2048] and sigma [2048, 2048].

    Returns:
        float64 moments.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds something else or is damaged. The message is one line, which
            names the file.
    """
    path = Path(path)
    _check_size(path)
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            found = Moments(
                _read_member(archive, "mu", (NUM_FEATURES,)),
                _read_member(archive, "sigma", (NUM_FEATURES, NUM_FEATURES)),
            )
        if not np.allclose(found.covariance, found.covariance.T):
            raise ValueError("sigma is not symmetric")
    # zipfile raises many types of errors for damaged files.
    except Exception as error:
        raise ValueError(f"{path} holds no statistics mu and sigma: {_line(error)}") from error
    return found


def write_statistics(path: str | Path, statistics: Moments) -> None:
    """Writes the statistics of features as pytorch-fid does: mu and sigma, float64.

    Args:
        path: the .npz. An old file of this name is replaced.
        statistics: of the features.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
    """
    with written_whole(Path(path)) as beside:
        np.savez(beside, mu=statistics.mean, sigma=statistics.covariance)


def find_pictures(folder: str | Path) -> list[Path]:
    """The pictures in a folder and in the folders below it, in the order of their paths.

    They are the files whose names end as those of a format of `pictures.FORMATS`. Other files and
    hidden ones are passed over.

    Raises:
        ValueError: there is no such folder, or it has no pictures.
    """
    if not Path(folder).is_dir():
        raise ValueError(f"{folder} is no folder of pictures")
    of_pictures = endings()
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in of_pictures and not name.startswith(".")
    ]
    if not found:
        raise ValueError(f"{folder} has no pictures (.png, .jpg and so on)")
    return sorted(found)


def read_pictures(paths: Sequence[Path], how: Resize, size: int) -> Iterator[np.ndarray]:
    """Reads pictures of any size as batches for the network, one batch ahead of the caller.

    Args:
        paths: the files.
        how: as in `inception_v3.resize`.
        size: of a batch, 1 or more. The last batch may have fewer.

    Yields:
        float32 [size, 299, 299, 3] in [0, 1]. Grey is repeated.

    Raises:
        FileNotFoundError, ValueError: as `pictures.read_picture`.
    """

    def read(path: Path) -> np.ndarray:
        image = np.asarray(read_picture(path)[0], np.float32) / 255
        image = resize(image.reshape(1, *image.shape[:2], -1), how)[0]
        return np.broadcast_to(image, (*image.shape[:2], 3))

    with ThreadPoolExecutor(min(_MOST_READERS, os.cpu_count() or 1)) as pool:
        parts = [paths[start : start + size] for start in range(0, len(paths), size)]
        ahead = [pool.submit(read, path) for path in parts[0]] if parts else []
        for following in [*parts[1:], ()]:
            current, ahead = ahead, [pool.submit(read, path) for path in following]
            yield np.stack([each.result() for each in current])


@dataclasses.dataclass(frozen=True)
class Source:
    """Images to be embedded, some at a time.

    Attributes:
        name: where they are from, in words.
        count: how many there are.
        batches: a function of the batch size that gives the images in order, uint8 or float32 in
            [0, 1], [batch size or fewer, height, width, 1 or 3] each.
    """

    name: str
    count: int
    batches: Callable[[int], Iterator[np.ndarray]]

    @classmethod
    def of_array(cls, name: str, images: np.ndarray) -> Self:
        """Images that are in memory, [n, height, width, 1 or 3]."""
        return cls(
            name,
            len(images),
            lambda size: (images[i : i + size] for i in range(0, len(images), size)),
        )

    @classmethod
    def of_folder(cls, folder: str | Path, how: Resize) -> Self:
        """The pictures of a folder (`find_pictures`), resized as in `inception_v3.resize`.

        Raises:
            ValueError: there is no such folder, or it has fewer than 10 pictures, of which there is
                no inception score.
        """
        paths = find_pictures(folder)
        if len(paths) < _LEAST:
            raise ValueError(f"{folder} has {len(paths)} pictures: scores want {_LEAST} or more")
        return cls(f"pictures of {folder}", len(paths), partial(read_pictures, paths, how))


class Network:
    """The Inception network, applied to images batch by batch.

    Args:
        variables: from `read_weights`.
        how: as in `inception_v3.resize`.
        devices: the devices that a batch is split over.
    """

    def __init__(self, variables: PyTree, how: Resize, devices: Sequence[jax.Device]):
        self._evaluator = evaluator(variables, how, devices)
        self._batch_size = batch_size(devices)

    def embed(
        self, source: Source, seen: Callable[[int], object] = lambda count: None
    ) -> Embedding:
        """The features and probabilities of all images.

        Args:
            source: the images.
            seen: is called with the number of images of each batch that is done.

        Raises:
            ValueError, FileNotFoundError: as the source's batches, or as `scoring.embed`.
        """

        def parts() -> Iterator[Embedding]:
            for batch in source.batches(self._batch_size):
                yield embed(batch, self._evaluator, batch_size=self._batch_size)
                seen(len(batch))

        return joined(parts())


def _state_dict(path: Path) -> dict[str, np.ndarray]:
    try:
        state = torch_files.read(path)
    except ImportError as error:
        raise ImportError(
            f"{error}; or where PyTorch is, {_CONVERT} makes a file of it that wants none"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, not the arrays of a network")
    return state


def _read_member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A float64 array of a shape that is known, so that no claim of the file is allocated."""
    with archive.open(f"{name}.npy") as stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is not in NumPy's format 1.0")
        # The order of rows or of columns is no matter: sigma is symmetric.
        found, _, dtype = np.lib.format.read_array_header_1_0(
            stream, max_header_size=_MOST_HEADER_BYTES
        )
        if found != shape or dtype.kind != "f" or dtype.itemsize not in (4, 8):
            raise ValueError(f"{name} is {dtype} of the shape {found}, not float64 of {shape}")
        content = stream.read(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(content, dtype).reshape(shape)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has numbers that are NaN or infinite")
    return array.astype(np.float64)


def _check_size(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    if (size := check_regular(path).st_size) > _MOST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than any file that is wanted here")


def _line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
