"""Sets of TensorFlow Datasets: its own builder, fed by a server of our own."""

import gzip
import hashlib
import http.server
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jaxgan import data

tfds = pytest.importorskip("tensorflow_datasets")

FETCH = "python experiments/mnist_gan.py --dataset fashion_mnist --download --data-dir"


# --- A server, and what it serves ---


class _Server:
    """Serves files from memory on 127.0.0.1, each after a moment; counts what it was asked."""

    def __init__(self, files, delay=0.0, promise=0):
        requests = self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                requests.append(self.path)
                time.sleep(delay)
                content = files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + promise))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _idx(array):
    header = struct.pack(f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), 1)


@pytest.fixture(scope="module")
def served():
    """By split: uint8 images [n, 28, 28, 1] and labels [n], as the server has them."""
    arrays = {}
    for split in ("train", "test"):
        mnist = data.load(split=split)
        arrays[split] = mnist.images // 64 * 80, 9 - mnist.labels
    return arrays


@pytest.fixture(scope="module")
def files(served):
    named = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = served[split]
        named[f"/{prefix}-images-idx3-ubyte.gz"] = _idx(images[..., 0])
        named[f"/{prefix}-labels-idx1-ubyte.gz"] = _idx(labels.astype(np.uint8))
    return named


@pytest.fixture
def point_at(monkeypatch):
    """Has TFDS's own builder of Fashion-MNIST download from another place."""
    builder = tfds.builder_cls("fashion_mnist")
    return lambda url: monkeypatch.setattr(builder, "URL", url)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, files):
    """A folder with Fashion-MNIST as `load` prepared it, what it gave, and the requests it took.

    From a server that is slower to answer than a host is given to be there.
    """
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch, _Server(files, delay=0.6) as server:
        patch.setattr(data, "_CONNECT_SECONDS", 0.3)
        patch.setattr(tfds.builder_cls("fashion_mnist"), "URL", server.url)
        dataset = data.load("fashion_mnist", data_dir=folder, download=True)
    return folder, dataset, server.requests


def _rows(images, labels):
    """Each image with its label, in an order that does not depend on theirs."""
    flat = images.reshape(len(images), -1)
    return sorted(map(bytes, np.column_stack([labels.astype(np.uint8), flat])))


def _python(script, tmp_path):
    """Runs a script in a Python that has no TensorFlow."""
    hide = (
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec\n"
        "def find(name, *rest):\n"
        "    return None if name.split('.')[0] == 'tensorflow' else found(name, *rest)\n"
        "PathFinder.find_spec = find\n"
    )
    path = tmp_path / "script.py"
    path.write_text(hide + script)
    root = str(Path(data.__file__).parents[2])
    environment = {"PYTHONPATH": root, "HOME": str(tmp_path), "PATH": ""}
    return subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, env=environment, cwd=tmp_path
    )


# --- Fashion-MNIST, downloaded, prepared and read ---


def test_download_gives_what_was_served(prepared, served):
    _, dataset, requests = prepared
    assert dataset.name == "fashion_mnist" and dataset.notes == ()
    assert dataset.images.shape == (60_000, 28, 28, 1) and dataset.images.dtype == np.uint8
    assert dataset.labels.shape == (60_000,) and dataset.labels.dtype == np.int32
    assert _rows(dataset.images, dataset.labels) == _rows(*served["train"])
    assert len(set(requests)) == 4


def test_read_again_without_the_server(prepared, served):
    folder, dataset, requests = prepared
    asked = len(requests)
    again = data.load("fashion_mnist", data_dir=folder)
    np.testing.assert_array_equal(again.images, dataset.images)
    np.testing.assert_array_equal(again.labels, dataset.labels)
    # Nothing is downloaded that is there.
    test = data.load("fashion_mnist", split="test", data_dir=str(folder), download=True)
    assert _rows(test.images, test.labels) == _rows(*served["test"])
    assert len(requests) == asked


def test_read_without_tensorflow(prepared, tmp_path):
    folder = prepared[0]
    done = _python(
        "import hashlib, sys\n"
        "from jaxgan import data\n"
        f"dataset = data.load('fashion_mnist:3.*.*', split='test', data_dir={str(folder)!r})\n"
        "content = dataset.images.tobytes() + dataset.labels.tobytes()\n"
        "print(hashlib.sha256(content).hexdigest())\n"
        "print('tensorflow' in sys.modules, 'jax' in sys.modules)\n",
        tmp_path,
    )
    dataset = data.load("fashion_mnist", split="test", data_dir=folder)
    content = dataset.images.tobytes() + dataset.labels.tobytes()
    expected = [hashlib.sha256(content).hexdigest(), "False False"]
    assert done.stdout.splitlines() == expected, done.stderr


