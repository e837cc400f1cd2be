"""`load`: a data set by its name, from the package, a folder, a .zip or TensorFlow Datasets."""

import os
import shlex
from pathlib import Path

from PIL import Image

from jaxgan.data.dataset import Dataset
from jaxgan.data.embedded import EMBEDDED_SETS, read_embedded
from jaxgan.data.fitting import Crop, checked_shape, gather, parse_crop
from jaxgan.data.folders import load_folder
from jaxgan.data.names import check_known, is_path, parse_name
from jaxgan.data.preparing import prepare
from jaxgan.data.stacked import STACKED, read_stacked
from jaxgan.data.tfds import check_installed, find_prepared, read_prepared


def load(
    name: str | Path = "mnist",
    *,
    split: str = "train",
    image_shape: tuple[int, int, int] | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    feature: str | None = None,
    crop: str = "centre",
    skip_unusable: bool = False,
) -> Dataset:
    """Loads a split of an image data set and brings its images to one shape.

    Images of another shape are cropped about their centre to the wanted proportions, then resized:
    shrunk by averaging areas, or enlarged bicubically. Colour becomes grey by its luminance (ITU-R
    BT.601); grey becomes colour by repeating it. The data set's `notes` list these changes.

    The images of a folder or a .zip are prepared once, in a cache from which they are mapped into
    memory. Pictures of any format of `pictures.FORMATS` are read as `pictures.read_picture` reads
    one. Sub-folders are classes of the attribute "label". A file attributes.csv (a first column of
    file names, a column for each attribute), a dataset.json as StyleGAN's tools write it, or
    list_attr_celeba.txt of CelebA gives attributes in their place. The last one may also lie beside
    the folder.

    Args:
        name: the data set. 'mnist' and 'toon_faces' (64x64 in colour, with attributes) ship with
            the package and need neither the network nor TensorFlow, and so does 'stacked_mnist'
            (28x28x3, a digit a channel: the attributes "red", "green" and "blue"). A path is a
            folder or a .zip of images: './faces', '~/faces', 'faces.zip', or any path with a '/'
            that is there. Any other name is a name of TensorFlow Datasets, such as
            'fashion_mnist', 'celeb_a', 'emnist/letters' or 'cifar10:3.0.2'.
        split: 'train' or 'test'. A set of TensorFlow Datasets may have other splits, and slices of
            splits, such as 'train[:1000]'. All images of a folder are its split 'train', unless it
            has a sub-folder of this name: then its sub-folders train, test and val are its splits,
            and 'test' is val where there is no test.
        image_shape: height, width and channels (1 or 3) wanted; None for the set's own shape,
            which all its images must have.
        data_dir: the folder in which TensorFlow Datasets keeps its sets, or in which the prepared
            images of a folder are kept; None for the default of each.
        download: whether to download and prepare a set of TensorFlow Datasets that is not there.
            If False, the network is not used.
        feature: the feature of TensorFlow Datasets that is the image, in a set with several images
            an example; None for the main one: the first image among the features for supervised
            learning, the feature "image" and all others, in this order. Of a folder 'inputs' or
            'targets', its sub-folders of these names, whose files have the same names; or 'left' or
            'right', the half of each picture.
        crop: 'centre' for the crop above; 'none' for images that are resized as a whole, and
            distorted if they have other proportions; or 'X,Y,W,H', the left, top, width and height
            in pixels of a box that is cut out of each image first.
        skip_unusable: whether to leave out what cannot be used of a folder: damaged pictures,
            pictures without attributes, attributes without a picture, inputs without a target. If
            False, these are an error.

    Returns:
        The images and their attributes, in the order in which the set is stored; of a folder in the
        order of the paths.

    Raises:
        ValueError: an unknown name, split or feature, an impossible shape, a set without 8-bit
            images or with a damaged file, or an image without the box of the crop.
        FileNotFoundError: the set, or a file of it, is missing. For a set of TensorFlow Datasets
            the message says how to download it.
        ConnectionError: a host that the set is downloaded from cannot be reached.
        OSError: the set could not be prepared.
        ImportError: TensorFlow Datasets is not installed, or TensorFlow is not and the set needs it
            to be prepared or read.
    """
    if image_shape is not None:
        image_shape = checked_shape(image_shape)
    box = parse_crop(crop)
    name = name if isinstance(name, str) else os.path.join(".", name)
    if is_path(name):
        return load_folder(
            name,
            split=split,
            image_shape=image_shape,
            crop=box,
            data_dir=data_dir,
            feature=feature,
            skip_unusable=skip_unusable,
        )
    if name not in (*EMBEDDED_SETS, STACKED):
        return _load_tfds(name, split, image_shape, data_dir, download, feature, box)
    if feature is not None:
        raise ValueError(f"{name} has a single image in an example: no feature {feature!r}")
    images, attributes = read_stacked(split) if name == STACKED else read_embedded(name, split)
    if image_shape in (None, images.shape[1:]) and isinstance(box, str):
        return Dataset(name, images, attributes, notes=())
    pictures = (
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in images
    )
    images, notes = gather(name, pictures, len(images), image_shape, box)
    return Dataset(name, images, attributes, notes)


def _load_tfds(
    name: str,
    split: str,
    image_shape: tuple[int, int, int] | None,
    data_dir: str | Path | None,
    download: bool,
    feature: str | None,
    crop: Crop,
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
    return read_prepared(builder, name, split, image_shape, feature, fetch, crop)
