"""Images brought to one shape once, and kept in a file that is mapped into memory.

A folder of the cache holds the images of one set, for one shape and crop. Its name is a key of the
content of the files and of these settings. `images` has the bytes of the images one after another,
and grows while they are prepared. `progress` has a line for each part that is on the disk; from
there a killed process goes on. `prepared.json` is written last, and says that all is there.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import PIL
from PIL import Image

from jaxgan.data.fitting import Crop, checked_shape, cut, fit, shape_of, various
from jaxgan.data.pictures import MOST_BYTES, picture_of
from jaxgan.data.sources import Source, one_line, why_unread
from jaxgan.files.lock import InUseError, Lock
from jaxgan.files.reading import read_json
from jaxgan.files.writing import cache_folder, remove_partial, written_whole

IMAGES, PROGRESS, PREPARED = "images", "progress", "prepared.json"
# Another number makes what was prepared by other code useless.
_VERSION = 1
# Of a part, which is in memory while it is decoded.
_MOST_IMAGES, _MOST_PART_BYTES = 512, 1 << 26
# A picture may take half a gigabyte while it is decoded, so not many are decoded at once.
_MOST_THREADS = 8
# What a list of files takes: a million of them, of long names.
_MOST_JSON_BYTES = 1 << 29
# A file that was changed so shortly before it was read may change again and look the same.
_CLOCK_NS = 2_000_000_000
_WAIT_SECONDS = 0.2


class Wanted(NamedTuple):
    """What the images are brought to.

    Attributes:
        image_shape: height, width and channels (1 or 3); None for the shape that all have.
        crop: as in `fitting.fit`.
        half: "left" or "right" for this half of each picture; None for the whole.
    """

    image_shape: tuple[int, int, int] | None
    crop: Crop
    half: str | None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Images in the cache.

    Attributes:
        images: uint8 [n, height, width, channels] in [0, 255], mapped from the disk; read-only.
        rows: int64 [n], the index of each image among the pictures that were asked for.
        faults: why the others could not be used, by the path.
        shapes: the shapes that the pictures had.
        changes: what was done to them, in words.
    """

    images: np.ndarray
    rows: np.ndarray
    faults: Mapping[str, str]
    shapes: tuple[tuple[int, ...], ...]
    changes: tuple[str, ...]


def default_folder() -> Path:
    """The folder of the cache in the user's folder of caches.

    Raises:
        ValueError: the user has no home folder.
    """
    folder = cache_folder()
    if folder is None:
        raise ValueError(
            "there is no home folder to keep prepared images in: name a folder (--data-dir)"
        )
    return folder / "images"


class Contents(NamedTuple):
    """The content of the pictures of a source.

    Attributes:
        digests: SHA-256 in hexadecimal digits, by the path; "" of a file that cannot be read.
        change: how the files differ from those of the last time, in words; "" if they do not, or
            this is the first time.
    """

    digests: Mapping[str, str]
    change: str


def read_contents(source: Source, folder: Path) -> Contents:
    """Computes the digests of all pictures. Files that have not changed are not read again.

    Args:
        source: the pictures.
        folder: the folder of the cache, where the digests are kept for the next time.

    Raises:
        OSError: the folder cannot be written to.
    """
    root = os.path.realpath(source.name)
    index = folder / f"files-{hashlib.sha256(os.fsencode(root)).hexdigest()[:16]}.json"
    known = _known(index, root)

    def digest(path: str) -> str:
        stamp, held = known.get(path, ([], ""))
        if held and stamp == [*source.pictures[path]]:
            return held
        with contextlib.suppress(OSError, ValueError):
            return hashlib.sha256(source.read(path, MOST_BYTES)).hexdigest()
        return ""

    now = time.time_ns()
    usable = [path for path in source.pictures if path not in source.faults]
    found = dict.fromkeys(source.pictures, "")
    with _pool() as pool, _bar(len(usable), f"reading {one_line(source.name)}") as seen:
        for path, its in zip(usable, _in_parts(pool, digest, usable), strict=True):
            found[path] = its
            seen()
    # Without its stamp a file is read again.
    settled = {
        path: ([*stamp] if max(stamp[1:2], default=now) < now - _CLOCK_NS else [], found[path])
        for path, stamp in source.pictures.items()
    }
    if settled != known:
        with written_whole(index) as beside:
            beside.write_text(json.dumps({"root": root, "files": settled}))
    return Contents(found, _change(known, found))


