"""Pickled tensors are read without PyTorch, and nothing of a file is run."""

import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest
import torch_pickles
from torch_pickles import Calls

from jaxgan.run import pickles

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


def written(path, content):
    path.write_bytes(content)
    return path


def read(tmp_path, content, makers=None):
    return pickles.read(written(tmp_path / "a.pt", content), makers or {})


@pytest.mark.parametrize("form", [torch_pickles.archive, torch_pickles.legacy])
def test_both_forms_of_files(form, tmp_path):
    arrays = {"a": NUMBERS, "half": NUMBERS.astype(np.float16), "b.c": np.float32([7])}
    held = read(tmp_path, form({"n": torch_pickles.state_of(arrays), "step": 3, "rate": 0.5}))
    assert (held["step"], held["rate"]) == (3, 0.5)
    for key, array in arrays.items():
        given = held["n"][key].array()
        np.testing.assert_array_equal(given, array)
        assert given.dtype == array.dtype and not given.flags.writeable


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_tensors_whose_numbers_are_files_in_the_file(protocol, tmp_path):
    with torch_pickles.named():
        content = pickle.dumps(
            {"a": torch_pickles.parameter(NUMBERS), "none": None, "set": {1}}, protocol=protocol
        )
    held = read(tmp_path, content)
    np.testing.assert_array_equal(held["a"].array(), NUMBERS)
    assert held["none"] is None


def test_a_tensor_may_be_transposed(tmp_path):
    tensor = torch_pickles.by_storage(NUMBERS)
    storage, offset, _, _, *rest = tensor.arguments
    transposed = Calls(tensor.function, storage, 1, (2, 2), (1, 3), *rest)
    np.testing.assert_array_equal(
        read(tmp_path, torch_pickles.archive(transposed)).array(), [[1, 4], [2, 5]]
    )


class Hostile:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


class Evaluated:
    def __reduce__(self):
        return eval, ("open('ran', 'w')",)


class Imported:
    def __reduce__(self):
        return __import__, ("antigravity",)


class Stateful:
    """Would change a function that the reader calls."""

    def __reduce__(self):
        return print, ("ran",), {"__code__": None}


