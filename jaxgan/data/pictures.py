"""Reads a user's picture, of any common format and depth, as 8-bit grey or colour."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxgan.files.reading import read_bytes

# The formats of cameras, scanners and drawing programs. Pillow knows more: it runs a PostScript
# file as the program that it is, and other formats have no agreed range of values.
FORMATS = (
    *("PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000"),
    *("PPM", "TGA", "QOI", "ICO", "ICNS", "DDS", "PCX", "SGI"),
)
# The formats that TensorFlow decodes, which are those in prepared data sets.
PREPARED = ("PNG", "JPEG", "GIF", "BMP")
# The largest file that is read, of 89 million pixels of 24 bits that are not compressed.
MOST_BYTES = 1 << 28
# Tags of TIFF 6.0.
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _UNSIGNED, _FLOAT = 0, 1, 3
# A float may be this far outside [0, 1], which rounds to the end of the range.
_ROUNDING = 0.5 / 255
# PNG: what Pillow multiplies grey of fewer than 8 bits by, by the layout of the file's pixels. It
# leaves the transparent grey as it is in the file.
_FACTORS = {"1": 255, "L;2": 85, "L;4": 17}


def read_picture(path: str | Path) -> tuple[Image.Image, list[str]]:
    """Reads an image file of one of `FORMATS`, whatever its name ends in.

    The range of values is that of the file's format, never that of the picture: 16-bit grey ends
    at 65535, a PGM at its largest value, and floats must be in [0, 1]. Transparent parts are put
    on white. A photo is turned as its camera was. Of an animation the first frame is taken.

    Args:
        path: the file.

    Returns:
        (the picture, of mode L or RGB; a list of what it was and what was done to it, in words).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no picture of these formats, is damaged or too large, has numbers
            that are NaN or infinite, or has whole numbers of 32 bits or signed numbers, which have
            no agreed white. The message is one line, which names the file.
    """
    try:
        content = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is not there") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error).removeprefix(f"{path} ")
        raise ValueError(f"{path} cannot be read as an image: {why}") from error
    return picture_of(content, path)


def picture_of(encoded: bytes, name: str | Path) -> tuple[Image.Image, list[str]]:
    """`read_picture` for the content of a file that has been read.

    Args:
        encoded: the content.
        name: the file's name, for messages.

    Raises:
        ValueError: as `read_picture`.
    """
    try:
        return _on_white(*decode(encoded, turn=True))
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large: {error}") from error
    except Image.UnidentifiedImageError as error:
        # Its message names an address in memory.
        raise ValueError(f"{name} is not an image that Pillow reads") from error
    except (SyntaxError, EOFError) as error:
        raise ValueError(f"{name} is not an image that Pillow reads: {_what(error)}") from error
    except UndefinedRangeError as error:
        raise ValueError(f"{name} {error}") from error
    # Pillow's readers raise many types of errors for damaged files.
    except Exception as error:
        raise ValueError(f"{name} cannot be read as an image: {_what(error)}") from error


def endings() -> frozenset[str]:
    """The endings of the names of pictures of `FORMATS`, such as ".png", in small letters."""
    Image.init()
    return frozenset(end for end, name in Image.registered_extensions().items() if name in FORMATS)


class UndefinedRangeError(ValueError):
    """The numbers of a picture have no agreed range. The message lacks its subject, the picture."""


def decode(
    encoded: bytes, formats: Sequence[str] = FORMATS, *, turn: bool = False
) -> tuple[Image.Image, list[str]]:
    """Decodes a picture, and brings it to 8 bits by the range of its format.

    Args:
        encoded: the content of an image file.
        formats: the formats that are allowed, by Pillow's names.
        turn: whether a photo is turned as its camera was.

    Returns:
        (a picture in memory, of any of Pillow's modes of 8 bits or fewer; a list of what it was
        and what was done to it, in words).

    Raises:
        UndefinedRangeError: as `read_picture` says of ranges.
        PIL.UnidentifiedImageError: the bytes are no image of these formats.
        Exception: Pillow's readers raise many types of errors for damaged files.
    """
    Image.init()
    # Pillow may have been built without a format.
    known = [name for name in formats if name in Image.OPEN]
    with Image.open(io.BytesIO(encoded), formats=known) as picture:
        done = [f"{picture.format}, {picture.width}x{picture.height}, {picture.mode}"]
        if getattr(picture, "n_frames", 1) > 1:
            done.append("its first frame")
        # Loading a picture, which reading its EXIF may do, clears its tiles. The last of a tile is
        # its layout: the names of a tile's parts came with Pillow 11.
        layout = picture.tile[0][3] if picture.format == "PNG" and picture.tile else None
        tags = dict(getattr(picture, "tag_v2", {})) if picture.format == "TIFF" else None
        is_turned = turn and picture.getexif().get(ExifTags.Base.Orientation) in range(2, 9)
        is_deep = picture.format in ("PPM", "PNG")
        picture.load()
        transparent = _transparent(picture.info.get("transparency"), layout)
        # The copy is in memory, and no longer needs the file.
        held = ImageOps.exif_transpose(picture) if is_turned else picture.copy()
    if is_turned:
        done.append("turned as the camera was")
    _check_tags(tags)
    if held.mode.startswith("I") or held.mode == "F":
        held = _with_eight_bits(held, tags, is_deep=is_deep)
        done.append("brought to 8 bits")
    elif transparent is not None:
        held.info["transparency"] = transparent
    return held, done


def _on_white(picture: Image.Image, done: list[str]) -> tuple[Image.Image, list[str]]:
    """A picture of 8 bits as mode L or RGB, with the transparent parts white."""
    if picture.has_transparency_data:
        # Pillow converts the modes of multiplied alpha to the plain ones alone.
        picture = picture.convert({"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode))
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(ground, picture).convert("RGB"), [*done, "put on white"]
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    return picture, done


def _transparent(value: Any, layout: Any) -> Any:
    """The transparent grey or colour of a PNG, in the numbers of Pillow's 8-bit picture."""
    if isinstance(value, int) and layout in _FACTORS:
        return value * _FACTORS[layout]
    if isinstance(value, tuple) and layout == "RGB;16B":
        return tuple(each >> 8 for each in value)
    return value


