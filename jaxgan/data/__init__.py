"""Image data sets as NumPy arrays: some out of the package, any other one by its TFDS name.

MNIST (LeCun et al., 1998) and toon faces (Melin) ship in `jaxgan/embedded/`. Each file is an
ordinary .xz file of the pixels of all images, one byte each, row by row, image after image, and
then of the class of each of an image's attributes, one byte each, again image after image. Of
MNIST that is what the original IDX files hold, without their headers. To pack one anew:

    lzma.compress(
        images.tobytes() + codes.tobytes(),
        filters=[{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME,
                  "lc": 4, "lp": 0, "pb": 0}],
    )

and put its size and SHA-256 into `_EMBEDDED_SETS`. `jaxgan/embedded/NOTICE` has the licences.
"""

import contextlib
import dataclasses
import difflib
import hashlib
import importlib.util
import io
import lzma
import math
import os
import queue
import re
import shlex
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

_EMBEDDED = Path(__file__).parents[1] / "embedded"
# What a single integer label is called among the attributes.
LABEL = "label"
# Of those that are there or not, as TensorFlow Datasets' celeb_a has them.
_YES_OR_NO = ("no", "yes")

# Seconds for a host to take a connection, and for the whole question whether it is there, which
# also covers a name server that does not answer.
_CONNECT_SECONDS = 4
_REACH_SECONDS = 10

# What TensorFlow decodes too. Pillow has others, of which PostScript is a program to be run.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP")

_NAME = re.compile(r"(?P<name>\w+)(/(?P<config>[\w.\-+]+))?(:(?P<version>[\w.*]+))?")