@pytest.mark.parametrize("hostile", [Hostile, Evaluated, Imported, Stateful])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_would_run_is_refused_in_one_line(hostile, protocol, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    plain = pickle.dumps({"a": hostile()}, protocol=protocol)
    with torch_pickles.named():
        nested = Calls(
            torch_pickles._NAMES["torch.storage._load_from_bytes"],
            torch_pickles.legacy(hostile()),
        )
        inside = pickle.dumps({"G": nested}, protocol=protocol)
    forms = (torch_pickles.legacy(hostile()), torch_pickles.archive(hostile()))
    for content in (plain, inside, *forms):
        with pytest.raises(ValueError, match=r"cannot be read: it asks for '\w+\.\w+'") as error:
            read(tmp_path, content)
        assert "\n" not in str(error.value) and "nothing of it was run" in str(error.value)
    assert os.listdir(tmp_path) == ["a.pt"] and capfd.readouterr() == ("", "")


def test_no_name_is_known_by_chance(tmp_path):
    """Names of Python alone and of this package are refused, also those that pickles often use."""
    for text in ("builtins.getattr", "copyreg._reconstructor", "jaxgan.run.pickles.read", "a.b"):
        module, _, name = text.rpartition(".")
        content = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        content += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
        with pytest.raises(ValueError, match=f"asks for '{text}'"):
            read(tmp_path, content)


ALLOWED = {
    *("PROTO", "FRAME", "STOP", "MARK", "MEMOIZE", "BINPUT", "LONG_BINPUT", "BINGET"),
    *("LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT"),
    *("EMPTY_SET", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "APPEND", "APPENDS", "SETITEM"),
    *("SETITEMS", "ADDITEMS", "FROZENSET", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD"),
    *("BINPERSID", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("BINSTRING", "SHORT_BINSTRING"),
}


@pytest.mark.parametrize("code", pickletools.opcodes, ids=lambda code: code.name)
def test_other_instructions_are_refused(code, tmp_path):
    """INST, OBJ, EXT1, NEWOBJ_EX and so on: all that call, and all that are not needed."""
    argument = {"stringnl_noescape_pair": b"os\nsystem\n", "stringnl": b"'a'\n"}
    given = argument.get(code.arg.name, b"1\n" + bytes(16)) if code.arg else b""
    content = b"\x80\x04(K\x01K\x02" + code.code.encode("latin-1") + given + b"."
    with pytest.raises(ValueError) as error:
        read(tmp_path, content)
        raise ValueError("a text of no meaning was read")
    assert ("has the instruction" in str(error.value)) <= (code.name not in ALLOWED)
    if code.name in ("INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX", "DUP", "PERSID"):
        assert f"has the instruction {code.name}" in str(error.value)


def call(name, *arguments):
    """A pickle of one call, of any name."""
    module, _, last = name.rpartition(".")
    made = pickle.dumps(arguments, protocol=2)[2:-1]
    return b"\x80\x02c" + f"{module}\n{last}\n".encode() + made + b"R."


def test_a_table_of_the_caller_says_what_is_called(tmp_path):
    assert read(tmp_path, call("a.b", 1, "x"), {"a.b": lambda *its: list(its)}) == [1, "x"]
    with pytest.raises(ValueError, match="it is damaged"):
        read(tmp_path, call("a.b", 1), {"a.b": lambda: None})


def storage_file(count, numbers, *, kind=b"FloatStorage"):
    """A storage in the older form that claims `count` numbers."""
    start = b"".join(
        pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {})
    )
    identity = b"\x80\x02(X\x07\x00\x00\x00storagectorch\n" + kind + b"\nX\x01\x00\x00\x000X"
    identity += b"\x03\x00\x00\x00cpu\x8a\x08" + struct.pack("<q", count) + b"tQ."
    keys = b"\x80\x02]X\x01\x00\x00\x000a."
    return start + identity + keys + struct.pack("<q", count) + numbers


def tensor_of(size, stride, offset=0, content=None):
    tensor = torch_pickles.tensor(NUMBERS, content)
    storage, *_ = tensor.arguments
    with torch_pickles.named():
        return pickle.dumps(Calls(tensor.function, storage, offset, size, stride), protocol=4)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((2, 3), (3, 1), 1),
        ((1 << 40,), (0,), 0),
        ((1 << 40, 1 << 40), (1 << 40, 1), 0),
        ((2, 2), (1 << 62, 1), 0),
        ((7,), (1,), 0),
        ((2,), (-1,), 5),
        ((2,), (1,), -1),
        ((2,), (1, 1), 0),
        ((2.0,), (1,), 0),
        ((0,), (1,), 0),
        ((1,) * 40, (1,) * 40, 0),
        ([2], [1], 0),
    ],
)
def test_a_tensor_has_no_other_numbers_than_the_file(size, stride, offset, tmp_path):
    held = read(tmp_path, tensor_of(size, stride, offset))
    with pytest.raises(ValueError, match="it has a tensor"):
        held.array()


@pytest.mark.parametrize("count", [-1, 5, 7, 1 << 40, (1 << 63) - 1])
def test_a_storage_has_no_other_numbers_than_the_file(count, tmp_path):
    content = storage_file(count, NUMBERS.tobytes())
    with pytest.raises(ValueError, match=r"a\.pt cannot be read|it has a tensor"):
        read(tmp_path, tensor_of((6,), (1,), content=content)).array()


def test_types_of_numbers_that_are_unknown(tmp_path):
    content = storage_file(6, NUMBERS.tobytes(), kind=b"QuantisedStorage")
    with pytest.raises(ValueError, match="asks for 'torch.QuantisedStorage'"):
        read(tmp_path, tensor_of((6,), (1,), content=content))


def test_memory_is_not_reserved_for_what_a_file_only_claims(tmp_path):
    """Lengths, places in the memo, and depth: each would take gigabytes or overflow a stack."""
    huge = struct.pack("<Q", 1 << 40)
    for content, message in {
        b"\x80\x04\x8e" + huge + b"abc.": "ends too early",
        b"\x80\x04\x8d" + huge + b"abc.": "ends too early",
        b"\x80\x04\x95" + huge + b"c.": "cannot be read",
        b"\x80\x04K\x01" + b"N" * ((1 << 20) + 1): "more instructions",
    }.items():
        with pytest.raises(ValueError, match=message):
            read(tmp_path, content)
    assert read(tmp_path, b"\x80\x04K\x01r\xff\xff\xff\x7f.") == 1
    deep = read(tmp_path, b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".")
    assert isinstance(deep, list)
    while deep:  # So that the lists are not freed one inside another.
        deep = deep.pop()


