"""Pictures of arrays: grids of images, captions, and PNG and GIF files."""

import math
from collections.abc import Sequence
from pathlib import Path

import chex
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxgan.data.fitting import fit
from jaxgan.data.pictures import read_picture
from jaxgan.files.writing import written_whole

CAPTION_HEIGHT = 24
# Pillow refuses a picture of twice its MAX_IMAGE_PIXELS.
MOST_PIXELS = 178_956_970


def to_uint8(images: np.ndarray) -> np.ndarray:
    """float in [0, 1] -> uint8 in [0, 255], rounded to nearest; values outside are clipped.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    images = np.asarray(images)
    if bad := np.size(images) - np.count_nonzero(np.isfinite(images)):
        raise ValueError(
            f"{bad:,} of {np.size(images):,} pixels are NaN or infinite: the weights have diverged "
            "or are damaged"
        )
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def grid(images: np.ndarray, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Lays images out in rows, left to right, on a black background.

    Args:
        images: float [n, height, width, channels] in [0, 1], with n >= 1 and 1 or 3 channels.
        columns: images in a row; by default the square root of n, rounded up.
        gap: width of the black space between images, in pixels.

    Returns:
        uint8 [rows * (height + gap) - gap, columns * (width + gap) - gap, channels].

    Raises:
        ValueError: there are no images, columns is below 1, or a value is NaN or infinite.
        AssertionError: images are of another rank (from chex).
    """
    images = to_uint8(images)
    chex.assert_rank(images, 4)
    count, height, width, channels = images.shape
    if columns is None:
        columns = math.ceil(math.sqrt(count))
    if count < 1 or columns < 1:
        raise ValueError(f"a grid wants images and columns, not {count} in {columns} columns")
    rows = math.ceil(count / columns)
    cells = np.zeros((rows * columns, height + gap, width + gap, channels), np.uint8)
    cells[:count, :height, :width] = images
    cells = cells.reshape(rows, columns, height + gap, width + gap, channels)
    canvas = cells.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), channels)
    return canvas[: canvas.shape[0] - gap, : canvas.shape[1] - gap]


def check_grid(count: int, image_shape: Sequence[int], scale: int, gap: int = 2) -> None:
    """Refuses a grid of so many images that Pillow would not open its file.

    Args:
        count: how many images.
        image_shape: height, width and channels of each.
        scale: as in `write_png`.
        gap: as in `grid`.

    Raises:
        ValueError: there are too many images for one file.
    """
    area = (image_shape[0] + gap) * (image_shape[1] + gap) * scale**2
    if area > MOST_PIXELS:
        shape = "x".join(map(str, image_shape))
        raise ValueError(f"images of {shape} are too large for a .png of {scale}x{scale} a pixel")
    if count * area > MOST_PIXELS:
        raise ValueError(
            f"a grid of {count:,} images has more than {MOST_PIXELS:,} pixels, which no viewer "
            f"shows: draw {MOST_PIXELS // area:,} or fewer, or write an .npz"
        )


def write_png(path: Path, canvas: np.ndarray, scale: int = 1) -> None:
    """Writes a PNG file.

    Args:
        path: the file. An old file of this name is replaced.
        canvas: uint8 [height, width, 1 or 3].
        scale: the side, in pixels of the file, of the square that each pixel becomes.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
    """
    with written_whole(path) as beside:
        picture(canvas, scale).save(beside)


def read_png(path: Path) -> np.ndarray:
    """Reads a file that `write_png` wrote, or a user's own in its place, as `read_picture`.

    Returns:
        uint8 [height, width, 1 or 3].

    Raises:
        ValueError: the file is no picture, or is damaged. The message names the file.
        FileNotFoundError: there is no such file.
    """
    array = np.asarray(read_picture(path)[0])
    return array[..., None] if array.ndim == 2 else array


def read_fitted(path: Path, image_shape: tuple[int, int, int]) -> tuple[np.ndarray, list[str]]:
    """Reads the image file of the flag --in, as `read_picture`, and brings it to a shape by `fit`.

    Args:
        path: the file.
        image_shape: height, width and channels (1 or 3) of the result.

    Returns:
        (the image, uint8 [*image_shape]; a list of what it was and what was done to it, in words).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image that can be read; the message begins with its flag.
    """
    try:
        picture, done = read_picture(path)
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"--in {error}") from error
    picture, fitted = fit(picture, image_shape)
    return np.asarray(picture).reshape(image_shape), [*done, *fitted]


def captioned(canvas: np.ndarray, caption: str) -> np.ndarray:
    """Puts a caption above a picture, one line of black text on white.

    Args:
        canvas: uint8 [height, width, 1 or 3].
        caption: the text. The part that is wider than the picture is cut off.

    Returns:
        uint8 [height + CAPTION_HEIGHT, width, 1 or 3].
    """
    words = _written(caption, CAPTION_HEIGHT, canvas.shape[1])
    return np.concatenate([words.repeat(canvas.shape[2], axis=-1), canvas])


