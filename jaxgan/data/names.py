"""Names of data sets: their form, the names that exist, and a suggestion for a misspelt name."""

import difflib
import os
import re
from collections.abc import Iterable

_NAME = re.compile(r"(?P<dataset>\w+)(/(?P<config>[\w.\-+]+))?(:(?P<version>[\w.*]+))?")


def is_path(name: str) -> bool:
    """Whether the name of a data set means a folder or a .zip of the user's own images.

    A single word is a name, whatever lies in the current folder: "./cifar10" is the folder
    "cifar10", and "cifar10" the set. A path that holds a "/" is one where it is there, since names
    such as "emnist/letters" hold one too.

    Args:
        name: what the user gave, with or without a "~" at its beginning.
    """
    if name.startswith((".", "~")) or os.path.isabs(name) or name.lower().endswith(".zip"):
        return True
    is_long = "/" in name or (os.sep != "/" and os.sep in name)
    return is_long and os.path.exists(name)


def parse_name(name: str) -> tuple[str, str | None]:
    """Takes the name of a data set apart, as TensorFlow Datasets writes it.

    Args:
        name: 'dataset', 'dataset/config', 'dataset:version' or 'dataset/config:version'.

    Returns:
        (the data set, its configuration or None).

    Raises:
        ValueError: the name has another form.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise ValueError(
            f"{name!r} is not the name of a data set: they look like 'mnist', 'fashion_mnist' "
            "or 'emnist/letters:3.1.0'; nor is it a folder or a .zip that is there"
        )
    return parts["dataset"], parts["config"]


def check_known(name: str) -> None:
    """Checks, without the network, that TensorFlow Datasets can make a data set.

    Args:
        name: as `parse_name` takes it.

    Raises:
        ValueError: TensorFlow Datasets has no such data set, or the data set has no such
            configuration. The message suggests similar names.
    """
    import tensorflow_datasets as tfds

    dataset, config = parse_name(name)
    # TensorFlow Datasets would ask the network for the list of community data sets.
    known = tfds.list_builders(with_community_datasets=False)
    if dataset not in known:
        here = os.path.isdir(name) and f": the folder of this name is {os.path.join('.', name)}"
        raise ValueError(f"there is no data set {name!r}{here or suggestion(dataset, known)}")
    if config is None:
        return
    try:
        configs = list(tfds.builder_cls(dataset).builder_configs)
    except ImportError:
        # The builder needs a package that is not installed: preparing the set reports it.
        return
    if config not in configs:
        near = suggestion(config, configs) or f": it has {', '.join(configs) or 'none'}"
        raise ValueError(f"{dataset} has no configuration {config!r}{near}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Suggests up to three known words for a misspelt word.

    Returns:
        ': did you mean ...?', to end an error message with; '' if no known word is similar.
    """
    matches = difflib.get_close_matches(word.lower(), known, n=3)
    return f": did you mean {' or '.join(matches)}?" if matches else ""
