"""Hostile and damaged files of weights: each is read as NumPy reads it or refused in one line."""

import io
import itertools
import struct
import zipfile

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import assert_one_line, examples, mutated

from jaxgan import weights

VARIABLES = {
    "generator": {
        "params": {
            "Dense_0": {
                "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
                "bias": np.array([0.5, -1.0], np.float32),
            },
            "scale": np.float32(3),
        },
        "batch_stats": {"mean": np.zeros((0, 3), np.float32)},
    }
}
TRANSPOSED = {"params": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T}}


def written(folder, variables, dtype=np.float32):
    path = folder / "written.npz"
    weights.write(path, variables, dtype)
    return path.read_bytes()


@pytest.fixture
def files_of_weights(tmp_path):
    return [
        written(tmp_path, VARIABLES),
        written(tmp_path, VARIABLES, np.float16),
        written(tmp_path, TRANSPOSED, np.float64),
    ]


def as_numpy_reads(content):
    """The arrays of an .npz by NumPy's own reader, by name."""
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored}


def check_weights(folder, content):
    """Reads a file; whether it was taken, and then is right by NumPy's reader."""
    path = folder / "weights.npz"
    path.write_bytes(content)
    try:
        variables = weights.read(path)
    except ValueError as error:
        assert_one_line(error, path)
        return False
    flat = {}
    for keys, leaf in jax.tree_util.tree_leaves_with_path(variables):
        assert type(leaf) is np.ndarray and leaf.dtype == np.float32
        flat["/".join(key.key for key in keys)] = leaf
    expected = {name: x.astype(np.float32) for name, x in as_numpy_reads(content).items()}
    assert flat.keys() == expected.keys()
    for name, leaf in flat.items():
        np.testing.assert_array_equal(leaf, expected[name])
    assert sum(leaf.nbytes for leaf in flat.values()) <= 2 * len(content)
    return True


def test_mutated_files_of_weights(tmp_path, files_of_weights):
    taken = []

    @examples(2000)
    @given(mutated(files_of_weights))
    def check(content):
        taken.append(check_weights(tmp_path, content))

    for content in files_of_weights:
        assert check_weights(tmp_path, content)
    check()
    # Both outcomes must be frequent, or the test shows nothing about one of them.
    assert 10 < sum(taken) < len(taken) - 10


NAMES = [
    *["params.npy", "params/a.npy", ".npy", "a", "a/.npy", "/a.npy", "../a.npy", "a/../b.npy"],
    *["a\\b.npy", "./a.npy", "a//b.npy", "\ud7ff.npy", "a\n.npy", "é.npy", "a/" * 100 + "b.npy"],
]
SHAPES = [
    *["()", "(1, 2)", "(0,)", "(2**40,)", "(1099511627776, 1099511627776)", "(-1, -2)"],
    *["(True, 2)", "(2.0,)", "2", "[2]", "(0, 99999999999999999999)", "(1,) * 9", "(" * 300, "("],
    *["(" + "1, " * 40 + "2)", "(" + "1, " * 80 + "2)", "-" * 500 + "2", "(2L,)"],
    "(" + "2" * 500 + ",)",
]
DTYPES = [
    *["'>f4'", "'<f2'", "'<f8'", "'<f16'", "'|O'", "'<c8'", "'<i4'", "'|b1'", "'|V8'", "'<U2'"],
    *["'|S8'", "'<M8[s]'", "[('a', '<f4')]", "('<f4', (2,))", "'<f4,<f4'", "None", "{}", "'no'"],
    *["''", "1", "[[]]", "[('a', '<f4', (99999999,))]", "'bfloat16'"],
]
ODD = {
    "name": NAMES,
    "shape": SHAPES,
    "descr": DTYPES,
    "fortran_order": ["True", "None", "0"],
    "version": [b"\x02\x00", b"\x03\x00", b"\x09\x00"],
    "header": ["", "{[]: 1}", "\0", "{}", "(", "{'descr': '<f4'}", "1" * 2000, "\\", "[" * 100],
    "length": [0, 65535, 1, 60],
    "payload": [b"", b"\x3c" * 9, b"\x3c" * 4, b"\x3c" * 16],
    "content": [b"", b"\x93NUMPY\x01", b"\x80\x04."],
    "kind": [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2],
}


@st.composite
def archives(draw):
    """An archive of a few arrays as NumPy writes them, in all but one or two things."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(draw(st.integers(0, 2))):
            odd = {
                fault: draw(st.sampled_from(ODD[fault]))
                for fault in draw(st.lists(st.sampled_from(list(ODD)), max_size=2))
            }
            usual = {"descr": "'<f4'", "fortran_order": "False", "shape": "(2,)"} | odd
            header = ", ".join(f"'{key}': {usual[key]}" for key in list(usual)[:3])
            header = odd.get("header", f"{{{header}}}\n").encode("latin1")
            length = struct.pack("<H", odd.get("length", len(header)))
            content = b"\x93NUMPY" + odd.get("version", b"\x01\x00") + length + header
            content = odd.get("content", content + odd.get("payload", b"\x3c" * 8))
            name = zipfile.ZipInfo(odd.get("name", f"params/{i}.npy"))
            archive.writestr(name, content, odd.get("kind", zipfile.ZIP_STORED))
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")  # Of zipfile on names that are there twice, and of NumPy's.
def test_made_up_archives(tmp_path):
    taken = []

    @examples(1000)
    @given(archives())
    def check(content):
        taken.append(check_weights(tmp_path, content))

    check()
    assert 10 < sum(taken) < len(taken) - 10


def archive(members):
    """An uncompressed .npz of arrays under these names, of which one may be there twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, array in members:
            with file.open(zipfile.ZipInfo(name), "w") as stream:
                np.lib.format.write_array(stream, array)
    return buffer.getvalue()