class Attribute(NamedTuple):
    """What is known of every image of a set: its digit, the colour of its hair ...

    Attributes:
        classes: the names of what it can be.
        codes: int32 [n], which of them each image is.
    """

    classes: tuple[str, ...]
    codes: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled images, all of one shape, in memory.

    Attributes:
        name: what `load` was asked for.
        images: uint8 [n, height, width, channels] in [0, 255], 1 or 3 channels.
        attributes: by name; a set's single label is "label". {} if the set has none.
        notes: what was done to the images on the way, one sentence each; () if nothing.
        inputs: what the images are to be made of, for a translation: uint8 [n, height, width,
            1 or 3]; None if there is nothing such.
    """

    name: str
    images: np.ndarray
    attributes: Mapping[str, Attribute]
    notes: tuple[str, ...]
    inputs: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """int32 [n]: the codes of the attribute "label"; zeros if there is none."""
        if LABEL in self.attributes:
            return self.attributes[LABEL].codes
        return np.zeros(len(self.images), np.int32)

    def codes(self, names: Sequence[str]) -> np.ndarray:
        """The codes of some attributes beside each other, int32 [n, len(names)].

        Raises:
            ValueError: there is no such attribute; the message has those that there are.
        """
        for name in names:
            if name not in self.attributes:
                known = ", ".join(self.attributes) or "none"
                raise ValueError(
                    f"{self.name} has no attribute {name!r}{_near(name, self.attributes)} "
                    f"(it has {known})"
                )
        return np.stack([self.attributes[name].codes for name in names], axis=1)


@dataclasses.dataclass(frozen=True)
class _Packed:
    """A file of `jaxgan/embedded/`: what it holds, and what it must be to be whole."""

    file: str
    images: int
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class _EmbeddedSet:
    """A set that ships: the shape of its images, their attributes, and where each split is."""

    image_shape: tuple[int, int, int]
    classes: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, tuple[_Packed, slice]]


_TOON_FACES = _Packed(
    file="toon_faces.xz",
    images=20_000,
    size=1_226_420,
    sha256="255664dad1b024f9aedccc61c6086ba8a4e56b7ba7fca7aa2689ee817cb6ced7",
)
_ALL = slice(None)
_EMBEDDED_SETS = {
    "mnist": _EmbeddedSet(
        image_shape=(28, 28, 1),
        classes={LABEL: tuple("0123456789")},
        splits={
            "train": (
                _Packed(
                    file="mnist-train.xz",
                    images=60_000,
                    size=7_831_836,
                    sha256="5c3510bfb700e8cfc005c7274ab379d486f0ad0535846378cbe6d35102769c19",
                ),
                _ALL,
            ),
            "test": (
                _Packed(
                    file="mnist-test.xz",
                    images=10_000,
                    size=1_354_940,
                    sha256="3845359146c3b66aafb92e0202571226f441093268949efecd81998eac875159",
                ),
                _ALL,
            ),
        },
    ),
    # Johan Melin's "ToonHead", its parts put together at random.
    "toon_faces": _EmbeddedSet(
        image_shape=(64, 64, 3),
        classes={
            "hair_colour": ("black", "brown", "auburn", "blond", "grey", "white"),
            "hair": ("bun", "sideComed", "spiky", "undercut"),
            "rear_hair": ("none", "longStraight", "longWavy", "neckHigh", "shoulderHigh"),
            "beard": (
                *("none", "chin", "chinMoustache", "fullBeard", "longBeard", "moustacheTwirl"),
            ),
            "skin": tuple("01234"),  # light to dark
            "eyes": ("bow", "happy", "humble", "wide", "wink"),
            "mouth": ("agape", "angry", "laugh", "sad", "smile"),
            "eyebrows": ("angry", "happy", "neutral", "raised", "sad"),
            "clothes": ("dress", "openJacket", "shirt", "tShirt", "turtleNeck"),
            "clothes_colour": tuple("0123456789"),
        },
        splits={
            "train": (_TOON_FACES, slice(18_000)),
            "test": (_TOON_FACES, slice(18_000, None)),
        },
    ),
}
EMBEDDED_SETS = tuple(_EMBEDDED_SETS)


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

    Images of another shape are cropped about their centre to the wanted proportions and resized:
    averaged over areas to shrink, bicubically to grow. Colour becomes grey by its luminance (ITU-R
    601), grey becomes colour by repeating it. `notes` says which of it was done.

    Args:
        name: 'mnist' or 'toon_faces' (64x64 in colour, with attributes), which come with the
            package and need neither network nor TensorFlow; or a name of TensorFlow Datasets:
            'fashion_mnist', 'celeb_a', 'emnist/letters', 'cifar10:3.0.2' ...
        split: 'train', 'test' or, of TensorFlow Datasets, any split or slice of one that it knows.
        image_shape: height, width and channels (1 or 3) wanted; None for the set's own, if all its
            images have the same.
        data_dir: where TensorFlow Datasets keeps its data; None for its own choice.
        download: download and prepare the set if it is not there. Without it, no network is used.
        feature: which of the images of an example, by its name in TensorFlow Datasets, where it has
            several; None for the one that it is about.

    Returns:
        The images and their attributes, in the order in which the set is stored.

    Raises:
        ValueError: an unknown name or split, a shape that cannot be, a set without images, or an
            embedded file that is damaged.
        FileNotFoundError: the set is not there, or not all of it; the message has the command that
            downloads it.
        ConnectionError: a host that the set is to be downloaded from cannot be reached.
        OSError: the set could not be prepared.
        ImportError: TensorFlow Datasets, or the TensorFlow that preparing a set needs, is not
            installed.
    """
    if image_shape is not None:
        image_shape = _checked_shape(image_shape)
    if name not in _EMBEDDED_SETS:
        return _load_tfds(name, split, image_shape, data_dir, download, feature)
    if feature is not None:
        raise ValueError(f"{name} has a single image in an example: no feature {feature!r}")
    images, attributes = _read_embedded(name, split)
    if image_shape in (None, images.shape[1:]):
        return Dataset(name, images, attributes, notes=())
    pictures = (
        Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image) for image in images
    )
    images, notes = _gather(name, pictures, len(images), image_shape)
    return Dataset(name, images, attributes, notes)


def _checked_shape(image_shape: Iterable[int]) -> tuple[int, int, int]:
    shape = tuple(image_shape)
    if (
        len(shape) != 3
        or not all(isinstance(length, int | np.integer) for length in shape)
        or min(shape) < 1
        or shape[2] not in (1, 3)
    ):
        raise ValueError(
            "image_shape must be a positive height, a positive width and 1 or 3 channels, "
            f"not {shape}"
        )
    return tuple(map(int, shape))


# --- The embedded sets ---