def headed_grid(
    images: np.ndarray,
    headings: Sequence[str],
    caption: str,
    scale: int = 1,
    rows: Sequence[str] = (),
) -> np.ndarray:
    """Lays images out in rows on white, with a heading over each column and a caption over all.

    Args:
        images: float [n, height, width, channels] in [0, 1], n a multiple of the number of
            headings, with 1 or 3 channels.
        headings: the text over each column.
        caption: the text over all.
        scale: the side, in pixels of the result, of the square that each pixel becomes.
        rows: the text before each row; () for none.

    Returns:
        uint8 [2 * CAPTION_HEIGHT + rows * (scale * height + 4), columns * (scale * width + 4),
        channels]: behind and below each image are 4 white pixels. With texts before the rows, the
        result is wider by the longest of them.
    """
    cells = to_uint8(images).repeat(scale, axis=1).repeat(scale, axis=2)
    cells = np.pad(cells, [(0, 0), (0, 4), (0, 4), (0, 0)], constant_values=255)
    columns = []
    if rows:
        width = math.ceil(max(map(_font().getlength, rows))) + 8
        words = np.concatenate([_written(row, cells.shape[1], width) for row in rows])
        columns.append(captioned(words.repeat(cells.shape[-1], axis=-1), ""))
    columns += [
        captioned(np.concatenate(cells[i :: len(headings)]), heading)
        for i, heading in enumerate(headings)
    ]
    return captioned(np.concatenate(columns, axis=1), caption)


def stacked(canvases: Sequence[np.ndarray]) -> np.ndarray:
    """Puts pictures below each other, at the left, on white.

    Args:
        canvases: uint8 [height, width, channels] each, at least one, all of as many channels.

    Returns:
        uint8 [the sum of the heights, the largest width, channels].
    """
    widest = max(canvas.shape[1] for canvas in canvases)
    wide = [
        np.pad(canvas, [(0, 0), (0, widest - canvas.shape[1]), (0, 0)], constant_values=255)
        for canvas in canvases
    ]
    return np.concatenate(wide)


def of_one_shape(canvases: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures enlarged to the largest height, width and number of channels among them.

    Args:
        canvases: uint8 [height, width, 1 or 3] each, at least one.

    Returns:
        uint8, all of one shape; a pixel is repeated, and grey becomes grey in colour.
    """
    height, width, channels = np.max([canvas.shape for canvas in canvases], axis=0)
    enlarged = []
    for canvas in canvases:
        rows = np.arange(height) * len(canvas) // height
        columns = np.arange(width) * canvas.shape[1] // width
        grown = canvas[rows][:, columns]
        enlarged.append(np.broadcast_to(grown, (height, width, channels)))
    return enlarged


def write_gif(
    path: Path,
    canvases: Sequence[np.ndarray],
    *,
    milliseconds: int = 200,
    last: int = 2000,
    scale: int = 1,
) -> None:
    """Writes frames as an endless GIF.

    Args:
        path: the file. An old file of this name is replaced.
        canvases: one or more frames, each uint8 [height, width, 1 or 3], all of one shape.
        milliseconds: how long each frame but the last is shown.
        last: how long the last frame is shown, in milliseconds.
        scale: as in `write_png`.

    Raises:
        OSError: the file cannot be written. An old file at `path` is unchanged.
        AssertionError: frames of several shapes or of another rank (from chex).
    """
    chex.assert_equal_shape(canvases)
    frames = [picture(canvas, scale) for canvas in canvases]
    durations = [milliseconds] * (len(frames) - 1) + [last]
    with written_whole(path) as beside:
        frames[0].save(beside, save_all=True, append_images=frames[1:], duration=durations, loop=0)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(CAPTION_HEIGHT * 2 // 3)


def _written(text: str, height: int, width: int) -> np.ndarray:
    """A line of black text on white, uint8 [height, width, 1]."""
    strip = Image.new("L", (width, height), 255)
    ImageDraw.Draw(strip).text((4, height // 2), text, 0, _font(), anchor="lm")
    return np.asarray(strip)[..., None]


def picture(canvas: np.ndarray, scale: int = 1) -> Image.Image:
    """A Pillow image of uint8 [height, width, 1 or 3], enlarged as `write_png` does."""
    chex.assert_rank(canvas, 3)
    small = Image.fromarray(canvas[..., 0] if canvas.shape[-1] == 1 else canvas)
    return small.resize((small.width * scale, small.height * scale), Image.Resampling.NEAREST)
