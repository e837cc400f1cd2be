"""Data sets of TensorFlow Datasets that are prepared on disk: finding them and reading them.

TensorFlow Datasets is imported when the first set is read: it takes a second, and the sets that
ship do without it.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data.classes import YES_OR_NO
from jaxgan.data.dataset import LABEL, Attribute, Dataset
from jaxgan.data.embedded import EMBEDDED_SETS
from jaxgan.data.fitting import Crop, gather
from jaxgan.data.guards import importing_no_features
from jaxgan.data.pictures import PREPARED, decode

# Records read at once from a random-access source: one by one takes twice the time.
_RECORDS_AT_ONCE = 1024


def check_installed(name: str) -> None:
    """Imports TensorFlow Datasets.

    Args:
        name: the set that is asked for, for the message.

    Raises:
        ImportError: TensorFlow Datasets cannot be imported.
    """
    try:
        import tensorflow_datasets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{name} is a set of TensorFlow Datasets, which is not installed "
            f"({first_line(error)}): pip install tensorflow-datasets importlib_resources "
            f"({' and '.join(EMBEDDED_SETS)} need no installation)"
        ) from error


def import_tensorflow(purpose: str) -> None:
    """Imports TensorFlow, which TensorFlow Datasets then uses, and keeps it off the GPUs.

    Args:
        purpose: what TensorFlow is needed for, the subject of the message.

    Raises:
        ImportError: TensorFlow cannot be imported.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs TensorFlow ({first_line(error)}): pip install tensorflow"
        ) from error
    # TensorFlow would take all memory of the GPUs, which JAX needs. RuntimeError: the program has
    # used TensorFlow's GPUs already, so that it is too late.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def find_prepared(name: str, data_dir: str | None) -> Any:
    """Looks for a prepared set on disk.

    The set's files alone describe it. The code that made the set is not used, since it may need
    TensorFlow and may ask the network. A set whose preparation is under way or was killed is not
    found, since TensorFlow Datasets gives its folder the name of a version only at the end.

    Args:
        name: the set, as TensorFlow Datasets writes it.
        data_dir: the folder that sets are in; None for the default of TensorFlow Datasets.

    Returns:
        TensorFlow Datasets' builder of the set, in whatever file format; None if it is not there.

    Raises:
        ValueError: the set is there, but its description cannot be read.
    """
    from tensorflow_datasets.core import read_only_builder, registered

    try:
        with importing_no_features():
            return read_only_builder.builder_from_files(name, data_dir=data_dir)
    except registered.DatasetNotFoundError:
        return None
    except Exception as error:
        raise ValueError(f"{name} is there, but cannot be read: {first_line(error)}") from error


def read_prepared(
    builder: Any,
    name: str,
    split: str,
    image_shape: tuple[int, int, int] | None,
    feature: str | None,
    fetch: str,
    crop: Crop = "centre",
) -> Dataset:
    """Reads a split of a prepared set.

    Args:
        builder: the set, as `find_prepared` gives it.
        name, split, image_shape, feature: as in `load`.
        fetch: a clause that says how to download the set again, for messages.
        crop: as in `fitting.fit`.

    Raises:
        ValueError: the set has no such split, no such feature or no 8-bit images, the split is
            empty, the images have several shapes and `image_shape` is None, or a file is damaged.
        FileNotFoundError: a file of the split is missing.
        ImportError: the set's file format needs TensorFlow, which cannot be imported.
    """
    image_key, features = image_and_attributes(name, builder.info, feature)
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
    pictures = _pictures(builder, name, split, image_key, paths, codes, remedy)
    images, notes = gather(name, pictures, info.num_examples, image_shape, crop)
    attributes = {
        attribute: Attribute(feature.classes, codes[:, i].copy())
        for i, (attribute, feature) in enumerate(features.items())
    }
    return Dataset(name, images, attributes, notes)


class _Feature(NamedTuple):
    """An attribute as TensorFlow Datasets stores it.

    Attributes:
        path: the keys that lead to its code in a record.
        classes: the names of its classes.
    """

    path: tuple[str, ...]
    classes: tuple[str, ...]