def _known(index: Path, root: str) -> dict[str, tuple[list[int], str]]:
    """The stamps and digests of the files of a source as they were; {} if they are not known."""
    try:
        values = read_json(index, dict, _MOST_JSON_BYTES)
        if values["root"] != root:
            return {}
        return {path: (list(stamp), str(its)) for path, (stamp, its) in values["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _change(known: Mapping[str, tuple[list[int], str]], found: Mapping[str, str]) -> str:
    if not known:
        return ""
    counts = {
        "new": sum(path not in known for path in found),
        "gone": sum(path not in found for path in known),
        "changed": sum(path in known and known[path][1] != its for path, its in found.items()),
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def prepare(
    source: Source,
    paths: Sequence[str],
    digests: Mapping[str, str],
    wanted: Wanted,
    folder: Path,
    *,
    part: str = "",
    partners: Sequence[str] = (),
) -> Prepared:
    """Brings pictures to one shape, or finds them in the cache.

    Args:
        source: where the pictures are.
        paths: the pictures, at least one, in the order wanted.
        digests: the digest of each by its path, from `read_contents`.
        wanted: the shape.
        folder: the folder of the cache.
        part: which part of the source the pictures are, in words. What the cache held of this part,
            for the same shape, is removed when it is prepared anew.
        partners: for each picture one that it cannot be used without; () for none.

    Raises:
        ValueError: no picture can be used, the pictures have several shapes and none is asked for,
            or a file has changed meanwhile.
        OSError: the folder cannot be written to, or the disk has too little room.
    """
    files = [[path, digests[path]] for path in (*paths, *partners)]
    settings = [_VERSION, PIL.__version__, *wanted, files]
    entry = folder / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
    if (prepared := _read(entry, paths)) is not None:
        return prepared
    of = json.dumps([os.path.realpath(source.name), part, *wanted])
    with _locked(entry, source.name):
        # Another process may have ended the work meanwhile.
        if _read(entry, paths) is None:
            try:
                _Work(source, paths, partners, digests, wanted, entry, of).run()
            except (ValueError, OSError):
                # A mistake ends the work for good, and a kill does not.
                shutil.rmtree(entry, ignore_errors=True)
                raise
            _remove_others(entry, of)
    prepared = _read(entry, paths)
    if prepared is None:
        raise OSError(f"{entry} is damaged: remove it")
    return prepared


def _remove_others(entry: Path, of: str) -> None:
    """Removes what the cache holds of the same files as they were before they changed."""
    for other in entry.parent.iterdir():
        with contextlib.suppress(OSError, ValueError):
            values = read_json(other / PREPARED, dict, _MOST_JSON_BYTES)
            if other != entry and values.get("of") == of:
                shutil.rmtree(other, ignore_errors=True)


@contextlib.contextmanager
def _locked(entry: Path, name: str) -> Iterator[None]:
    """Holds the lock of a folder of the cache; waits while another process prepares the same."""
    lock, is_said = Lock(entry), False
    while True:
        entry.mkdir(parents=True, exist_ok=True)
        try:
            warning = lock.acquire()
            break
        except InUseError as error:
            if not is_said:
                line = f"{one_line(name)} is being prepared by {error.holder}: waiting"
                print(line, file=sys.stderr, flush=True)
                is_said = True
            time.sleep(_WAIT_SECONDS)
    if warning is not None:
        print(warning, file=sys.stderr, flush=True)
    try:
        yield
    finally:
        lock.release()


def _read(entry: Path, paths: Sequence[str]) -> Prepared | None:
    """The images of a folder of the cache; None if they are not all there."""
    try:
        values = read_json(entry / PREPARED, dict, _MOST_JSON_BYTES)
        shape = tuple(map(int, values["shape"]))
        if (entry / IMAGES).stat().st_size != math.prod(shape) or min(shape) < 1:
            return None
        faults = {str(path): str(why) for path, why in values["faults"].items()}
        rows = np.array([i for i, path in enumerate(paths) if path not in faults], np.int64)
        if len(rows) != shape[0]:
            return None
        images = np.memmap(entry / IMAGES, np.uint8, "r", shape=shape).view(np.ndarray)
        shapes = tuple(tuple(map(int, each)) for each in values["shapes"])
        return Prepared(images, rows, faults, shapes, tuple(map(str, values["changes"])))
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError):
        return None


@dataclasses.dataclass
class _Done:
    """What is done of the work on a set, as a line of `progress` says it.

    Attributes:
        tried: how many pictures have been tried.
        kept: how many of them are in `images`.
        shape: of an image; None before the first one.
        faults, shapes, changes: as in `Prepared`.
    """

    tried: int = 0
    kept: int = 0
    shape: tuple[int, int, int] | None = None
    faults: dict[str, str] = dataclasses.field(default_factory=dict)
    shapes: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    changes: list[str] = dataclasses.field(default_factory=list)

    def to_line(self) -> str:
        values = json.dumps(dataclasses.asdict(self))
        return f"{hashlib.sha256(values.encode()).hexdigest()} {values}\n"

    def join(self, line: str) -> Self:
        """This, and what a later line adds to it.

        Raises:
            ValueError: the line was not written to its end.
        """
        digest, _, values = line.partition(" ")
        if not values.endswith("\n") or hashlib.sha256(values[:-1].encode()).hexdigest() != digest:
            raise ValueError("the line is not whole")
        new = type(self)(**json.loads(values))
        return dataclasses.replace(
            new,
            shape=None if new.shape is None else checked_shape(new.shape),
            faults=self.faults | new.faults,
            shapes=list(dict.fromkeys(map(tuple, [*self.shapes, *new.shapes]))),
            changes=list(dict.fromkeys([*self.changes, *new.changes])),
        )


@dataclasses.dataclass(frozen=True)
class _Work:
    """Fills a folder of the cache, which is locked, from where a killed process has left it.

    Attributes:
        source, paths, partners, digests, wanted: as in `prepare`.
        entry: the folder.
        of: what is in it, as `prepared.json` says it.
    """

    source: Source
    paths: Sequence[str]
    partners: Sequence[str]
    digests: Mapping[str, str]
    wanted: Wanted
    entry: Path
    of: str

    def run(self) -> None:
        remove_partial(self.entry, lambda name: True)
        done = self._done_before()
        total = len(self.paths)
        name = one_line(self.source.name)
        with (
            open(self.entry / IMAGES, "ab") as images,
            open(self.entry / PROGRESS, "a") as progress,
            _pool() as pool,
            _bar(total, f"preparing {name}", done.tried) as seen,
            warnings.catch_warnings(),
        ):
            # Pillow warns of tags that it does not read.
            warnings.simplefilter("ignore")
            while done.shape is None and done.tried < total:
                # The first picture that can be read says what the shape is.
                done = self._part(done, done.tried + 1, pool, images, progress, seen)
            if done.shape is None:
                why = next(iter(done.faults.items()))
                raise ValueError(
                    f"none of the {total:,} images of {name} can be used: "
                    f"{one_line(why[0])} {why[1]}"
                )
            image_shape = done.shape
            self._check_room((total - done.tried) * math.prod(image_shape))
            size = min(_MOST_IMAGES, max(1, _MOST_PART_BYTES // math.prod(image_shape)))
            while done.tried < total:
                # Parts begin at the same pictures whenever the work was interrupted.
                end = min(total, (done.tried // size + 1) * size)
                done = self._part(done, end, pool, images, progress, seen)
        with written_whole(self.entry / PREPARED) as beside:
            shape = (done.kept, *image_shape)
            values = dataclasses.asdict(done) | {"shape": shape, "of": self.of}
            beside.write_text(json.dumps(values, indent=1) + "\n")
        (self.entry / PROGRESS).unlink(missing_ok=True)

    def _done_before(self) -> _Done:
        """What was done by a killed process. What it has not told is removed."""
        done, told = _Done(), 0
        with contextlib.suppress(OSError, ValueError, TypeError):
            with open(self.entry / PROGRESS, newline="") as lines:
                for line in lines:
                    done = done.join(line)
                    told += len(line)
        bytes_kept = done.kept * math.prod(done.shape or ())
        try:
            if (self.entry / IMAGES).stat().st_size >= bytes_kept:
                os.truncate(self.entry / IMAGES, bytes_kept)
                os.truncate(self.entry / PROGRESS, told)
                return done
        except FileNotFoundError:
            pass
        for name in (IMAGES, PROGRESS):
            (self.entry / name).unlink(missing_ok=True)
        return _Done()

    def _part(
        self,
        done: _Done,
        end: int,
        pool: ThreadPoolExecutor,
        images: Any,
        progress: Any,
        seen: Callable[[], object],
    ) -> _Done:
        """Decodes the pictures up to one, and writes what was made of them to the disk."""
        new = _Done(tried=end, kept=done.kept, shape=done.shape)
        for path, found in zip(
            self.paths[done.tried : end],
            pool.map(lambda i: self._image(i, done.shape), range(done.tried, end)),
            strict=True,
        ):
            seen()
            if isinstance(found, str):
                new.faults[path] = found
                continue
            image, shape, changes = found
            new.shape = image.shape
            new.kept += 1
            new.shapes += [shape] if shape not in new.shapes else []
            new.changes += [each for each in changes if each not in new.changes]
            images.write(image.tobytes())
        # The images are on the disk before the line that says so.
        _sync(images)
        line = new.to_line()
        progress.write(line)
        _sync(progress)
        return done.join(line)

    def _image(
        self, i: int, shape: tuple[int, int, int] | None
    ) -> tuple[np.ndarray, tuple[int, ...], list[str]] | str:
        """An image of the shape wanted, with the shape that it had and what was done; or why not.

        Raises:
            ValueError: the image has another shape than the first one, and none is asked for; or
                its file has changed.
        """
        if self.partners:
            why = self._cut(self.partners[i])
            if isinstance(why, str):
                return f"has a partner that {why}"
        found = self._cut(self.paths[i])
        if isinstance(found, str):
            return found
        picture, had, done = found
        own = (*shape_of(picture)[:2], min(shape_of(picture)[2], 3))
        wanted = self.wanted.image_shape or shape or own
        if self.wanted.image_shape is None and own != wanted:
            raise various(one_line(self.source.name), (wanted, own))
        picture, was_fitted = fit(picture, wanted, self.wanted.crop)
        return np.asarray(picture).reshape(wanted), had, [*done, *was_fitted]

    def _cut(self, path: str) -> tuple[Image.Image, tuple[int, ...], list[str]] | str:
        """What is wanted of a picture, with the shape that it had and what was done; or why not."""
        try:
            content = self.source.read(path, MOST_BYTES)
        except (OSError, ValueError) as error:
            return _without(why_unread(error), os.path.join(self.source.name, path))
        if hashlib.sha256(content).hexdigest() != self.digests[path]:
            raise ValueError(
                f"{one_line(path)} of {one_line(self.source.name)} has changed while it was "
                "prepared: start again when nothing changes"
            )
        try:
            picture, (_, *done) = picture_of(content, path)
            if self.wanted.half is not None:
                picture = _half(picture, self.wanted.half)
                done.append(f"{self.wanted.half} half")
            had = shape_of(picture)
            picture, was_cut = cut(picture, self.wanted.crop)
        except ValueError as error:
            return _without(str(error), path)
        return picture, had, [*done, *was_cut]

    def _check_room(self, needed: int) -> None:
        free = shutil.disk_usage(self.entry).free
        if needed > free:
            raise OSError(
                f"preparing {one_line(self.source.name)} needs {needed / 1e9:,.1f} GB, and the "
                f"disk of {self.entry.parent} has {free / 1e9:,.1f} GB: name another folder "
                "(--data-dir), or take a smaller image_shape (--image-shape)"
            )


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _without(why: str, path: str) -> str:
    """A message without the name of the file that it begins with."""
    return " ".join(why.removeprefix(path).split())


def _half(picture: Image.Image, which: str) -> Image.Image:
    if picture.width % 2:
        raise ValueError(f"is {picture.width} wide, which has no halves")
    middle = picture.width // 2
    left = 0 if which == "left" else middle
    return picture.crop((left, 0, left + middle, picture.height))


@contextlib.contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that decode: Pillow and hashlib release the interpreter's lock while they work.

    Of 2,000 JPEGs of 178x218, two threads take the CPU time of one. Two processes gained nothing
    over them, and would have to import the user's script again.
    """
    pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _in_parts(
    pool: ThreadPoolExecutor, function: Callable[[str], str], paths: Sequence[str]
) -> Iterator[str]:
    """`pool.map`, which would hold a future for each of millions of files."""
    for start in range(0, len(paths), _MOST_IMAGES):
        yield from pool.map(function, paths[start : start + _MOST_IMAGES])


@contextlib.contextmanager
def _bar(total: int, what: str, begun: int = 0) -> Iterator[Callable[[], object]]:
    """A progress bar in a terminal; a function that moves it by one image."""
    from tqdm import tqdm

    with tqdm(
        total=total, initial=begun, desc=what, unit=" images", disable=None, dynamic_ncols=True
    ) as bar:
        yield bar.update
