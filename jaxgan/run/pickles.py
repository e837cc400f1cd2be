"""Reading pickled tensors without PyTorch, by a machine that runs nothing of what a file holds.

A pickle is a program. Some of its instructions import a name and call it, and that is how a hostile
file runs what it likes. The machine here has its own meaning for each instruction: a name is a
text, and where the program calls it, a function that the caller of `read` gave for that name is
called. No other name and no other instruction is accepted.
"""

import dataclasses
import functools
import io
import math
import os
import pickletools
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import numpy as np

from jaxgan.files.reading import check_claim, held_bytes, open_regular
from jaxgan.run.torch_files import check_archive

Makers = Mapping[str, Callable[..., Any]]
# What begins a file that `torch.save` has written in the older form, one pickle after another.
_MAGIC = 0x1950A86A20F9469CFC6C
_ZIP = b"PK\x03\x04"
# A checkpoint with the optimisers' state has about a hundred thousand instructions.
_MOST_INSTRUCTIONS = 1 << 20
_MOST_AXES = 8
# Names are the only lines.
_MOST_LINE = 1000
# PyTorch's names of types of numbers, and the types. They are names that cannot be called.
_DTYPES: Mapping[str, np.dtype] = MappingProxyType(
    {
        f"torch.{name}Storage": np.dtype(code)
        for name, code in {
            "Half": "<f2",
            "Float": "<f4",
            "Double": "<f8",
            "Byte": "u1",
            "Bool": "u1",
            "Char": "i1",
            "Short": "<i2",
            "Int": "<i4",
            "Long": "<i8",
        }.items()
    }
)
# Instructions that put down a value: of the file, or always the same.
_VALUES = frozenset(
    {
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING"),
    }
)
_CONSTANTS: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {
        "NONE": lambda: None,
        "NEWTRUE": lambda: True,
        "NEWFALSE": lambda: False,
        "EMPTY_TUPLE": tuple,
        "EMPTY_LIST": list,
        "EMPTY_DICT": dict,
        "EMPTY_SET": list,
    }
)
_TUPLES: Mapping[str, int] = MappingProxyType({"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3})


class Inert:
    """An object of a file of which nothing is wanted."""

    def __init__(self, *arguments: Any):
        del arguments


@dataclasses.dataclass
class _Storage:
    """The numbers of one or more tensors, [n]; None until they are read."""

    dtype: np.dtype
    count: int
    values: np.ndarray | None = None


class Tensor(NamedTuple):
    """A tensor of a file, of which nothing is checked before `array` is called."""

    storage: Any
    offset: Any
    size: Any
    stride: Any

    def array(self) -> np.ndarray:
        """The numbers: a view of what the file holds. The type is the file's.

        Raises:
            ValueError: the tensor claims numbers that the file does not have.
        """
        storage, size, stride = self.storage, self.size, self.stride
        if not isinstance(storage, _Storage) or storage.values is None:
            raise ValueError("it has a tensor without numbers")
        values = storage.values
        if not (
            all(isinstance(axes, tuple) and len(axes) <= _MOST_AXES for axes in (size, stride))
            and len(size) == len(stride)
            and all(isinstance(each, int) and each >= 0 for each in (self.offset, *size, *stride))
        ):
            raise ValueError("it has a tensor whose shape is none")
        # A stride of 0 would make many numbers of one.
        last = self.offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
        if 0 in size or last >= len(values) or math.prod(size) > len(values):
            raise ValueError(
                f"it has a tensor of shape {str(size)[:100]}, but only {len(values):,} numbers"
            )
        return np.lib.stride_tricks.as_strided(
            values[self.offset :], size, [s * values.itemsize for s in stride], writeable=False
        )


def read(path: str | Path, makers: Makers) -> Any:
    """Reads a pickle, or a file that `torch.save` wrote in either form. Nothing in it is run.

    Args:
        path: the file.
        makers: by each name that the file may call, such as "collections.OrderedDict", the function
            that is called in its place. Names of tensors and of plain containers are known.

    Returns:
        What the file holds: None, numbers, texts, bytes, lists (also of sets), tuples and dicts,
        with `Tensor` in the place of tensors, and what the functions made.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of these, is damaged, or wants what is not allowed. The message
            is one line, which names the file.
        OSError: the file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            check_claim(size, held_bytes(path))
            return _read(file, size, makers)
        # Instructions that do not fit each other raise many types of errors.
        except Exception as error:
            why = " ".join(str(error).split())[:300]
            if not isinstance(error, ValueError):
                why = f"it is damaged ({type(error).__name__}: {why})"
            raise ValueError(f"{path} cannot be read: {why or 'it is damaged'}") from error


def _read(file: IO[bytes], size: int, makers: Makers) -> Any:
    fuel = iter(range(_MOST_INSTRUCTIONS))
    of_bytes = functools.partial(_of_bytes, fuel)
    makers = {**_PLAIN, "torch.storage._load_from_bytes": of_bytes, **makers}
    start = file.read(len(_ZIP))
    file.seek(0)
    if start == _ZIP:
        return _of_archive(file, makers, fuel)
    stream = _Bounded(file, size)
    first = _Machine(makers, fuel).run(stream)
    return first if first != _MAGIC else _of_sequence(stream, makers, fuel)


def _of_archive(file: IO[bytes], makers: Makers, fuel: Iterator[int]) -> Any:
    """Reads the newer form: an archive of the pickle and of the numbers of each storage."""
    check_archive(file)
    with zipfile.ZipFile(file) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/data.pkl")][:1] or [""]
        if not name:
            raise ValueError("it is an archive, but none of PyTorch: it has no data.pkl")
        folder = name.removesuffix("/data.pkl")
        order = f"{folder}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("its numbers have their bytes in the order of another machine")
        found: dict[str, _Storage] = {}

        def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
            if key not in found:
                held = archive.read(f"{folder}/data/{key}")
                numbers = _Bounded(io.BytesIO(held), len(held), held).numbers(dtype, count)
                found[key] = _Storage(dtype, count, numbers)
            return found[key]

        content = archive.read(name)
        stream = _Bounded(io.BytesIO(content), len(content))
        return _Machine(makers, fuel, storage).run(stream)


def _of_sequence(stream: "_Bounded", makers: Makers, fuel: Iterator[int]) -> Any:
    """Reads the rest of the older form: pickles, of which one is the object, then all numbers."""
    found: dict[str, _Storage] = {}

    def storage(key: str, dtype: np.dtype, count: int) -> _Storage:
        return found.setdefault(key, _Storage(dtype, count))

    plain = _Machine(_PLAIN, fuel)
    plain.run(stream)  # The version of the form.
    system = plain.run(stream)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise ValueError("its numbers have their bytes in the order of another machine")
    held = _Machine(makers, fuel, storage).run(stream)
    for key in plain.run(stream):
        its = found[key]
        count = int.from_bytes(stream.read(8), "little")
        if count != its.count:
            raise ValueError(f"it has {count:,} numbers in the place of {its.count:,}")
        its.values = stream.numbers(its.dtype, count)
    return held


def _of_bytes(fuel: Iterator[int], content: Any) -> Any:
    """A storage that is a file of its own inside a pickle, in the older form."""
    if not isinstance(content, bytes):
        raise ValueError("it has a tensor without numbers")
    stream = _Bounded(io.BytesIO(content), len(content), content)
    # There are no calls inside it, so it holds no such file itself.
    if _Machine({}, fuel).run(stream) != _MAGIC:
        raise ValueError("it has numbers that are not in PyTorch's older form")
    return _of_sequence(stream, {}, fuel)


def _mapping() -> dict[Any, Any]:
    return {}


def _first(held: Any, *others: Any) -> Any:
    del others
    return held


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *others: Any) -> Tensor:
    del others
    return Tensor(storage, offset, size, stride)


# The names that tensors and plain containers have.
_PLAIN: Makers = MappingProxyType(
    {
        "collections.OrderedDict": _mapping,
        "torch._utils._rebuild_parameter": _first,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch.Size": _first,
        "builtins.set": Inert,
        "__builtin__.set": Inert,
        "argparse.Namespace": Inert,
        # Single numbers of NumPy.
        "numpy.dtype": Inert,
        "numpy._core.multiarray.scalar": Inert,
        "numpy.core.multiarray.scalar": Inert,
    }
)


class _Bounded:
    """A file that reserves no memory for bytes that it does not have.

    Args:
        file: the file.
        size: its bytes.
        content: all of them, if they are in memory already.
    """

    def __init__(self, file: IO[bytes], size: int, content: bytes | None = None):
        self._file, self._size, self._content = file, size, content

    def read(self, count: int) -> bytes:
        self._check(count)
        return self._file.read(count)

    def numbers(self, dtype: np.dtype, count: int) -> np.ndarray:
        """The next numbers, [count]. They are not copied where they are in memory."""
        size = count * dtype.itemsize
        self._check(size)
        if self._content is None:
            return np.frombuffer(self._file.read(size), dtype)
        start = self._file.tell()
        self._file.seek(start + size)
        return np.frombuffer(self._content, dtype, count, start)

    def readline(self) -> bytes:
        return self._file.readline(_MOST_LINE)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, count: int) -> None:
        if not 0 <= count <= self._size - self._file.tell():
            raise ValueError("it ends too early, or is no pickle")


class _Name(NamedTuple):
    text: str


class _Machine:
    """Reads one pickle.

    Args:
        makers: the function of each name.
        fuel: has an item for each instruction that may still be read.
        storage: (key, type, number of elements) -> the storage. None where there can be none.
    """

    def __init__(
        self,
        makers: Makers,
        fuel: Iterator[int],
        storage: Callable[[str, np.dtype, int], _Storage] | None = None,
    ):
        self._makers, self._fuel, self._storage = makers, fuel, storage

    def run(self, stream: _Bounded) -> Any:
        """Reads the pickle that begins here, and leaves the stream behind it.

        Raises:
            ValueError: the pickle is damaged, or wants what is not allowed.
            Exception: instructions that do not fit each other raise other types.
        """
        source: Any = stream  # It has what `genops` calls.
        stack: list[Any] = []
        # Where lists that are being made begin.
        marks: list[list[Any]] = []
        memo: dict[int, Any] = {}
        argument: Any
        for code, argument, _ in pickletools.genops(source):
            if next(self._fuel, None) is None:
                raise ValueError("it has more instructions than any file of weights")
            name = code.name
            if name in _VALUES:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name]())
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name in ("BINPUT", "LONG_BINPUT"):
                memo[argument] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name == "MARK":
                marks.append(stack)
                stack = []
            elif name in ("TUPLE", "APPENDS", "SETITEMS", "ADDITEMS", "FROZENSET"):
                items, stack = stack, marks.pop()
                if name in ("TUPLE", "FROZENSET"):
                    stack.append(tuple(items))
                elif name == "SETITEMS":
                    _set_items(stack[-1], items)
                else:
                    _extend(stack[-1], items)
            elif name in _TUPLES:
                count = _TUPLES[name]
                if len(stack) < count:
                    raise ValueError("it is damaged")
                stack[-count:] = [tuple(stack[-count:])]
            elif name == "APPEND":
                item = stack.pop()
                _extend(stack[-1], [item])
            elif name == "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            elif name == "GLOBAL":
                stack.append(self._named(str(argument).replace(" ", ".")))
            elif name == "STACK_GLOBAL":
                last, first = stack.pop(), stack.pop()
                stack.append(self._named(f"{first}.{last}"))
            elif name in ("REDUCE", "NEWOBJ"):
                arguments = stack.pop()
                stack.append(self._called(stack.pop(), arguments))
            elif name == "BUILD":
                # The state of an object of which nothing is wanted, or the attributes of a dict.
                stack.pop()
                if not isinstance(stack[-1], Inert | dict):
                    raise ValueError("it changes an object that cannot be changed")
            elif name == "BINPERSID":
                stack.append(self._stored(stack.pop()))
            elif name == "STOP":
                return stack.pop()
            elif name not in ("PROTO", "FRAME"):
                raise ValueError(f"it has the instruction {name}, which no file of weights has")
        raise ValueError("it ends too early")

    def _named(self, text: str) -> _Name:
        if text not in self._makers and text not in _DTYPES:
            raise ValueError(
                f"it asks for {text[:100]!r}, which no file of weights needs; nothing of it was run"
            )
        return _Name(text)

    def _called(self, name: Any, arguments: Any) -> Any:
        if not (isinstance(name, _Name) and type(arguments) is tuple and name.text in self._makers):
            raise ValueError("it calls what is no function")
        return self._makers[name.text](*arguments)

    def _stored(self, identity: Any) -> _Storage:
        if self._storage is None or type(identity) is not tuple:
            raise ValueError("it has a tensor outside the places for them")
        kind, dtype, key, _, count, *view = identity
        if kind != "storage" or not isinstance(dtype, _Name) or dtype.text not in _DTYPES:
            raise ValueError("it has numbers of an unknown kind")
        if not (isinstance(key, str) and type(count) is int and count >= 0) or any(view):
            raise ValueError("it has a tensor without numbers")
        return self._storage(key, _DTYPES[dtype.text], count)


def _set_items(target: Any, items: list[Any]) -> None:
    # Nested tuples take very long to hash.
    if type(target) is not dict or not all(isinstance(key, str | int) for key in items[::2]):
        raise ValueError("it has a dict whose keys are no texts")
    target.update(zip(items[::2], items[1::2], strict=True))


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise ValueError("it appends to what is no list")
    target.extend(items)
