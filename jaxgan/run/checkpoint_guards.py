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

from jaxgan.weight_guards import check_names

# Orbax's file that lists the variables of an item. It takes a third of a kilobyte for each.
_VARIABLES = "_METADATA"
_MOST_LIST_BYTES = 16 << 20
# The types of the leaves that Orbax lists for what `save` gives it: arrays and empty leaves.
_ARRAY, _EMPTY = "np.ndarray", ("Dict", "None")
_DTYPES = frozenset({"float32", "float16", "bfloat16", "int32", "uint32"})
# The arrays of an item may be this many times as large as its files. Trained weights hardly
# compress, but moments that are all zeros and weights that are all NaN compress by thousands.
# The spare bytes are for such arrays; every machine has memory for them.
_MOST_RATIO, _SPARE_BYTES = 64, 64 << 20


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
    with open(item / _VARIABLES, "rb") as file:
        content = file.read(_MOST_LIST_BYTES + 1)
    if len(content) > _MOST_LIST_BYTES:
        raise ValueError(f"{_VARIABLES} has more than {_MOST_LIST_BYTES:,} bytes")
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
    """Checks that the arrays do not claim to be much larger than the item's files.

    Args:
        metadata: of the item's leaves.
        item: the item's directory.

    Raises:
        ValueError: they do.
    """
    arrays = [array for array in metadata.values() if hasattr(array, "shape")]
    claimed = sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)
    on_disk = sum(path.stat().st_size for path in item.rglob("*") if path.is_file())
    if claimed > _MOST_RATIO * on_disk + _SPARE_BYTES:
        raise ValueError(f"its {on_disk:,} bytes claim to be {claimed:,}")


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


def check_digest(digests: Path, name: str, digest: str) -> None:
    """Checks that the arrays of an item are those that were saved.

    A checkpoint without digests passes, since the first versions of jaxgan wrote none.

    Args:
        digests: the directory of the item that holds the digests.
        name: the item's name.
        digest: the digest of the arrays that were read.

    Raises:
        ValueError: another digest was saved.
    """
    if (saved := _saved(digests)) is not None and saved.get(name) != digest:
        raise ValueError(f"the {name} is not what was saved")


def saved_step(digests: Path) -> int | None:
    """The step that a checkpoint was saved at; None if there is no record of it.

    Args:
        digests: the directory of the item that holds the digests.
    """
    saved = _saved(digests) or {}
    return saved.get("step")


def _saved(digests: Path) -> dict[str, Any] | None:
    if not digests.exists():
        return None
    with open(digests / "metadata", "rb") as file:
        saved = json.loads(file.read(_MOST_LIST_BYTES))
    if not isinstance(saved, dict):
        raise ValueError("its digests are no table")
    return saved


def _is_saved_leaf(value: Mapping[str, Any]) -> bool:
    if value["value_type"] == _ARRAY:
        return value["skip_deserialize"] is False
    return value["value_type"] in _EMPTY and value["skip_deserialize"] is True


def _described(leaf: Any) -> str:
    return f"{leaf.dtype} {tuple(leaf.shape)}" if hasattr(leaf, "shape") else "empty"