def _read_embedded(name: str, split: str) -> tuple[np.ndarray, dict[str, Attribute]]:
    """Unpacks a split of an embedded set: uint8 images as they are stored, and their attributes."""
    its = _EMBEDDED_SETS[name]
    if split not in its.splits:
        raise ValueError(f"{name} has the splits 'train' and 'test', not {split!r}")
    packed, part = its.splits[split]
    path = _EMBEDDED / packed.file
    try:
        with open(path, "rb") as file:
            compressed = file.read(packed.size + 1)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: reinstall jaxgan") from None
    # Checked before unpacking, so that a damaged file cannot unpack to something huge.
    if len(compressed) != packed.size:
        is_size = f"only {len(compressed):,}" if len(compressed) < packed.size else "more"
        raise ValueError(
            f"{path} is damaged: it should have {packed.size:,} bytes and has {is_size}: "
            "reinstall jaxgan"
        )
    if hashlib.sha256(compressed).hexdigest() != packed.sha256:
        raise ValueError(f"{path} is damaged: its SHA-256 checksum is wrong: reinstall jaxgan")
    content = np.frombuffer(lzma.decompress(compressed), np.uint8)
    images, codes = np.split(content, [packed.images * math.prod(its.image_shape)])
    # A copy, so that the images can be written to, as those of any other set can.
    images = images.reshape(-1, *its.image_shape)[part].copy()
    codes = codes.reshape(-1, len(its.classes))[part].astype(np.int32)
    attributes = {
        attribute: Attribute(classes, codes[:, i].copy())
        for i, (attribute, classes) in enumerate(its.classes.items())
    }
    return images, attributes


# --- Bringing images to one shape ---


