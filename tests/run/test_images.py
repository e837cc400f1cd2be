import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgan.run import images

RNG = np.random.default_rng(0)


def levels(*values):
    """1x2 grey images, both pixels of a level out of 255."""
    return np.repeat(np.float32(values), 2).reshape(-1, 1, 2, 1) / 255


def test_grid_pixel_by_pixel():
    given = images.grid(levels(10, 20, 30, 40, 50), columns=3, gap=1)
    expected = [
        [10, 10, 0, 20, 20, 0, 30, 30],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [40, 40, 0, 50, 50, 0, 0, 0],
    ]
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given[..., 0], expected)
    assert given.shape == (3, 8, 1)


def test_grid_keeps_the_inside_of_images_and_their_colours():
    batch = RNG.uniform(size=(4, 3, 5, 3)).astype(np.float32)
    given = images.grid(batch, columns=2, gap=2)
    assert given.shape == (8, 12, 3)
    for i, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        cell = given[row * 5 : row * 5 + 3, column * 7 : column * 7 + 5]
        np.testing.assert_array_equal(cell, np.floor(batch[i] * 255 + 0.5))
    assert given.sum() == np.floor(batch * 255 + 0.5).sum()


@pytest.mark.parametrize(
    ("count", "columns", "gap", "shape"),
    [
        (1, None, 2, (1, 2)),
        (4, None, 2, (4, 6)),
        (5, None, 2, (4, 10)),
        (64, None, 2, (22, 30)),
        (3, 4, 2, (1, 14)),
        (3, 1, 2, (7, 2)),
        (4, 2, 0, (2, 4)),
    ],
)
def test_grid_shape(count, columns, gap, shape):
    assert images.grid(levels(*[9] * count), columns, gap).shape == (*shape, 1)


@pytest.mark.parametrize(("count", "columns"), [(0, None), (0, 3), (3, 0), (3, -1)])
def test_grid_of_nothing_is_refused(count, columns):
    with pytest.raises(ValueError, match="grid"):
        images.grid(np.zeros((count, 1, 2, 1), np.float32), columns)


@pytest.mark.parametrize("shape", [(28, 28), (4, 28, 28), (1, 4, 28, 28, 1)])
def test_grid_refuses_another_rank(shape):
    with pytest.raises(AssertionError):
        images.grid(np.zeros(shape, np.float32))


@pytest.mark.parametrize("array", [np.float32, np.float64, jnp.float32])
def test_to_uint8_rounds_to_nearest_and_clips(array):
    values = [-1.0, -0.001, 0.0, 0.4 / 255, 0.6 / 255, 127.4 / 255, 127.6 / 255, 1.0, 1.001, 7.0]
    given = images.to_uint8(array(values))
    assert given.dtype == np.uint8
    np.testing.assert_array_equal(given, [0, 0, 0, 0, 1, 127, 128, 255, 255, 255])


def test_to_uint8_gives_every_level_back():
    every = np.arange(256)
    np.testing.assert_array_equal(images.to_uint8(np.float32(every) / 255), every)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("scale", [1, 3])
def test_png_is_read_back_as_it_was(tmp_path, channels, mode, scale):
    canvas = RNG.integers(0, 256, (4, 6, channels), np.uint8)
    path = tmp_path / "grid.png"
    images.write_png(path, canvas, scale)
    expected = np.kron(canvas, np.ones((scale, scale, 1), np.uint8))
    with Image.open(path) as picture:
        assert (picture.format, picture.mode) == ("PNG", mode)
        assert picture.size == (6 * scale, 4 * scale)
        np.testing.assert_array_equal(np.asarray(picture).reshape(expected.shape), expected)
    np.testing.assert_array_equal(images.read_png(path), expected)
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_frames_and_durations(tmp_path, channels):
    canvases = np.zeros((4, 5, 7, channels), np.uint8)
    for i in range(4):
        canvases[i, i, i + 1] = 60 * (i + 1)
    path = tmp_path / "training.gif"
    images.write_gif(path, list(canvases), milliseconds=130, last=900)
    with Image.open(path) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames == 4
        assert picture.size == (7, 5)
        assert picture.info["loop"] == 0
        for i, duration in enumerate([130, 130, 130, 900]):
            picture.seek(i)
            assert picture.info["duration"] == duration
            frame = np.asarray(picture.convert("RGB"))
            np.testing.assert_array_equal(frame, np.broadcast_to(canvases[i], (5, 7, 3)))
    assert [file.name for file in tmp_path.iterdir()] == ["training.gif"]


def test_gif_of_one_frame(tmp_path):
    path = tmp_path / "training.gif"
    images.write_gif(path, [np.full((3, 4, 1), 77, np.uint8)])
    with Image.open(path) as picture:
        assert picture.n_frames == 1
        np.testing.assert_array_equal(np.asarray(picture.convert("L")), np.full((3, 4), 77))


def test_gif_refuses_frames_of_two_shapes(tmp_path):
    with pytest.raises(AssertionError):
        images.write_gif(
            tmp_path / "x.gif", [np.zeros((3, 4, 1), np.uint8), np.zeros((4, 4, 1), np.uint8)]
        )


