"""Brings images to one shape: crops, resizes and changes their channels."""

import math
import re
from collections.abc import Collection, Iterable
from typing import Literal

import numpy as np
from PIL import Image

from jaxgan import memory

# What is cut out of a picture before it is resized: the largest box of the wanted proportions about
# its centre, nothing, or that of the box of this left, top, width and height in pixels.
Crop = Literal["centre", "none"] | tuple[int, int, int, int]
_BOX = re.compile(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})", re.ASCII)


def checked_shape(image_shape: Iterable[int]) -> tuple[int, int, int]:
    """Checks the shape of images that somebody asks for.

    Args:
        image_shape: height, width and channels.

    Returns:
        The shape as a tuple of Python integers.

    Raises:
        ValueError: it is not a positive height, a positive width and 1 or 3 channels.
    """
    shape = tuple(image_shape)
    if (
        len(shape) != 3
        or not all(isinstance(length, int | np.integer) for length in shape)
        or min(shape) < 1
        or shape[2] not in (1, 3)
    ):
        raise ValueError(
            "image_shape must be a positive height, a positive width and 1 or 3 channels, "
            f"not {shape}"
        )
    height, width, channels = map(int, shape)
    return height, width, channels


def parse_crop(text: str) -> Crop:
    """Reads what is to be cut out of pictures.

    Args:
        text: "centre", "none" or "X,Y,W,H": the left, top, width and height of a box in pixels.

    Raises:
        ValueError: it is none of these, or the box is empty.
    """
    match text:
        case "centre" | "none":
            return text
    box = _BOX.fullmatch(text)
    if box is None or not int(box[3]) or not int(box[4]):
        raise ValueError(
            f"crop must be centre, none, or X,Y,W,H: the left, top, width and height of a box, "
            f"not {text!r}"
        )
    x, y, width, height = map(int, box.groups())
    return x, y, width, height


def cut(picture: Image.Image, crop: Crop) -> tuple[Image.Image, tuple[str, ...]]:
    """Cuts a box out of a picture, if the crop is one.

    Args:
        picture: a picture of any mode.
        crop: as `parse_crop` gives it.

    Returns:
        (the picture, the changes made).

    Raises:
        ValueError: the box is not inside the picture. The message lacks its subject, the picture.
    """
    if isinstance(crop, str):
        return picture, ()
    x, y, width, height = crop
    box = f"{x},{y},{width},{height}"
    if x + width > picture.width or y + height > picture.height:
        raise ValueError(
            f"is {picture.width} wide and {picture.height} high, and the crop {box} is not inside"
        )
    return picture.crop((x, y, x + width, y + height)), (f"the box {box} cut out",)