def test_keys_are_texts_or_numbers(tmp_path):
    """A tuple of tuples of the same tuple and so on has no end of hashing."""
    nested = b"\x80\x04})"
    for i in range(60):
        nested += b"\x94h" + bytes([i]) + b"\x86"
    with pytest.raises(ValueError, match="keys are no texts"):
        read(tmp_path, nested + b"K\x01s.")
    with pytest.raises(ValueError, match="keys are no texts"):
        read(tmp_path, b"\x80\x04})K\x01s.")


@pytest.mark.parametrize("form", [torch_pickles.archive, torch_pickles.legacy])
def test_a_file_that_is_cut_off_anywhere_is_refused(form, tmp_path):
    content = form(torch_pickles.state_of({"a": NUMBERS, "b": NUMBERS[0]}))
    for end in range(0, len(content), 7):
        with pytest.raises(ValueError) as error:
            read(tmp_path, content[:end])
            raise AssertionError(end)
        assert "\n" not in str(error.value) and "a.pt cannot be read: " in str(error.value)


def test_damaged_files_end_in_one_line(tmp_path):
    """Each byte changed: the file is read, or refused with a ValueError."""
    content = bytearray(torch_pickles.legacy(torch_pickles.state_of({"a": NUMBERS})))
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x55
        try:
            read(tmp_path, bytes(changed))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(content) // 2


def test_archives(tmp_path):
    def archive(members, compression=zipfile.ZIP_STORED):
        path = tmp_path / "made.zip"
        with zipfile.ZipFile(path, "w", compression) as zipped:
            for name, content in members.items():
                zipped.writestr(name, content)
        return path.read_bytes()

    with pytest.raises(ValueError, match="none of PyTorch: it has no data.pkl"):
        read(tmp_path, archive({"a.txt": "x"}))
    with pytest.raises(ValueError, match="in the order of another machine"):
        read(tmp_path, archive({"a/data.pkl": "", "a/byteorder": "big"}))
    bomb = archive({"a/data.pkl": b"N." + bytes(1 << 24)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 16
    with pytest.raises(ValueError, match="claims .* bytes, more than it has"):
        read(tmp_path, bomb)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.pkl is not there"):
        pickles.read(tmp_path / "absent.pkl", {})
    with pytest.raises(ValueError, match="a.pt cannot be read: "):
        read(tmp_path, b"weights, please\n")
    with pytest.raises(ValueError, match="is no regular file"):
        pickles.read(tmp_path, {})
    hollow = tmp_path / "hollow.pkl"
    with open(hollow, "wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(ValueError, match="claim to be"):
        pickles.read(hollow, {})


class TestBesidePyTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    @pytest.mark.parametrize("is_archive", [True, False])
    def test_its_files(self, torch, is_archive, tmp_path):
        state = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict()
        shared = torch.arange(6.0)
        held = {"n": state, "t": shared.reshape(2, 3).t(), "of": shared[2:], "h": shared.half()}
        path = tmp_path / "a.pt"
        torch.save(held, path, _use_new_zipfile_serialization=is_archive)
        given = pickles.read(path, {})
        for key, tensor in state.items():
            np.testing.assert_array_equal(given["n"][key].array(), tensor.numpy())
        for key in ("t", "of", "h"):
            np.testing.assert_array_equal(given[key].array(), held[key].numpy())

    def test_its_parameters_in_a_pickle(self, torch, tmp_path):
        parameter = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
        held = read(tmp_path, pickle.dumps({"a": parameter, "b": torch.tensor(3.0)}))
        np.testing.assert_array_equal(held["a"].array(), NUMBERS)
        assert held["b"].array() == 3

    def test_it_reads_the_files_of_these_tests(self, torch, tmp_path):
        for form in (torch_pickles.archive, torch_pickles.legacy):
            content = form(torch_pickles.state_of({"a": NUMBERS}))
            held = torch.load(written(tmp_path / "a.pt", content), weights_only=True)
            np.testing.assert_array_equal(held["a"].numpy(), NUMBERS)