ONE = np.ones(2, np.float32)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_no_variable_has(tmp_path, subtests):
    for names, said in (
        (["../a.npy"], "'../a' is no name of a variable"),
        (["/a.npy"], "'/a' is no name of a variable"),
        (["a/../../b.npy"], "is no name of a variable"),
        (["a\\b.npy"], "is no name of a variable"),
        (["a/.npy"], "'a/' is no name of a variable"),
        ([".npy"], "'' is no name of a variable"),
        (["a.npy", "a.npy"], "'a' is there twice"),
        (["a.npy", "a/b.npy"], "'a/b' is below that of another"),
        (["a/b.npy", "a.npy"], "'a/b' is below that of another"),
        (["a/" * 64 + "b.npy"], "more than 64 levels"),
        (["a.txt"], "'a.txt' in it is no .npy"),
        (["a/"], "'a/' in it is no .npy"),
    ):
        path = tmp_path / "some.npz"
        path.write_bytes(archive([(name, ONE) for name in names]))
        with subtests.test(names=[name[:30] for name in names]):
            with pytest.raises(ValueError) as error:
                weights.read(path)
            assert_one_line(error.value, path, said)


@pytest.mark.parametrize(
    "array",
    [ONE.astype(kind) for kind in (np.int32, np.complex64, bool, "U4", np.longdouble)]
    + [np.zeros(2, [("a", "<f4")]), np.zeros(2, "M8[s]"), np.zeros(2, "V4")],
    ids=str,
)
def test_weights_are_real_floats(tmp_path, array):
    path = tmp_path / "some.npz"
    path.write_bytes(archive([("a.npy", array)]))
    with pytest.raises(ValueError, match="not float16, float32 or float64"):
        weights.read(path)


@pytest.mark.parametrize("shape", ["(3,)", "(1,)", "(-2,)", "(-1, -2)", "(2, 2)", "(0,)"])
def test_an_array_that_is_not_as_large_as_it_says(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + ONE.tobytes()
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", content)
    with pytest.raises(ValueError) as error:
        weights.read(path)
    assert_one_line(error.value, path, f"'a.npy' has 8 bytes, which is not float32 {shape}")


def test_every_layout_of_numbers_is_read_right(tmp_path, subtests):
    path = tmp_path / "some.npz"
    for dtype, order in itertools.product(["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"], "CF"):
        array = np.array([[1, 2, 3], [-4.5, 0, 1024]]).astype(dtype, order=order)
        path.write_bytes(archive([("a/b.npy", array)]))
        with subtests.test(dtype=dtype, order=order):
            read = weights.read(path)["a"]["b"]
            assert read.dtype == np.float32 and read.dtype.isnative and read.flags.c_contiguous
            np.testing.assert_array_equal(read, [[1, 2, 3], [-4.5, 0, 1024]])
            read += 1  # The array is the caller's own.


def test_numbers_that_no_float32_is(tmp_path):
    path = tmp_path / "some.npz"
    path.write_bytes(archive([("a.npy", np.array([1.0, np.inf, np.nan]))]))
    np.testing.assert_array_equal(weights.read(path)["a"], np.float32([1, np.inf, np.nan]))
    path.write_bytes(archive([("a.npy", np.array([1e39]))]))
    with pytest.raises(ValueError, match="too large for float32"):
        weights.read(path)


class Unpickled:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_unpickled(tmp_path):
    path, trace = tmp_path / "some.npz", tmp_path / "trace"
    np.savez(path, a=np.array([Unpickled(trace)]))
    with pytest.raises(ValueError, match="not float16, float32 or float64"):
        weights.read(path)
    assert not trace.exists()
    with np.load(path, allow_pickle=True) as stored:
        assert "a" in stored and stored["a"].shape == (1,)
    assert trace.exists(), "it is a trap, if one steps on it"


def test_a_compressed_file_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(10**6, np.float32))
    with pytest.raises(ValueError, match="'a.npy' is compressed, which they never are"):
        weights.read(path)


def test_members_that_lie_over_each_other(tmp_path):
    """A short file whose members all are the same bytes, so that they add up to anything."""
    path = tmp_path / "some.npz"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        with file.open(zipfile.ZipInfo("a.npy"), "w") as stream:
            np.lib.format.write_array(stream, np.ones(1000, np.float32))
        (first,) = file.infolist()
        for i in range(100):
            again = zipfile.ZipInfo(f"{i}.npy")
            for name in ("header_offset", "CRC", "file_size", "compress_size"):
                setattr(again, name, getattr(first, name))
            file.filelist.append(again)
    path.write_bytes(buffer.getvalue())
    assert sum(each.file_size for each in zipfile.ZipFile(path).infolist()) > 10 * len(
        buffer.getvalue()
    )
    with pytest.raises(ValueError, match="it claims more than the .* bytes that it has"):
        weights.read(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"no zip\n" * 100, b"\x80\x04.", b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_archive(tmp_path, content):
    path = tmp_path / "some.npz"
    path.write_bytes(content)
    if content.startswith(b"PK\x05"):
        assert weights.read(path) == {}, "an archive of nothing"
        return
    with pytest.raises(ValueError) as error:
        weights.read(path)
    assert_one_line(error.value, path)