def test_the_experiment_trains_on_it(prepared, run_script, tmp_path):
    folder, _, _ = prepared
    small = ("--generator-widths", 16, "--discriminator-widths", 16, "--batch-size", 6000)
    done = run_script(
        *("mnist_gan.py", "--dataset", "fashion_mnist", "--data-dir", folder),
        *("--epochs", 1, "--workdir", "run", *small),
    )
    assert done.returncode == 0, done.stderr
    assert "fashion_mnist: 60,000 images" in done.stdout
    assert (tmp_path / "run" / "checkpoints" / "10").is_dir()
    assert not list(tmp_path.glob("runs"))


def test_slice_and_shape(prepared):
    folder, dataset, _ = prepared
    part = data.load("fashion_mnist", split="train[:100]", image_shape=(14, 14, 3), data_dir=folder)
    means = dataset.images[:100].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    assert np.abs(part.images - means[..., None]).max() <= 1
    np.testing.assert_array_equal(part.labels, dataset.labels[:100])
    assert part.notes == (
        "fashion_mnist: 100 images 28x28x1 brought to 14x14x3 (area-averaged, grey repeated)",
    )


def test_unknown_split(prepared):
    with pytest.raises(ValueError, match="has the splits '(train', 'test|test', 'train)', not 'x'"):
        data.load("fashion_mnist", split="x", data_dir=prepared[0])


def test_a_missing_part_is_told(prepared):
    folder = prepared[0]
    part = next(folder.glob("fashion_mnist/*/fashion_mnist-test*"))
    away = part.with_name("away")
    part.rename(away)
    try:
        with pytest.raises(FileNotFoundError) as told:
            data.load("fashion_mnist", split="test", data_dir=folder)
    finally:
        away.rename(part)
    line = str(told.value)
    assert str(part) in line and "is missing" in line and FETCH in line and "\n" not in line


def test_a_damaged_part_is_told(prepared):
    folder = prepared[0]
    part = next(folder.glob("fashion_mnist/*/fashion_mnist-test*"))
    content = part.read_bytes()
    half = len(content) // 2
    for spoilt in (content[:half], content[:half] + bytes(2000) + content[half + 2000 :]):
        part.write_bytes(spoilt)
        try:
            with pytest.raises(ValueError, match="fashion_mnist is damaged") as told:
                data.load("fashion_mnist", split="test", data_dir=folder)
        finally:
            part.write_bytes(content)
        assert FETCH in str(told.value) and "\n" not in str(told.value)


# --- What is not there ---


def test_not_there_is_told_at_once(tmp_path):
    started = time.monotonic()
    with pytest.raises(FileNotFoundError) as told:
        data.load("fashion_mnist", data_dir=tmp_path)
    assert time.monotonic() - started < 5
    assert f"{FETCH} {tmp_path}" in str(told.value) and "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashon_mnist", "there is no data set 'fashon_mnist': did you mean fashion_mnist"),
        ("qqqqqqqq", "there is no data set 'qqqqqqqq'"),
        ("no such", "'no such' is not the name of a data set"),
        ("emnist/leters", "emnist has no configuration 'leters': did you mean letters?"),
        ("cifar10/x", "cifar10 has no configuration 'x'"),
    ],
)
@pytest.mark.parametrize("download", [False, True])
def test_unknown_names(tmp_path, monkeypatch, name, words, download):
    def connect(*args):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(ValueError) as told:
        data.load(name, data_dir=tmp_path, download=download)
    assert words in str(told.value) and "\n" not in str(told.value)