def _check_tags(tags: dict[int, Any] | None) -> None:
    formats = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)) if tags else (_UNSIGNED,)
    if not set(formats) <= {_UNSIGNED, _FLOAT}:
        raise UndefinedRangeError(
            "has signed numbers, which have no agreed white: save it with 8 or 16 bits, unsigned"
        )


def _with_eight_bits(
    picture: Image.Image, tags: dict[int, Any] | None, *, is_deep: bool
) -> Image.Image:
    """Brings grey of 16 bits, or of floats in [0, 1], to 8 bits: mode L, or LA.

    Args:
        picture: a picture of mode F, I or I;16 with its variants.
        tags: the tags of a TIFF; None of other formats.
        is_deep: whether mode I is what Pillow makes of 16 bits.
    """
    values = np.asarray(picture).astype(np.float32)
    if picture.mode == "F":
        if not np.isfinite(values).all():
            raise UndefinedRangeError("has numbers that are NaN or infinite")
        low, high = values.min(), values.max()
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise UndefinedRangeError(
                f"has floats from {low:.4g} to {high:.4g}: floats must be in [0, 1], where 1 is "
                "white; divide by the white of the picture, or save it with 8 or 16 bits"
            )
        top = 1
    elif picture.mode == "I" and not is_deep:
        raise UndefinedRangeError(
            "has whole numbers of 32 bits, which have no agreed white: save it with 8 or 16 bits"
        )
    else:
        bits = tags.get(_BITS, (16,))[0] if tags else 16
        top = 2**bits - 1
    alpha = None
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        alpha = Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    values = np.clip(values / top, 0, 1)
    if tags and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = 1 - values
    grey = Image.fromarray(np.rint(values * 255).astype(np.uint8))
    return grey if alpha is None else Image.merge("LA", (grey, alpha))


def _what(error: BaseException) -> str:
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= 200 else line[:200] + " ..."
