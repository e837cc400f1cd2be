"""Downloading and preparing a set: TFDS's builder of Fashion-MNIST, and a server of our own."""

import gzip
import hashlib
import socket
import threading
import time

import numpy as np
import pytest

from jaxgan import data
from jaxgan.data import preparing

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.fixture
def point_at(monkeypatch):
    """Has TFDS's own builder of Fashion-MNIST download from another address."""
    builder = tfds.builder_cls("fashion_mnist")
    return lambda url: monkeypatch.setattr(builder, "URL", url)


def test_download_gives_what_was_served(prepared, served, rows):
    _, dataset, requests = prepared
    assert dataset.name == "fashion_mnist" and dataset.notes == ()
    assert dataset.images.shape == (60_000, 28, 28, 1) and dataset.images.dtype == np.uint8
    assert dataset.labels.shape == (60_000,) and dataset.labels.dtype == np.int32
    assert rows(dataset.images, dataset.labels) == rows(*served["train"])
    assert len(set(requests)) == 4


@pytest.mark.slow
def test_the_experiment_trains_on_it(prepared, call_script, tmp_path):
    folder, _, _ = prepared
    small = ("--generator-widths", 16, "--discriminator-widths", 16, "--batch-size", 6000)
    done = call_script(
        *("mnist_gan.py", "--dataset", "fashion_mnist", "--data-dir", folder),
        *("--epochs", 1, "--workdir", "run", *small),
    )
    assert done.returncode == 0, done.stderr
    assert "fashion_mnist: 60,000 images" in done.stdout
    assert (tmp_path / "run" / "checkpoints" / "10").is_dir()
    assert not list(tmp_path.glob("runs"))


def test_a_set_without_images_is_not_downloaded(tmp_path):
    pytest.importorskip("tensorflow")
    with pytest.raises(ValueError, match="imdb_reviews has no 8-bit images"):
        data.load("imdb_reviews", data_dir=tmp_path, download=True)


def test_preparing_without_tensorflow_is_told(tmp_path, without_tensorflow):
    done = without_tensorflow(
        "from jaxgan import data\n"
        "try:\n"
        f"    data.load('fashion_mnist', data_dir={str(tmp_path)!r}, download=True)\n"
        "except ImportError as error:\n"
        "    print(error)\n",
    )
    assert done.stdout.splitlines() == [
        "preparing fashion_mnist needs TensorFlow: pip install tensorflow"
    ], done.stderr


# --- Reading what was prepared ---


def test_read_again_without_the_server(prepared, served, rows):
    folder, dataset, requests = prepared
    asked = len(requests)
    again = data.load("fashion_mnist", data_dir=folder)
    np.testing.assert_array_equal(again.images, dataset.images)
    np.testing.assert_array_equal(again.labels, dataset.labels)
    # Nothing that is there is downloaded.
    test = data.load("fashion_mnist", split="test", data_dir=str(folder), download=True)
    assert rows(test.images, test.labels) == rows(*served["test"])
    assert len(requests) == asked


def test_read_without_tensorflow(prepared, without_tensorflow):
    folder = prepared[0]
    done = without_tensorflow(
        "import hashlib, sys\n"
        "from jaxgan import data\n"
        f"dataset = data.load('fashion_mnist:3.*.*', split='test', data_dir={str(folder)!r})\n"
        "content = dataset.images.tobytes() + dataset.labels.tobytes()\n"
        "print(hashlib.sha256(content).hexdigest())\n"
        "print('tensorflow' in sys.modules, 'jax' in sys.modules)\n",
    )
    dataset = data.load("fashion_mnist", split="test", data_dir=folder)
    content = dataset.images.tobytes() + dataset.labels.tobytes()
    expected = [hashlib.sha256(content).hexdigest(), "False False"]
    assert done.stdout.splitlines() == expected, done.stderr


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


def test_a_missing_part_is_told(prepared, fetch):
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
    assert str(part) in line and "is missing" in line and fetch(folder) in line and "\n" not in line


def test_a_damaged_part_is_told(prepared, fetch):
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
        assert fetch(folder) in str(told.value) and "\n" not in str(told.value)


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
    monkeypatch.setattr(preparing, "_REACH_SECONDS", 0.5)
    point_at("http://data.invalid/")
    with pytest.raises(ConnectionError, match=r"data.invalid cannot be reached \(no answer in 0.5"):
        data.load("fashion_mnist", data_dir=tmp_path, download=True)
    over.set()
    _assert_nothing_is_there(tmp_path)


@pytest.mark.parametrize("fault", ["a file is not there", "a file breaks off"])
def test_a_failed_download_leaves_nothing(tmp_path, point_at, serve, fault):
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
    with serve(contents, promise=promise) as server:
        point_at(server.url)
        with pytest.raises(OSError, match="fashion_mnist could not be prepared") as told:
            data.load("fashion_mnist", data_dir=tmp_path, download=True)
    assert "\n" not in str(told.value)
    _assert_nothing_is_there(tmp_path)
