"""Downloads and prepares a data set with TensorFlow Datasets, which needs TensorFlow for it."""

import contextlib
import importlib.util
import queue
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

from jaxgan.data.tfds import first_line, image_and_attributes, import_tensorflow

# Seconds that a host has to take a connection.
_CONNECT_SECONDS = 4
# Seconds that the whole check of a host may take, the wait for a name server included.
_REACH_SECONDS = 10


def prepare(name: str, data_dir: str | None, feature: str | None) -> str:
    """Downloads and prepares a set.

    Args:
        name: the set, as TensorFlow Datasets writes it.
        data_dir: the folder that sets are in; None for the default of TensorFlow Datasets.
        feature: as in `load`; checked before anything is downloaded.

    Returns:
        The folder of the prepared set.

    Raises:
        ValueError: TensorFlow Datasets cannot make the set, or the set has no such images.
        ImportError: TensorFlow, or a package that the set needs, is not installed.
        ConnectionError: a host that the set is downloaded from cannot be reached.
        OSError: preparing failed in another way.
    """
    # TensorFlow is only looked for here. Importing it takes seconds, and may wait until a host has
    # been reached.
    if importlib.util.find_spec("tensorflow") is None:
        raise ImportError(f"preparing {name} needs TensorFlow: pip install tensorflow")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        raise ValueError(f"TensorFlow Datasets cannot make {name}: {first_line(error)}") from error
    image_and_attributes(name, builder.info, feature)
    # Files in the format array_record can be read without TensorFlow. Some systems have no package
    # for the format.
    random_access = importlib.util.find_spec("array_record") is not None
    try:
        with _asking_hosts_first(name):
            builder.download_and_prepare(file_format="array_record" if random_access else None)
    except ConnectionError:
        raise
    except ImportError as error:
        raise ImportError(first_line(error)) from error
    except Exception as error:
        raise OSError(
            f"{name} could not be prepared: {type(error).__name__}: {first_line(error)}"
        ) from error
    return builder.data_dir


@contextlib.contextmanager
def _asking_hosts_first(name: str) -> Iterator[None]:
    """Inside the block, a download begins only when its host has taken a connection.

    TensorFlow Datasets retries an unreachable host for minutes, in threads that cannot be stopped,
    and has no setting against that. Its `DownloadManager._download` fetches a single file and is
    the first function to know the file's address, so that it is replaced inside the block.
    """
    import tensorflow_datasets as tfds

    manager = tfds.download.DownloadManager
    original = manager._download
    reached = set()

    def download(self: Any, resource: Any) -> Any:
        host = urllib.parse.urlsplit(resource.url).netloc
        if host not in reached and resource.url.startswith(("http://", "https://")):
            _check_reachable(name, host, resource.url)
            reached.add(host)
        import_tensorflow(f"preparing {name}")
        return original(self, resource)

    manager._download = download
    try:
        yield
    finally:
        manager._download = original


def _check_reachable(name: str, host: str, url: str) -> None:
    """Checks that a host takes a connection. Any answer will do, even an error or a slow answer.

    Args:
        name: the set's name, for the message.
        host: the host.
        url: the address of a file of the host.

    Raises:
        ConnectionError: the host took no connection within `_REACH_SECONDS`.
    """
    # TensorFlow Datasets downloads with this library too, so that both use the same proxies.
    import requests

    answer: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            requests.get(url, stream=True, timeout=_CONNECT_SECONDS).close()
        except requests.ConnectionError as error:
            answer.put(error)
        except requests.RequestException:
            answer.put(None)
        else:
            answer.put(None)

    # Only a thread lets the wait for a name server be given up. The thread is a daemon, so that the
    # program can end before the thread does.
    threading.Thread(target=ask, daemon=True).start()
    try:
        error = answer.get(timeout=_REACH_SECONDS)
    except queue.Empty:
        error = TimeoutError(f"no answer in {_REACH_SECONDS} seconds")
    if error is not None:
        cause = error
        while cause.__context__ is not None:
            cause = cause.__context__
        raise ConnectionError(
            f"cannot download {name}: {host} cannot be reached ({first_line(cause)}); "
            "check the network and try again"
        ) from error
