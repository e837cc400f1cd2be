"""Downloading and preparing a set: TFDS's builder of Fashion-MNIST, and a server of our own."""

import gzip
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