def test_pictures_are_enlarged_to_one_shape():
    small, large = RNG.integers(0, 256, (2, 3, 1), np.uint8), np.zeros((4, 6, 3), np.uint8)
    grown, same = images.of_one_shape([small, large])
    np.testing.assert_array_equal(grown, small.repeat(2, 0).repeat(2, 1).repeat(3, 2))
    assert same.shape == grown.shape and not same.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_caption_stands_above_the_picture(channels):
    canvas = RNG.integers(0, 256, (9, 120, channels), np.uint8)
    first, second = (images.captioned(canvas, f"epoch {n}") for n in (7, 12))
    assert first.shape == (images.CAPTION_HEIGHT + 9, 120, channels) and first.dtype == np.uint8
    np.testing.assert_array_equal(first[images.CAPTION_HEIGHT :], canvas)
    words, others = (each[: images.CAPTION_HEIGHT] for each in (first, second))
    assert words.min() < 64 and words.max() == 255 and np.ptp(words, axis=-1).max() == 0
    # The word is the same, the number, to the right of it, is not and is longer.
    np.testing.assert_array_equal(words[:, :45], others[:, :45])
    ends = [np.nonzero((each < 128).any(axis=(0, 2)))[0][-1] for each in (words, others)]
    assert 45 < ends[0] < ends[1] < 119
    np.testing.assert_array_equal(images.captioned(canvas, "epoch 7"), first)


def test_a_caption_of_a_narrow_picture_is_cut_off():
    assert images.captioned(np.zeros((3, 8, 1), np.uint8), "epoch 1000").shape == (27, 8, 1)


def test_a_png_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "grid.png"
    canvas = np.full((2, 2, 1), 9, np.uint8)
    images.write_png(path, canvas)

    def save_half(picture, where):
        where.write_bytes(b"\x89PNG half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", save_half)
    with pytest.raises(OSError, match="no space left"):
        images.write_png(path, canvas + 1)
    np.testing.assert_array_equal(images.read_png(path), canvas)
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_no_pixels(bad):
    batch = np.full((2, 3, 5, 1), 0.5, np.float32)
    batch[1, 2, 3, 0] = bad
    for make in (images.to_uint8, images.grid):
        with pytest.raises(ValueError, match="1 of 30 pixels are NaN or infinite"):
            make(batch)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_a_grid_that_somebody_edited_is_read(tmp_path, mode):
    Image.new(mode, (6, 4), 65535 if mode == "I;16" else "white").save(tmp_path / "a.png")
    given = images.read_png(tmp_path / "a.png")
    assert given.dtype == np.uint8 and given.shape in ((4, 6, 1), (4, 6, 3))
    assert (given == 255).all()


def test_a_grid_that_is_damaged_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="a.png is not an image"):
        images.read_png(tmp_path / "a.png")


def test_a_grid_that_no_viewer_shows():
    images.check_grid(49_710, (28, 28, 1), 2)
    with pytest.raises(ValueError, match="draw 49,710 or fewer, or write an .npz"):
        images.check_grid(49_711, (28, 28, 1), 2)


def test_a_headed_grid_has_its_images_in_place_on_white():
    batch = RNG.uniform(size=(6, 3, 40, 3)).astype(np.float32)
    given = images.headed_grid(batch, ["left", "middle", "right"], "all", scale=2)
    top = 2 * images.CAPTION_HEIGHT
    assert given.shape == (top + 2 * (6 + 4), 3 * (80 + 4), 3) and given.dtype == np.uint8
    for i, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]):
        cell = given[top + 10 * row :][:10, 84 * column :][:, :84]
        expected = images.to_uint8(batch[i]).repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(cell[:6, :80], expected)
        assert (cell[6:] == 255).all() and (cell[:, 80:] == 255).all()
    # Each heading is over its column, and the caption over all.
    strips = given[:top].reshape(2, images.CAPTION_HEIGHT, 3, 84, 3)
    is_written = (strips < 255).any(axis=(1, 3, 4))
    np.testing.assert_array_equal(is_written, [[True, False, False], [True, True, True]])


def test_rows_of_a_headed_grid_have_their_texts_before_them():
    batch = RNG.uniform(size=(4, 20, 40, 1)).astype(np.float32)
    plain = images.headed_grid(batch, ["left", "right"], "all")
    given = images.headed_grid(batch, ["left", "right"], "all", rows=["", "second"])
    width, top = given.shape[1] - plain.shape[1], 2 * images.CAPTION_HEIGHT
    np.testing.assert_array_equal(given[top:, width:], plain[top:])
    is_written = (given[top:, :width] < 255).reshape(2, -1).any(axis=1)
    np.testing.assert_array_equal(is_written, [False, True])
    assert (given[images.CAPTION_HEIGHT : top, :width] == 255).all()


def test_pictures_below_each_other_are_at_the_left_on_white():
    above, below = np.full((2, 3, 1), 7, np.uint8), np.full((1, 5, 1), 9, np.uint8)
    given = images.stacked([above, below])
    expected = [[7, 7, 7, 255, 255], [7, 7, 7, 255, 255], [9, 9, 9, 9, 9]]
    np.testing.assert_array_equal(given[..., 0], expected)
