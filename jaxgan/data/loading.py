"""`load`: a data set by its name, from the package or from TensorFlow Datasets."""

import os
import shlex
from pathlib import Path

from PIL import Image

from jaxgan.data.dataset import Dataset
from jaxgan.data.embedded import EMBEDDED_SETS, read_embedded
from jaxgan.data.fitting import checked_shape, gather
from jaxgan.data.names import check_known, parse_name
from jaxgan.data.preparing import prepare
from jaxgan.data.tfds import check_installed, find_prepared, read_prepared


def load(
    name: str = "mnist",
    *,
    split: str = "train",
    image_shape: tuple[int, int, int] | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    feature: str | None = None,
) -> Dataset:
    """Loads a split of an image data set and brings its images to one shape.

    Images of another shape are cropped about their centre to the wanted proportions, then resized:
    shrunk by averaging areas, or enlarged bicubically. Colour becomes grey by its luminance (ITU-R
    BT.601); grey becomes colour by repeating it. The data set's `notes` list these changes.

    Args:
        name: the data set. 'mnist' and 'toon_faces' (64x64 in colour, with attributes) ship with
            the package and need neither the network nor TensorFlow. Any other name is a name of
            TensorFlow Datasets, such as 'fashion_mnist', 'celeb_a', 'emnist/letters' or
            'cifar10:3.0.2'.
        split: 'train' or 'test'. A set of TensorFlow Datasets may have other splits, and slices of
            splits, such as 'train[:1000]'.
        image_shape: height, width and channels (1 or 3) wanted; None for the set's own shape,
            which all its images must have.
        data_dir: the folder in which TensorFlow Datasets keeps its sets; None for its default.
        download: whether to download and prepare a set of TensorFlow Datasets that is not there.
            If False, the network is not used.
        feature: the feature of TensorFlow Datasets that is the image, in a set with several images
            an example; None for the main one: the first image among the features for supervised
            learning, the feature "image" and all others, in this order.

    Returns:
        The images and their attributes, in the order in which the set is stored.

    Raises:
        ValueError: an unknown name, split or feature, an impossible shape, a set without 8-bit
            images or with a damaged file.
        FileNotFoundError: the set, or a file of it, is missing. For a set of TensorFlow Datasets
            the message says how to download it.
        ConnectionError: a host that the set is downloaded from cannot be reached.
        OSError: the set could not be prepared.
        ImportError: TensorFlow Datasets is not installed, or TensorFlow is not and the set needs it
            to be prepared or read.
    """
    if image_shape is not None:
        image_shape = checked_shape(image_shape)
    if name not in EMBEDDED_SETS:
        return _load_tfds(name, split, image_shape, data_dir, download, feature)
    if feature is not None:
        raise ValueError(f"{name} has a single image in an example: no feature {feature!r}")
    images, attributes = read_embedded(name, split)
    if image_shape in (None, images.shape[1:]):
        return Dataset(name, images, attributes, notes=())
    pictures = (
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in images
    )
    images, notes = gather(name, pictures, len(images), image_shape)
    return Dataset(name, images, attributes, notes)


def _load_tfds(
    name: str,
    split: str,
    image_shape: tuple[int, int, int] | None,
    data_dir: str | Path | None,
    download: bool,
    feature: str | None,
) -> Dataset:
    """`load` for a set of TensorFlow Datasets; the arguments are those of `load`."""
    # A name of another form is refused before TensorFlow Datasets is imported.
    parse_name(name)
    flags = "--download"
    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)
        flags += f" --data-dir {shlex.quote(data_dir)}"
    # Not every script that reads a set can download it, but the script that trained can.
    fetch = f"the training command with {flags} (from Python: download=True) downloads {name}"
    check_installed(name)
    builder = find_prepared(name, data_dir)
    if builder is None:
        check_known(name)
        if not download:
            where = data_dir or "the default folder of TensorFlow Datasets"
            raise FileNotFoundError(f"{name} is not in {where}: {fetch}")
        folder = prepare(name, data_dir, feature)
        builder = find_prepared(name, data_dir)
        if builder is None:
            raise OSError(
                f"{folder} is there but holds no prepared {name}: remove it, then {fetch}"
            )
    return read_prepared(builder, name, split, image_shape, feature, fetch)
