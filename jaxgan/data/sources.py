"""Where a user's images are: a folder, or a .zip that is read as it is and never unpacked."""

import contextlib
import dataclasses
import os
import unicodedata
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from jaxgan.data.pictures import endings
from jaxgan.files.reading import check_claim, held_bytes, open_regular, read_bytes

# The files that give the attributes of images.
CELEBA = ("list_attr_celeba.txt", "list_attr_celeba.csv")
TABLES = ("attributes.csv", "dataset.json", *CELEBA)
# What macOS adds to a .zip.
_OF_MACOS = "__MACOSX"
# Bit 11 of a member's flags says that its name is UTF-8 (APPNOTE.TXT of PKWARE, 4.4.4).
_IS_UTF8 = 1 << 11


@dataclasses.dataclass(frozen=True)
class Source:
    """The files of a folder or a .zip.

    Attributes:
        name: the folder or the .zip, as the user gave it.
        pictures: the paths of its pictures, by "/" from its root, in order; and a stamp of each,
            whole numbers that change when the file changes.
        tables: the paths of its files of attributes.
        faults: what cannot be used, and why, by its path. Pictures among them are in `pictures`.
        read: a function of a path and the most bytes that it gives the content of; several threads
            may call it. It raises a ValueError or an OSError.
    """

    name: str
    pictures: Mapping[str, tuple[int, ...]]
    tables: tuple[str, ...]
    faults: Mapping[str, str]
    read: Callable[[str, int], bytes]


@contextlib.contextmanager
def opened(path: str) -> Iterator[Source]:
    """Opens a folder or a .zip of images. Hidden files, and those that are no pictures, are left.

    Args:
        path: the folder or the .zip.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is neither a folder nor a .zip, it has no pictures, or it claims to hold much
            more than it can.
        OSError: it cannot be read.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is not there: give a folder or a .zip of images")
    with contextlib.ExitStack() as stack:
        if os.path.isdir(path):
            source = _of_folder(path)
        else:
            file = stack.enter_context(open_regular(path))
            try:
                archive = stack.enter_context(zipfile.ZipFile(file))
                check_claim(sum(each.file_size for each in archive.infolist()), held_bytes(path))
            # zipfile raises many types of errors for damaged files.
            except Exception as error:
                why = " ".join(str(error).split())[:200]
                raise ValueError(
                    f"{path} is neither a folder of images nor a .zip of them: {why}"
                ) from error
            status = os.fstat(file.fileno())
            source = _of_archive(path, archive, (status.st_size, status.st_mtime_ns))
        if not source.pictures:
            raise ValueError(f"{path} has no pictures (.png, .jpg and so on)")
        if not source.tables:
            source = _with_table_beside(source)
        yield source


def one_line(path: str) -> str:
    """The name of a file as it can be printed, in one line, whatever bytes and letters it has."""
    return " ".join(os.fsencode(path).decode(errors="replace").split())


def why_unread(error: Exception) -> str:
    """Why a file could not be read, as a sentence that lacks its subject, the file."""
    why = getattr(error, "strerror", None)
    return f"cannot be read: {why}" if why else " ".join(str(error).split())


def normal(path: str) -> str:
    """A path by which names are compared: macOS and Windows write an accent in two ways."""
    return unicodedata.normalize("NFC", path)


def _of_folder(root: str) -> Source:
    pictures: dict[str, tuple[int, ...]] = {}
    tables, faults = [], {}
    real, of_pictures = os.path.realpath(root), endings()

    def below(parent: str, name: str) -> str:
        return PurePosixPath(Path(parent, name).relative_to(root)).as_posix()

    def unread(error: OSError) -> None:
        if os.path.samefile(error.filename, root):
            raise error
        faults[below(error.filename, "")] = why_unread(error)

    for parent, folders, names in os.walk(root, onerror=unread):
        folders[:] = [each for each in folders if not each.startswith(".")]
        for name in folders:
            # `walk` does not go into such a folder: it may have no end.
            if os.path.islink(os.path.join(parent, name)):
                faults[below(parent, name)] = "is a link to a folder"
        for name in names:
            path, own = os.path.join(parent, name), below(parent, name)
            if name.startswith("."):
                continue
            if name in TABLES:
                tables.append(own)
            elif Path(name).suffix.lower() in of_pictures:
                try:
                    if os.path.islink(path) and not _is_inside(os.path.realpath(path), real):
                        raise ValueError("is a link out of the folder")
                    status = os.stat(path)
                    pictures[own] = (status.st_size, status.st_mtime_ns)
                except (OSError, ValueError) as error:
                    pictures[own] = ()
                    faults[own] = why_unread(error)

    def read(own: str, most: int) -> bytes:
        return read_bytes(os.path.join(root, own), most)

    return Source(root, _in_order(pictures), tuple(sorted(tables)), faults, read)


def _is_inside(path: str, folder: str) -> bool:
    return Path(folder) in Path(path).parents


def _of_archive(name: str, archive: zipfile.ZipFile, stamp: tuple[int, ...]) -> Source:
    pictures, tables, faults = {}, [], {}
    members: dict[str, zipfile.ZipInfo] = {}
    of_pictures = endings()
    for member in archive.infolist():
        own = _name(member)
        path = PurePosixPath(own)
        if member.is_dir() or any(x.startswith(".") and x != ".." for x in path.parts):
            continue
        is_table = path.name in TABLES
        if _OF_MACOS in path.parts or not (is_table or path.suffix.lower() in of_pictures):
            continue
        own = str(path)
        if is_table:
            tables.append(own)
        else:
            pictures[own] = (*stamp, member.CRC, member.file_size, member.header_offset)
            if path.is_absolute() or ".." in path.parts or "\\" in own or ":" in path.parts[0]:
                faults[own] = "leads out of the .zip"
            elif own in members:
                faults[own] = "is in the .zip twice"
        members[own] = member

    def read(own: str, most: int) -> bytes:
        # The member may claim fewer bytes than it holds.
        try:
            with archive.open(members[own]) as file:
                content = file.read(most + 1)
        # zipfile raises many types of errors for damaged and for encrypted members.
        except Exception as error:
            raise ValueError(f"cannot be read from the .zip: {error}") from error
        if len(content) > most:
            raise ValueError(f"has more than {most:,} bytes")
        return content

    return Source(name, _in_order(pictures), tuple(sorted(tables)), faults, read)


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a member. Many programs write UTF-8 and do not say so."""
    if member.flag_bits & _IS_UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode()
    except UnicodeError:
        return member.filename


def _in_order(pictures: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {path: pictures[path] for path in sorted(pictures)}


def _with_table_beside(source: Source) -> Source:
    """CelebA's list of attributes comes beside its images, and often lies there still."""
    beside = Path(os.path.abspath(source.name)).parent
    found = [name for name in CELEBA if (beside / name).is_file()]
    if not found:
        return source

    def read(own: str, most: int) -> bytes:
        return read_bytes(beside / own, most) if own in found else source.read(own, most)

    return dataclasses.replace(source, tables=tuple(found[:1]), read=read)
