"""A folder or a .zip of the user's own images as a data set."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from jaxgan.data import cache
from jaxgan.data.dataset import LABEL, Attribute, Dataset
from jaxgan.data.fitting import Crop, notes
from jaxgan.data.sources import Source, normal, one_line, opened, why_unread
from jaxgan.data.tables import MOST_BYTES, Table, read_table

# The sub-folders that are splits, if there is one of the first name.
SPLITS = ("train", "test", "val")
# The sub-folders of inputs and of their true outputs.
INPUTS, TARGETS = "inputs", "targets"
LEFT, RIGHT = "left", "right"
# What is the output where one of these is the input.
PARTNERS = {INPUTS: TARGETS, TARGETS: INPUTS, LEFT: RIGHT, RIGHT: LEFT}
# The faults that a message names.
_NAMED = 5
LEAVE_OUT = "skip_unusable (--skip-unusable)"


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """The pictures of a split of a source.

    Attributes:
        paths: their paths, in order.
        partners: of pictures of pairs, the other one of each pair; () of others.
        faults: what else belongs to the set and cannot be used, and why, by its path.
        classes: the names of the classes of each attribute, by the attribute's name.
        codes: for each path the class of each attribute, as an index into `classes`.
    """

    paths: Sequence[str]
    partners: Sequence[str]
    faults: Mapping[str, str]
    classes: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, tuple[int, ...]]


def load_folder(
    name: str,
    *,
    split: str = "train",
    image_shape: tuple[int, int, int] | None = None,
    crop: Crop = "centre",
    data_dir: str | Path | None = None,
    feature: str | None = None,
    skip_unusable: bool = False,
) -> Dataset:
    """Loads the images of a folder or a .zip; the arguments are those of `load`.

    The images are prepared once, and mapped from the cache into memory: they are read-only.

    Returns:
        The images in the order of their paths.

    Raises:
        ValueError: there are no such images, or one cannot be used. The message is one line.
        FileNotFoundError: the folder is not there.
        OSError: a file cannot be read, or the cache cannot be written.
    """
    path = os.path.expanduser(name)
    folder = cache.default_folder() if data_dir is None else Path(data_dir).expanduser()
    with opened(path) as source:
        chosen = _choose(source, split, feature)
        _check_faults(name, chosen.faults, len(chosen.paths), skip=skip_unusable)
        if not chosen.paths:
            raise ValueError(f"{one_line(name)} has no images that can be used")
        folder.mkdir(parents=True, exist_ok=True)
        contents = cache.read_contents(source, folder)
        half = feature if feature in (LEFT, RIGHT) else None
        prepared = cache.prepare(
            source,
            chosen.paths,
            contents.digests,
            cache.Wanted(image_shape, crop, half),
            folder,
            part=f"{split} {feature}",
            partners=chosen.partners,
        )
    _check_faults(name, prepared.faults, len(prepared.images), skip=skip_unusable)
    kept = [chosen.paths[row] for row in prepared.rows]
    codes = np.array([chosen.codes[path] for path in kept], np.int32).reshape(len(kept), -1)
    attributes = {
        attribute: Attribute(classes, codes[:, i].copy())
        for i, (attribute, classes) in enumerate(chosen.classes.items())
    }
    said = notes(
        one_line(name), len(kept), prepared.shapes, prepared.images.shape[1:], prepared.changes
    )
    if contents.change:
        said = (f"{one_line(name)} has changed since it was last read: {contents.change}", *said)
    if left := len(chosen.faults) + len(prepared.faults):
        said = (*said, f"{one_line(name)}: {left:,} left out that cannot be used")
    values = [[path, contents.digests[path], chosen.codes[path]] for path in kept]
    content = json.dumps([values, list(chosen.classes.items())])
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Dataset(one_line(name), prepared.images, attributes, said, digest=digest)


def _check_faults(name: str, faults: Mapping[str, str], images: int, *, skip: bool) -> None:
    if not faults or skip:
        return
    named = [f"{one_line(path)} {why}" for path, why in list(faults.items())[:_NAMED]]
    if more := len(faults) - len(named):
        named.append(f"and {more:,} more")
    raise ValueError(
        f"{one_line(name)}: {len(faults):,} cannot be used beside {images:,} images: "
        f"{'; '.join(named)}. Mend or remove them, or leave them out by {LEAVE_OUT}"
    )


def _choose(source: Source, split: str, feature: str | None) -> _Chosen:
    """The pictures of a split, with their attributes.

    Raises:
        ValueError: there is no such split or feature, or the file of attributes does not have its
            form.
    """
    name = one_line(source.name)
    if feature is not None and feature not in PARTNERS:
        raise ValueError(f"{name} has no images {feature!r}: it has {', '.join(PARTNERS)}")
    if split not in SPLITS:
        raise ValueError(f"{name} has the splits {', '.join(SPLITS)}, not {split!r}")
    faults = dict(source.faults)
    inside = {
        path: PurePosixPath(normal(path)).parts for path in source.pictures if path not in faults
    }
    if not inside:
        return _Chosen([], [], faults, {}, {})
    inside = _below_common(inside, (*SPLITS, INPUTS, TARGETS))
    splits = _splits(inside)
    if splits is None:
        if split != "train":
            raise ValueError(
                f"{name} has no held-out images: put some into a sub-folder {split}, and the "
                "others into a sub-folder train"
            )
        own = inside
    else:
        split = "val" if split == "test" and split not in splits else split
        if split not in splits:
            raise ValueError(f"{name} has no sub-folder {split}, only {', '.join(splits)}")
        # The folder of the split is no class.
        inside = {path: parts[1:] for path, parts in inside.items()}
        inside = _below_common(inside, (INPUTS, TARGETS))
        own = {path: inside[path] for path in splits[split]}
    table = _table(source)
    classes: Mapping[str, tuple[str, ...]] = {}
    codes: dict[str, tuple[int, ...]] = dict.fromkeys(own, ())
    partner_of: Mapping[str, str] = {}
    if feature in (INPUTS, TARGETS):
        partner_of = _pairs(name, own, feature, faults)
        own = {path: own[path] for path in partner_of}
    elif table is not None:
        classes = table.classes
        codes = _codes_of(table, source.pictures, own, faults)
    else:
        classes, codes = _labels(name, inside)
    paths = [path for path in own if path not in faults]
    partners = [partner_of[path] for path in paths] if partner_of else []
    return _Chosen(paths, partners, faults, classes, codes)


def _below_common(
    inside: Mapping[str, tuple[str, ...]], kept: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Paths without the folders that all are in: a .zip often holds one folder of all."""
    first, last = min(inside.values()), max(inside.values())
    depth = 0
    while len(first) > depth + 1 and first[depth] == last[depth]:
        if first[depth] in kept:
            break
        depth += 1
    return {path: parts[depth:] for path, parts in inside.items()}


