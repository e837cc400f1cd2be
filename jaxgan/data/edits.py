"""True edits of toon faces: what an editor of faces should make, for measuring one."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data.embedded import read_true_edits
from jaxgan.data.fitting import checked_shape, gather


class TrueEdits(NamedTuple):
    """Faces, each drawn once with every class of one attribute and with all else the same.

    Attributes:
        classes: the names of the attribute's classes.
        images: uint8 [faces, classes, height, width, channels] in [0, 255].
        own: int32 [faces], the class that each face has. `images[i, own[i]]` is face i as it is in
            the data set, byte for byte in the set's own shape.
    """

    classes: tuple[str, ...]
    images: np.ndarray
    own: np.ndarray


def true_edits(image_shape: tuple[int, int, int] = (64, 64, 3)) -> dict[str, TrueEdits]:
    """The first 500 test faces of toon_faces, drawn again with another hair colour or beard.

    They are for measuring, not for training: they belong to the test split. Brows and beard follow
    the colour of the hair. The faces are those of `load("toon_faces", split="test")`, in its order.

    Args:
        image_shape: height, width and channels (1 or 3) wanted. Images of another shape than 64x64
            in colour are brought to it as those of `load` are.

    Returns:
        The edits by the name of the attribute that was changed: "hair_colour" and "beard", of 500
        faces and 6 classes each. The arrays may be written to.

    Raises:
        ValueError: an impossible shape, or a damaged file of the package.
        FileNotFoundError: a file of the package is missing.
    """
    image_shape = checked_shape(image_shape)
    edits = {}
    for name, (images, attribute) in read_true_edits().items():
        if images.shape[2:] != image_shape:
            flat = images.reshape(-1, *images.shape[2:])
            fitted, _ = gather(name, map(Image.fromarray, flat), len(flat), image_shape)
            images = fitted.reshape(*images.shape[:2], *image_shape)
        edits[name] = TrueEdits(attribute.classes, images, attribute.codes)
    return edits
