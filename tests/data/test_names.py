"""Names of data sets that do not exist."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgan import data

pytest.importorskip("tensorflow_datasets")


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
    # TFDS would ask the network for the community's sets, and use TensorFlow to do so.
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