def _splits(inside: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]] | None:
    """The paths of each split; None if the sub-folders are not splits."""
    found: dict[str, list[str]] = {}
    for path, (first, *rest) in inside.items():
        if not rest or first not in SPLITS:
            return None
        found.setdefault(first, []).append(path)
    return found if SPLITS[0] in found else None


def _table(source: Source) -> Table | None:
    if len(source.tables) > 1:
        raise ValueError(
            f"{one_line(source.name)} has several files of attributes, of which one can be: "
            f"{', '.join(map(one_line, source.tables))}"
        )
    for path in source.tables:
        try:
            content = source.read(path, MOST_BYTES)
        except (OSError, ValueError) as error:
            raise ValueError(f"{one_line(path)} {why_unread(error)}") from error
        return read_table(path, content)
    return None


def _codes_of(
    table: Table, pictures: Iterable[str], own: Iterable[str], faults: dict[str, str]
) -> dict[str, tuple[int, ...]]:
    """The codes of each picture of a split, by the table. Adds what is missing to the faults.

    Raises:
        ValueError: a name of the table is that of two pictures.
    """
    of_key: dict[str, str] = {}
    keys = {path: table.key_of(path) for path in pictures}
    for path, key in keys.items():
        if key is None:
            continue
        if key in of_key:
            raise ValueError(
                f"{one_line(table.name)} says {one_line(key)}, which may be "
                f"{one_line(of_key[key])} or {one_line(path)}: write the path"
            )
        of_key[key] = path
    for path in own:
        if keys[path] is None:
            faults.setdefault(path, f"has no attributes in {one_line(table.name)}")
    for key in table.codes:
        if key not in of_key:
            faults.setdefault(key, f"of {one_line(table.name)} is not there")
    return {path: table.codes[key] for path in own if (key := keys[path]) is not None}


def _labels(
    name: str, inside: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[int, ...]]]:
    """The sub-folders as classes; no classes if there are no sub-folders.

    Raises:
        ValueError: some images are in sub-folders, and some are not.
    """
    loose = [path for path, parts in inside.items() if len(parts) == 1]
    if len(loose) == len(inside):
        return {}, dict.fromkeys(inside, ())
    if loose:
        raise ValueError(
            f"{name} has {len(loose):,} images, such as {one_line(loose[0])}, beside sub-folders "
            "of images, which are classes: put all into sub-folders, or none"
        )
    classes = tuple(sorted({parts[0] for parts in inside.values()}))
    numbers = {each: i for i, each in enumerate(classes)}
    return {LABEL: tuple(map(one_line, classes))}, {
        path: (numbers[parts[0]],) for path, parts in inside.items()
    }


def _pairs(
    name: str, own: Mapping[str, tuple[str, ...]], feature: str, faults: dict[str, str]
) -> dict[str, str]:
    """The pictures of one side of pairs, with their partners. Adds to the faults what has none.

    Raises:
        ValueError: the sub-folders are not those of pairs.
    """
    sides: dict[str, dict[str, str]] = {INPUTS: {}, TARGETS: {}}
    for path, parts in own.items():
        if len(parts) < 2 or parts[0] not in sides:
            raise ValueError(
                f"{name} has no pairs: {one_line(path)} is not in a sub-folder {INPUTS} or "
                f"{TARGETS}. Of pairs side by side, the features are {LEFT} and {RIGHT} "
                f"(--input-feature {LEFT} --output-feature {RIGHT})"
            )
        key = str(PurePosixPath(*parts[1:]).with_suffix(""))
        if key in sides[parts[0]]:
            faults[path] = f"has the name of {one_line(sides[parts[0]][key])}"
        else:
            sides[parts[0]][key] = path
    for side, paths in sides.items():
        others = sides[PARTNERS[side]]
        for key, path in paths.items():
            if key not in others:
                faults.setdefault(path, f"has no partner in {PARTNERS[side]}")
            elif path in faults:
                faults.setdefault(others[key], f"has a partner that {faults[path]}")
    others = sides[PARTNERS[feature]]
    return {path: others[key] for key, path in sorted(sides[feature].items()) if key in others}
