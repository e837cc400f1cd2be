"""Guards against hostile files of a data set that somebody else prepared."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def importing_no_features() -> Iterator[None]:
    """Lets the files of a set name no features but those of TensorFlow Datasets.

    A set's files name the classes of its features. TensorFlow Datasets imports the modules of these
    classes, and so runs whatever code a file names. It has no setting against that, so that
    `FeatureConnector.cls_from_name` is replaced inside the block.

    Raises:
        ValueError: inside the block, where a file names another class.
    """
    from tensorflow_datasets.core.features.feature import FeatureConnector

    original = FeatureConnector.cls_from_name

    def cls_from_name(class_name: str) -> type:
        if not class_name.startswith("tensorflow_datasets."):
            raise ValueError(f"{class_name[:100]!r} is no feature of TensorFlow Datasets")
        return original(class_name)

    FeatureConnector.cls_from_name = staticmethod(cls_from_name)
    try:
        yield
    finally:
        FeatureConnector.cls_from_name = original
