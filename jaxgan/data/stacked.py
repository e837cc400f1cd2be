"""StackedMNIST: three digits as the red, green and blue of one image, 1000 kinds in all."""

import numpy as np

from jaxgan.data.dataset import LABEL, Attribute
from jaxgan.data.embedded import classes_of, read_embedded

STACKED = "stacked_mnist"
CHANNELS = ("red", "green", "blue")
# Images of each split: of training as in VEEGAN's protocol, of test as many as that one scores.
_COUNTS = {"train": 128_000, "test": 26_000}


def read_stacked(split: str) -> tuple[np.ndarray, dict[str, Attribute]]:
    """Stacks random digits of MNIST, always the same ones.

    Metz et al. 2017 (arXiv 1611.02163) proposed the set, and Srivastava et al. 2017 (VEEGAN, arXiv
    1705.07761) its protocol. The triples of training are of the 60,000 training digits, and those
    of test of the 10,000 test digits; VEEGAN stacked all 70,000.

    Args:
        split: 'train', 128,000 images, or 'test', 26,000.

    Returns:
        (uint8 [n, 28, 28, 3] in [0, 255], the digit of each channel as the attributes "red",
        "green" and "blue"). Both are copies that the caller may write to.

    Raises:
        ValueError: an unknown split, or a damaged file.
        FileNotFoundError: the file of the digits is missing.
    """
    if split not in _COUNTS:
        raise ValueError(f"{STACKED} has the splits 'train' and 'test', not {split!r}")
    digits, attributes = read_embedded("mnist", split)
    # NumPy promises that the numbers of `RandomState`, and of no other generator, never change.
    rows = np.random.RandomState(0).randint(len(digits), size=(_COUNTS[split], len(CHANNELS)))
    images = np.concatenate([digits[rows[:, i]] for i in range(len(CHANNELS))], axis=-1)
    classes, codes = classes_of("mnist")[LABEL], attributes[LABEL].codes
    return images, {name: Attribute(classes, codes[rows[:, i]]) for i, name in enumerate(CHANNELS)}
