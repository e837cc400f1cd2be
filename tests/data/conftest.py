"""A server of our own that `load` downloads Fashion-MNIST from; a Python without TensorFlow."""

import gzip
import http.server
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jaxgan import data
from jaxgan.data import preparing


class _Server:
    """Serves files from memory on 127.0.0.1, each after `delay` seconds, and lists the requests.

    It announces `promise` bytes more than a file has.
    """

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


@pytest.fixture
def load(tmp_path, request):
    """`data.load` with a cache of the test's own, and the `SHAPE` of its module."""

    def load(name, **options):
        options = {"data_dir": tmp_path / "cache", "image_shape": request.module.SHAPE} | options
        return data.load(str(name), **options)

    return load


@pytest.fixture
def serve():
    """(files, delay=0.0, promise=0) -> a server, which serves inside a `with` block."""
    return _Server


def _idx(array):
    header = struct.pack(f">{1 + array.ndim}i", 0x800 + array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), 1)


@pytest.fixture(scope="session")
def served():
    """By split: uint8 images [n, 28, 28, 1] and labels [n], as the server has them."""
    arrays = {}
    for split in ("train", "test"):
        mnist = data.load(split=split)
        arrays[split] = mnist.images // 64 * 80, 9 - mnist.labels
    return arrays


@pytest.fixture(scope="session")
def files(served):
    """By path: what the server has, the four files of Fashion-MNIST."""
    named = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = served[split]
        named[f"/{prefix}-images-idx3-ubyte.gz"] = _idx(images[..., 0])
        named[f"/{prefix}-labels-idx1-ubyte.gz"] = _idx(labels.astype(np.uint8))
    return named


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, files):
    """Fashion-MNIST as `load` prepared it: the folder, the data set and the server's requests.

    The server answers later than a host has to take a connection.
    """
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch, _Server(files, delay=0.6) as server:
        patch.setattr(preparing, "_CONNECT_SECONDS", 0.3)
        patch.setattr(tfds.builder_cls("fashion_mnist"), "URL", server.url)
        dataset = data.load("fashion_mnist", data_dir=folder, download=True)
    return folder, dataset, server.requests


@pytest.fixture
def rows():
    """(images, labels) -> each image with its label, sorted, whatever order they came in."""

    def sort(images, labels):
        flat = images.reshape(len(images), -1)
        return sorted(map(bytes, np.column_stack([labels.astype(np.uint8), flat])))

    return sort


@pytest.fixture
def fetch():
    """folder -> how an error line says to download Fashion-MNIST into the folder."""
    return lambda folder: (
        f"the training command with --download --data-dir {folder} (from Python: download=True) "
        "downloads fashion_mnist"
    )


@pytest.fixture
def without_tensorflow(tmp_path):
    """script -> the finished process of a Python that has no TensorFlow; its home is tmp_path."""
    hide = (
        "from importlib.machinery import PathFinder\n"
        "found = PathFinder.find_spec\n"
        "def find(name, *rest):\n"
        "    return None if name.split('.')[0] == 'tensorflow' else found(name, *rest)\n"
        "PathFinder.find_spec = find\n"
    )
    root = Path(data.__file__).parents[2]
    environment = {"PYTHONPATH": str(root), "HOME": str(tmp_path), "PATH": ""}

    def run(script):
        path = tmp_path / "script.py"
        path.write_text(hide + script)
        return subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
        )

    return run
