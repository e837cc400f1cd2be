"""Names of data sets: their form, the names that exist, and a suggestion for a misspelt name."""

import difflib
import re
from collections.abc import Iterable

_NAME = re.compile(r"(?P<dataset>\w+)(/(?P<config>[\w.\-+]+))?(:(?P<version>[\w.*]+))?")


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
            "or 'emnist/letters:3.1.0'"
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
        raise ValueError(f"there is no data set {name!r}{suggestion(dataset, known)}")
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