def test_an_unknown_name_does_not_wait_for_tensorflow(tmp_path):
    # TFDS asks the network for the community's sets, and does so with TensorFlow.
    script = (
        "import sys\n"
        "from jaxgan import data\n"
        "try:\n"
        f"    data.load('fashon_mnist', data_dir={str(tmp_path)!r}, download=True)\n"
        "except ValueError:\n"
        "    print('tensorflow' in sys.modules)\n"
    )
    root = Path(data.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "False", done.stderr


def test_a_set_without_images_is_not_downloaded(tmp_path):
    pytest.importorskip("tensorflow")
    with pytest.raises(ValueError, match="imdb_reviews has no 8-bit images"):
        data.load("imdb_reviews", data_dir=tmp_path, download=True)


def test_preparing_without_tensorflow_is_told(tmp_path):
    done = _python(
        "from jaxgan import data\n"
        "try:\n"
        f"    data.load('fashion_mnist', data_dir={str(tmp_path)!r}, download=True)\n"
        "except ImportError as error:\n"
        "    print(error)\n",
        tmp_path,
    )
    assert done.stdout.splitlines() == [
        'preparing fashion_mnist needs TensorFlow: pip install "jaxgan[tfds]"'
    ], done.stderr


# --- Networks that fail ---


def _assert_nothing_is_there(folder):
    assert not list(folder.glob("fashion_mnist/*"))
    with pytest.raises(FileNotFoundError):
        data.load("fashion_mnist", data_dir=folder)


def test_a_dead_network_is_told_soon(tmp_path, point_at):
    pytest.importorskip("tensorflow")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    point_at(f"http://{address}/")
    started = time.monotonic()
    with pytest.raises(ConnectionError) as told:
        data.load("fashion_mnist", data_dir=tmp_path, download=True)
    assert time.monotonic() - started < 10
    line = str(told.value)
    assert address in line and "cannot be reached" in line and "refused" in line
    assert "\n" not in line
    _assert_nothing_is_there(tmp_path)


def test_a_silent_name_server_is_told_soon(tmp_path, point_at, monkeypatch):
    pytest.importorskip("tensorflow")
    over = threading.Event()

    def getaddrinfo(*args, **kwargs):
        over.wait(60)
        raise socket.gaierror("no name server")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(data, "_REACH_SECONDS", 0.5)
    point_at("http://data.invalid/")
    with pytest.raises(ConnectionError, match=r"data.invalid cannot be reached \(no answer in 0.5"):
        data.load("fashion_mnist", data_dir=tmp_path, download=True)
    over.set()
    _assert_nothing_is_there(tmp_path)


@pytest.mark.parametrize("fault", ["a file is not there", "a file breaks off"])
def test_a_failed_download_leaves_nothing(tmp_path, point_at, fault):
    pytest.importorskip("tensorflow")
    names = [
        f"/{a}-{b}.gz"
        for a in ("train", "t10k")
        for b in ("images-idx3-ubyte", "labels-idx1-ubyte")
    ]
    contents = dict.fromkeys(names, gzip.compress(bytes(100)))
    promise = 10 if fault == "a file breaks off" else 0
    if not promise:
        del contents["/t10k-labels-idx1-ubyte.gz"]
    with _Server(contents, promise=promise) as server:
        point_at(server.url)
        with pytest.raises(OSError, match="fashion_mnist could not be prepared") as told:
            data.load("fashion_mnist", data_dir=tmp_path, download=True)
    assert "\n" not in str(told.value)
    _assert_nothing_is_there(tmp_path)


# --- A set that somebody else prepared, as TFDS does unless told otherwise ---

SIZES = [(40, 30), (20, 20), (16, 24), (60, 20)]


def _pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder with colour images of various sizes and no labels, in tfrecord form."""
    pytest.importorskip("tensorflow")

    class ForeignColours(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"number": np.int64, "image": tfds.features.Image()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, picture in enumerate(_pictures()):
                yield number, {"number": number, "image": picture}

    folder = tmp_path_factory.mktemp("foreign")
    ForeignColours(data_dir=folder).download_and_prepare(file_format="tfrecord")
    return folder


def _grey(image):
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[..., None]


def test_tfrecords_of_various_sizes(foreign):
    dataset = data.load("foreign_colours", data_dir=foreign, image_shape=(10, 10, 1))
    assert dataset.images.shape == (4, 10, 10, 1) and dataset.images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.labels, np.zeros(4, np.int32))
    assert dataset.notes[0].startswith(
        "foreign_colours: 4 images of various shapes brought to 10x10x1 (grey by luminance, "
    )
    tall, square, _, slender = _pictures()
    expected = [
        _grey(tall[5:35]).reshape(10, 3, 10, 3, 1).mean(axis=(1, 3)),
        _grey(square).reshape(10, 2, 10, 2, 1).mean(axis=(1, 3)),
        _grey(slender[20:40]).reshape(10, 2, 10, 2, 1).mean(axis=(1, 3)),
    ]
    for image in expected:
        # Grey, and then each direction's mean, are rounded.
        nearest = np.abs(dataset.images - image).max(axis=(1, 2, 3)).min()
        assert nearest <= 1.5


def test_colour_stays_colour(foreign):
    dataset = data.load("foreign_colours", data_dir=foreign, image_shape=(16, 24, 3))
    assert any((image == _pictures()[2]).all() for image in dataset.images)


def test_various_sizes_have_no_shape_of_their_own(foreign):
    with pytest.raises(ValueError, match="foreign_colours are of various shapes") as told:
        data.load("foreign_colours", data_dir=foreign, image_shape=None)
    assert "\n" not in str(told.value)


def test_an_empty_slice(foreign):
    with pytest.raises(ValueError, match=r"'train\[4:\]' of foreign_colours is empty"):
        data.load("foreign_colours", split="train[4:]", data_dir=foreign)


def test_tfrecords_without_tensorflow_are_told(foreign, tmp_path):
    done = _python(
        "from jaxgan import data\n"
        "try:\n"
        f"    data.load('foreign_colours', data_dir={str(foreign)!r})\n"
        "except ImportError as error:\n"
        "    print(error)\n",
        tmp_path,
    )
    line = "reading foreign_colours, which is prepared as tfrecord, needs TensorFlow"
    assert done.stdout.startswith(line) and done.stdout.count("\n") == 1, done.stderr
    assert 'pip install "jaxgan[tfds]"' in done.stdout
