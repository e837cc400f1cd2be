"""Checks of a checkpoint that may be hostile or damaged, before Orbax reads its arrays.

Orbax allocates as much memory as an array's metadata claim, and opens whatever path an array's name
leads to. These checks refuse an item of a checkpoint unless its metadata are as
`Checkpoints.save` has Orbax write them.

Below, the metadata of an item are a dict: from the names of its leaves, such as
"params/Dense_0/kernel", to what Orbax's handler says of each leaf (its shape, dtype and storage).
A leaf without a shape is an empty dict or None.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgan.files.reading import check_claim, held_bytes, read_bytes, read_json
from jaxgan.files.weight_guards import check_names

# Orbax's file that lists the variables of an item. It takes a third of a kilobyte for each.
_VARIABLES = "_METADATA"
# The largest file that Orbax reads whole.
_MOST_LIST_BYTES = 16 << 20
# The folders of an item in which Orbax has the arrays, which it reads in parts. The other files
# describe them.
_DATA = "d"
# The file of an item of JSON.
_JSON = "metadata"
# The types of the leaves that Orbax lists for what `save` gives it: arrays and empty leaves.
_ARRAY, _EMPTY = "np.ndarray", ("Dict", "None")
_DTYPES = frozenset({"float32", "float16", "bfloat16", "int32", "uint32"})


def check_files(directory: Path) -> None:
    """Checks the files in a directory of checkpoints, at any depth, before Orbax opens any.

    Args:
        directory: an item, or the folder of a step with its items.

    Raises:
        ValueError: an entry is no regular file and no folder (a pipe would block the reader); a
            file other than those of arrays has more than 16 MiB; or the files are sparse, so that
            their sizes say nothing.
        OSError: an entry cannot be read.
    """
    sizes = held = 0
    for path in directory.rglob("*"):
        if path.is_dir():
            # A link to a folder could lead round in a circle.
            if path.is_symlink():
                raise ValueError(f"{path.name} is a link to a folder")
            continue
        if not path.is_file():
            raise ValueError(f"{path.relative_to(directory)} is no regular file")
        size = path.stat().st_size
        if path.parent.name != _DATA and size > _MOST_LIST_BYTES:
            raise ValueError(f"{path.name} has more than {_MOST_LIST_BYTES:,} bytes")
        sizes += size
        held += held_bytes(path)
    check_claim(sizes, held)


def check_list(item: Path) -> None:
    """Checks Orbax's list of the variables of an item.

    Args:
        item: the item's directory.

    Raises:
        ValueError: the list is not one that Orbax makes for `Checkpoints.save`.
        OSError: the list cannot be read.
    """
    # Older versions of Orbax kept arrays in this file, and Orbax still looks for it first.
    if (item / "checkpoint").exists():
        raise ValueError("it has a file that is none of a checkpoint's: checkpoint")
    content = read_bytes(item / _VARIABLES, _MOST_LIST_BYTES)
    try:
        listed = json.loads(content)
        variables = list(listed["tree_metadata"].values())
        names = [[key["key"] for key in each["key_metadata"]] for each in variables]
        as_saved = (
            # All arrays are in one key-value store, where a name is a key and not a path.
            listed["use_ocdbt"] is True
            and listed["use_zarr3"] is False
            and "value_metadata_tree" not in listed
            # Otherwise Orbax would read a missing array as zeros.
            and listed["store_array_data_equal_to_fill_value"] is True
            and all(isinstance(part, str) for name in names for part in name)
            and all(key["key_type"] == 2 for each in variables for key in each["key_metadata"])
            and all(_is_saved_leaf(each["value_metadata"]) for each in variables)
        )
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{_VARIABLES} is no list of variables") from error
    if not as_saved:
        raise ValueError(f"{_VARIABLES} lists variables that no run saves so")
    check_names(names)


def check_arrays(metadata: Mapping[str, Any]) -> None:
    """Checks that each array has a dtype of a training state, and no chunk larger than itself.

    Args:
        metadata: of the item's leaves.

    Raises:
        ValueError: an array is of another dtype or in larger chunks.
    """
    for name, array in metadata.items():
        if not hasattr(array, "shape"):
            continue
        if array.dtype.name not in _DTYPES:
            raise ValueError(f"{name} is {array.dtype}, which nothing in a state is")
        # TensorStore allocates a whole chunk, even if the array fills only a part of it.
        chunk = array.storage.chunk_shape
        if any(part > max(length, 1) for part, length in zip(chunk, array.shape, strict=True)):
            raise ValueError(f"{name} is {array.shape} in chunks of {chunk}")


def check_size(metadata: Mapping[str, Any], item: Path) -> None:
    """Checks that the arrays do not claim to be much larger than what the item has on disk.

    Args:
        metadata: of the item's leaves.
        item: the item's directory.

    Raises:
        ValueError: they do.
    """
    arrays = [array for array in metadata.values() if hasattr(array, "shape")]
    claimed = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)
    check_claim(claimed, sum(held_bytes(path) for path in item.rglob("*") if path.is_file()))


def check_like(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Checks that the names, shapes and dtypes of the leaves are those wanted.

    Args:
        metadata: of the item's leaves.
        wanted: arrays and empty leaves by their names.

    Raises:
        ValueError: a leaf is missing, is not wanted, or has another shape or dtype.
    """
    if differing := sorted(metadata.keys() ^ wanted.keys()):
        name = differing[0]
        raise ValueError(f"{name} is {'not ' if name in wanted else ''}in it")
    for name, want in wanted.items():
        got = metadata[name]
        if _described(got) != _described(want):
            raise ValueError(f"{name} is {_described(got)}, not {_described(want)}")


def check_digest(directory: Path, name: str, digest: str, *, digests: str, config: str) -> None:
    """Checks that the arrays of an item are those that were saved.

    The first versions of jaxgan wrote no digests. The configuration that they saved in a
    checkpoint has no setting "system", so a checkpoint without digests passes only if its own
    configuration has none.

    Args:
        directory: the folder of the checkpoint.
        name: the item's name.
        digest: the digest of the arrays that were read.
        digests: the name of the item that holds the digests.
        config: the name of the item that holds the configuration.

    Raises:
        ValueError: another digest was saved, or the digests have been removed.
        OSError: the configuration of a checkpoint without digests cannot be read.
    """
    if saved := record(directory / digests):
        if saved.get(name) != digest:
            raise ValueError(f"the {name} is not what was saved")
    elif "system" in read_json(directory / config / _JSON, dict, _MOST_LIST_BYTES):
        raise ValueError(f"its {digests} are missing, and this version of jaxgan saved them")


def record(digests: Path) -> dict[str, Any]:
    """The step of a checkpoint and the digest of each of its items; {} if there is no record.

    Args:
        digests: the directory of the item that holds the digests.

    Raises:
        ValueError: the record is damaged.
        OSError: the record cannot be read.
    """
    if not digests.exists():
        return {}
    return read_json(digests / _JSON, dict, _MOST_LIST_BYTES)


def _is_saved_leaf(value: Mapping[str, Any]) -> bool:
    if value["value_type"] == _ARRAY:
        return value["skip_deserialize"] is False
    return value["value_type"] in _EMPTY and value["skip_deserialize"] is True


def _described(leaf: Any) -> str:
    return f"{leaf.dtype} {tuple(leaf.shape)}" if hasattr(leaf, "shape") else "empty"