def gather(
    name: str,
    pictures: Iterable[Image.Image],
    count: int,
    image_shape: tuple[int, int, int] | None,
    crop: Crop = "centre",
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Brings pictures to one shape with `fit` and collects them in one array.

    The array is allocated once, so that a large set never takes twice its memory.

    Args:
        name: the set's name, for messages.
        pictures: pictures of mode L, RGB or RGBA.
        count: the number of pictures, at least 1.
        image_shape: height, width and channels (1 or 3) wanted; None for the shape of the
            pictures, without their alpha.
        crop: as in `fit`.

    Returns:
        (uint8 [count, *image_shape] in [0, 255], notes as in `Dataset`).

    Raises:
        ValueError: `image_shape` is None and the pictures have several shapes, a picture does not
            hold the box of `crop`, there are not `count` pictures, or there is not enough memory
            for them.
    """
    # Dictionaries serve as sets that keep their order.
    shapes: dict[tuple[int, int, int], None] = {}
    changes: dict[str, None] = {}
    read, first = 0, (0, 0, 0)
    for picture in pictures:
        shapes[shape_of(picture)] = None
        try:
            picture, done = cut(picture, crop)
        except ValueError as error:
            raise ValueError(f"image {read} of {name} {error}") from error
        changes |= dict.fromkeys(done)
        shape = shape_of(picture)
        if image_shape is None and read and shape != first:
            raise various(name, (first, shape))
        if read == 0:
            first = shape
            wanted = image_shape or (*shape[:2], min(shape[2], 3))
            memory.check(
                count * math.prod(wanted),
                f"{name} of {count:,} images of {_dimensions(wanted)}",
                "take a smaller image_shape (--image-shape), or a part of the set",
            )
            images = np.empty((count, *wanted), np.uint8)
        picture, done = fit(picture, wanted, crop)
        changes |= dict.fromkeys(done)
        images[read] = np.asarray(picture).reshape(wanted)
        read += 1
    if read != count:
        raise ValueError(f"{name} should have {count:,} examples and has {read:,}")
    return images, notes(name, count, shapes, wanted, changes)


def shape_of(picture: Image.Image) -> tuple[int, int, int]:
    """Height, width and the number of bands of a picture."""
    return picture.height, picture.width, len(picture.getbands())


def various(name: str, shapes: Iterable[tuple[int, int, int]]) -> ValueError:
    """The error where the images of a set have several shapes and none is asked for."""
    return ValueError(
        f"the images of {name} are of various shapes, "
        f"{' and '.join(map(_dimensions, shapes))} among them: "
        "give the image_shape to bring them to"
    )


def notes(
    name: str,
    count: int,
    shapes: Collection[tuple[int, ...]],
    wanted: tuple[int, int, int],
    changes: Collection[str],
) -> tuple[str, ...]:
    """Says how the images of a set were changed.

    Args:
        name: the set's name.
        count: how many images it has.
        shapes: the shapes that they had.
        wanted: the shape that they have.
        changes: what was done to them, in words.

    Returns:
        Notes as in `Dataset`.
    """
    if not changes:
        return ()
    had = _dimensions(next(iter(shapes))) if len(shapes) == 1 else "of various shapes"
    change = f"brought to {_dimensions(wanted)} ({', '.join(changes)})"
    return (f"{name}: {count:,} images {had} {change}",)


def _dimensions(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def fit(
    picture: Image.Image, image_shape: tuple[int, int, int], crop: Crop = "centre"
) -> tuple[Image.Image, tuple[str, ...]]:
    """Brings a picture to a shape.

    Alpha is dropped. A picture of other proportions is cropped about its centre, unless the crop is
    "none": then it is distorted. Then it is
    shrunk by averaging areas, or enlarged bicubically. Colour becomes grey by its luminance
    (ITU-R BT.601); grey becomes colour by repeating it.

    Args:
        picture: a picture of mode L, RGB or RGBA.
        image_shape: height, width and channels wanted: 1 channel gives mode L, 3 give mode RGB.
        crop: as `parse_crop` gives it. The box of a crop is cut out before, by `cut`.

    Returns:
        (the picture of that shape, the changes made, such as "centre-cropped"; () if none).
    """
    height, width, channels = image_shape
    done = []
    if picture.mode == "RGBA":
        picture = picture.convert("RGB")
        done.append("alpha dropped")
    if picture.mode == "RGB" and channels == 1:
        # Pillow's L is the luminance of ITU-R BT.601: 0.299 red + 0.587 green + 0.114 blue.
        picture = picture.convert("L")
        done.append("grey by luminance")
    if picture.size != (width, height):
        box = _centre(picture.size, (width, height))
        if crop != "none" and box != (0, 0, *picture.size):
            picture = picture.crop(box)
            done.append("centre-cropped")
        if picture.width > width or picture.height > height:
            picture = picture.resize((width, height), Image.Resampling.BOX)
            done.append("area-averaged")
        elif picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
            done.append("enlarged bicubically")
    if picture.mode == "L" and channels == 3:
        picture = picture.convert("RGB")
        done.append("grey repeated")
    return picture, tuple(done)


def _centre(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box of the wanted proportions about the centre of a picture.

    The box has whole pixels, so that a picture that is only cropped stays sharp.

    Args:
        size: width and height of the picture.
        wanted: width and height that give the proportions.

    Returns:
        Left, top, right and bottom of the box, in pixels.
    """
    width, height = size
    scale = min(width / wanted[0], height / wanted[1])
    box_width = min(width, max(1, round(wanted[0] * scale)))
    box_height = min(height, max(1, round(wanted[1] * scale)))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