def image_and_attributes(
    name: str, info: Any, wanted: str | None
) -> tuple[str, dict[str, _Feature]]:
    """Finds the features of a set that are its image and its attributes.

    The attributes are the features that are class labels or single truth values. The label that
    the set has for supervised learning is called "label", whatever its feature is called.

    Args:
        name: the set's name, for messages.
        info: the set's `tfds.core.DatasetInfo`.
        wanted: the name of the feature that is the image; None for the first 8-bit image among the
            features for supervised learning, the feature "image" and all others, in this order.

    Returns:
        (the name of the image's feature, the attributes by name).

    Raises:
        ValueError: the feature `wanted` is no 8-bit image, or the set has no 8-bit images.
    """
    import tensorflow_datasets as tfds

    features = dict(info.features.items()) if hasattr(info.features, "items") else {}
    supervised = [key for key in info.supervised_keys or () if isinstance(key, str)]

    def is_image(key: str) -> bool:
        feature = features.get(key)
        return isinstance(feature, tfds.features.Image) and feature.np_dtype == np.uint8

    def classes(feature: Any) -> tuple[str, ...]:
        if isinstance(feature, tfds.features.ClassLabel):
            return tuple(feature.names)
        is_bool = isinstance(feature, tfds.features.Tensor) and feature.np_dtype == np.bool_
        return YES_OR_NO if is_bool and feature.shape == () else ()

    image_key = next(filter(is_image, [*supervised, "image", *features]), None)
    if wanted is not None:
        if not is_image(wanted):
            images = ", ".join(filter(is_image, features)) or "none"
            raise ValueError(f"{name} has no images {wanted!r}: it has {images}")
        image_key = wanted
    if image_key is None:
        raise ValueError(f"{name} has no 8-bit images: its features are {', '.join(features)}")
    attributes: dict[str, _Feature] = {}
    # The features for supervised learning come first, so that they keep a name that others share.
    for key in dict.fromkeys([*supervised, *features]):
        feature = features.get(key)
        inner = feature.items() if isinstance(feature, tfds.features.FeaturesDict) else ()
        for path, each in (((key,), feature), *(((key, deeper), x) for deeper, x in inner)):
            if its_classes := classes(each):
                attribute = LABEL if path[0] in supervised and len(path) == 1 else path[-1]
                attributes.setdefault(attribute, _Feature(path, its_classes))
    return image_key, attributes


def _pictures(
    builder: Any,
    name: str,
    split: str,
    image_key: str,
    paths: Sequence[tuple[str, ...]],
    codes: np.ndarray,
    remedy: str,
) -> Iterator[Image.Image]:
    """Reads the pictures of a prepared set, and the codes that stand beside them.

    Args:
        builder, name, split: as in `read_prepared`.
        image_key: the feature that is the image.
        paths: where a record has the code of each attribute.
        codes: int32 [n, len(paths)]; row i is written when picture i is read.
        remedy: what to do about a damaged file, for messages.

    Yields:
        Pictures of mode L, RGB or RGBA, in the order in which they are stored.

    Raises:
        ValueError: a file is damaged.
        ImportError: the set's file format needs TensorFlow, which cannot be imported.
    """
    import tensorflow_datasets as tfds

    # Pillow decodes the images. Without TensorFlow, TensorFlow Datasets has a decoder of its own,
    # which misreads a grey or palette file in a set of colour images.
    decoders = {image_key: tfds.decode.SkipDecoding()}
    mode = {1: "L", 3: "RGB", 4: "RGBA"}.get(builder.info.features[image_key].shape[-1])
    try:
        try:
            records = _in_order(builder.as_data_source(split=split, decoders=decoders))
        except NotImplementedError:
            made_as = builder.info.file_format.value
            import_tensorflow(f"reading {name}, which is prepared as {made_as},")
            records = builder.as_dataset(split=split, decoders=decoders).as_numpy_iterator()
        for record, row in zip(records, codes, strict=False):
            row[:] = [_at(record, path) for path in paths]
            picture, _ = decode(record[image_key], PREPARED)
            own_mode = "L" if picture.mode in ("1", "L") else "RGB"
            yield picture.convert(mode or own_mode)
    except ImportError:
        raise
    # Each file format raises errors of its own types.
    except Exception as error:
        raise ValueError(f"{name} is damaged ({first_line(error)}): {remedy}") from error


def _at(record: Mapping[str, Any], path: Sequence[str]) -> Any:
    for key in path:
        record = record[key]
    return record


def _in_order(source: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, len(source), _RECORDS_AT_ONCE):
        yield from source.__getitems__(range(start, min(start + _RECORDS_AT_ONCE, len(source))))