def _gather(
    name: str,
    pictures: Iterable[Image.Image],
    count: int,
    image_shape: tuple[int, int, int] | None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Brings pictures to one shape, into an array that is laid out beforehand.

    Args:
        name: the set's name.
        pictures: of mode L, RGB or RGBA (whose alpha is dropped).
        count: how many there are, at least 1.
        image_shape: as in `load`.

    Returns:
        (uint8 [count, *image_shape], notes as a `Dataset` has).

    Raises:
        ValueError: `image_shape` is None and not all pictures have the same shape; or there are
            not `count` of them.
    """
    own_shape = image_shape is None
    images = None
    shapes, changes, read = {}, {}, 0
    for picture in pictures:
        shape = (picture.height, picture.width, len(picture.getbands()))
        shapes[shape] = None
        if own_shape and len(shapes) > 1:
            raise ValueError(
                f"the images of {name} are of various shapes, {' and '.join(map(_times, shapes))} "
                "among them: give the image_shape to bring them to"
            )
        if images is None:
            image_shape = image_shape or (picture.height, picture.width, min(shape[2], 3))
            images = np.empty((count, *image_shape), np.uint8)
        picture, done = fit(picture, image_shape)
        changes |= dict.fromkeys(done)
        images[read] = np.asarray(picture).reshape(image_shape)
        read += 1
    if read != count:
        raise ValueError(f"{name} should have {count:,} examples and has {read:,}")
    if not changes:
        return images, ()
    had = _times(next(iter(shapes))) if len(shapes) == 1 else "of various shapes"
    note = f"{name}: {count:,} images {had} brought to {_times(image_shape)} ({', '.join(changes)})"
    return images, (note,)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def fit(
    picture: Image.Image, image_shape: tuple[int, int, int]
) -> tuple[Image.Image, tuple[str, ...]]:
    """Brings a picture of mode L, RGB or RGBA to a shape, as `load` says.

    Returns:
        (it, what was done to it, such as "centre-cropped": () if nothing).
    """
    height, width, channels = image_shape
    done = []
    if picture.mode == "RGBA":
        picture = picture.convert("RGB")
        done.append("alpha dropped")
    if picture.mode == "RGB" and channels == 1:
        # Pillow's L is the luminance of ITU-R 601: 0.299 red + 0.587 green + 0.114 blue.
        picture = picture.convert("L")
        done.append("grey by luminance")
    if picture.size != (width, height):
        box = _centre(picture.size, (width, height))
        if box != (0, 0, *picture.size):
            picture = picture.crop(box)
            done.append("centre-cropped")
        if picture.width > width or picture.height > height:
            picture = picture.resize((width, height), Image.Resampling.BOX)
            done.append("area-averaged")
        elif picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
            done.append("enlarged bicubically")
    if picture.mode == "L" and channels == 3:
        picture = picture.convert("RGB")
        done.append("grey repeated")
    return picture, tuple(done)


def _centre(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box of the wanted proportions amid a picture: left, top, right and bottom.

    In whole pixels, so that a mere crop stays sharp.
    """
    width, height = size
    scale = min(width / wanted[0], height / wanted[1])
    box_width = min(width, max(1, round(wanted[0] * scale)))
    box_height = min(height, max(1, round(wanted[1] * scale)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height


# --- TensorFlow Datasets ---


def _load_tfds(
    name: str,
    split: str,
    image_shape: tuple[int, int, int] | None,
    data_dir: str | Path | None,
    download: bool,
    feature: str | None,
) -> Dataset:
    """`load` for any set but the embedded one."""
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise ValueError(
            f"{name!r} is not the name of a data set: they look like 'mnist', 'fashion_mnist' "
            "or 'emnist/letters:3.1.0'"
        )
    if data_dir is not None:
        data_dir = os.path.expanduser(data_dir)
    fetch = f"python experiments/mnist_gan.py --dataset {shlex.quote(name)} --download"
    if data_dir is not None:
        fetch += f" --data-dir {shlex.quote(data_dir)}"
    tfds = _import_tfds(name)
    builder = _find_prepared(name, data_dir)
    if builder is None:
        _check_known(tfds, name, parts["name"], parts["config"])
        if not download:
            where = data_dir or "the default folder of TensorFlow Datasets"
            raise FileNotFoundError(f"{name} is not in {where}; to download it: {fetch}")
        folder = _prepare(tfds, name, data_dir, feature)
        builder = _find_prepared(name, data_dir)
        if builder is None:
            raise OSError(
                f"{folder} is there but holds no prepared {name}: remove it, then {fetch}"
            )
    image_key, features = _image_and_attributes(tfds, name, builder.info, feature)
    try:
        info = builder.info.splits[split]
    except (KeyError, ValueError, AssertionError):
        names = ", ".join(map(repr, builder.info.splits))
        raise ValueError(f"{name} has the splits {names}, not {split!r}") from None
    if not info.num_examples:
        raise ValueError(f"the split {split!r} of {name} is empty")
    remedy = f"remove {builder.data_dir}, then {fetch}"
    for part in info.file_instructions:
        if not os.path.exists(part.filename):
            raise FileNotFoundError(f"{name} is incomplete, {part.filename} is missing: {remedy}")
    codes = np.zeros((info.num_examples, len(features)), np.int32)
    paths = [feature.path for feature in features.values()]
    pictures = _pictures(tfds, builder, name, split, image_key, paths, codes, remedy)
    images, notes = _gather(name, pictures, info.num_examples, image_shape)
    attributes = {
        attribute: Attribute(feature.classes, codes[:, i].copy())
        for i, (attribute, feature) in enumerate(features.items())
    }
    return Dataset(name, images, attributes, notes)


def _import_tfds(name: str) -> ModuleType:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"{name} is a set of TensorFlow Datasets, which is not installed ({_line(error)}): "
            'pip install "jaxgan[tfds]" (mnist and toon_faces need nothing)'
        ) from error
    return tfds


def _import_tensorflow(purpose: str) -> None:
    """Imports TensorFlow, for TensorFlow Datasets to use, and keeps it off the GPUs."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f'{purpose} needs TensorFlow ({_line(error)}): pip install "jaxgan[tfds]"'
        ) from error
    # It would take all of the GPUs' memory, which JAX is to have. RuntimeError: somebody uses it
    # already, and then it is too late and theirs to decide.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def _line(error: BaseException) -> str:
    """The first line of what an error says, or its kind if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _find_prepared(name: str, data_dir: str | None) -> Any:
    """The builder of a set that is prepared on disk, in whatever format; None if it is not.

    From its files alone, since the code that made a set may need TensorFlow and may ask the
    network. A set that is being prepared, or was until somebody killed it, is in a folder that is
    not named as a version is, and so not found.
    """
    from tensorflow_datasets.core import read_only_builder, registered

    try:
        with _importing_no_features():
            return read_only_builder.builder_from_files(name, data_dir=data_dir)
    except registered.DatasetNotFoundError:
        return None
    except Exception as error:
        raise ValueError(f"{name} is there, but cannot be read: {_line(error)}") from error


@contextlib.contextmanager
def _importing_no_features() -> Iterator[None]:
    """Has the files of a set name the features of TensorFlow Datasets alone.

    It imports, and so runs, whatever module they name, and has no setting for it.
    """
    from tensorflow_datasets.core.features.feature import FeatureConnector

    original = FeatureConnector.cls_from_name

    def cls_from_name(class_name: str) -> type:
        if not class_name.startswith("tensorflow_datasets."):
            raise ValueError(f"{class_name[:100]!r} is no feature of TensorFlow Datasets")
        return original(class_name)

    FeatureConnector.cls_from_name = staticmethod(cls_from_name)
    try:
        yield
    finally:
        FeatureConnector.cls_from_name = original


def _check_known(tfds: ModuleType, name: str, dataset: str, config: str | None) -> None:
    """Raises a ValueError if TensorFlow Datasets does not know a set, or a set its configuration.

    Args:
        tfds: TensorFlow Datasets.
        name: all that `load` was asked for.
        dataset: the part of it that names the set.
        config: the part of it that names the configuration, or None.
    """
    # The community's sets are listed on the network.
    known = tfds.list_builders(with_community_datasets=False)
    if dataset not in known:
        raise ValueError(f"there is no data set {name!r}{_near(dataset, known)}")
    if config is None:
        return
    try:
        configs = list(tfds.builder_cls(dataset).builder_configs)
    except ImportError:
        return
    if config not in configs:
        near = _near(config, configs) or f": it has {', '.join(configs) or 'none'}"
        raise ValueError(f"{dataset} has no configuration {config!r}{near}")


def _near(word: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(word.lower(), known, n=3)
    return f": did you mean {' or '.join(matches)}?" if matches else ""


def _prepare(tfds: ModuleType, name: str, data_dir: str | None, feature: str | None) -> str:
    """Downloads and prepares a set; gives the folder that it is in."""
    # Only looked for, as importing it takes seconds: that comes when the network is known to live.
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(f'preparing {name} needs TensorFlow: pip install "jaxgan[tfds]"')
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        raise ValueError(f"TensorFlow Datasets cannot make {name}: {_line(error)}") from error
    _image_and_attributes(tfds, name, builder.info, feature)
    # Records in this format can be read without TensorFlow; it is not there for all systems.
    random_access = importlib.util.find_spec("array_record") is not None
    try:
        with _asking_hosts_first(tfds, name):
            builder.download_and_prepare(file_format="array_record" if random_access else None)
    except ConnectionError:
        raise
    except ImportError as error:
        raise ImportError(_line(error)) from error
    except Exception as error:
        raise OSError(
            f"{name} could not be prepared: {type(error).__name__}: {_line(error)}"
        ) from error
    return builder.data_dir


@contextlib.contextmanager
def _asking_hosts_first(tfds: ModuleType, name: str) -> Iterator[None]:
    """Has a download begin only once its host has taken a connection.

    TensorFlow Datasets retries a host that is not there for minutes, in threads that cannot be
    told to stop, and has no setting for it. `_download` is where it fetches a file that it does
    not have yet, at last knowing from where.
    """
    manager = tfds.download.DownloadManager
    original = manager._download
    reached = set()

    def download(self: Any, resource: Any) -> Any:
        host = urllib.parse.urlsplit(resource.url).netloc
        if host not in reached and resource.url.startswith(("http://", "https://")):
            _check_reachable(name, host, resource.url)
            reached.add(host)
        _import_tensorflow(f"preparing {name}")
        return original(self, resource)

    manager._download = download
    try:
        yield
    finally:
        manager._download = original


def _check_reachable(name: str, host: str, url: str) -> None:
    """Raises a ConnectionError in about ten seconds if a host takes no connection.

    Whatever it answers, and however slowly, is good enough.
    """
    # With this library, as TensorFlow Datasets downloads with it: it knows of the same proxies.
    import requests

    answer = queue.SimpleQueue()

    def ask() -> None:
        try:
            requests.get(url, stream=True, timeout=_CONNECT_SECONDS).close()
        except requests.ConnectionError as error:
            answer.put(error)
        except requests.RequestException:
            answer.put(None)
        else:
            answer.put(None)

    # A thread, since nothing else ends the wait for a name server; daemonic, so that the program
    # can end before it.
    threading.Thread(target=ask, daemon=True).start()
    try:
        error = answer.get(timeout=_REACH_SECONDS)
    except queue.Empty:
        error = TimeoutError(f"no answer in {_REACH_SECONDS} seconds")
    if error is not None:
        cause = error
        while cause.__context__ is not None:
            cause = cause.__context__
        raise ConnectionError(
            f"cannot download {name}: {host} cannot be reached ({_line(cause)}); "
            "check the network and try again"
        ) from error


class _Feature(NamedTuple):
    """An attribute as TensorFlow Datasets has it: where in a record, and what it can be."""

    path: tuple[str, ...]
    classes: tuple[str, ...]


def _image_and_attributes(
    tfds: ModuleType, name: str, info: Any, wanted: str | None
) -> tuple[str, dict[str, _Feature]]:
    """Which of a set's features holds the image, and which its attributes, by name.

    Attributes are labels of classes, and what is true or false of an image. The label that a model
    is meant to learn is "label", whatever the set calls it.
    """
    features = dict(info.features.items()) if hasattr(info.features, "items") else {}
    supervised = [key for key in info.supervised_keys or () if isinstance(key, str)]

    def is_image(key: str) -> bool:
        feature = features.get(key)
        return isinstance(feature, tfds.features.Image) and feature.np_dtype == np.uint8

    def classes(feature: Any) -> tuple[str, ...]:
        if isinstance(feature, tfds.features.ClassLabel):
            return tuple(feature.names)
        is_bool = isinstance(feature, tfds.features.Tensor) and feature.np_dtype == np.bool_
        return _YES_OR_NO if is_bool and feature.shape == () else ()

    image_key = next(filter(is_image, [*supervised, "image", *features]), None)
    if wanted is not None:
        if not is_image(wanted):
            images = ", ".join(filter(is_image, features)) or "none"
            raise ValueError(f"{name} has no images {wanted!r}: it has {images}")
        image_key = wanted
    if image_key is None:
        raise ValueError(f"{name} has no 8-bit images: its features are {', '.join(features)}")
    attributes = {}
    # Those that the set is for first.
    for key in dict.fromkeys([*supervised, *features]):
        feature = features.get(key)
        inner = feature.items() if isinstance(feature, tfds.features.FeaturesDict) else ()
        for path, each in (((key,), feature), *(((key, deeper), x) for deeper, x in inner)):
            if its_classes := classes(each):
                attribute = LABEL if path[0] in supervised and len(path) == 1 else path[-1]
                attributes.setdefault(attribute, _Feature(path, its_classes))
    return image_key, attributes


def _pictures(
    tfds: ModuleType,
    builder: Any,
    name: str,
    split: str,
    image_key: str,
    paths: Sequence[tuple[str, ...]],
    codes: np.ndarray,
    remedy: str,
) -> Iterator[Image.Image]:
    """Reads the pictures (of mode L, RGB or RGBA) of a prepared set in their order.

    What records have at these paths is put into `codes`, a row a picture.
    """
    # Decoded here, as TensorFlow Datasets' own decoder without TensorFlow takes a grey or palette
    # file in a set of colour images for what it is not.
    decoders = {image_key: tfds.decode.SkipDecoding()}
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(builder.info.features[image_key].shape[-1])
    try:
        try:
            records = _in_order(builder.as_data_source(split=split, decoders=decoders))
        except NotImplementedError:
            made_as = builder.info.file_format.value
            _import_tensorflow(f"reading {name}, which is prepared as {made_as},")
            records = builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator()
        for record, row in zip(records, codes, strict=False):
            row[:] = [_at(record, path) for path in paths]
            with Image.open(io.BytesIO(record[image_key]), formats=_FORMATS) as picture:
                own_mode = "L" if picture.mode in ("1", "L") else "RGB"
                yield picture.convert(mode or own_mode)
    except ImportError:
        raise
    # Each format has its own kind of error.
    except Exception as error:
        raise ValueError(f"{name} is damaged ({_line(error)}): {remedy}") from error


def _at(record: Mapping[str, Any], path: Sequence[str]) -> Any:
    for key in path:
        record = record[key]
    return record


def _in_order(source: Any, batch: int = 1024) -> Iterator[dict[str, Any]]:
    """The records of a random-access source; read together, as one by one takes twice the time."""
    for start in range(0, len(source), batch):
        yield from source.__getitems__(range(start, min(start + batch, len(source))))
